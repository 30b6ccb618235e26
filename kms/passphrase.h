/*
 * passphrase.h - what a person knows, asked on the terminal or read from a file
 * descriptor that whoever called us has opened.  Never from the command line or
 * the environment, which other processes can see.
 *
 * A passphrase is bytes up to a line feed or the end of the file.  It is in
 * secret memory from the first byte on.  Nothing is logged: the errors are
 * different ones.
 */
#ifndef SEALDISK_KMS_PASSPHRASE_H
#define SEALDISK_KMS_PASSPHRASE_H

#include <stddef.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/settings.h>

#define PASSPHRASE_MIN 8 /* bytes, of a new one */
#define PASSPHRASE_MAX 1024

struct passphrase {
	size_t len;
	char text[PASSPHRASE_MAX]; /* without a NUL */
};

int passphrase_new(struct passphrase **ret) NONNULL CHECKED;
void passphrase_free(struct passphrase *p);
DEFINE_CLEANUP(struct passphrase, passphrase_free)

/**
 * passphrase_ask(s, ret):
 * The passphrase of the keystore of ${s}, or the PIN of its token: one line of
 * s->keystore_passphrase_fd and not a byte beyond it, or else what is typed.
 *
 * -ENOKEY        there is no terminal
 * -EBADF         that is no descriptor to read from
 * -EKEYREJECTED  empty, or longer than any
 * -ECANCELED     a signal, or the end of the file
 */
int passphrase_ask(const struct settings *s, struct passphrase **ret)
    NONNULL CHECKED;

/* A new one, which is typed twice.  -EINVAL where the other is -EKEYREJECTED,
 * also for one that is too short, or was not the same both times. */
int passphrase_ask_new(const struct settings *s, struct passphrase **ret)
    NONNULL CHECKED;

#endif
