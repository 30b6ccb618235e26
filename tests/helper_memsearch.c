/*
 * helper_memsearch.c - looks for secrets in a process, or in files.
 *
 *	helper_memsearch [-d DISK] [-b FILE]... (-p PID | FILE...)
 *
 * With -d it opens the disk's data key, by the settings, the store and the
 * keystore that a command would use, and looks for it, for the keys that come
 *of it (of descriptor, layer, map, and of every chunk file in the store), for
 *what HKDF has in between, and for the padded forms in which HMAC keeps a key.
 *With -b it looks for the bytes of a file.  A key is never printed: only its
 *name and where it was found.
 *
 * Exit status: 0 nothing found, 1 something found, 2 an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/crypto.h>
#include <sealdisk/io.h>
#include <sealdisk/kms.h>
#include <sealdisk/log.h>
#include <sealdisk/settings.h>

#include "catalog.h"
#include "super.h"

#define NEEDLES_MAX 16384
#define NEEDLE_MAX 4096
#define WINDOW (256U << 10)
#define SAID_MAX 3 /* places that are named of a needle */

struct needle {
	char name[64];
	uint8_t *bytes;
	size_t len;
	unsigned found;
};

static struct needle needles[NEEDLES_MAX];
static size_t n_needles;
static uint64_t searched;
static uint8_t window[WINDOW + NEEDLE_MAX];

/* What walk_chunks() works with. */
static struct key dk;
static unsigned n_chunks;

static void die(const char *what, int r) __attribute__((__noreturn__));

static void
die(const char *what, int r)
{
	fprintf(stderr, "helper_memsearch: %s: %s\n", what, err_text(r));
	exit(2);
}

static void
add(const char *name, const void *bytes, size_t len)
{
	struct needle *n = &needles[n_needles++];

	if (n_needles > NEEDLES_MAX || len == 0 || len > NEEDLE_MAX)
		die(name, -E2BIG);
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->bytes = malloc(len);
	if (!n->bytes)
		die(name, -ENOMEM);
	memcpy(n->bytes, bytes, len);
	n->len = len;
}

/* A key, and as HMAC has it before and after. */
static void
add_key(const char *name, const uint8_t key[static KEY_LEN])
{
	const struct {
		const char *suffix;
		uint8_t pad;
	} forms[] = { { "", 0 }, { ", inner", 0x36 }, { ", outer", 0x5c } };
	uint8_t buf[KEY_LEN];
	char full[64];

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		for (size_t j = 0; j < KEY_LEN; j++)
			buf[j] = key[j] ^ forms[i].pad;
		snprintf(full, sizeof(full), "%s%s", name, forms[i].suffix);
		add(full, buf, sizeof(buf));
	}
	secret_wipe(buf, sizeof(buf));
}

static void
add_file(const char *path)
{
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	int r = io_load(AT_FDCWD, path, NEEDLE_MAX, &text, &len);

	if (r < 0)
		die(path, r);
	add("the bytes", text, len);
}

/* HKDF's first step: a secret by which all keys of that salt can be made. */
static void
add_extract(const char *name, const uint8_t *salt, size_t salt_len)
{
	uint8_t padded[KEY_LEN] = { 0 }, prk[MAC_LEN];
	const struct iovec iov = { dk.bytes, KEY_LEN };
	int r;

	if (salt_len)
		memcpy(padded, salt, salt_len);
	r = hmac_sha256(padded, &iov, 1, prk);
	if (r < 0)
		die(name, r);
	add_key(name, prk);
}

static void
add_derived(const char *purpose, const struct uuid *uuid)
{
	uint8_t info[64], key[KEY_LEN];
	size_t len = strlen(purpose);
	int r;

	memcpy(info, purpose, len);
	memcpy(info + len, uuid->bytes, 16);
	r = hkdf_sha256(dk.bytes, KEY_LEN, NULL, 0, info, len + 16, key,
			sizeof(key));
	if (r < 0)
		die(purpose, r);
	add_key(purpose, key);
}

static int
add_chunk(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	CLEANUP(close_fdp) int fd = -1;
	uint8_t buf[SUPER_LEN], keys[2 * KEY_LEN];
	const char *dot = strrchr(path, '.');
	struct super s;
	char name[64];

	(void)st;
	(void)ftw;
	if (type != FTW_F || !dot || strcmp(dot, ".chunk") != 0)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* One that is being made or is gone by now has no keys to find. */
	if (fd < 0 || io_pread_all(fd, buf, sizeof(buf), 0) < 0 ||
	    super_parse(buf, &s) < 0 ||
	    chunk_keys(&dk, s.salt, s.cipher, s.index, keys) < 0)
		return 0;
	snprintf(name, sizeof(name), "block key of chunk %" PRIu64, s.index);
	add_key(name, keys);
	snprintf(name, sizeof(name), "page key of chunk %" PRIu64, s.index);
	add_key(name, keys + KEY_LEN);
	snprintf(name, sizeof(name), "HKDF of chunk %" PRIu64, s.index);
	add_extract(name, s.salt, sizeof(s.salt));
	n_chunks++;
	return 0;
}

