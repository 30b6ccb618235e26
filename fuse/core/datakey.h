/*
 * datakey.h - data keys of a key service that may be wrong.
 *
 * What the service wraps is not believed: before anything hangs on it, it is
 * opened by the service once, and has to be the DK that it should be.  A
 * wrapping that opens to nothing, or to another key, would be found out when
 * what was wrapped before is gone.  So who makes or rewraps a DK has to be
 * allowed to decrypt as well, as whoever attaches the disk.
 *
 * A service that tells the same lie each time is not found out: that DK is what
 * it says it is.
 *
 * -EPROTO: it opens what it has wrapped to something else.  That, and an error
 * where it is asked to open it, was logged; nothing was changed.
 */
#ifndef SEALDISK_CORE_DATAKEY_H
#define SEALDISK_CORE_DATAKEY_H

#include <sealdisk/kms.h>

/* As kms_generate_data_key(). */
int datakey_new(struct kms *kms, const char *key, const struct uuid *lineage,
		struct wrapped_dk *ret, struct key *ret_dk) NONNULL CHECKED;

/* ${w}, which is a wrapping of ${dk}, under the newest version of CMK ${key};
 * unchanged after an error. */
int datakey_rewrap(struct kms *kms, struct wrapped_dk *w, const struct key *dk,
		   const char *key) NONNULL CHECKED;

#endif
