/*
 * broken.c - EIO for everybody.
 *
 * It knows of FUSE's protocol what it takes to have the mount's folder opened
 * and an ioctl sent to it, and nothing of the store.
 */
#include "broken.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sealdisk/ioctl.h>
#include <sealdisk/log.h>

#include "host.h"
#include "pending.h"

struct broken {
	struct keeper_link *l;
	int signal_fd;
	uint64_t upgrade; /* the request that asked for one; 0: none */
	uint8_t *in;
};

static void
answer(const struct broken *b, uint64_t unique, int err, const void *body,
       size_t len)
{
	uint8_t raw[1024];
	const struct fuse_out_header h = {
		.len = (uint32_t)(sizeof(h) + len),
		.error = -err,
		.unique = unique,
	};

	memcpy(raw, &h, sizeof(h));
	if (len)
		memcpy(raw + sizeof(h), body, len);
	(void)!write(b->l->fuse_fd, raw, h.len);
}

static void
answer_ioctl(const struct broken *b, uint64_t unique, const void *body,
	     size_t len)
{
	struct {
		struct fuse_ioctl_out head;
		uint8_t body[512];
	} out = { .head = { .result = 0 } };

	memcpy(out.body, body, len);
	answer(b, unique, 0, &out, sizeof(out.head) + len);
}

static void
answer_upgrade(struct broken *b, const char *why)
{
	struct sd_ioc_upgrade u = { .error = ENOEXEC };

	if (!b->upgrade)
		return;
	(void)snprintf(u.why, sizeof(u.why), "%s", why);
	answer_ioctl(b, b->upgrade, &u, sizeof(u));
	b->upgrade = 0;
}

static void
on_ioctl(struct broken *b, const struct fuse_in_header *h)
{
	const struct fuse_ioctl_in *in = (const void *)(h + 1);
	struct keep *k = b->l->keep;

	if (in->cmd == SD_IOC_DAEMON) {
		const struct sd_ioc_daemon d = {
			.version = 1,
			.pid = k->keeper,
			.worker = getpid(),
			.restarts = k->restarts,
			.upgrades = k->upgrades,
		};

		answer_ioctl(b, h->unique, &d, sizeof(d));
	} else if (in->cmd == SD_IOC_UPGRADE && !b->upgrade &&
		   (h->uid == 0 || h->uid == getuid())) {
		b->upgrade = h->unique;
		k->upgrades_before = k->upgrades;
		if (line_say(b->l->line, LINE_UPGRADE, 0, 0) < 0)
			answer_upgrade(b, "the keeper does not answer");
	} else {
		answer(b, h->unique, EIO, NULL, 0);
	}
}

static void
on_getattr(const struct broken *b, uint64_t unique)
{
	const struct fuse_attr_out out = {
		.attr = { .ino = FUSE_ROOT_ID,
			  .mode = S_IFDIR | 0755,
			  .nlink = 2,
			  .uid = getuid(),
			  .gid = getgid() },
	};

	answer(b, unique, 0, &out, sizeof(out));
}

static void
on_request(struct broken *b, size_t len)
{
	const struct fuse_in_header *h = (const void *)b->in;
	const struct fuse_open_out opened = { .fh = 0 };
	bool root = h->nodeid == FUSE_ROOT_ID;

	switch (h->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	case FUSE_GETATTR:
		if (root)
			on_getattr(b, h->unique);
		else
			answer(b, h->unique, EIO, NULL, 0);
		return;
	case FUSE_OPENDIR:
		if (root)
			answer(b, h->unique, 0, &opened, sizeof(opened));
		else
			answer(b, h->unique, EIO, NULL, 0);
		return;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		answer(b, h->unique, 0, NULL, 0);
		return;
	case FUSE_IOCTL:
		if (root && len >= sizeof(*h) + sizeof(struct fuse_ioctl_in))
			on_ioctl(b, h);
		else
			answer(b, h->unique, EIO, NULL, 0);
		return;
	default:
		answer(b, h->unique, EIO, NULL, 0);
	}
}

/* 1: go on.  0: the mount is gone. */
static int
read_request(struct broken *b)
{
	ssize_t n = read(b->l->fuse_fd, b->in, WORKER_IN_LEN);

	if (n >= (ssize_t)sizeof(struct fuse_in_header))
		on_request(b, (size_t)n);
	if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
		return errno == ENODEV ? 0 : -errno;
	return 1;
}

static void
listen_to_keeper(struct broken *b)
{
	struct line_msg m;
	int fd;

	while (line_receive(b->l->line, false, &m, &fd) == 0) {
		if (fd >= 0)
			(void)close(fd);
		/* The next one answers what is open still. */
		if (m.what == LINE_HANDOVER)
			_exit(0);
		if (m.what == LINE_REFUSED)
			answer_upgrade(b, m.text);
	}
}

static int
take_signals(struct broken *b)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	b->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return b->signal_fd < 0 ? -errno : 0;
}

static int
serve(struct broken *b)
{
	struct signalfd_siginfo si;
	int r = 1;

	while (r > 0) {
		struct pollfd p[] = {
			{ .fd = b->l->fuse_fd, .events = POLLIN },
			{ .fd = b->l->line, .events = POLLIN },
			{ .fd = b->signal_fd, .events = POLLIN },
		};

		(void)poll(p, 3, -1);
		if (p[2].revents &&
		    read(b->signal_fd, &si, sizeof(si)) == sizeof(si))
			(void)!host_unmount(b->l->keep->mount_point, true);
		if (p[1].revents)
			listen_to_keeper(b);
		if (p[0].revents)
			r = read_request(b);
	}
	return r;
}

int
broken_serve(struct keeper_link *l)
{
	struct broken b = { .l = l, .in = malloc(WORKER_IN_LEN) };
	int r = b.in ? take_signals(&b) : -ENOMEM;

	if (r == 0) {
		link_tell_death(l->keep);
		log_error("%s: the processes that serve it die again and "
			  "again: whatever is asked of it is answered with an "
			  "I/O error, until `sealdisk upgrade %s` or an "
			  "unmount",
			  l->keep->mount_point, l->keep->mount_point);
		pending_resend(l);
		link_ready(l, "%s answers I/O errors", l->keep->mount_point);
		r = serve(&b);
		l->keep->broken = KEEP_BROKEN_GONE;
	}
	if (b.signal_fd > 0)
		(void)close(b.signal_fd);
	free(b.in);
	return r;
}
