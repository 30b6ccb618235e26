/*
 * fuzz_layers.c - what layer.ini files can say of each other without a MAC.
 *
 * In a store with two disks, snapshots and a clone, an input gives layers other
 * parents, states, sizes and keys, in files that whoever has no key could have
 * written.  What reads them so - sweep, merge, seal, check, the survey of
 * layers, what a removal would free - has to come to an end, and every disk
 * whose own layers were left alone reads as it did.
 *
 * An input is a list of changes: which layer, what of it (1 parent, 2 state, 4
 * size, 8 DK, 16 none), the number of the parent, the state and size.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_layers, as it is and changed at random.
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
#include "snapshot.h"

#define INPUT_MAX 4096
#define FEW_LAYERS 16

/* ---- a store ---- */

static const struct name {
	enum desc_type type;
	const char *name;
} names[] = {
	{ DESC_DISK, "d" },       { DESC_SNAPSHOT, "d@1" },
	{ DESC_SNAPSHOT, "d@2" }, { DESC_DISK, "clone" },
	{ DESC_DISK, "other" },   { DESC_SNAPSHOT, "other@1" },
};
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static struct store *made; /* each input has a fork of it */
static struct scratch *scratch;
static struct layer_ref layers[FEW_LAYERS];
static size_t n_layers;

static const struct engine_options options = { .mount_point = "",
					       .cache_size = 1 << 20,
					       .manual = true };

static struct disk *
attach(struct engine *e, const char *name)
{
	struct disk *d;

	must(disk_attach(e, DESC_DISK, name, 0, &d) == 0);
	return d;
}

static void
write_block(struct disk *d, uint64_t block, char with)
{
	char buf[BLOCK_SIZE];

	memset(buf, with, sizeof(buf));
	must(disk_write(d, scratch, buf, sizeof(buf), block * BLOCK_SIZE) == 0);
}

static void
make_disk(struct engine *e, const char *name, unsigned snapshots)
{
	struct disk_params p = { .name = name,
				 .size = 9u << 20,
				 .sector_size = 512,
				 .kind = "data",
				 .key = "k",
				 .mode = 0600 };
	struct snapshot_request q = { .type = DESC_SNAPSHOT };
	struct descriptor desc;

	must(catalog_create(engine_catalog(e), FUZZ_KMS, &p, &desc, NULL) == 0);
	q.disk = attach(e, name);
	for (unsigned i = 0; i < snapshots; i++) {
		write_block(q.disk, i, *name);
		q.name = i ? "2" : "1";
		must(disks_snapshot(e, scratch, &q, 1) == 0);
	}
	write_block(q.disk, 2000, *name);
	must(disk_detach(q.disk) == 0);
}

static void
find_layers(struct catalog *c)
{
	struct descriptor d;

	for (size_t i = 0; i < N_NAMES; i++) {
		must(catalog_load(c, names[i].type, names[i].name, &d, NULL,
				  NULL) == 0);
		layers[n_layers++] = d.layer;
	}
}

static void
begin(void)
{
	struct clone_params p = { .name = "clone", .mode = 0600 };
	struct descriptor desc;
	struct catalog *c;
	struct engine *e;

	must(crypto_init() == 0);
	log_to_syslog();
	must(scratch_new(&scratch) == 0);
	c = fuzz_store();
	made = catalog_store(c);
	catalog_close(c);
	mem_store_record(made, NULL, NULL);
	must(engine_open(made, FUZZ_KMS, &options, &e) == 0);
	make_disk(e, "d", 2);
	make_disk(e, "other", 1);
	must(catalog_clone(engine_catalog(e), FUZZ_KMS, DESC_SNAPSHOT, "d@1",
			   &p, &desc) == 0);
	find_layers(engine_catalog(e));
	engine_close(e);
}

static unsigned
all(void *arg, const struct mem_ask *ask)
{
	(void)arg;
	return ask->what == MEM_WRITE || ask->what == MEM_SECTOR ? 1
								 : ask->n - 1;
}

