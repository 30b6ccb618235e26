/*
 * passphrase.c - see passphrase.h.
 *
 * The terminal is the process's own, not its standard input, which may be a
 * pipe.  While it does not echo, a signal that would end us must not, or the
 * shell after us would not echo either: it is noted, the terminal is put right,
 * and then it takes its course.
 */
#include "passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/io.h>
#include <sealdisk/secret.h>

#define TRIES 3

/* The signal that would have ended us while the terminal did not echo. */
static volatile sig_atomic_t caught;

int
passphrase_new(struct passphrase **ret)
{
	*ret = secret_alloc(sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

void
passphrase_free(struct passphrase *p)
{
	secret_free(p, sizeof(*p));
}

static ssize_t
read_byte(int fd, char *ret)
{
	ssize_t n;

	do
		n = read(fd, ret, 1);
	while (n < 0 && errno == EINTR && !caught);
	return n;
}

/*
 * One line of ${fd}.  Byte by byte, for what follows is not ours: it may be the
 * next passphrase.  -EMSGSIZE: it is too long; -ENODATA: not even an empty one.
 */
static int
read_line(int fd, struct passphrase *p)
{
	bool too_long = false, any = false;
	char c = 0;
	ssize_t n;
	int r;

	p->len = 0;
	while ((n = read_byte(fd, &c)) == 1 && c != '\n') {
		any = true;
		if (p->len < sizeof(p->text))
			p->text[p->len++] = c;
		else
			too_long = true;
	}
	r = n < 0 ? -errno : 0;
	if (r == 0 && n == 0 && !any)
		r = -ENODATA;
	secret_wipe(&c, sizeof(c));
	return r == 0 && too_long ? -EMSGSIZE : r;
}

/* Signals. */

static const int watched[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP };
#define NWATCHED (sizeof(watched) / sizeof(watched[0]))

static void
on_signal(int sig)
{
	caught = sig;
}

struct terminal {
	int fd;
	struct termios before;
	struct sigaction actions[NWATCHED];
	sigset_t mask;
};

/* Stopping us here would leave the shell without echo: not now. */
static void
catch_signals(struct terminal *t)
{
	struct sigaction sa = { .sa_handler = on_signal }; /* no SA_RESTART */
	sigset_t set;
	size_t i;

	caught = 0;
	(void)sigemptyset(&set);
	for (i = 0; i < NWATCHED; i++) {
		(void)sigaddset(&set, watched[i]);
		sa.sa_handler = watched[i] == SIGTSTP ? SIG_IGN : on_signal;
		(void)sigaction(watched[i], &sa, &t->actions[i]);
	}
	/* A daemon that is just starting has them blocked. */
	(void)pthread_sigmask(SIG_UNBLOCK, &set, &t->mask);
}

static void
release_signals(struct terminal *t)
{
	size_t i;

	(void)pthread_sigmask(SIG_SETMASK, &t->mask, NULL);
	for (i = 0; i < NWATCHED; i++)
		(void)sigaction(watched[i], &t->actions[i], NULL);
	if (caught)
		(void)kill(getpid(), caught);
}

/* The terminal. */

static void
terminal_close(struct terminal *t)
{
	if (t->fd < 0)
		return;
	(void)tcsetattr(t->fd, TCSAFLUSH, &t->before);
	(void)close(t->fd);
	release_signals(t);
}

static int
terminal_open(struct terminal *t)
{
	struct termios quiet;
	int fd;

	fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -ENOKEY;
	if (tcgetattr(fd, &t->before) < 0) {
		(void)close(fd);
		return -ENOKEY;
	}
	quiet = t->before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
	quiet.c_lflag |= ECHONL | ICANON | ISIG;
	catch_signals(t);
	t->fd = fd;
	/* What was typed before the question is no answer. */
	return tcsetattr(fd, TCSAFLUSH, &quiet) < 0 ? -errno : 0;
}

static int
say(const struct terminal *t, const char *text)
{
	return io_write_all(t->fd, text, strlen(text));
}

static int
type_line(const struct terminal *t, const char *question, struct passphrase *p)
{
	int r;

	r = say(t, question);
	if (r == 0)
		r = caught ? -EINTR : read_line(t->fd, p);
	return r == -EINTR || r == -ENODATA ? -ECANCELED : r;
}

static int
type_twice(const struct terminal *t, const char *question, struct passphrase *p)
{
	CLEANUP(passphrase_freep) struct passphrase *again = NULL;
	const char *why;
	int i, r;

	r = passphrase_new(&again);
	for (i = 0; r == 0 && i < TRIES; i++) {
		r = type_line(t, question, p);
		if (r < 0 && r != -EMSGSIZE)
			return r;
		if (r == 0 && p->len >= PASSPHRASE_MIN) {
			r = type_line(t, "Again: ", again);
			if (r < 0 && r != -EMSGSIZE)
				return r;
			if (r == 0 && again->len == p->len &&
			    crypto_equal(again->text, p->text, p->len))
				return 0;
			why = "That was not the same.\n";
		} else {
			why = "It must have 8 to 1024 bytes.\n";
		}
		r = say(t, why);
	}
	return r < 0 ? r : -EINVAL;
}

static int
from_terminal(const struct settings *s, bool is_new, struct passphrase *p)
{
	CLEANUP(terminal_close) struct terminal t = { .fd = -1 };
	char question[SETTING_MAX + 64];
	int r;

	_Static_assert(PASSPHRASE_MIN == 8 && PASSPHRASE_MAX == 1024, "text");
	if (strcmp(s->keystore_root, "pkcs11") == 0)
		(void)snprintf(question, sizeof(question),
			       "PIN of token %s: ", s->keystore_pkcs11_token);
	else
		(void)snprintf(question, sizeof(question),
			       "%s of keystore %s: ",
			       is_new ? "New passphrase" : "Passphrase",
			       s->keystore_path);
	r = terminal_open(&t);
	if (r < 0)
		return r;
	return is_new ? type_twice(&t, question, p)
		      : type_line(&t, question, p);
}

/* Descriptors. */

static int
from_fd(const struct settings *s, struct passphrase *p)
{
	uint64_t fd;
	int r;

	r = parse_u64(s->keystore_passphrase_fd, &fd);
	caught = 0;
	if (r == 0)
		r = fd <= INT32_MAX ? read_line((int)fd, p) : -EBADF;
	return r < 0 && r != -ENODATA && r != -EMSGSIZE ? -EBADF : r;
}

static int
ask(const struct settings *s, bool is_new, struct passphrase **ret)
{
	CLEANUP(passphrase_freep) struct passphrase *p = NULL;
	int r;

	r = passphrase_new(&p);
	if (r < 0)
		return r;
	if (s->keystore_passphrase_fd[0])
		r = from_fd(s, p);
	else
		r = from_terminal(s, is_new, p);
	if (r == 0 && p->len < (is_new ? PASSPHRASE_MIN : 1))
		r = -ENODATA;
	if (r == -EMSGSIZE || r == -ENODATA)
		return is_new ? -EINVAL : -EKEYREJECTED;
	if (r == 0)
		*ret = TAKE(p);
	return r;
}

int
passphrase_ask(const struct settings *s, struct passphrase **ret)
{
	return ask(s, false, ret);
}

int
passphrase_ask_new(const struct settings *s, struct passphrase **ret)
{
	return ask(s, true, ret);
}
