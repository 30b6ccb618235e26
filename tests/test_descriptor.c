/*
 * test_descriptor.c - a descriptor comes out as it went in, and nothing else is
 * taken for one.
 */
#include "descriptor_cases.h"

static void
a_descriptor_is_written_as_the_format_says(void **state)
{
	struct descriptor d;
	char *text;

	(void)state;
	fill_descriptor(&d);
	assert_ok(descriptor_format(&d, &dk, &text));
	assert_string_equal(text, descriptor_text);
	free(text);
}

static void
a_descriptor_reads_back_as_it_was(void **state)
{
	size_t len = strlen(descriptor_text);
	struct descriptor d, back;

	(void)state;
	fill_descriptor(&d);
	assert_ok(descriptor_parse(descriptor_text, len, &back));
	assert_memory_equal(&d, &back, sizeof(d));
	assert_ok(descriptor_verify(descriptor_text, len, &d.uuid, &dk));
	assert_err(descriptor_verify(descriptor_text, len, &d.uuid, &other_dk),
		   EBADMSG);
	assert_err(descriptor_verify(descriptor_text, len, &d.store, &dk),
		   EBADMSG);
	assert_ptr_equal(descriptor_key(&back, &d.keys[1].uuid), &back.keys[1]);
	assert_null(descriptor_key(&back, &d.uuid));
}

/* What is written of ${d} is read as ${d}. */
static void
assert_round_trip(const struct descriptor *d)
{
	struct descriptor back;
	char *text;

	assert_ok(descriptor_format(d, &dk, &text));
	assert_ok(descriptor_parse(text, strlen(text), &back));
	assert_memory_equal(d, &back, sizeof(*d));
	assert_ok(descriptor_verify(text, strlen(text), &d->uuid, &dk));
	free(text);
}

static void
the_extremes_round_trip(void **state)
{
	struct descriptor d;

	(void)state;
	fill_descriptor(&d);
	d.type = DESC_SNAPSHOT;
	memset(d.of, '"', DISK_NAME_MAX);
	memset(d.name, ' ', DISK_NAME_MAX);
	d.set = d.store;
	d.members = 65535;
	d.compat = d.ro_compat = UINT64_MAX;
	d.read_only = true;
	d.size = DISK_SIZE_MAX;
	d.session = d.digest_session = UINT64_MAX >> 2;
	d.clean = true;
	d.uid = d.gid = UINT32_MAX - 1;
	d.mode = 0;
	d.n_keys = DESC_KEYS_MAX;
	for (size_t i = 1; i < DESC_KEYS_MAX; i++) {
		d.keys[i] = d.keys[0];
		d.keys[i].uuid.bytes[0] = (uint8_t)i;
		memset(d.keys[i].dk.key_id, '%', KMS_ID_LEN - 1);
		memset(d.keys[i].dk.blob, 0xff, KMS_BLOB_MAX);
		d.keys[i].dk.blob_len = KMS_BLOB_MAX;
	}
	assert_round_trip(&d);

	fill_descriptor(&d);
	d.type = DESC_IMAGE;
	d.size = 0;
	d.created = 0;
	strcpy(d.kind, "system");
	strcpy(d.anchor, "kms");
	strcpy(d.on_key_revoked, "stop");
	assert_round_trip(&d);
}

/* Refused by parsing, or else by the MAC. */
static bool
is_refused(const char *text, size_t len, const struct uuid *uuid)
{
	struct descriptor d;
	int r;

	r = descriptor_parse(text, len, &d);
	if (r == 0)
		r = descriptor_verify(text, len, uuid, &dk);
	else
		assert_true(r == -EUCLEAN || r == -EPROTONOSUPPORT);
	return r < 0;
}

static size_t
sealed_end(void)
{
	const char *mac = strstr(descriptor_text, "mac = ");

	return (size_t)(strchr(mac, '\n') + 1 - descriptor_text);
}

