/*
 * fuzz_stream.c - a stream of any bytes into an empty store.
 *
 * Whatever comes, nothing may crash, and a stream that is refused may leave
 * nothing behind.  The KMS is one of ours, whose only DK opens the streams in
 * tests/data/fuzz_stream.
 *
 * The first byte of an input says how the rest is taken: with an odd one,
 * numbers and checksums of the records are made right first, so that what is
 * behind them is reached.
 *
 * With libFuzzer by `make fuzz`.  Without, the files that are named, or all in
 * tests/data/fuzz_stream, are replayed, and changes of each at random;
 * SEALDISK_SEED=N and SEALDISK_ROUNDS=N say which and how many.  --make FILE
 * makes an input.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "fuzz.h"
#include "fuzz_kms.h"
#include "snapshot.h"
#include "stream.h"

#define HEAD_LEN 40
#define INPUT_MAX (1u << 20)

/* ---- the store ---- */

static int
count_name(const char *name, void *arg)
{
	(void)name;
	++*(unsigned *)arg;
	return 0;
}

static int
count_file(const char *name, bool is_dir, void *arg)
{
	(void)is_dir;
	return count_name(name, arg);
}

static unsigned
files_in(struct catalog *c, const char *folder)
{
	struct store *st = catalog_store(c);
	unsigned n = 0;
	int r = st->ops->list(st, folder, count_file, &n);

	must(r == 0 || r == -ENOENT);
	return n;
}

static void
nothing_is_left(struct catalog *c, const struct stream_name *name)
{
	unsigned n = 0;
	bool more = true;
	int r;

	must(catalog_list(c, DESC_SNAPSHOT, count_name, &n) == 0 && n == 0);
	r = stream_abort(c, name);
	must(r == 0 || r == -ENOENT);
	while (more)
		must(catalog_sweep(c, 1000, &more) == 0);
	must(files_in(c, "lineages") == 0 && files_in(c, "receiving") == 0);
}

/* ---- one input ---- */

struct input {
	uint8_t *p;
	size_t len, at;
};

static int
read_input(void *arg, void *buf, size_t len, size_t *ret_got)
{
	struct input *in = arg;
	size_t left = in->len - in->at;

	*ret_got = left < len ? left : len;
	memcpy(buf, in->p + in->at, *ret_got);
	in->at += *ret_got;
	return *ret_got < len ? -ENODATA : 0;
}

static void
mend(struct input *in)
{
	uint64_t n = 0;

	for (size_t o = 0; in->len - o >= HEAD_LEN; n++) {
		uint8_t *h = in->p + o;
		struct reader r = reader_over(h + 8, 4);
		struct writer w = writer_over(h + 12, 28);
		uint32_t len = get_u32(&r);

		if (len > in->len - o - HEAD_LEN)
			break;
		put_u32(&w, crc32c(h + HEAD_LEN, len));
		put_u64(&w, n);
		put_bytes(&w, in->p + 24, 12);
		put_u32(&w, crc32c(h, 36));
		o += HEAD_LEN + len;
	}
}

static int
take(const uint8_t *data, size_t len)
{
	static const struct stream_owner owner = { 1, 2, 0600 };
	static const struct stream_name name = { DESC_SNAPSHOT, "d@s" };
	struct input in = { malloc(len), len - 1, 0 };
	const struct stream_source source = { read_input, NULL, &in };
	struct catalog *c = fuzz_store();
	struct stream_result result;
	int r;

	must(in.p);
	memcpy(in.p, data + 1, len - 1);
	if (data[0] & 1)
		mend(&in);
	r = stream_receive(c, FUZZ_KMS, &name, &owner, &source, &result);
	if (r < 0)
		nothing_is_left(c, &name);
	fuzz_store_free(c);
	free(in.p);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool begun;

	if (!begun) {
		must(crypto_init() == 0);
		log_to_syslog();
		begun = true;
	}
	if (len > 0 && len <= INPUT_MAX)
		(void)take(data, len);
	return 0;
}

#ifndef SEALDISK_LIBFUZZER

/* ---- an input that is whole ---- */

static int
write_output(void *arg, const void *buf, size_t len)
{
	return fwrite(buf, 1, len, arg) == len ? 0 : -EIO;
}

