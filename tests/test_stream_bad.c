/*
 * test_stream_bad.c - streams that were damaged, cut, changed or put together.
 *
 * None of them may leave anything that has a name, nor anything at all once
 * what they began is given up.  Where a record is changed by somebody who makes
 * its checksums right again, authentication alone must find it.
 *
 * Here some bytes are tried; SEALDISK_TEST_SLOW=1 tries each.
 */
#include "stream_env.h"

#include <sealdisk/log.h>

#define HEAD_LEN 40
#define RECORDS_MAX 64

static struct pipe good;
static size_t at[RECORDS_MAX + 1]; /* of the records of `good` */
static unsigned n_records;

static uint32_t
u32_at(const uint8_t *p)
{
	struct reader r = reader_over(p, 4);

	return get_u32(&r);
}

static void
find_records(void)
{
	n_records = 0;
	for (size_t o = 0; o < good.len; o += HEAD_LEN + u32_at(good.p + o + 8))
		at[n_records++] = o;
	at[n_records] = good.len;
	assert_true(n_records > 10 && n_records < RECORDS_MAX);
}

/* s@a has three blocks in one chunk. */
static int
setup(void **state)
{
	(void)state;
	begin_stores(CIPHER_AES256_GCM);
	eenv_create(&from, "s", MiB);
	change("s", 0, 4 * KiB, 1);
	change("s", 600 * KiB, 8 * KiB, 2);
	snapshot("s", "a");
	change("s", 0, 4 * KiB, 3);
	snapshot("s", "b");
	send_it("s@a", NULL);
	good = sent;
	sent = (struct pipe){ 0 };
	find_records();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	end_stores();
	free(good.p);
	good = (struct pipe){ 0 };
	return 0;
}

static void
begin_again(void)
{
	sent.len = 0;
	assert_ok(pipe_write(&sent, good.p, good.len));
}

static void
nothing_is_left(void)
{
	struct stream_name n = named("e@x");
	int r;

	assert_string_equal(names_in(&to), "");
	r = stream_abort(engine_catalog(to.e), &n);
	assert_true(r == 0 || r == -ENOENT);
	sweep(&to);
	assert_int_equal(files_in(&to, "lineages"), 0);
	assert_int_equal(files_in(&to, "receiving"), 0);
}

static int
refused(const char *what, size_t where)
{
	int r = try_receive("e@x");

	if (r == 0)
		print_error("%s %zu was taken\n", what, where);
	assert_true(r < 0);
	nothing_is_left();
	return r;
}

/* Make numbers and checksums right again. */
static void
mend(struct pipe *p)
{
	uint64_t n = 0;

	for (size_t o = 0; o < p->len; n++) {
		uint8_t *h = p->p + o;
		uint32_t len = u32_at(h + 8);
		struct writer w = writer_over(h + 12, 28);

		put_u32(&w, crc32c(h + HEAD_LEN, len));
		put_u64(&w, n);
		put_bytes(&w, p->p + 24, 12);
		put_u32(&w, crc32c(h, 36));
		o += HEAD_LEN + len;
	}
}

static size_t
step(size_t few)
{
	return test_is_slow() ? 1 : test_is_watched() ? 5 * few : few;
}

static void
the_good_one_is_taken(void **state)
{
	(void)state;
	begin_again();
	assert_ok(try_receive("e@x"));
	assert_same_content("s@a", "e@x");
}

static void
every_damaged_byte_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < good.len; i += step(i < 6000 ? 37 : 211)) {
		begin_again();
		sent.p[i] ^= (uint8_t)(1u << i % 8);
		(void)refused("damaged byte", i);
	}
}

static void
every_cut_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < good.len; i += step(i < 6000 ? 61 : 499)) {
		begin_again();
		sent.limit = i;
		assert_int_equal(refused("cut at", i), -ENODATA);
	}
	for (unsigned i = 0; i < n_records; i++) {
		begin_again();
		sent.limit = at[i];
		assert_int_equal(refused("cut at record", i), -ENODATA);
	}
}

/* Bytes that nobody authenticates: what is shown while it goes on, the sender's
 * store, and of a wrapped DK the words about its CMK, which lie outside of the
 * MAC in a store, too. */
static bool
is_free(size_t i)
{
	const uint8_t *text = good.p + at[1];
	const uint8_t *keys = memmem(text, at[2] - at[1], "[key ", 5);
	const uint8_t *blob = memmem(text, at[2] - at[1], "wrapped_dk", 10);

	assert_true(keys && blob);
	if (i < at[1])
		return (i >= HEAD_LEN + 24 && i < HEAD_LEN + 32) ||
		       (i >= HEAD_LEN + 64 && i < HEAD_LEN + 80);
	return good.p + i > keys && good.p + i < blob;
}