static void
every_flipped_bit_of_the_sealed_part_is_refused(void **state)
{
	size_t len = strlen(descriptor_text), end = sealed_end();
	struct descriptor d;
	char *text = strdup(descriptor_text);

	(void)state;
	fill_descriptor(&d);
	for (size_t i = 0; i < 8 * end; i++) {
		text[i / 8] ^= (char)(1 << i % 8);
		assert_true(is_refused(text, len, &d.uuid));
		text[i / 8] ^= (char)(1 << i % 8);
	}
	free(text);
}

/* A key section has no MAC; but what it says is what was changed, and no bit of
 * it is passed over. */
static void
every_flipped_bit_of_a_key_is_seen(void **state)
{
	size_t len = strlen(descriptor_text);
	struct descriptor d, back;
	char *text = strdup(descriptor_text);

	(void)state;
	fill_descriptor(&d);
	for (size_t i = 8 * sealed_end(); i < 8 * len; i++) {
		text[i / 8] ^= (char)(1 << i % 8);
		if (descriptor_parse(text, len, &back) == 0)
			assert_true(memcmp(&d, &back, sizeof(d)) != 0);
		text[i / 8] ^= (char)(1 << i % 8);
	}
	free(text);
}

static void
every_truncation_and_addition_is_refused(void **state)
{
	static const char *const more[] = {
		"\n", " ", "\r\n", "#", "; x\n", "[key 1]\n", "x = y\n", "\t",
	};
	size_t i, n, len = strlen(descriptor_text);
	char text[sizeof(descriptor_text) + 16];
	struct descriptor d;

	(void)state;
	for (i = 0; i < len; i++)
		assert_err(descriptor_parse(descriptor_text, i, &d), EUCLEAN);
	for (i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		n = strlen(more[i]);
		memcpy(text, descriptor_text, len);
		memcpy(text + len, more[i], n);
		assert_err(descriptor_parse(text, len + n, &d), EUCLEAN);
		memcpy(text, more[i], n);
		memcpy(text + n, descriptor_text, len);
		assert_err(descriptor_parse(text, len + n, &d), EUCLEAN);
	}
	memcpy(text, descriptor_text, len + 1); /* with its NUL */
	assert_err(descriptor_parse(text, len + 1, &d), EUCLEAN);
}

static void
what_is_malformed_or_out_of_bounds_is_refused(void **state)
{
	size_t i;
	struct descriptor d;
	int r;

	(void)state;
	for (i = 0; i < sizeof(descriptor_changes) / sizeof(struct change);
	     i++) {
		const struct change *c = &descriptor_changes[i];
		char *text = edit(descriptor_text, c->from, c->to);

		r = descriptor_parse(text, strlen(text), &d);
		if (r != -c->err)
			fail_msg("\"%s\" for \"%s\": %s", c->to, c->from,
				 strerror(-r));
		free(text);
	}
}

static void
what_is_huge_is_refused(void **state)
{
	char *text = malloc(META_MAX + 2);
	struct descriptor d;
	size_t len = strlen(descriptor_text);

	(void)state;
	memcpy(text, descriptor_text, len);
	memset(text + len, '\n', META_MAX + 2 - len);
	assert_err(descriptor_parse(text, META_MAX + 1, &d), EUCLEAN);
	assert_err(descriptor_parse(text, META_MAX, &d), EUCLEAN);
	memset(text, 'x', META_MAX);
	assert_err(descriptor_parse(text, META_MAX, &d), EUCLEAN);
	memset(text, '[', META_MAX);
	assert_err(descriptor_parse(text, META_MAX, &d), EUCLEAN);
	free(text);
}

static void
unknown_compatible_bits_are_kept_and_forbid_writing(void **state)
{
	struct descriptor d;
	char *text;

	(void)state;
	text = edit(descriptor_text, "\ncompat = 0", "\ncompat = 4");
	assert_ok(descriptor_parse(text, strlen(text), &d));
	assert_int_equal(d.compat, 4);
	assert_false(d.read_only);
	free(text);
	text = edit(descriptor_text, "ro_compat = 0", "ro_compat = 8");
	assert_ok(descriptor_parse(text, strlen(text), &d));
	assert_int_equal(d.ro_compat, 8);
	assert_true(d.read_only);
	free(text);
}

