/*
 * test_golden.c - a store of format 1, made once and kept, still reads.
 *
 * tests/data/golden-1.tar.gz holds a store with two disks, "gcm" and "ocb", and
 * the keystore and root key that open it (they protect nothing else).  It was
 * made by this program:
 *
 *   SEALDISK_MAKE_GOLDEN=$PWD/golden-1.tar.gz tests/test_golden
 *
 * A later version of the format gets a file of its own beside it.
 */
#include "engine_env.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include <sealdisk/io.h>

#define MiB (1ULL << 20)
#define BLOCK 4096u
#define DISK_LEN (16 * MiB)

static const char *const disks[] = { "gcm", "ocb" };

/* What block ${b} of a disk holds: three of 64 are data, for ciphertext does
 * not compress; between 4 and 12 MiB nothing is. */
static void
content(unsigned disk, uint64_t b, uint8_t out[static BLOCK])
{
	uint64_t v = b * 2 + disk + 1;

	memset(out, 0, BLOCK);
	if ((b >= 1024 && b < 3072) ||
	    (b % 64 != 1 && b % 64 != 2 && b % 64 != 9))
		return;
	for (unsigned i = 0; i < BLOCK; i++) {
		v = v * 6364136223846793005ULL + 1442695040888963407ULL;
		out[i] = (uint8_t)(v >> 56);
	}
}

/* ---- making ---- */

static void
write_disk(struct engine_env *v, unsigned i)
{
	uint8_t block[BLOCK];
	struct disk *d;

	eenv_create(v, disks[i], DISK_LEN);
	assert_ok(disk_attach(v->e, DESC_DISK, disks[i], 0, &d));
	for (uint64_t b = 0; b < DISK_LEN / BLOCK; b += 129)
		assert_ok(disk_write(d, v->s, disks[i], 3, b * BLOCK + 100));
	assert_ok(disk_flush(d));
	for (uint64_t b = 0; b < DISK_LEN / BLOCK; b++) {
		content(i, b, block);
		assert_ok(disk_write(d, v->s, block, BLOCK, b * BLOCK));
	}
	assert_ok(disk_detach(d));
}

/* store.ini is not authenticated: it decides only what is new. */
static void
prefer_ocb(struct engine_env *v)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[PATH_MAX], *at;
	size_t len;

	(void)snprintf(path, sizeof(path), "%s/store/store.ini", v->dir);
	assert_ok(io_load(AT_FDCWD, path, 65536, &text, &len));
	at = strstr(text, "aes-256-gcm");
	assert_non_null(at);
	memcpy(at, "aes-256-ocb", 11);
	assert_ok(io_replace(AT_FDCWD, path, text, len, 0600));
}

static void
make_golden(const char *out)
{
	char command[3 * PATH_MAX];
	struct engine_env v;

	eenv_begin(&v, NULL, CIPHER_AES256_GCM);
	write_disk(&v, 0);
	prefer_ocb(&v);
	eenv_reopen(&v);
	write_disk(&v, 1);
	kms_close(v.kms);
	v.kms = NULL;
	(void)snprintf(command, sizeof(command),
		       "tar -C '%s' --owner=0 --group=0 -S -czf '%s' kms store",
		       v.dir, out);
	assert_int_equal(system(command), 0);
	assert_ok(kms_open(&v.settings, &v.kms));
	eenv_end(&v);
}

/* ---- reading ---- */

static void
unpack(struct engine_env *v)
{
	const char *src = getenv("srcdir");
	char command[3 * PATH_MAX], path[PATH_MAX];

	memset(v, 0, sizeof(*v));
	tmpdir_make(v->dir);
	(void)snprintf(command, sizeof(command),
		       "tar -C '%s' --no-same-owner -xzf "
		       "'%s/tests/data/golden-1.tar.gz'",
		       v->dir, src ? src : ".");
	assert_int_equal(system(command), 0);
	settings_default(&v->settings);
	(void)snprintf(v->settings.keystore_path,
		       sizeof(v->settings.keystore_path), "%s/kms/keystore.db",
		       v->dir);
	(void)snprintf(v->settings.keystore_root_file,
		       sizeof(v->settings.keystore_root_file),
		       "%s/kms/root.key", v->dir);
	assert_ok(kms_open(&v->settings, &v->kms));
	(void)snprintf(path, sizeof(path), "%s/store", v->dir);
	assert_ok(store_posix_open(path, &v->st));
	v->opt.mount_point = "";
	v->opt.manual = true;
	assert_ok(scratch_new(&v->s));
	eenv_open(v);
}

static void
read_disk(struct engine_env *v, unsigned i)
{
	uint8_t want[BLOCK], got[BLOCK];
	struct disk_stats st;
	struct disk *d;

	assert_ok(disk_attach(v->e, DESC_DISK, disks[i], 0, &d));
	assert_int_equal(disk_size(d), DISK_LEN);
	for (uint64_t b = 0; b < DISK_LEN / BLOCK; b++) {
		content(i, b, want);
		assert_ok(disk_read(d, v->s, got, BLOCK, b * BLOCK));
		assert_memory_equal(got, want, BLOCK);
	}
	disk_stats(d, &st);
	assert_false(st.unclean);
	assert_int_equal(st.faults + st.repairs, 0);
	assert_ok(disk_detach(d));
}

static void
a_store_of_format_1_reads(void **state)
{
	struct engine_env v;

	(void)state;
	unpack(&v);
	for (unsigned i = 0; i < 2; i++)
		read_disk(&v, i);
	eenv_end(&v);
}

static void
a_store_of_format_1_is_written_on(void **state)
{
	uint8_t got[8];
	struct engine_env v;
	struct disk *d;

	(void)state;
	unpack(&v);
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(disk_attach(v.e, DESC_DISK, disks[i], 0, &d));
		assert_ok(disk_write(d, v.s, "written", 8, 5 * MiB + 1));
		assert_ok(disk_detach(d));
		assert_ok(disk_attach(v.e, DESC_DISK, disks[i], 0, &d));
		assert_ok(disk_read(d, v.s, got, 8, 5 * MiB + 1));
		assert_memory_equal(got, "written", 8);
		assert_ok(disk_detach(d));
	}
	eenv_end(&v);
}

int
main(void)
{
	const char *out = getenv("SEALDISK_MAKE_GOLDEN");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store_of_format_1_reads),
		cmocka_unit_test(a_store_of_format_1_is_written_on),
	};

	if (crypto_init() < 0)
		return 1;
	if (out) {
		make_golden(out);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