/* ---- its layers, changed ---- */

/* False at the end of the input. */
static bool
change_one(struct store *st, struct reader *r, bool changed[static FEW_LAYERS])
{
	static const struct key none = { "a key that opens nothing at all" };
	CLEANUP(free_memp) char *text = NULL;
	unsigned which = get_u8(r), what = get_u8(r);
	unsigned parent = get_u8(r), state = get_u8(r), size = get_u16(r);
	const struct layer_ref *ref = &layers[which % n_layers];
	char path[STORE_PATH_LEN];
	struct layer_meta m;

	if (r->bad)
		return false;
	must(layer_peek(st, ref, &m) == 0);
	if (what & 1) {
		m.has_parent = true;
		m.parent = layers[parent % n_layers];
		m.parent_limit = m.size;
	}
	if (what & 2)
		m.state = (enum layer_state)(state % 4);
	if (what & 4)
		m.size = (uint64_t)size * 512;
	if (what & 8)
		memset(&m.key, (int)state, sizeof(m.key));
	if (what & 16) {
		m.has_parent = false;
		memset(&m.parent, 0, sizeof(m.parent));
		m.parent_limit = 0;
	}
	if (layer_meta_format(&m, &none, &text) < 0)
		return true; /* nobody would take it for one */
	path_layer(ref, "layer.ini", path);
	must(st->ops->replace(st, path, text, strlen(text)) == 0);
	changed[which % n_layers] = true;
	return true;
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
	const struct check_options o = { .found = ignore };
	struct catalog *c = engine_catalog(e);
	struct survey *s = NULL;
	struct descriptor d;
	uint64_t n;
	int r = 0;

	r |= catalog_check(c, &o);
	if (catalog_survey(c, &s) == 0)
		survey_free(s);
	for (size_t i = 0; i < N_NAMES; i++)
		if (catalog_load(c, names[i].type, names[i].name, &d, NULL,
				 NULL) == 0)
			r |= catalog_would_free(c, &d, 0, &n);
	(void)r;
}

/* The disk "other" is alone in its lineage: layers 4 and 5. */
static void
read_other(struct engine *e)
{
	char buf[BLOCK_SIZE], want[BLOCK_SIZE];
	struct disk *d = attach(e, "other");

	memset(want, 'o', sizeof(want));
	must(disk_read(d, scratch, buf, sizeof(buf), 0) == 0);
	must(memcmp(buf, want, sizeof(buf)) == 0);
	must(disk_read(d, scratch, buf, sizeof(buf), 2000ULL * BLOCK_SIZE) ==
	     0);
	must(memcmp(buf, want, sizeof(buf)) == 0);
	must(disk_detach(d) == 0);
}

static void
use(struct store *st, unsigned how, bool other_is_whole)
{
	const atomic_bool stop = false;
	struct engine *e;
	int r = 0;

	if (engine_open(st, FUZZ_KMS, &options, &e) < 0)
		return;
	look(e);
	if (how & 1)
		r = catalog_remove(engine_catalog(e), names[how % N_NAMES].type,
				   names[how % N_NAMES].name);
	engine_sweep(e, &stop);
	look(e);
	if (other_is_whole && !((how & 1) && how % N_NAMES >= 4))
		read_other(e);
	engine_close(e);
	(void)r;
}

static bool
take(const void *data, size_t len)
{
	struct reader r = reader_over(data, len);
	bool changed[FEW_LAYERS] = { false };
	struct store *st;
	unsigned how;

	if (!made)
		begin();
	if (len < 1 || len > INPUT_MAX)
		return false;
	st = mem_store_fork(made, all, NULL);
	how = get_u8(&r);
	while (change_one(st, &r, changed))
		;
	use(st, how, !changed[4] && !changed[5]);
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
	static const char some[] = "\0\1\2\3\4\5\6\7\20\377";
	static const struct fuzzer f = { "fuzz_layers", take, some,
					 sizeof(some), 8 };

	return replay_main(&f, argc, argv);
}

#endif
