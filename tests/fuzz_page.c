/*
 * fuzz_page.c - any bytes as pages of metadata, past their MAC.
 *
 * An input changes bytes of the root, map and group pages of a disk, whose MAC
 * and CRC are then made right.  Each page is decoded, encoded and decoded
 * again; then the disk is attached, read, written, frozen and checked by the
 * engine.  Whatever the pages say: nothing crashes, and a block reads as an
 * error, as zeros, or as what was written there.
 *
 * An input is a list of changes: which page (0 root, 1 map, 2 and 3 group, and
 * of what the rest of the byte says which of its copies), the offset as u16,
 * the number of bytes, the bytes.  The highest bits of the first byte say
 * whether the disk is frozen, and the store checked.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays tests/data/fuzz_page,
 * as it is and changed at random.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/log.h>

#include "check.h"
#include "engine_private.h"
#include "fuzz.h"
#include "fuzz_kms.h"
#include "mem_store.h"
#include "snapshot.h"
#include "super.h"

#define INPUT_MAX 65536

/* ---- a disk ---- */

static const uint64_t written[] = { 0, 1, 5, 127, 128, 1024, 2047 };
#define N_WRITTEN (sizeof(written) / sizeof(written[0]))
#define DISK_BYTES (9u << 20)

static struct store *made; /* it is never changed: each input has a fork */
static struct scratch *scratch;
static struct layer_ref layer;
static char map_path[STORE_PATH_LEN], chunk_path[STORE_PATH_LEN];
static struct key map_key, group_key;

static const struct engine_options options = { .mount_point = "",
					       .cache_size = 1 << 20,
					       .manual = true };

static void
content_of(uint64_t block, uint8_t out[static BLOCK_SIZE])
{
	memset(out, (int)(block % 255) + 1, BLOCK_SIZE);
}

static int
first_chunk(const char *name, bool is_dir, void *arg)
{
	char *path = arg;

	(void)is_dir;
	if (strncmp(name, "0000000-", 8) != 0)
		return 0;
	(void)snprintf(path + strlen(path), STORE_PATH_LEN - strlen(path),
		       "/%s", name);
	return 1;
}

/* The keys of its map and of the groups of its first chunk. */
static void
find_keys(const struct descriptor *d)
{
	uint8_t raw[SUPER_LEN], keys[2 * KEY_LEN];
	char lineage[UUID_STR_LEN];
	struct store_file *f;
	struct super s;
	struct key dk;

	memset(&dk, FUZZ_DK_BYTE, sizeof(dk));
	layer = d->layer;
	must(layer_map_key(&dk, &layer.layer, &map_key) == 0);
	path_layer(&layer, "map", map_path);
	uuid_format(&d->lineage, lineage);
	(void)snprintf(chunk_path, sizeof(chunk_path),
		       "lineages/%s/chunks/0000", lineage);
	must(made->ops->list(made, chunk_path, first_chunk, chunk_path) == 1);
	must(made->ops->open(made, chunk_path, true, &f) == 0);
	must(f->st->ops->read(f, raw, sizeof(raw), 0) == 0);
	store_close(f);
	must(super_parse(raw, &s) == 0);
	must(chunk_keys(&dk, s.salt, s.cipher, s.index, keys) == 0);
	memcpy(group_key.bytes, keys + KEY_LEN, KEY_LEN);
}

static void
make_disk(void)
{
	struct disk_params p = { .name = "d",
				 .size = DISK_BYTES,
				 .sector_size = 512,
				 .kind = "data",
				 .key = "k",
				 .mode = 0600 };
	struct catalog *c = fuzz_store();
	uint8_t buf[BLOCK_SIZE];
	struct descriptor d;
	struct engine *e;
	struct disk *disk;

	made = catalog_store(c);
	mem_store_record(made, NULL, NULL);
	must(scratch_new(&scratch) == 0);
	must(catalog_create(c, FUZZ_KMS, &p, &d, NULL) == 0);
	catalog_close(c);
	must(engine_open(made, FUZZ_KMS, &options, &e) == 0);
	must(disk_attach(e, DESC_DISK, "d", 0, &disk) == 0);
	for (size_t i = 0; i < N_WRITTEN; i++) {
		content_of(written[i], buf);
		must(disk_write(disk, scratch, buf, BLOCK_SIZE,
				written[i] * BLOCK_SIZE) == 0);
	}
	must(disk_flush(disk) == 0);
	must(disk_detach(disk) == 0);
	engine_close(e);
	find_keys(&d);
}

static void
begin(void)
{
	must(crypto_init() == 0);
	log_to_syslog();
	make_disk();
}

/* ---- its pages, changed ---- */

struct place {
	const char *path;
	uint64_t base;
	const struct key *key;
	enum page_kind kind;
	uint8_t raw[2][PAGE_LEN];
};

static struct place places[] = {
	{ map_path, 0, &map_key, PAGE_ROOT, { { 0 } } },
	{ map_path, MAP_OFFSET, &map_key, PAGE_MAP, { { 0 } } },
	{ chunk_path, SUPER_LEN, &group_key, PAGE_GROUP, { { 0 } } },
};
#define N_PLACES (sizeof(places) / sizeof(places[0]))

/* False at the end of the input. */
static bool
change_one(struct reader *r)
{
	uint8_t which = get_u8(r), byte;
	unsigned at = get_u16(r) % PAGE_LEN, n = get_u8(r);
	struct place *p = &places[which % 4 < N_PLACES ? which % 4 : 2];

	for (; n > 0 && r->p < r->end && at < PAGE_LEN; n--, at++) {
		byte = get_u8(r);
		if (which / 4 % 3 != 1)
			p->raw[0][at] = byte;
		if (which / 4 % 3 != 2)
			p->raw[1][at] = byte;
	}
	return !r->bad && r->p < r->end;
}

