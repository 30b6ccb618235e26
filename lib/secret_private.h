/*
 * secret_private.h - what lib/crypto.c tells secret.c.
 */
#ifndef SEALDISK_SECRET_PRIVATE_H
#define SEALDISK_SECRET_PRIVATE_H

/* Memory of keys that is not secret.c's own could not be locked. */
void secret_note_unlocked(void);

#endif