/* Each of these is one step away from what is fine. */
static void
what_could_not_be_read_again_is_not_written(void **state)
{
#define REFUSED(statement)                                                     \
	do {                                                                   \
		fill_descriptor(&d);                                           \
		statement;                                                     \
		assert_err(descriptor_format(&d, &dk, &text), EINVAL);         \
	} while (0)
	struct descriptor d;
	char *text;

	(void)state;
	REFUSED(d.incompat = 1);
	REFUSED(d.type = 3);
	REFUSED(d.name[0] = '\0');
	REFUSED(d.name[0] = '-');
	REFUSED(d.type = DESC_SNAPSHOT);
	REFUSED(strcpy(d.of, "x"));
	REFUSED(memset(&d.uuid, 0, sizeof(d.uuid)));
	REFUSED(d.members = 1);
	REFUSED(d.size = 1);
	REFUSED(d.size = DISK_SIZE_MAX + 512);
	REFUSED(d.sector_size = 0);
	REFUSED(d.kind[0] = '\0');
	REFUSED(d.category[0] = ';');
	REFUSED(d.layer.lineage = d.uuid);
	REFUSED(d.key = d.uuid);
	REFUSED(d.key = d.keys[1].uuid);
	REFUSED(d.session = 1);
	REFUSED(d.session = UINT64_MAX);
	REFUSED(d.anchor[0] = 'x');
	REFUSED(d.allocated = UINT64_MAX);
	REFUSED(d.uid = UINT32_MAX);
	REFUSED(d.mode = 01000);
	REFUSED(d.n_keys = 0);
	REFUSED(d.n_keys = DESC_KEYS_MAX + 1);
	REFUSED(d.keys[1].uuid = d.keys[0].uuid);
	REFUSED(d.keys[1].dk.blob_len = 0);
	REFUSED(d.keys[1].dk.blob_len = KMS_BLOB_MAX + 1);
	REFUSED(d.keys[1].dk.key_id[0] = '\0');
	REFUSED(d.keys[1].dk.key_id[0] = '\xff');
}

static void
keys_are_rewrapped_without_the_dk(void **state)
{
	size_t len = strlen(descriptor_text);
	struct descriptor d, back;
	char *text;

	(void)state;
	fill_descriptor(&d);
	strcpy(d.keys[0].dk.key_version_id, "v2");
	memcpy(d.keys[1].dk.blob, "new one", 7);
	d.keys[1].dk.blob_len = 7;
	d.session = 99; /* is not looked at */
	assert_ok(descriptor_rewrite_keys(descriptor_text, len, &d, &text));
	assert_ok(descriptor_parse(text, strlen(text), &back));
	assert_ok(descriptor_verify(text, strlen(text), &d.uuid, &dk));
	assert_int_equal(back.session, 12);
	assert_string_equal(back.keys[0].dk.key_version_id, "v2");
	assert_memory_equal(back.keys[1].dk.blob, "new one", 7);
	free(text);

	d.n_keys = 1;
	assert_err(descriptor_rewrite_keys(descriptor_text, len, &d, &text),
		   EINVAL);
	d.n_keys = 2;
	d.keys[1].uuid = d.store;
	assert_err(descriptor_rewrite_keys(descriptor_text, len, &d, &text),
		   EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_descriptor_is_written_as_the_format_says),
		cmocka_unit_test(a_descriptor_reads_back_as_it_was),
		cmocka_unit_test(the_extremes_round_trip),
		cmocka_unit_test(
		    every_flipped_bit_of_the_sealed_part_is_refused),
		cmocka_unit_test(every_flipped_bit_of_a_key_is_seen),
		cmocka_unit_test(every_truncation_and_addition_is_refused),
		cmocka_unit_test(what_is_malformed_or_out_of_bounds_is_refused),
		cmocka_unit_test(what_is_huge_is_refused),
		cmocka_unit_test(
		    unknown_compatible_bits_are_kept_and_forbid_writing),
		cmocka_unit_test(what_could_not_be_read_again_is_not_written),
		cmocka_unit_test(keys_are_rewrapped_without_the_dk),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
