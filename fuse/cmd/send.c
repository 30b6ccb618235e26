/*
 * send.c - `sealdisk send DISK@SNAPSHOT`: a snapshot or image as a stream on
 * standard output, encrypted as it lies in the store.  No key is needed.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include <sealdisk/io.h>

#include "frozen.h"

#define PIPE_LEN (1 << 20)

struct send {
	struct cmd_env e;
	struct cmd_target what_is, base_is;
	struct stream_name what, base;
	const char *base_text, *token;
	struct progress *progress;
	bool writing; /* it was standard output that failed */
};

static void
send_done(struct send *s)
{
	progress_free(s->progress);
	cmd_close(&s->e);
}

static int
parse(int *argc, char ***argv, struct send *s)
{
	const struct cmd_option own[] = {
		{ "from", &s->base_text, NULL },
		{ "resume", &s->token, NULL },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(argc, argv, own);
	if (r == 0)
		r = frozen_name((*argv)[0], &s->what_is, &s->what);
	if (r == 0 && s->base_text)
		r = frozen_name(s->base_text, &s->base_is, &s->base);
	if (r == 0 && isatty(STDOUT_FILENO))
		r = cmd_usage("a stream is nothing for a terminal: direct "
			      "standard output to a file or a pipe");
	return r;
}

static int
write_out(void *arg, const void *buf, size_t len)
{
	struct send *s = arg;
	int r = io_write_all(STDOUT_FILENO, buf, len);

	s->writing = r < 0;
	return r;
}

static void
show(void *arg, uint64_t done, uint64_t total)
{
	struct send *s = arg;

	if (!s->progress)
		s->progress =
		    progress_new(cmd_globals.progress, "send", total, "chunks");
	progress_update(s->progress, done);
}

static int
fail(struct send *s, const char *name, int err, const char *why)
{
	progress_free(s->progress);
	s->progress = NULL;
	if (s->writing)
		return cmd_fail(err, NULL, "",
				"send %s: write to standard output", name);
	if (err == -ENOENT && !why)
		why = s->what.type == DESC_IMAGE ? "there is no such image"
						 : "there is no such snapshot";
	if (err == -EINVAL && why && s->base_text)
		return cmd_fail(err, why, "", "send %s --from %s", name,
				s->base_text);
	return cmd_fail(err, why, NULL, "send %s", name);
}

int
cmd_send(int argc, char **argv)
{
	CLEANUP(send_done) struct send s = { .base_text = NULL };
	struct stream_sink sink = { write_out, show, &s };
	struct stream_result result;
	int r;

	r = parse(&argc, &argv, &s);
	if (r == 0)
		r = cmd_open(&s.e, 0);
	if (r)
		return r;
	(void)signal(SIGPIPE, SIG_IGN);
	/* Fewer changes between the two ends, if it is one; a wish. */
	(void)fcntl(STDOUT_FILENO, F_SETPIPE_SZ, PIPE_LEN);
	r = stream_send(s.e.catalog, &s.what, s.base_text ? &s.base : NULL,
			s.token, &sink, &result);
	return r < 0 ? fail(&s, argv[0], r, result.why) : 0;
}
