/*
 * actions_store.h - what can be done with a store as a whole, and between
 * stores, in the scene of actions_env.h.
 */
#ifndef SEALDISK_ACTIONS_STORE_H
#define SEALDISK_ACTIONS_STORE_H

#include "actions_env.h"
#include "rebuild.h"

/* ---- checked and made anew ---- */

static inline void
found_fault(const struct scrub_fault *f, void *arg)
{
	(void)arg;
	fail_msg("scrub: %s in %s", scrub_word(f->what), f->file);
}

static inline int
run_scrub(void)
{
	struct scrub_options o = { .blocks = true, .fault = found_fault };
	struct scrub_totals t;

	return disk_scrub(things[D].d, env.s, &o, &t);
}

static inline int
run_repair(void)
{
	struct repair_report rep;

	return engine_repair_maps(env.e, DESC_DISK, "own", &rep);
}

/* What is found is no error of the call: here it is. */
static inline void
found_wrong(const struct check_finding *f, void *arg)
{
	int *r = arg;

	if (*r == 0)
		*r = f->made ? 0 : f->err ? f->err : -EUCLEAN;
}

static inline int
run_check(void)
{
	int found = 0, r;
	struct check_options o = { true, found_wrong, &found, false };

	r = catalog_check(cat(), &o);
	return r < 0 ? r : found;
}

static inline void
lose_image(void)
{
	char path[STORE_PATH_LEN];

	assert_ok(catalog_path(DESC_IMAGE, "img", path));
	assert_ok(env.st->ops->remove(env.st, path));
	things[IMG].there = false;
}

/* It may be there though something failed afterwards. */
static inline int
run_rebuild(void)
{
	int found = 0, r;
	struct check_options o = { true, found_wrong, &found, false };
	char path[STORE_PATH_LEN];

	r = catalog_rebuild(cat(), env.kms, NULL, &o);
	assert_ok(catalog_path(DESC_IMAGE, "img", path));
	things[IMG].there = store_exists(env.st, path) == 1;
	return r < 0 ? r : found;
}

static inline void
done_rebuild(void)
{
	assert_true(things[IMG].there);
}

/* ---- sent and received ---- */

static struct {
	struct engine_env to; /* another store, with the same keystore */
	uint8_t *p;
	size_t len, cap, at;
} stream;

static inline int
to_nowhere(void *arg, const void *buf, size_t len)
{
	(void)arg;
	(void)buf;
	(void)len;
	return 0;
}

static inline int
send_b(int (*write)(void *arg, const void *buf, size_t len))
{
	struct stream_sink sink = { write, NULL, NULL };
	struct stream_name what = { DESC_SNAPSHOT, "d@b" };
	struct stream_result res;

	return stream_send(cat(), &what, NULL, NULL, &sink, &res);
}

static inline int
run_send(void)
{
	return send_b(to_nowhere);
}

static inline int
stream_write(void *arg, const void *buf, size_t len)
{
	(void)arg;
	if (stream.len + len > stream.cap) {
		stream.cap = 2 * (stream.len + len);
		stream.p = realloc(stream.p, stream.cap);
		assert_non_null(stream.p);
	}
	memcpy(stream.p + stream.len, buf, len);
	stream.len += len;
	return 0;
}

static inline int
stream_read(void *arg, void *buf, size_t len, size_t *ret_got)
{
	size_t left = stream.len - stream.at;

	(void)arg;
	*ret_got = left < len ? left : len;
	memcpy(buf, stream.p + stream.at, *ret_got);
	stream.at += *ret_got;
	return *ret_got < len ? -ENODATA : 0;
}

static inline void
begin_receive(void)
{
	struct store *st;

	stream.len = 0;
	assert_ok(send_b(stream_write));
	assert_ok(mem_store_open(&st));
	stream.to = env;
	eenv_start(&stream.to, st, CIPHER_AES256_GCM);
}

static inline int
run_receive(void)
{
	struct stream_source source = { stream_read, NULL, NULL };
	struct stream_owner owner = { 1, 2, 0400 };
	struct stream_name name = { DESC_IMAGE, "got" };
	struct stream_result res;

	stream.at = 0;
	return stream_receive(engine_catalog(stream.to.e), env.kms, &name,
			      &owner, &source, &res);
}

/* All of it came, and when it is removed nothing is left. */
static inline void
end_receive(void)
{
	struct engine_env *to = &stream.to;
	struct disk *d;
	bool more = true;

	memset(&io, 0, sizeof(io));
	assert_ok(disk_attach(to->e, DESC_IMAGE, "got", 0, &d));
	assert_ok(disk_read(d, to->s, io.b, SIZE, 0));
	assert_ok(disk_detach(d));
	assert_memory_equal(io.b, things[B].is.b, SIZE);
	assert_ok(catalog_remove(engine_catalog(to->e), DESC_IMAGE, "got"));
	while (more)
		assert_ok(catalog_sweep(engine_catalog(to->e), 1000, &more));
	eenv_reopen(to); /* recovers, and so removes an empty folder */
	(void)!to->st->ops->list(to->st, "lineages", is_left, NULL);
	engine_close(to->e);
	store_free(to->st);
	free(stream.p);
	stream.p = NULL;
	stream.cap = 0;
}

#endif
