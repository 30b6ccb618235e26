/*
 * receive.c - `sealdisk receive NAME`: a snapshot or image from a stream on
 * standard input.
 *
 * What a stream that was cut has brought is kept: --resume says where `send` is
 * to go on, --abort gives it up.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "copy.h"
#include "frozen.h"

#define PIPE_LEN (1 << 20)
#define SWEEP_FILES 1000

struct receive {
	struct cmd_env e;
	struct cmd_target to_is;
	struct stream_name to;
	const char *text; /* as it was said */
	bool resume, abort;
	struct progress *progress;
};

static void
receive_done(struct receive *v)
{
	progress_free(v->progress);
	cmd_close(&v->e);
}

static int
parse(int argc, char **argv, struct receive *v)
{
	const struct cmd_option own[] = {
		{ "resume", NULL, &v->resume },
		{ "abort", NULL, &v->abort },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r)
		return r;
	v->text = argv[0];
	r = frozen_name(v->text, &v->to_is, &v->to);
	if (r == 0 && v->resume && v->abort)
		r = cmd_usage("--resume or --abort, not both");
	if (r == 0 && !v->resume && !v->abort && isatty(STDIN_FILENO))
		r = cmd_usage("a stream comes from a file or a pipe, not from "
			      "a terminal");
	return r;
}

/* ---- the stream ---- */

/* Signals are asked for before each read, and end one that waits. */
static int
read_in(void *arg, void *buf, size_t len, size_t *ret_got)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	uint8_t *to = buf;
	ssize_t n;

	(void)arg;
	for (*ret_got = 0; *ret_got < len; *ret_got += (size_t)n) {
		(void)poll(&p, 1, -1);
		if (copy_interrupted())
			return -ECANCELED;
		n = read(STDIN_FILENO, to + *ret_got, len - *ret_got);
		if (n == 0)
			return -ENODATA;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (n < 0)
			n = 0;
	}
	return 0;
}

static void
show(void *arg, uint64_t done, uint64_t total)
{
	struct receive *v = arg;

	if (!v->progress)
		v->progress = progress_new(cmd_globals.progress, "receive",
					   total, "chunks");
	progress_update(v->progress, done);
}

static int
sweep(struct receive *v)
{
	bool more = true;
	int r = 0;

	while (r == 0 && more)
		r = catalog_sweep(v->e.catalog, SWEEP_FILES, &more);
	return r;
}

static int
fail(struct receive *v, int err, const char *why)
{
	char token[STREAM_TOKEN_LEN];
	const char *hint = why ? "" : NULL;

	progress_free(v->progress);
	v->progress = NULL;
	if (stream_token(v->e.catalog, &v->to, token) == 0)
		hint = "`sealdisk receive --resume` says where `sealdisk send` "
		       "is to go on";
	else
		(void)!sweep(v); /* as far as it goes; else at the next mount */
	if (err == -ECANCELED)
		why = "interrupted";
	if (err == -EPROTO && why)
		err = -EUCLEAN; /* it is not the KMS that talks nonsense */
	if (err == -EBUSY || err == -EEXIST)
		hint = why ? "" : NULL;
	return cmd_fail(err, why, hint, "receive %s", v->text);
}

static int
print(const struct receive *v, const struct stream_result *s)
{
	char uuid[UUID_STR_LEN];

	if (!cmd_globals.json)
		return 0;
	uuid_format(&s->uuid, uuid);
	return cmd_print_json(json_pack(
	    "{ss ss sI si si sI sI sI}", "name", v->text, "uuid", uuid, "size",
	    (json_int_t)s->size, "layers", (int)s->layers, "layers_there",
	    (int)s->there, "chunks", (json_int_t)s->chunks, "blocks",
	    (json_int_t)s->blocks, "bytes", (json_int_t)s->bytes));
}

static int
receive(struct receive *v)
{
	const struct stream_owner owner = { geteuid(), getegid(), 0600 };
	struct stream_source source = { read_in, show, v };
	struct stream_result result;
	int r;

	r = cmd_open(&v->e, CMD_KMS | CMD_CHANGE);
	if (r)
		return r;
	copy_catch_signals();
	(void)fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE_LEN);
	(void)posix_fadvise(STDIN_FILENO, 0, 0, POSIX_FADV_SEQUENTIAL);
	r = stream_receive(v->e.catalog, v->e.kms, &v->to, &owner, &source,
			   &result);
	if (r < 0)
		return fail(v, r, result.why);
	progress_free(v->progress);
	v->progress = NULL;
	return print(v, &result);
}

/* ---- what was cut ---- */

static int
fail_cut(struct receive *v, int err)
{
	const char *why = NULL;

	if (err == -ENOENT)
		why = "nothing of that name was being received";
	if (err == -EBUSY)
		why = "it is being received at this moment";
	return cmd_fail(err, why, why ? "" : NULL, "receive %s", v->text);
}

static int
say_where(struct receive *v)
{
	char token[STREAM_TOKEN_LEN];
	int r;

	r = cmd_open(&v->e, 0);
	if (r)
		return r;
	r = stream_token(v->e.catalog, &v->to, token);
	if (r < 0)
		return fail_cut(v, r);
	if (cmd_globals.json)
		return cmd_print_json(
		    json_pack("{ss ss}", "name", v->text, "token", token));
	(void)puts(token);
	return 0;
}

static int
give_up(struct receive *v)
{
	char token[STREAM_TOKEN_LEN];
	int r;

	r = cmd_open(&v->e, CMD_CHANGE);
	if (r)
		return r;
	r = stream_token(v->e.catalog, &v->to, token);
	if (r < 0)
		return fail_cut(v, r);
	r = cmd_confirm("What has been received of %s will be gone.", v->text);
	if (r)
		return r;
	r = stream_abort(v->e.catalog, &v->to);
	if (r < 0)
		return fail_cut(v, r);
	r = sweep(v);
	if (r < 0)
		return cmd_fail(r, NULL,
				"its space comes back at the next mount of the "
				"store",
				"receive --abort %s: clear its space", v->text);
	return 0;
}

int
cmd_receive(int argc, char **argv)
{
	CLEANUP(receive_done) struct receive v = { .text = NULL };
	int r;

	r = parse(argc, argv, &v);
	if (r)
		return r;
	if (v.resume)
		return say_where(&v);
	return v.abort ? give_up(&v) : receive(&v);
}
