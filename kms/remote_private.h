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

#endif
