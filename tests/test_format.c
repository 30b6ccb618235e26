/*
 * test_format.c - the golden store read by what format.md says, and by nothing
 * else: no line of fuse/core is used here.
 *
 * What the engine writes and reads back the same way wrong would not pass; and
 * whoever must get data out of a store without the engine finds here how.
 */
#include "test.h"

#include <inttypes.h>
#include <limits.h>

#include <sealdisk/crypto.h>
#include <sealdisk/io.h>
#include <sealdisk/kms.h>

#define BLOCK 4096
#define CHUNK_BLOCKS 1024
#define CHUNKS 4 /* of a disk of 16 MiB */

static char dir[TMPDIR_LEN];
static struct settings settings;
static struct kms *kms;

/* Of the disk that is read. */
static struct {
	char *text; /* its descriptor */
	char lineage[UUID_STR_LEN], layer[UUID_STR_LEN];
	struct key dk;
	uint8_t cipher;
} disk;

/* As test_golden.c wrote it. */
static void
content(unsigned n, uint64_t b, uint8_t out[static BLOCK])
{
	uint64_t v = b * 2 + n + 1;

	memset(out, 0, BLOCK);
	if ((b >= 1024 && b < 3072) ||
	    (b % 64 != 1 && b % 64 != 2 && b % 64 != 9))
		return;
	for (unsigned i = 0; i < BLOCK; i++) {
		v = v * 6364136223846793005ULL + 1442695040888963407ULL;
		out[i] = (uint8_t)(v >> 56);
	}
}

/* ---- little helpers ---- */

static uint64_t
le(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | p[bytes];
	return v;
}

static bool
all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static char *
load(const char *path, size_t *ret_len)
{
	char full[PATH_MAX], *buf = NULL;

	(void)snprintf(full, sizeof(full), "%s/store/%s", dir, path);
	assert_ok(io_load(AT_FDCWD, full, 64 << 20, &buf, ret_len));
	return buf;
}

/* The value of ${key} in a section that begins at ${from}. */
static void
value(const char *from, const char *key, char *out, size_t len)
{
	char line[64];
	const char *at;
	size_t n;

	(void)snprintf(line, sizeof(line), "\n%s = ", key);
	at = strstr(from, line);
	assert_non_null(at);
	at += strlen(line);
	n = strcspn(at, "\n");
	assert_true(n < len);
	memcpy(out, at, n);
	out[n] = '\0';
}

/* HKDF-SHA256(DK, salt, label | more) */
static void
derive(const void *salt, size_t salt_len, const char *label, const void *more,
       size_t more_len, uint8_t *out, size_t len)
{
	uint8_t info[64];
	size_t n = strlen(label);

	memcpy(info, label, n);
	memcpy(info + n, more, more_len);
	assert_ok(hkdf_sha256(disk.dk.bytes, KEY_LEN, salt, salt_len, info,
			      n + more_len, out, len));
}

/* The MAC of an INI file: from its first section to "[seal]". */
static void
check_seal(const char *text, const char *label, const char *uuid)
{
	const char *seal = strstr(text, "[seal]\n");
	uint8_t key[KEY_LEN], mac[MAC_LEN];
	struct iovec iov;
	struct uuid u;
	char hex[2 * MAC_LEN + 1], said[2 * MAC_LEN + 1];

	assert_non_null(seal);
	assert_ok(uuid_parse(uuid, &u));
	derive(NULL, 0, label, u.bytes, 16, key, KEY_LEN);
	iov.iov_base = (void *)(uintptr_t)text;
	iov.iov_len = (size_t)(seal - text);
	assert_ok(hmac_sha256(key, &iov, 1, mac));
	hex_encode(mac, MAC_LEN, hex);
	value(seal, "mac", said, sizeof(said));
	assert_string_equal(said, hex);
}

/* ---- descriptor and layer ---- */

static void
unwrap(void)
{
	char section[64], text[1024], uuid[UUID_STR_LEN];
	const char *from;
	struct wrapped_dk w;

	memset(&w, 0, sizeof(w));
	value(disk.text, "key", uuid, sizeof(uuid));
	(void)snprintf(section, sizeof(section), "\n[key %s]\n", uuid);
	from = strstr(disk.text, section);
	assert_non_null(from);
	value(from, "kms", w.kms, sizeof(w.kms));
	value(from, "key_id", w.key_id, sizeof(w.key_id));
	value(from, "key_version_id", w.key_version_id,
	      sizeof(w.key_version_id));
	value(from, "lineage", text, sizeof(text));
	assert_ok(uuid_parse(text, &w.lineage));
	value(from, "wrapped_dk", text, sizeof(text));
	assert_ok(base64_decode(text, w.blob, sizeof(w.blob), &w.blob_len));
	assert_ok(kms_decrypt(kms, &w, &disk.dk));
}

