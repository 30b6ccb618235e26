/*
 * keeper_link.c - a worker and its keeper; and how the worker before it died.
 */
#include "keeper_link.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sealdisk/log.h>

#include "opcode.h"

int
link_open(int line, struct keeper_link *l, enum line_mode *ret_mode)
{
	struct line_msg m;
	int fd, r;

	l->line = line;
	l->keep_fd = l->fuse_fd = -1;
	for (unsigned i = 0; i < LINK_LOCKS; i++)
		l->locks[i] = -1;
	r = line_receive(line, true, &m, &fd);
	if (r < 0)
		return r;
	if (m.what != LINE_KEEP || fd < 0)
		return -EPROTO;
	*ret_mode = (enum line_mode)m.value;
	l->keep_fd = fd;
	r = keep_map(fd, &l->keep);
	if (r == -EPROTONOSUPPORT)
		(void)!link_hello(l, r,
				  "it is of another build, which keeps its "
				  "state otherwise: unmount, and mount");
	return r;
}

int
link_hello(struct keeper_link *l, int err, const char *text)
{
	return line_say_text(l->line, LINE_HELLO, err, text);
}

int
link_wait(struct keeper_link *l)
{
	struct line_msg m;
	int fd, r;

	for (;;) {
		r = line_receive(l->line, true, &m, &fd);
		if (r < 0)
			return r;
		if (m.what == LINE_GO && fd >= 0) {
			l->fuse_fd = fd;
			return 0;
		}
		if (m.what != LINE_LOCK || m.slot >= LINK_LOCKS || fd < 0)
			return -EPROTO;
		l->locks[m.slot] = fd;
	}
}

int
link_lock(void *arg, unsigned slot, int fd)
{
	struct keeper_link *l = arg;
	struct line_msg m = { .what = LINE_LOCK, .slot = slot };

	return line_send(l->line, &m, fd);
}

void
link_drop(void *arg, unsigned slot)
{
	struct keeper_link *l = arg;

	/* Without a keeper there is nothing to drop. */
	(void)!line_say(l->line, LINE_DROP, slot, 0);
}

static void say(struct keeper_link *l, enum line_what what, const char *fmt,
		va_list ap) __attribute__((__format__(__printf__, 3, 0)));

static void
say(struct keeper_link *l, enum line_what what, const char *fmt, va_list ap)
{
	struct line_msg m = { .what = what };

	(void)vsnprintf(m.text, sizeof(m.text), fmt, ap);
	(void)!line_send(l->line, &m, -1);
}

void
link_ready(struct keeper_link *l, const char *fmt, ...)
{
	va_list ap;

	atomic_store(&l->keep->served, l->keep->runs);
	va_start(ap, fmt);
	say(l, LINE_READY, fmt, ap);
	va_end(ap);
}

void
link_status(struct keeper_link *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(l, LINE_STATUS, fmt, ap);
	va_end(ap);
}

/*
 * The death of the one before.
 */

static void
tell_request(const char *what, const struct keep_request *q)
{
	const char *name = opcode_name(q->opcode);

	if (!q->unique)
		return;
	if (q->size)
		log_error("%s: request %" PRIu64 ", %s of node %" PRIu64
			  ", %" PRIu64 " bytes at %" PRIu64,
			  what, q->unique, name, q->node, q->size, q->off);
	else
		log_error("%s: request %" PRIu64 ", %s of node %" PRIu64, what,
			  q->unique, name, q->node);
}

static void
tell_crash(struct keep *k)
{
	struct keep_crash *c = &k->crash;
	uint32_t sig = atomic_load(&c->signal);

	if (!sig)
		return;
	log_error("it had signal %u (%s) in thread %.15s, address %#" PRIx64,
		  sig, strsignal((int)sig), c->thread, c->address);
	for (unsigned i = 0; i < c->n_frames && i < KEEP_FRAMES; i++)
		log_at(LOG_ERROR, c->frames[i].object, (int)i,
		       "  #%u %.31s+%#" PRIx64, i, c->frames[i].object,
		       c->frames[i].offset);
	tell_request("it was doing", &c->request);
	atomic_store(&c->signal, 0);
}

/* What each thread had begun last. */
static void
tell_past(const struct keep *k)
{
	for (unsigned i = 0; i < KEEP_THREADS; i++) {
		const struct keep_past *p = &k->past[i];
		char what[32];

		if (p->n == 0)
			continue;
		(void)snprintf(what, sizeof(what), "thread %u, last", i);
		for (unsigned j = p->n > 2 ? p->n - 2 : 0; j < p->n; j++)
			tell_request(what, &p->last[j % KEEP_LAST]);
	}
}

void
link_tell_death(struct keep *k)
{
	int status = k->status;

	if (!k->dead)
		return;
	if (WIFSIGNALED(status))
		log_error("process %ld, which served %s, was ended by signal "
			  "%d (%s); this is number %" PRIu64 " that goes on",
			  (long)k->dead, k->mount_point, WTERMSIG(status),
			  strsignal(WTERMSIG(status)), k->restarts);
	else
		log_error("process %ld, which served %s, ended with status %d; "
			  "this is number %" PRIu64 " that goes on",
			  (long)k->dead, k->mount_point, WEXITSTATUS(status),
			  k->restarts);
	if (atomic_load(&k->crash.signal)) {
		tell_crash(k);
		tell_past(k);
	}
	k->dead = 0;
}
