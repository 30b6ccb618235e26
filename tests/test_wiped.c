/*
 * test_wiped.c - after detach neither what was written nor a key of the disk is
 * left anywhere in the process: all memory that it can write is searched.
 *
 * What is searched for is kept masked, or it would be found here.
 */
#include "engine_env.h"
#include "engine_private.h"
#include "mem_store.h"

#include <inttypes.h>

#define MASK 0xa5
#define NEEDLE 32
#define WINDOW 65536u
#define MiB (1u << 20)

struct needle {
	const char *name;
	uint8_t masked[NEEDLE];
};

static struct engine_env env;
static uint8_t plain[64 * BLOCK_SIZE];
static uint8_t window[WINDOW];

static void
needle_set(struct needle *n, const char *name, const void *secret)
{
	n->name = name;
	for (unsigned i = 0; i < NEEDLE; i++)
		n->masked[i] = ((const uint8_t *)secret)[i] ^ MASK;
}

static unsigned
count_in(const uint8_t *p, size_t len, const struct needle *n)
{
	const uint8_t first = n->masked[0] ^ MASK;
	unsigned found = 0, i;

	while (len >= NEEDLE) {
		const uint8_t *at = memchr(p, first, len - NEEDLE + 1);

		if (!at)
			break;
		for (i = 1; i < NEEDLE && (at[i] ^ MASK) == n->masked[i];)
			i++;
		found += i == NEEDLE;
		len -= (size_t)(at + 1 - p);
		p = at + 1;
	}
	return found;
}

/* Windows overlap, so that nothing falls between them. */
static unsigned
count_mapping(int mem, uintptr_t from, uintptr_t to, const struct needle *n)
{
	unsigned found = 0;

	for (uintptr_t at = from; at + NEEDLE <= to; at += WINDOW - NEEDLE) {
		size_t len = to - at < WINDOW ? to - at : WINDOW;
		ssize_t got = pread(mem, window, len, (off_t)at);

		if (got > 0)
			found += count_in(window, (size_t)got, n);
	}
	return found;
}

/* How often the secret is in writable memory, but for our own window. */
static unsigned
count(const struct needle *n)
{
	const uintptr_t own = (uintptr_t)window, end = own + WINDOW;
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	uintptr_t from, to;
	unsigned found = 0;
	char *line = NULL, perm[5];
	size_t cap = 0;

	assert_true(maps && mem >= 0);
	while (getline(&line, &cap, maps) > 0) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to,
			   perm) != 3 ||
		    perm[0] != 'r' || perm[1] != 'w')
			continue;
		if (own >= from && end <= to) {
			found += count_mapping(mem, from, own, n);
			from = end;
		}
		found += count_mapping(mem, from, to, n);
	}
	secret_wipe(window, sizeof(window));
	free(line);
	(void)fclose(maps);
	(void)close(mem);
	return found;
}

static void
assert_gone(const struct needle *n)
{
	unsigned found = count(n);

	if (found > 0)
		fail_msg("%s: in %u places", n->name, found);
}

static struct disk *
attach(void)
{
	struct disk *d;

	assert_ok(disk_attach(env.e, DESC_DISK, "d", 0, &d));
	return d;
}

static void
what_was_written_is_gone_after_detach(void **state)
{
	struct disk *d = attach();
	struct needle n;

	(void)state;
	assert_ok(crypto_random(plain, NEEDLE));
	needle_set(&n, "the marker", plain);
	for (size_t i = NEEDLE; i < sizeof(plain); i++)
		plain[i] = plain[i % NEEDLE];
	assert_ok(disk_write(d, env.s, plain, sizeof(plain), 0));
	assert_ok(disk_write(d, env.s, plain, 9000, 5 * MiB + 100));
	assert_ok(disk_flush(d));
	assert_ok(disk_read(d, env.s, plain, 10000, 1000));
	assert_true(count(&n) > 100);
	secret_wipe(plain, sizeof(plain));
	/* A block of which a part was wanted is still there... */
	assert_true(count(&n) > 0);
	assert_ok(disk_detach(d));
	/* ...until its thread has nothing to do. */
	scratch_wipe(env.s);
	assert_gone(&n);
}

/* After a kill a group is settled: blocks are opened only to verify them. */
static void
what_was_settled_is_gone_after_attach(void **state)
{
	struct disk *d = attach();
	struct needle n;

	(void)state;
	assert_ok(crypto_random(plain, NEEDLE));
	needle_set(&n, "the marker", plain);
	for (size_t i = NEEDLE; i < sizeof(plain); i++)
		plain[i] = plain[i % NEEDLE];
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(disk_write(d, env.s, plain, sizeof(plain), 0));
		assert_ok(disk_flush(d));
	}
	secret_wipe(plain, sizeof(plain));
	disk_abandon(d);
	d = attach();
	assert_ok(disk_write(d, env.s, plain, 100, 3 * BLOCK_SIZE));
	scratch_wipe(env.s);
	assert_gone(&n);
	assert_ok(disk_detach(d));
	assert_gone(&n);
}

static void
dk_to(struct needle *n)
{
	struct descriptor *desc = malloc(sizeof(*desc));
	struct key dk;

	assert_non_null(desc);
	assert_ok(catalog_load_verified(engine_catalog(env.e), env.kms,
					DESC_DISK, "d", desc, &dk));
	needle_set(n, "the DK", dk.bytes);
	key_wipe(&dk);
	free(desc);
}

static void
all_keys_are_gone_after_detach(void **state)
{
	size_t secrets = secret_in_use();
	struct disk *d = attach();
	struct needle n[4];
	struct chunk *c;

	(void)state;
	memset(plain, 1, sizeof(plain));
	assert_ok(disk_write(d, env.s, plain, sizeof(plain), 0));
	assert_ok(disk_flush(d));
	dk_to(&n[0]);
	needle_set(&n[1], "the map's key", d->top->map_key->bytes);
	c = chunk_peek(d->top, 0);
	assert_non_null(c);
	needle_set(&n[2], "a chunk's cipher key", c->keys);
	needle_set(&n[3], "a chunk's MAC key", c->keys + KEY_LEN);
	chunk_put(c);
	for (unsigned i = 0; i < 4; i++)
		assert_true(count(&n[i]) > 0);
	assert_ok(disk_detach(d));
	scratch_wipe(env.s);
	for (unsigned i = 0; i < 4; i++)
		assert_gone(&n[i]);
	assert_int_equal(secret_in_use(), secrets);
}

static int
setup(void **state)
{
	struct store *st;

	(void)state;
	eenv_keys(&env);
	assert_ok(mem_store_open(&st));
	eenv_start(&env, st, CIPHER_AES256_GCM);
	eenv_create(&env, "d", 16 * MiB);
	return 0;
}

static int
setup_ocb(void **state)
{
	struct store *st;

	(void)state;
	eenv_keys(&env);
	assert_ok(mem_store_open(&st));
	eenv_start(&env, st, CIPHER_AES256_OCB);
	eenv_create(&env, "d", 16 * MiB);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	eenv_end(&env);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(what_was_written_is_gone_after_detach, setup),
		T(what_was_written_is_gone_after_detach, setup_ocb),
		T(what_was_settled_is_gone_after_attach, setup),
		T(all_keys_are_gone_after_detach, setup),
		T(all_keys_are_gone_after_detach, setup_ocb),
	};

	/* What they keep for themselves is not ours to wipe. */
	if (test_is_watched())
		return 77;
	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