static void
read_descriptor(const char *name)
{
	char path[300], text[300], uuid[UUID_STR_LEN];
	size_t len;

	(void)snprintf(path, sizeof(path), "disks/%s.ini", name);
	disk.text = load(path, &len);
	assert_int_equal(strncmp(disk.text, "[disk]\nformat = 1\n", 18), 0);
	value(disk.text, "name", text, sizeof(text));
	assert_string_equal(text, name);
	unwrap();
	value(disk.text, "uuid", uuid, sizeof(uuid));
	check_seal(disk.text, "sealdisk/1 descriptor", uuid);

	value(disk.text, "layer", text, sizeof(text));
	/* LINEAGE/LAYER */
	assert_int_equal(strlen(text), 2 * (UUID_STR_LEN - 1) + 1);
	assert_int_equal(text[UUID_STR_LEN - 1], '/');
	memcpy(disk.lineage, text, UUID_STR_LEN - 1);
	memcpy(disk.layer, text + UUID_STR_LEN, UUID_STR_LEN - 1);
}

static void
check_layer(void)
{
	char path[300], text[64];
	size_t len;
	char *ini;

	(void)snprintf(path, sizeof(path), "lineages/%s/layers/%s/layer.ini",
		       disk.lineage, disk.layer);
	ini = load(path, &len);
	assert_int_equal(strncmp(ini, "[layer]\nformat = 1\n", 19), 0);
	check_seal(ini, "sealdisk/1 layer", disk.layer);
	value(ini, "state", text, sizeof(text));
	assert_string_equal(text, "open");
	value(ini, "parent", text, sizeof(text));
	assert_string_equal(text, "-");
	free(ini);
}

/* ---- pages ---- */

/* Both copies of a page are equal in a store at rest: one, verified. */
static const uint8_t *
page(const uint8_t *base, uint64_t n, const uint8_t *mac_key, unsigned kind,
     uint64_t index)
{
	const uint8_t *p = base + n / 8 * 65536 + n % 8 * 4096;
	uint8_t copy[4096], mac[MAC_LEN];
	struct iovec iov = { copy, sizeof(copy) };

	assert_memory_equal(p, p + 8 * 4096, 4096);
	memcpy(copy, p, 4096);
	memset(copy + 40, 0, 4);
	assert_int_equal(le(p + 40, 4), crc32c(copy, 4096));
	memset(copy + 224, 0, 32);
	assert_ok(hmac_sha256(mac_key, &iov, 1, mac));
	assert_memory_equal(p + 224, mac, MAC_LEN);
	assert_memory_equal(p, "SDPG\1\0", 6);
	assert_int_equal(le(p + 6, 2), kind);
	assert_int_equal(le(p + 8, 8), index);
	assert_true(le(p + 24, 8) <= 1); /* attached once */
	assert_true(all_zero(p + 33, 3) && all_zero(p + 44, 180));
	if (kind != 1)
		assert_int_equal(p[32], 0);
	return p;
}

static const uint8_t *
entry(const uint8_t *p, unsigned i)
{
	return p + 256 + i * 30;
}

/* The map, of which chunks have a file: one map page does for them. */
static char *
read_map(const uint8_t **ret)
{
	uint8_t key[KEY_LEN];
	struct uuid u;
	char path[300];
	size_t len;
	char *map;

	assert_ok(uuid_parse(disk.layer, &u));
	derive(NULL, 0, "sealdisk/1 map", u.bytes, 16, key, KEY_LEN);
	(void)snprintf(path, sizeof(path), "lineages/%s/layers/%s/map",
		       disk.lineage, disk.layer);
	map = load(path, &len);
	assert_true(len >= 65536 + 9 * 4096);
	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *p = page((uint8_t *)map, i, key, 3, i);

		assert_int_equal(p[256], i == 0); /* map page 0, no other */
		assert_true(all_zero(p + 257, 30720 / 8 - 1));
	}
	*ret = page((uint8_t *)map + 65536, 0, key, 2, 0);
	for (unsigned i = CHUNKS; i < 128; i++)
		assert_true(all_zero(entry(*ret, i), 30));
	return map;
}

/* ---- chunks ---- */

static void
check_super(const uint8_t *p, const uint8_t *mac_key, const uint8_t *salt,
	    uint64_t index)
{
	struct iovec iov = { (void *)(uintptr_t)p, 4064 };
	uint8_t mac[MAC_LEN];
	struct uuid u;

	assert_ok(hmac_sha256(mac_key, &iov, 1, mac));
	assert_memory_equal(p + 4064, mac, MAC_LEN);
	assert_memory_equal(p, "SDCK\1\0", 6);
	assert_int_equal(p[6], disk.cipher);
	assert_int_equal(le(p + 8, 8), 0);
	assert_int_equal(le(p + 32, 4), 4096);
	assert_int_equal(le(p + 36, 4), 128);
	assert_int_equal(le(p + 40, 4), 256);
	assert_ok(uuid_parse(disk.lineage, &u));
	assert_memory_equal(p + 64, u.bytes, 16);
	assert_ok(uuid_parse(disk.layer, &u));
	assert_memory_equal(p + 96, u.bytes, 16);
	assert_int_equal(le(p + 112, 8), 1);
	assert_int_equal(le(p + 120, 8), index);
	assert_memory_equal(p + 128, salt, 12);
}

