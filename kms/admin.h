/*
 * admin.h - the embedded keystore as a whole: made, saved, put back.
 *
 * The functions are those of kms.h.  What is made or put back appears whole or
 * not at all; nothing that may hold keys is ever overwritten or removed.  Two
 * of them at once on one keystore wait for each other.
 */
#ifndef SEALDISK_KMS_ADMIN_H
#define SEALDISK_KMS_ADMIN_H

#include <stdbool.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/settings.h>

int admin_init(const struct settings *s, bool *ret_made) NONNULL CHECKED;
int admin_backup(const char *keystore, const char *path) NONNULL CHECKED;
int admin_restore(const struct settings *s, const char *path, bool force)
    NONNULL CHECKED;

/* admin_root.c */
int admin_root_kind(const struct settings *s, const char **ret) NONNULL CHECKED;
int admin_change_root(const struct settings *s, const struct settings *to,
		      bool *ret_new) NONNULL CHECKED;

#endif
