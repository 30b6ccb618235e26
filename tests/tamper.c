/*
 * tamper.c - see tamper.h.
 */
#include "tamper.h"

#include "engine_private.h"

struct engine_env tamper_env;
struct copy tamper_copies[MOMENTS];
struct file *tamper_versions;
size_t tamper_n_versions;
char tamper_merging[STORE_PATH_LEN];

/* ---- what there is to be read ---- */

static const struct item {
	enum desc_type type;
	const char *name;
} items[ITEMS] = {
	{ DESC_DISK, "a" }, { DESC_SNAPSHOT, "a@s" }, { DESC_SNAPSHOT, "a@t" },
	{ DESC_DISK, "c" }, { DESC_IMAGE, "i" },      { DESC_DISK, "z" },
};

#define DISK_SIZE ((uint64_t)3 * CHUNK_BLOCKS * BLOCK_SIZE)

/* What each holds, after each thing that was done: a number a block, 0 for
 * zeros.  The last is what they hold. */
#define STATES_MAX 64
static unsigned holds[STATES_MAX][ITEMS][BLOCKS];
static unsigned n_states;
static unsigned now[ITEMS][BLOCKS];

static void
done(void)
{
	assert_true(n_states < STATES_MAX);
	memcpy(holds[n_states++], now, sizeof(now));
}

static uint64_t
offset_of(unsigned b)
{
	return (b < BLOCKS / 2 ? b : CHUNK_BLOCKS + b) * (uint64_t)BLOCK_SIZE;
}

static void
fill(unsigned number, uint8_t out[static BLOCK_SIZE])
{
	for (unsigned i = 0; i < BLOCK_SIZE; i++)
		out[i] = number ? (uint8_t)(number * 7 + i * number) : 0;
}

static void
write_block(struct disk *d, unsigned item, unsigned b, unsigned number)
{
	uint8_t buf[BLOCK_SIZE];

	fill(number, buf);
	assert_ok(disk_write(d, tamper_env.s, buf, sizeof(buf), offset_of(b)));
	now[item][b] = number;
	done();
}

static struct disk *
attach(unsigned item)
{
	struct disk *d;

	assert_ok(tamper_attach(tamper_env.e, item, &d));
	return d;
}

static void
snapshot_of(struct disk *d, enum desc_type type, unsigned item)
{
	const char *at = strchr(items[item].name, '@');
	struct snapshot_request q = { d, type, at ? at + 1 : items[item].name };

	assert_ok(disks_snapshot(tamper_env.e, tamper_env.s, &q, 1));
	memcpy(now[item], now[0], sizeof(now[0]));
	done();
}

/* ---- all versions of all files ---- */

static const struct store_ops *below;

static bool
is_known(const struct file *f)
{
	for (size_t i = 0; i < tamper_n_versions; i++)
		if (strcmp(tamper_versions[i].path, f->path) == 0 &&
		    same(&tamper_versions[i], f))
			return true;
	return false;
}

static void
keep_versions(struct store *st)
{
	const struct store_ops *ours = st->ops;
	static struct copy c;

	st->ops = below;
	c.n = 0;
	copy_store(st, &c);
	st->ops = ours;
	for (size_t i = 0; i < c.n; i++) {
		if (is_known(&c.f[i])) {
			free(c.f[i].data);
			continue;
		}
		tamper_versions = reallocarray(tamper_versions,
					       tamper_n_versions + 1,
					       sizeof(*tamper_versions));
		assert_non_null(tamper_versions);
		tamper_versions[tamper_n_versions++] = c.f[i];
	}
}

static int
replace(struct store *st, const char *path, const void *buf, size_t len)
{
	int r = below->replace(st, path, buf, len);

	keep_versions(st);
	return r;
}

static int
sync_file(struct store_file *f)
{
	int r = below->sync(f);

	keep_versions(f->st);
	return r;
}

static int
sync_all(struct store *st)
{
	int r = below->sync_all(st);

	keep_versions(st);
	return r;
}

static void
keep_all_versions(struct store *st)
{
	static struct store_ops ops;

	below = st->ops;
	ops = *below;
	ops.replace = replace;
	ops.sync = sync_file;
	ops.sync_all = sync_all;
	st->ops = &ops;
}

/* ---- its history ---- */

/* All that is done in the background has been done. */
static void
settle(void)
{
	const atomic_bool stop = false;

	engine_sweep(tamper_env.e, &stop);
}

static void
moment(unsigned m)
{
	if (m < END)
		settle();
	copy_store(tamper_env.st, &tamper_copies[m]);
	done();
}