static void
fill(struct disk *d, struct scratch *s, uint64_t off, uint8_t with)
{
	uint8_t buf[4096];

	memset(buf, with, sizeof(buf));
	must(disk_write(d, s, buf, sizeof(buf), off) == 0);
}

static int
make(const char *path)
{
	struct disk_params p = {
		.name = "d", .size = 9u << 20, .sector_size = 512, .key = "k"
	};
	const struct engine_options opt = { .mount_point = "", .manual = true };
	struct snapshot_request q = { .type = DESC_SNAPSHOT, .name = "s" };
	struct stream_name name = { DESC_SNAPSHOT, "d@s" };
	struct stream_sink sink = { write_output, NULL, fopen(path, "w") };
	struct catalog *c = fuzz_store();
	struct scratch *s = NULL;
	struct engine *e = NULL;
	struct descriptor d;
	struct stream_result result;

	must(sink.arg && putc(0, sink.arg) == 0);
	must(scratch_new(&s) == 0);
	must(engine_open(catalog_store(c), FUZZ_KMS, &opt, &e) == 0);
	must(catalog_create(engine_catalog(e), FUZZ_KMS, &p, &d, NULL) == 0);
	for (unsigned i = 0; i < 2; i++) {
		must(disk_attach(e, DESC_DISK, "d", 0, &q.disk) == 0);
		fill(q.disk, s, i * 8192, 1);
		fill(q.disk, s, (5u << 20) + i, 2);
		must(disk_zero(q.disk, s, 4096, 8192) == 0);
		q.name = i ? "s" : "before";
		must(disks_snapshot(e, s, &q, 1) == 0);
		must(disk_detach(q.disk) == 0);
	}
	must(stream_send(engine_catalog(e), &name, NULL, NULL, &sink,
			 &result) == 0);
	engine_close(e);
	scratch_free(s);
	fuzz_store_free(c);
	return fclose(sink.arg) == 0 ? 0 : 1;
}

/* ---- replay ---- */

/* Bytes changed, moved, doubled or left out. */
static size_t
change(uint8_t *p, size_t len)
{
	size_t a = rnd(len), b = rnd(len), n = rnd(rnd(2) ? 16 : 5000) + 1;

	if (n > len - (a > b ? a : b))
		n = len - (a > b ? a : b);
	switch (rnd(5)) {
	case 0:
		memmove(p + a, p + b, n);
		return len;
	case 1:
		memmove(p + a, p + a + n, len - a - n);
		return len - n;
	case 2:
		return len - n;
	case 3:
		memset(p + a, (int)rnd(256), n);
		return len;
	default:
		p[a] ^= (uint8_t)(1u << rnd(8));
		return len;
	}
}

static void
replay(const char *path, uint64_t rounds)
{
	char *text = NULL;
	uint8_t *p;
	size_t len;
	int r = io_load(AT_FDCWD, path, INPUT_MAX, &text, &len);

	if (r < 0)
		(void)fprintf(stderr, "%s: %s\n", path, err_text(r));
	must(r == 0 && len > 0);
	r = take((const uint8_t *)text, len);
	/* What is called good is: the format stays what it was. */
	must(r == 0 || !strstr(path, "good"));
	p = malloc(len);
	must(p);
	for (uint64_t i = 0; i < rounds; i++) {
		size_t now = len;

		memcpy(p, text, len);
		for (uint64_t n = rnd(3) + 1; n > 0 && now > 1; n--)
			now = change(p, now);
		p[0] = (uint8_t)rnd(4); /* mostly: 1 and 3 mend */
		if (now > 0)
			(void)LLVMFuzzerTestOneInput(p, now);
	}
	free(p);
	free(text);
}

int
main(int argc, char **argv)
{
	uint64_t rounds = number_of("SEALDISK_ROUNDS", 300);

	must(crypto_init() == 0);
	log_to_syslog();
	if (argc == 3 && strcmp(argv[1], "--make") == 0)
		return make(argv[2]);
	seed();
	for (int i = 1; i < argc; i++)
		replay(argv[i], rounds);
	if (argc == 1)
		replay_folder("fuzz_stream", rounds, replay);
	(void)printf("[  PASSED  ] 1 test(s).\n");
	return 0;
}

#endif