static void
add_disk(const char *disk)
{
	CLEANUP(store_freep) struct store *st = NULL;
	CLEANUP(catalog_closep) struct catalog *c = NULL;
	CLEANUP(kms_closep) struct kms *kms = NULL;
	CLEANUP(free_memp) char *msg = NULL;
	static struct settings s;
	static struct descriptor d;
	char path[PATH_MAX], uuid[UUID_STR_LEN];
	int r = settings_load(&s, NULL, &msg);

	if (r == 0)
		r = store_posix_open(s.store, &st);
	if (r == 0)
		r = catalog_open(st, &c);
	if (r == 0)
		r = kms_open(&s, &kms);
	if (r == 0)
		r = catalog_load_verified(c, kms, DESC_DISK, disk, &d, &dk);
	if (r < 0)
		die(msg ? msg : disk, r);
	add_key("data key", dk.bytes);
	add_extract("HKDF of the data key", NULL, 0);
	add_derived("sealdisk/1 descriptor", &d.uuid);
	add_derived("sealdisk/1 layer", &d.layer.layer);
	add_derived("sealdisk/1 map", &d.layer.layer);
	uuid_format(&d.lineage, uuid);
	snprintf(path, sizeof(path), "%s/lineages/%s", s.store, uuid);
	if (nftw(path, add_chunk, 16, FTW_PHYS) < 0)
		die(path, -errno);
}

static void
look(struct needle *n, size_t len, const char *where, uint64_t off)
{
	const uint8_t *p = window;
	const uint8_t *end = window + len;

	while (p < end &&
	       (p = memmem(p, (size_t)(end - p), n->bytes, n->len))) {
		if (n->found++ < SAID_MAX)
			printf("%s: at %" PRIx64 " of %s\n", n->name,
			       off + (uint64_t)(p - window), where);
		p++;
	}
}

/* As most of a core dump is. */
static bool
is_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* From ${off} to ${end}, as far as it can be read; what lies on the border of
 * two windows is in the second once more. */
static void
search(int fd, uint64_t off, uint64_t end, const char *where)
{
	size_t kept = 0;

	while (off < end) {
		size_t want = WINDOW;
		ssize_t got;

		if (want > end - off)
			want = (size_t)(end - off);
		got = pread(fd, window + kept, want, (off_t)off);
		if (got <= 0)
			return;
		searched += (uint64_t)got;
		if (is_zero(window, kept + (size_t)got)) {
			off += (uint64_t)got;
			kept = 0;
			continue;
		}
		for (size_t i = 0; i < n_needles; i++)
			look(&needles[i], kept + (size_t)got, where,
			     off - kept);
		off += (uint64_t)got;
		kept += (size_t)got;
		if (kept > NEEDLE_MAX) {
			memmove(window, window + kept - NEEDLE_MAX, NEEDLE_MAX);
			kept = NEEDLE_MAX;
		}
	}
}

/* The pages that are there, in memory or swap: nobody has touched the others.
 */
static void
search_mapping(int fd, int pagemap, uint64_t from, uint64_t to,
	       const char *where)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t entries[512], start = from, n = 0;

	for (uint64_t at = from; at < to; at += page) {
		size_t i = (size_t)((at - from) / page % 512);

		if (i == 0) {
			ssize_t got =
			    pread(pagemap, entries, sizeof(entries),
				  (off_t)(at / page * sizeof(entries[0])));

			n = got < 0 ? 0 : (uint64_t)got / sizeof(entries[0]);
		}
		if (i < n && entries[i] >> 62)
			continue;
		search(fd, start, at, where);
		start = at + page;
	}
	search(fd, start, to, where);
}

static void
search_process(const char *pid)
{
	CLEANUP(free_memp) char *line = NULL;
	CLEANUP(close_fdp) int fd = -1;
	CLEANUP(close_fdp) int pagemap = -1;
	char path[64];
	size_t cap = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%.20s/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%.20s/pagemap", pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
	maps = fopen(path, "re");
	if (fd < 0 || pagemap < 0 || !maps)
		die(path, -errno);
	while (getline(&line, &cap, maps) > 0) {
		uint64_t from, to;

		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2)
			search_mapping(fd, pagemap, from, to, line);
	}
	(void)fclose(maps);
}

static void
search_file(const char *path)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path, -errno);
	search(fd, 0, INT64_MAX, path);
}

static void
usage(void)
{
	fprintf(stderr, "usage: helper_memsearch [-d DISK] [-b FILE]... "
			"(-p PID | FILE...)\n");
	exit(2);
}

int
main(int argc, char **argv)
{
	const char *pid = NULL;
	unsigned found = 0;
	int c, r = crypto_init();

	if (r < 0)
		die("start", r);
	while ((c = getopt(argc, argv, "d:b:p:")) != -1) {
		if (c == 'd')
			add_disk(optarg);
		else if (c == 'b')
			add_file(optarg);
		else if (c == 'p')
			pid = optarg;
		else
			usage();
	}
	if (!n_needles || !pid == (optind == argc))
		usage();
	if (pid)
		search_process(pid);
	for (; optind < argc; optind++)
		search_file(argv[optind]);
	for (size_t i = 0; i < n_needles; i++)
		if (needles[i].found) {
			printf("%s: found %u times\n", needles[i].name,
			       needles[i].found);
			found++;
		}
	printf("%" PRIu64 " KiB searched for %zu needles, %u chunks: "
	       "%u found\n",
	       searched >> 10, n_needles, n_chunks, found);
	return found ? 1 : 0;
}