/* What is new has another cipher from now on. */
static void
change_cipher(void)
{
	struct store_meta m = *catalog_meta(engine_catalog(tamper_env.e));
	char *text;

	m.cipher = CIPHER_AES256_OCB;
	assert_ok(store_meta_format(&m, &text));
	assert_ok(tamper_env.st->ops->replace(tamper_env.st, "store.ini", text,
					      strlen(text)));
	free(text);
	eenv_reopen(&tamper_env);
}

/* A snapshot of z, which is no item, is gone, and one of the two chunks that it
 * held has passed to z. */
static void
merge_half(void)
{
	struct engine *e;

	tamper_env.opt.merge_chunks = 1;
	eenv_reopen(&tamper_env);
	e = tamper_env.e;
	assert_ok(catalog_remove(engine_catalog(e), DESC_SNAPSHOT, "z@gone"));
	assert_int_equal(engine_merge(e, NULL), 1);
}

/* A chunk says it in its superblock, see super.h. */
static bool
has_cipher(const struct copy *c, enum cipher cipher)
{
	for (size_t i = 0; i < c->n; i++)
		if (strstr(c->f[i].path, "/chunks/") &&
		    c->f[i].data[6] == cipher)
			return true;
	return false;
}

static void
find_half_merged(const struct copy *c)
{
	static const char word[] = "merging";

	for (size_t i = 0; i < c->n; i++)
		if (strstr(c->f[i].path, "/layer.ini") &&
		    memmem(c->f[i].data, c->f[i].len, word, strlen(word)))
			strcpy(tamper_merging, c->f[i].path);
	assert_true(tamper_merging[0]);
	*strrchr(tamper_merging, '/') = '\0';
}

static void
make_history(void)
{
	const struct clone_params p = { .name = "c", .mode = 0600 };
	struct snapshot_request gone = { NULL, DESC_SNAPSHOT, "gone" };
	struct descriptor *desc = malloc(sizeof(*desc));
	struct store *st;
	struct disk *d;

	assert_non_null(desc);
	assert_ok(mem_store_open(&st));
	keep_all_versions(st);
	eenv_start(&tamper_env, st, CIPHER_AES256_GCM);
	eenv_create(&tamper_env, "a", DISK_SIZE);
	d = attach(0);
	for (unsigned b = 0; b < BLOCKS; b += 2)
		write_block(d, 0, b, 1 + b);
	assert_ok(disk_detach(d));
	moment(0);

	eenv_create(&tamper_env, "z", DISK_SIZE);
	d = attach(5);
	write_block(d, 5, 0, 60);
	write_block(d, 5, 4, 61);
	assert_ok(disk_detach(d));
	d = attach(0);
	write_block(d, 0, 2, 40);
	write_block(d, 0, 3, 41);
	snapshot_of(d, DESC_SNAPSHOT, 1);
	write_block(d, 0, 4, 42);
	write_block(d, 0, 14, 43);
	assert_ok(disk_detach(d));
	moment(1);

	change_cipher();
	assert_ok(catalog_clone(engine_catalog(tamper_env.e), tamper_env.kms,
				DESC_SNAPSHOT, "a@s", &p, desc));
	memcpy(now[3], now[1], sizeof(now[1]));
	d = attach(3);
	write_block(d, 3, 4, 50);
	write_block(d, 3, 1, 51);
	assert_ok(disk_detach(d));
	d = attach(0);
	snapshot_of(d, DESC_SNAPSHOT, 2);
	write_block(d, 0, 4, 44);
	write_block(d, 0, 0, 45);
	snapshot_of(d, DESC_IMAGE, 4);
	assert_ok(disk_detach(d));
	moment(2);

	d = attach(0);
	write_block(d, 0, 4, 46);
	write_block(d, 0, 13, 47);
	assert_ok(disk_detach(d));
	d = attach(3);
	write_block(d, 3, 4, 52);
	assert_ok(disk_detach(d));
	d = attach(5);
	write_block(d, 5, 4, 62);
	write_block(d, 5, 14, 63);
	assert_ok(disk_flush(d));
	write_block(d, 5, 16, 67);
	gone.disk = d;
	assert_ok(disks_snapshot(tamper_env.e, tamper_env.s, &gone, 1));
	write_block(d, 5, 13, 64);
	assert_ok(disk_detach(d));
	settle();
	merge_half();
	/* In what has passed, and in what has not. */
	d = attach(5);
	write_block(d, 5, 0, 65);
	write_block(d, 5, 12, 66);
	assert_ok(disk_detach(d));
	moment(END);
	assert_true(has_cipher(&tamper_copies[END], CIPHER_AES256_GCM));
	assert_true(has_cipher(&tamper_copies[END], CIPHER_AES256_OCB));
	find_half_merged(&tamper_copies[END]);
	eenv_stop(&tamper_env);
	free(desc);
}

