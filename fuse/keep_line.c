/*
 * keep_line.c - messages with descriptors between keeper and worker.
 */
#include "keep_line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int
line_pair(int ret[static 2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0
		   ? -errno
		   : 0;
}

union control {
	char room[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int
line_send(int line, const struct line_msg *m, int fd)
{
	struct iovec v = { (void *)(uintptr_t)m, sizeof(*m) };
	union control c = { .room = "" };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *cm;

		h.msg_control = c.room;
		h.msg_controllen = sizeof(c.room);
		cm = CMSG_FIRSTHDR(&h);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(line, &h, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

int
line_receive(int line, bool wait, struct line_msg *ret, int *ret_fd)
{
	struct iovec v = { ret, sizeof(*ret) };
	union control c = { .room = "" };
	struct msghdr h = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = c.room,
		.msg_controllen = sizeof(c.room),
	};
	struct cmsghdr *cm;
	ssize_t n;

	*ret_fd = -1;
	do {
		n = recvmsg(line, &h,
			    MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	cm = CMSG_FIRSTHDR(&h);
	if (cm && cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(cm), sizeof(*ret_fd));
	if (n == 0)
		return -EPIPE;
	if (n != sizeof(*ret))
		return -EPROTO;
	ret->text[sizeof(ret->text) - 1] = '\0';
	return 0;
}

int
line_say(int line, enum line_what what, unsigned slot, int value)
{
	const struct line_msg m = { .what = what,
				    .slot = slot,
				    .value = value };

	return line_send(line, &m, -1);
}

int
line_say_text(int line, enum line_what what, int value, const char *text)
{
	struct line_msg m = { .what = what, .value = value };

	(void)snprintf(m.text, sizeof(m.text), "%s", text);
	return line_send(line, &m, -1);
}