/* Returns the bytes of block ${b} of the chunk, opened. */
static void
open_block(struct aead *a, const uint8_t *file, uint64_t index, unsigned b,
	   const uint8_t *e, uint8_t out[static BLOCK])
{
	uint8_t ad[10];
	uint64_t at = 69632 + (b / 128 * 256ULL + e[28]) * 4096;

	memset(out, 0, BLOCK);
	if (e[29] == 0) /* absent, and there is no parent */
		return;
	assert_int_equal(e[29], 1);
	for (unsigned i = 0; i < 8; i++)
		ad[i] = (uint8_t)(index >> (8 * i));
	ad[8] = (uint8_t)b;
	ad[9] = (uint8_t)(b >> 8);
	assert_ok(
	    aead_open(a, e, ad, sizeof(ad), file + at, out, BLOCK, e + 12));
}

static void
read_chunk(unsigned n, uint64_t index, const uint8_t *salt, struct aead *a)
{
	uint8_t more[9] = { disk.cipher }, keys[2 * KEY_LEN];
	uint8_t got[BLOCK], want[BLOCK], *file;
	char by[9], s[9], path[300];
	size_t len;

	(void)snprintf(by, sizeof(by), "%.8s", disk.layer);
	hex_encode(salt, 4, s);
	(void)snprintf(path, sizeof(path),
		       "lineages/%s/chunks/0000/%07" PRIx64 "-%s-%s.chunk",
		       disk.lineage, index, by, s);
	file = (uint8_t *)load(path, &len);
	for (unsigned i = 0; i < 8; i++)
		more[1 + i] = (uint8_t)(index >> (8 * i));
	derive(salt, 12, "sealdisk/1 chunk", more, 9, keys, sizeof(keys));
	check_super(file, keys + KEY_LEN, salt, index);
	assert_ok(aead_set_key(a, disk.cipher, keys));
	for (unsigned b = 0; b < CHUNK_BLOCKS; b++) {
		const uint8_t *p = page(file + 4096, b / 128, keys + KEY_LEN, 1,
					index * 8 + b / 128);

		assert_int_equal(p[32], disk.cipher);
		open_block(a, file, index, b, entry(p, b % 128), got);
		content(n, index * CHUNK_BLOCKS + b, want);
		assert_memory_equal(got, want, BLOCK);
	}
	free(file);
}

static void
read_disk(unsigned n, const char *name)
{
	const uint8_t *p = NULL;
	struct aead *a;
	char *map;

	disk.cipher = (uint8_t)(n + 1);
	read_descriptor(name);
	check_layer();
	map = read_map(&p);
	assert_ok(aead_new(&a));
	for (unsigned i = 0; i < CHUNKS; i++) {
		assert_int_equal(entry(p, i)[29], 1);
		read_chunk(n, i, entry(p, i), a);
	}
	aead_free(a);
	free(map);
	free(disk.text);
	key_wipe(&disk.dk);
}

static void
the_format_alone_reads_a_disk_under_gcm(void **state)
{
	(void)state;
	read_disk(0, "gcm");
}

static void
the_format_alone_reads_a_disk_under_ocb(void **state)
{
	(void)state;
	read_disk(1, "ocb");
}

static int
unpack(void **state)
{
	const char *src = getenv("srcdir");
	char command[2 * PATH_MAX];

	(void)state;
	tmpdir_make(dir);
	(void)snprintf(command, sizeof(command),
		       "tar -C '%s' --no-same-owner -xzf "
		       "'%s/tests/data/golden-1.tar.gz'",
		       dir, src ? src : ".");
	assert_int_equal(system(command), 0);
	settings_default(&settings);
	(void)snprintf(settings.keystore_path, sizeof(settings.keystore_path),
		       "%s/kms/keystore.db", dir);
	(void)snprintf(settings.keystore_root_file,
		       sizeof(settings.keystore_root_file), "%s/kms/root.key",
		       dir);
	assert_ok(kms_open(&settings, &kms));
	return 0;
}

static int
tidy(void **state)
{
	(void)state;
	kms_close(kms);
	tmpdir_remove(dir);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_format_alone_reads_a_disk_under_gcm),
		cmocka_unit_test(the_format_alone_reads_a_disk_under_ocb),
	};

	if (crypto_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, unpack, tidy);
}