/* ---- reading it all ---- */

int
tamper_attach(struct engine *e, unsigned item, struct disk **ret)
{
	return disk_attach(e, items[item].type, items[item].name, 0, ret);
}

enum outcome
tamper_read_block(struct disk *d, unsigned item, unsigned b)
{
	uint8_t got[BLOCK_SIZE], want[BLOCK_SIZE];

	if (disk_read(d, tamper_env.s, got, sizeof(got), offset_of(b)) < 0)
		return O_FOUND;
	fill(now[item][b], want);
	return memcmp(got, want, sizeof(got)) == 0 ? O_SAME : O_WRONG;
}

/* UINT_MAX: none. */
static unsigned
number_of(const uint8_t got[static BLOCK_SIZE])
{
	uint8_t want[BLOCK_SIZE];
	unsigned n = 0;

	/* 7 is odd: each first byte is of one number. */
	while ((uint8_t)(n * 7) != got[0])
		n++;
	fill(n, want);
	return memcmp(got, want, BLOCK_SIZE) == 0 ? n : UINT_MAX;
}

struct sight {
	uint64_t states; /* whose content it may be, a bit each; 0: of none */
	bool once;       /* each block is what it was in some state */
	bool errors;
};

static void
read_all(struct disk *d, unsigned item, struct sight *ret)
{
	uint8_t got[BLOCK_SIZE];

	*ret = (struct sight){ UINT64_MAX >> (64 - n_states), true, false };
	for (unsigned b = 0; b < BLOCKS; b++) {
		unsigned number;
		uint64_t mask = 0;

		if (disk_read(d, tamper_env.s, got, sizeof(got), offset_of(b)) <
		    0) {
			ret->errors = true;
			continue;
		}
		number = number_of(got);
		for (unsigned i = 0; i < n_states; i++)
			if (holds[i][item][b] == number)
				mask |= 1ULL << i;
		ret->states &= mask;
		ret->once &= mask != 0;
	}
}

static enum outcome
look_at(struct engine *e, unsigned item)
{
	struct disk_stats stats;
	struct sight seen;
	struct disk *d;

	if (tamper_attach(e, item, &d) < 0)
		return O_FOUND;
	read_all(d, item, &seen);
	disk_stats(d, &stats);
	disk_abandon(d);
	if (!seen.once)
		return O_WRONG;
	if (!seen.states)
		return O_PARTLY_OLD;
	if (!(seen.states >> (n_states - 1) & 1))
		return O_OLD;
	return seen.errors || stats.faults > 0 || stats.repairs > 0 ? O_FOUND
								    : O_SAME;
}

enum outcome
tamper_look(struct store *st, unsigned which)
{
	enum outcome o = O_SAME;
	struct engine *e;

	if (engine_open(st, tamper_env.kms, &tamper_env.opt, &e) < 0) {
		store_free(st);
		return O_FOUND;
	}
	for (unsigned i = 0; i < ITEMS; i++)
		if (which >> i & 1)
			o = worse(o, look_at(e, i));
	engine_close(e);
	store_free(st);
	return o;
}

/* ---- stores to be changed ---- */

struct store *
tamper_base(void)
{
	struct store *st = store_of(&tamper_copies[END]);

	assert_ok(st->ops->sync_all(st));
	mem_store_record(st, NULL, NULL);
	return st;
}

static unsigned
nothing_pending(void *arg, const struct mem_ask *ask)
{
	(void)arg;
	fail_msg("%s: is not durable", ask->path);
	return 0;
}

struct store *
tamper_fork(struct store *base)
{
	return mem_store_fork(base, nothing_pending, NULL);
}

void
tamper_turn(struct store_file *f, const struct file *was, size_t at)
{
	uint8_t byte = was->data[at] ^ (uint8_t)(1U << (at % 8));

	assert_ok(f->st->ops->write(f, &byte, 1, at));
}

void
tamper_begin(void)
{
	eenv_keys(&tamper_env);
	make_history();
}

void
tamper_end(void)
{
	for (unsigned m = 0; m < MOMENTS; m++)
		copy_free(&tamper_copies[m]);
	for (size_t i = 0; i < tamper_n_versions; i++)
		free(tamper_versions[i].data);
	free(tamper_versions);
	eenv_keys_end(&tamper_env);
}