/* Its MAC, then its CRC: what page.h says that they cover. */
static void
mend(const struct place *p, uint8_t raw[static PAGE_LEN])
{
	struct writer w = writer_over(raw + 40, 4);
	uint8_t mac[MAC_LEN];
	const struct iovec iov = { raw, PAGE_LEN };

	memset(raw + 40, 0, 4);
	memset(raw + PAGE_MAC, 0, MAC_LEN);
	must(hmac_sha256(p->key->bytes, &iov, 1, mac) == 0);
	memcpy(raw + PAGE_MAC, mac, MAC_LEN);
	put_u32(&w, page_crc(raw));
}

static void
decode(const struct place *p, const uint8_t raw[static PAGE_LEN])
{
	uint8_t again[PAGE_LEN];
	union page_body body, back;
	struct page_head h, open;
	int r;

	r = page_decode(raw, p->key->bytes, p->kind, 0, &h, &body);
	must(r == 0 || r == -EUCLEAN);
	must(page_decode_open(raw, p->kind, 0, &open, &back) == r);
	if (r < 0)
		return;
	must(page_encode(&h, &body, p->key->bytes, again) == 0);
	must(page_decode(again, p->key->bytes, p->kind, 0, &open, &back) == 0);
	must(memcmp(&body, &back, sizeof(body)) == 0);
	must(!page_newer(&h, &open) && !page_newer(&open, &h));
}

static void
each_copy(struct store *st, struct place *p, bool put)
{
	struct store_file *f;
	int r = 0;

	must(st->ops->open(st, p->path, true, &f) == 0);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = p->base + page_offset(0, i);

		if (put) {
			mend(p, p->raw[i]);
			decode(p, p->raw[i]);
			r = st->ops->write(f, p->raw[i], PAGE_LEN, at);
		} else {
			r = st->ops->read(f, p->raw[i], PAGE_LEN, at);
		}
		must(r == 0);
	}
	store_close(f);
}

static void
change_pages(struct store *st, const uint8_t *data, size_t len)
{
	struct reader r = reader_over(data, len);

	for (size_t i = 0; i < N_PLACES; i++)
		each_copy(st, &places[i], false);
	while (change_one(&r))
		;
	for (size_t i = 0; i < N_PLACES; i++)
		each_copy(st, &places[i], true);
}

/* ---- the engine, on that ---- */

static void
read_all(struct disk *d)
{
	static const uint8_t zeros[BLOCK_SIZE];
	uint8_t got[BLOCK_SIZE], want[BLOCK_SIZE];

	for (uint64_t b = 0; b < DISK_BYTES / BLOCK_SIZE; b++) {
		if (b % 128 > 8 && b % 128 < 127)
			continue;
		if (disk_read(d, scratch, got, BLOCK_SIZE, b * BLOCK_SIZE) < 0)
			continue;
		content_of(b, want);
		must(memcmp(got, want, BLOCK_SIZE) == 0 ||
		     memcmp(got, zeros, BLOCK_SIZE) == 0);
	}
}

/* The same bytes as before, so that read_all() knows them. */
static void
write_some(struct disk *d)
{
	static const uint64_t blocks[] = { 1, 3, 130, 1025, 300 };
	uint8_t buf[BLOCK_SIZE];
	uint64_t found;
	int r = 0;

	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		content_of(blocks[i], buf);
		r |= disk_write(d, scratch, buf, BLOCK_SIZE,
				blocks[i] * BLOCK_SIZE);
	}
	r |= disk_zero(d, scratch, 5ULL * BLOCK_SIZE, 2ULL * BLOCK_SIZE);
	r |= disk_seek(d, scratch, 6ULL * BLOCK_SIZE, true, &found);
	r |= disk_flush(d);
	r |= disk_background(d);
	(void)r;
}

static void
ignore(const struct check_finding *f, void *arg)
{
	(void)f;
	(void)arg;
}

static void
use(struct store *st, bool freeze, bool check)
{
	const struct check_options o = { .found = ignore };
	struct snapshot_request q = { .type = DESC_SNAPSHOT, .name = "s" };
	struct engine *e;
	int r = 0;

	must(engine_open(st, FUZZ_KMS, &options, &e) == 0);
	for (unsigned round = 0; round < 2; round++) {
		if (disk_attach(e, DESC_DISK, "d", 0, &q.disk) < 0)
			break;
		read_all(q.disk);
		write_some(q.disk);
		if (freeze && round == 0 &&
		    disks_snapshot(e, scratch, &q, 1) == 0)
			write_some(q.disk);
		read_all(q.disk);
		r |= disk_detach(q.disk);
	}
	for (unsigned i = 0; freeze && i < 20 && engine_seal(e, NULL) == 1; i++)
		;
	if (check)
		r |= catalog_check(engine_catalog(e), &o);
	engine_close(e);
	(void)r;
}

static unsigned
all(void *arg, const struct mem_ask *ask)
{
	(void)arg;
	return ask->what == MEM_WRITE || ask->what == MEM_SECTOR ? 1
								 : ask->n - 1;
}

static bool
take(const void *data, size_t len)
{
	struct store *st;

	if (!made)
		begin();
	if (len < 1 || len > INPUT_MAX)
		return false;
	st = mem_store_fork(made, all, NULL);
	change_pages(st, data, len);
	use(st, *(const uint8_t *)data & 0x80, *(const uint8_t *)data & 0x40);
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
	static const char some[] = "\0\1\2\3\4\xff\x80\x7f";
	static const struct fuzzer f = { "fuzz_page", take, some, sizeof(some),
					 10 };

	return replay_main(&f, argc, argv);
}

#endif
