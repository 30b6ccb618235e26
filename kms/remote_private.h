/*
 * remote_private.h - the fields of an answer, none of which is trusted.
 *
 * -EPROTO: a field is missing, of another form, or too long for its place.
 */
#ifndef SEALDISK_KMS_REMOTE_PRIVATE_H
#define SEALDISK_KMS_REMOTE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

#include <sealdisk/kms.h>

#include "remote.h"

/* Text with nothing in it that steers a terminal.  Not ${needed}: it may be
 * missing or empty. */
int answer_text(const json_t *o, const char *name, bool needed, char *out,
		size_t cap) NONNULL CHECKED;
/* Base64. */
int answer_bytes(const json_t *o, const char *name, void *out, size_t cap,
		 size_t *ret_len) NONNULL CHECKED;
/* KeyMetadata of ${answer}; it does not say how many versions there are. */
int answer_metadata(const json_t *answer, struct kms_key_info *ret)
    NONNULL CHECKED;

/* Of kms.h. */
int remote_describe_key(struct kms *k, const char *key,
			struct kms_key_info *ret) NONNULL CHECKED;
int remote_list_keys(struct kms *k,
		     int (*fn)(const struct kms_key_info *info, void *arg),
		     void *arg) __attribute__((__nonnull__(1, 2))) CHECKED;
int remote_list_aliases(struct kms *k,
			int (*fn)(const char *alias, const char *key_id,
				  void *arg),
			void *arg) __attribute__((__nonnull__(1, 2))) CHECKED;

#endif
