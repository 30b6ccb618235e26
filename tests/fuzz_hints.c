/*
 * fuzz_hints.c - any bytes as one of the files of a store that nothing
 * authenticates and that decide nothing about what can be read: a receive that
 * is not done, what a scrub has found, whose a lock is, which chunk files to
 * look at after an unclean stop, the spare copy of a layer.ini.
 *
 * Whatever they say, whoever reads them comes to an end, and every disk reads
 * as it did.  The first byte of an input says which file it is, and with 0x80
 * that its checksum is to be put to it.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_hints, as it is and changed at random.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/log.h>

#include "catalog_private.h"
#include "check.h"
#include "disk.h"
#include "engine_private.h"
#include "fuzz.h"
#include "fuzz_kms.h"
#include "mem_store.h"
#include "scrub.h"
#include "stream.h"

#define INPUT_MAX 16384

enum hint { RECEIVING, SCRUB, LOCK, TODO, LAYER_SPARE, N_HINTS };

/* The layer on top of what is being received. */
#define RECEIVED "11111111-1111-4111-8111-111111111111"

static struct store *made; /* each input has a fork of it */
static struct scratch *scratch;
static struct descriptor disk; /* it was not detached */

static const struct engine_options options = { .mount_point = "",
					       .cache_size = 1 << 20,
					       .manual = true };

/* ---- a store ---- */

static void
write_block(struct disk *d, uint64_t block, char with)
{
	char buf[BLOCK_SIZE];

	memset(buf, with, sizeof(buf));
	must(disk_write(d, scratch, buf, sizeof(buf), block * BLOCK_SIZE) == 0);
}

static void
begin(void)
{
	struct disk_params p = { .name = "d",
				 .size = 9u << 20,
				 .sector_size = 512,
				 .kind = "data",
				 .key = "k",
				 .mode = 0600 };
	struct catalog *c;
	struct engine *e;
	struct disk *d;

	must(crypto_init() == 0);
	log_to_syslog();
	must(scratch_new(&scratch) == 0);
	c = fuzz_store();
	made = catalog_store(c);
	catalog_close(c);
	mem_store_record(made, NULL, NULL);
	must(engine_open(made, FUZZ_KMS, &options, &e) == 0);
	must(catalog_create(engine_catalog(e), FUZZ_KMS, &p, &disk, NULL) == 0);
	must(disk_attach(e, DESC_DISK, "d", 0, &d) == 0);
	write_block(d, 0, 'd');
	write_block(d, 2000, 'd');
	must(disk_flush(d) == 0);
	disk_abandon(d);
	engine_close(e);
	mem_store_kill(made);
}

static unsigned
all(void *arg, const struct mem_ask *ask)
{
	(void)arg;
	return ask->what == MEM_WRITE || ask->what == MEM_SECTOR ? 1
								 : ask->n - 1;
}

static void
hint_path(enum hint h, char out[static STORE_PATH_LEN])
{
	char u[UUID_STR_LEN], name[64];

	uuid_format(&disk.uuid, u);
	(void)snprintf(name, sizeof(name), "scrubs/%s.ini", u);
	if (h == RECEIVING)
		(void)snprintf(out, STORE_PATH_LEN, "receiving/%s", RECEIVED);
	else if (h == LOCK)
		(void)snprintf(out, STORE_PATH_LEN, "locks/disk-%s", u);
	else if (h == SCRUB)
		path_lineage(&disk.layer.lineage, name, out);
	else
		path_layer(&disk.layer, h == TODO ? "todo" : "layer.spare",
			   out);
}

/* ---- what is in them ---- */

struct content {
	uint8_t b[8 * INPUT_MAX];
	size_t len;
};

static void
put(struct content *c, const void *p, size_t len)
{
	must(len <= sizeof(c->b) - c->len);
	memcpy(c->b + c->len, p, len);
	c->len += len;
}

/* The store's uuids are others each time: %L, %Y and %D stand for those of
 * lineage, layer and disk, in text; %l and %y in bytes. */