static void
every_changed_byte_is_refused(void **state)
{
	size_t i = 0;

	(void)state;
	for (unsigned n = 0; n < n_records; n++) {
		for (i = at[n] + HEAD_LEN; i < at[n + 1];
		     i += step(n < 3 ? 29 : 149)) {
			if (is_free(i))
				continue;
			begin_again();
			sent.p[i] ^= (uint8_t)(1u << i % 8);
			mend(&sent);
			(void)refused("changed byte", i);
		}
	}
}

static void
put_records(const struct pipe *p, size_t begin, size_t end)
{
	assert_ok(pipe_write(&sent, p->p + begin, end - begin));
}

static void
records_that_change_places_are_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < n_records; i++)
		for (unsigned j = i + 1; j < n_records;
		     j += (unsigned)step(5)) {
			sent.len = 0;
			put_records(&good, 0, at[i]);
			put_records(&good, at[j], at[j + 1]);
			put_records(&good, at[i + 1], at[j]);
			put_records(&good, at[i], at[i + 1]);
			put_records(&good, at[j + 1], good.len);
			if (j % 2 == 0)
				mend(&sent);
			(void)refused("changed place", i * 100 + j);
		}
}

static void
a_record_left_out_or_repeated_is_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < n_records; i++)
		for (unsigned how = 0; how < 4; how++) {
			bool twice = how & 1;

			sent.len = 0;
			put_records(&good, 0, at[twice ? i + 1 : i]);
			put_records(&good, at[twice ? i : i + 1], good.len);
			if (how & 2)
				mend(&sent);
			(void)refused("left out or repeated", i);
		}
}

static void
a_record_of_another_stream_is_refused(void **state)
{
	struct pipe other;
	size_t o = 0, len;

	(void)state;
	send_it("s@b", "s@a");
	other = sent;
	sent = (struct pipe){ 0 };
	for (unsigned i = 0; i < n_records && o < other.len; i++, o += len) {
		len = HEAD_LEN + u32_at(other.p + o + 8);
		for (unsigned how = 0; how < 2; how++) {
			sent.len = 0;
			put_records(&good, 0, at[i]);
			put_records(&other, o, o + len);
			put_records(&good, at[i + 1], good.len);
			if (how)
				mend(&sent);
			(void)refused("of another stream", i);
		}
	}
	free(other.p);
}

/* What nobody wrote: lengths, counts and types at their limits. */
static void
a_head_that_says_anything_is_refused(void **state)
{
	static const uint32_t values[] = { 0,       1,          0xffff,
					   0x10000, 0x7fffffff, 0xffffffff };
	static const unsigned places[] = { 4, 8 };

	(void)state;
	for (unsigned n = 0; n < n_records; n++)
		for (unsigned v = 0; v < 6; v++)
			for (unsigned p = 0; p < 2; p++) {
				uint8_t *h;
				struct writer w;

				begin_again();
				h = sent.p + at[n];
				w = writer_over(h + places[p], 4);
				if (u32_at(h + places[p]) == values[v])
					continue;
				put_u32(&w, values[v]);
				w = writer_over(h + 36, 4);
				put_u32(&w, crc32c(h, 36));
				(void)refused("head", n);
			}
}

static void
nothing_may_come_after_the_end(void **state)
{
	(void)state;
	begin_again();
	assert_ok(pipe_write(&sent, "", 1));
	assert_int_equal(refused("a byte after", 0), -EPROTO);
	begin_again();
	put_records(&good, 0, good.len);
	assert_int_equal(refused("a stream after", 0), -EPROTO);
}

static void
what_is_no_stream_is_refused(void **state)
{
	(void)state;
	sent.len = sent.limit = 0;
	assert_int_equal(refused("nothing", 0), -ENODATA);
	for (unsigned i = 0; i < 50; i++) {
		sent.len = 0;
		fill_pattern(io, 5000, i);
		assert_ok(pipe_write(&sent, io, 5000));
		assert_int_equal(refused("noise", i), -EPROTO);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_good_one_is_taken),
		T(every_damaged_byte_is_refused),
		T(every_cut_is_refused),
		T(every_changed_byte_is_refused),
		T(records_that_change_places_are_refused),
		T(a_record_left_out_or_repeated_is_refused),
		T(a_record_of_another_stream_is_refused),
		T(a_head_that_says_anything_is_refused),
		T(nothing_may_come_after_the_end),
		T(what_is_no_stream_is_refused),
	};

	if (crypto_init() < 0)
		return 1;
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