static void
expand(const uint8_t *p, size_t len, struct content *ret)
{
	char u[UUID_STR_LEN];

	ret->len = 0;
	for (size_t i = 0; i < len; i++) {
		unsigned c = p[i] == '%' && i + 1 < len ? p[i + 1] : 0;
		const struct uuid *id = c == 'L' || c == 'l' ? &disk.lineage
					: c == 'Y' || c == 'y'
					    ? &disk.layer.layer
					: c == 'D' ? &disk.uuid
						   : NULL;

		if (!id) {
			put(ret, p + i, 1);
			continue;
		}
		i++;
		uuid_format(id, u);
		if (c == 'l' || c == 'y')
			put(ret, id->bytes, sizeof(id->bytes));
		else
			put(ret, u, strlen(u));
	}
}

/* Its checksum is no secret. */
static void
put_checksum(struct content *c)
{
	struct writer w = writer_over(c->b + c->len, 4);

	put_u32(&w, crc32c(c->b, c->len));
	c->len += 4;
}

/* ---- whoever reads them ---- */

static void
ignore(const struct check_finding *f, void *arg)
{
	(void)f;
	(void)arg;
}

static void
look(struct engine *e)
{
	const struct check_options o = { true, ignore, NULL, false };
	const struct stream_name to = { DESC_IMAGE, "i" };
	char token[STREAM_TOKEN_LEN];
	struct catalog *c = engine_catalog(e);
	struct scrub_record rec;
	struct survey *s = NULL;
	struct lock_owner owner;
	int r = 0;

	r |= catalog_disk_owner(c, &disk.uuid, &owner);
	r |= catalog_disk_left(c, &disk.uuid, &owner);
	r |= scrub_record_load(catalog_store(c), &disk.lineage, &disk.uuid,
			       &rec);
	r |= stream_token(c, &to, token);
	if (catalog_survey(c, &s) == 0)
		survey_free(s);
	r |= catalog_check(c, &o);
	r |= stream_abort(c, &to);
	(void)r;
}

/* Where its lock names another host, that may have it. */
static void
read_disk(struct engine *e, enum hint h)
{
	char buf[BLOCK_SIZE], want[BLOCK_SIZE];
	struct disk *d;
	int r;

	r = disk_attach(e, DESC_DISK, "d", 0, &d);
	must(r == 0 || (r == -EBUSY && h == LOCK));
	if (r < 0)
		return;
	memset(want, 'd', sizeof(want));
	for (unsigned i = 0; i < 2; i++) {
		must(disk_read(d, scratch, buf, sizeof(buf),
			       i * 2000ULL * BLOCK_SIZE) == 0);
		must(memcmp(buf, want, sizeof(buf)) == 0);
	}
	must(disk_detach(d) == 0);
}

static bool
take(const void *data, size_t len)
{
	static struct content content;
	const uint8_t *p = data;
	const atomic_bool stop = false;
	char path[STORE_PATH_LEN];
	struct engine *e;
	struct store *st;
	enum hint h;

	if (!made)
		begin();
	if (len < 1 || len > INPUT_MAX)
		return false;
	st = mem_store_fork(made, all, NULL);
	h = (enum hint)((p[0] & 0x7f) % N_HINTS);
	hint_path(h, path);
	expand(p + 1, len - 1, &content);
	if (h == RECEIVING && (p[0] & 0x80))
		put_checksum(&content);
	must(st->ops->replace(st, path, content.b, content.len) == 0);
	must(engine_open(st, FUZZ_KMS, &options, &e) == 0);
	look(e);
	engine_sweep(e, &stop);
	read_disk(e, h);
	engine_sweep(e, &stop);
	read_disk(e, h);
	engine_close(e);
	store_free(st);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	(void)take(data, len);
	return 0;
}

#ifndef SEALDISK_LIBFUZZER

int
main(int argc, char **argv)
{
	static const char some[] = "\n/=-.0aA\0\377\1";
	static const struct fuzzer f = { "fuzz_hints", take, some, sizeof(some),
					 40 };

	return replay_main(&f, argc, argv);
}

#endif
