/*
 * test_meta.c - names, store.ini, layer.ini, and the values of all such files.
 */
#include "meta_env.h"

#include <sealdisk/canon.h>

static void
names_are_good_or_bad(void **state)
{
	static const char *const good[] = {
		"a",
		"db",
		"A.b_c-d",
		"1",
		"with space",
		" ",
		"ends ",
		"semi;colon",
		"quo\"te",
		"apo'strophe",
		"#1",
		"a=b",
		"[x]",
		"100%",
		"back\\slash",
		"B\xc3\xbcro",
		"\xe2\x82\xac",
		"\xf0\x9f\x98\x80",
		"\xc2\xa0", /* U+00A0, the first that is no control */
		"\xef\xbf\xbf",
		"a.ini",
		"~",
	};
	static const char *const bad[] = {
		"",
		".",
		"..",
		".x",
		"-",
		"-x",
		"a/b",
		"/",
		"a@b",
		"a:b",
		"a\nb",
		"a\tb",
		"\x01",
		"\x7f",
		"\xc2\x80",
		"a\xc2\x85",
		"\xc2\x9f",
		"\xff",
		"\xc3",             /* cut off */
		"\xc0\xaf",         /* an overlong slash */
		"\xed\xa0\x80",     /* a surrogate */
		"\xf4\x90\x80\x80", /* past U+10FFFF */
	};
	char name[DISK_NAME_MAX + 2];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (name_check(good[i]) != 0)
			fail_msg("\"%s\" is refused", good[i]);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (name_check(bad[i]) != -EINVAL)
			fail_msg("bad name %zu is taken", i);
	memset(name, 'x', sizeof(name));
	name[DISK_NAME_MAX + 1] = '\0';
	assert_err(name_check(name), EINVAL);
	name[DISK_NAME_MAX] = '\0';
	assert_ok(name_check(name));
}

static void
every_byte_can_be_a_value(void **state)
{
	char s[256], value[CANON_VALUE_MAX], back[256];

	(void)state;
	for (unsigned i = 0; i < 255; i++)
		s[i] = (char)(255 - i);
	s[255] = '\0';
	assert_ok(canon_encode(s, value, sizeof(value)));
	for (const char *p = value; *p; p++)
		assert_false((unsigned char)*p <= ' ' ||
			     strchr("\"'#;=\\", *p));
	assert_ok(canon_decode(value, back, sizeof(back)));
	assert_string_equal(back, s);
	assert_err(canon_decode(value, back, sizeof(back) - 1), EMSGSIZE);
	assert_err(canon_encode(s, value, strlen(value)), EMSGSIZE);

	assert_ok(canon_encode("", value, 2));
	assert_string_equal(value, "-");
	assert_ok(canon_decode(value, back, 1));
	assert_string_equal(back, "");
	assert_ok(canon_encode("-", value, sizeof(value)));
	assert_string_equal(value, "%2D");
	assert_ok(canon_encode("a-", value, 3));
	assert_string_equal(value, "a-");
	assert_err(canon_decode("%2", back, sizeof(back)), EINVAL);
	assert_err(canon_decode("%00", back, sizeof(back)), EINVAL);
	assert_err(canon_decode("%2d", back, sizeof(back)), EINVAL);
}

/* store.ini */

static const char store_text[] = "[store]\n"
				 "format = 1\n"
				 "uuid = 00000000-0000-4000-8000-000000000001\n"
				 "created = 2026-11-24T05:06:07Z\n"
				 "cipher = aes-256-ocb\n"
				 "slack = 1073741824\n"
				 "commit = files\n";

static const struct change store_changes[] = {
	{ "format = 1", "format = 2", EPROTONOSUPPORT },
	{ "format = 1", "format = 1\nkind = new", EUCLEAN },
	{ "format = 1", "format = x", EUCLEAN },
	{ "[store]", "[disk]", EUCLEAN },
	{ "uuid = 0", "uuid = x", EUCLEAN },
	{ "07Z", "07", EUCLEAN },
	{ "aes-256-ocb", "aes-128-ocb", EUCLEAN },
	{ "aes-256-ocb", "", EUCLEAN },
	{ "slack = 1", "slack = -1", EUCLEAN },
	{ "slack = 1073741824", "slack = 9223372036854775808", EUCLEAN },
	{ "slack = 1073741824", "slack = 1G", EUCLEAN },
	{ "files\n", "always\n", EUCLEAN },
	{ "files\n", "files", EUCLEAN },
	{ "files\n", "files\n\n", EUCLEAN },
};

static void
store_ini_round_trips(void **state)
{
	struct store_meta m;
	char *text;
	size_t i;

	(void)state;
	assert_ok(store_meta_parse(store_text, strlen(store_text), &m));
	assert_int_equal(m.cipher, CIPHER_AES256_OCB);
	assert_int_equal(m.slack, 1 << 30);
	assert_true(m.commit_files);
	assert_ok(store_meta_format(&m, &text));
	assert_string_equal(text, store_text);
	free(text);
	m.cipher = 7;
	assert_err(store_meta_format(&m, &text), EINVAL);

	for (i = 0; i < sizeof(store_changes) / sizeof(struct change); i++) {
		const struct change *c = &store_changes[i];

		text = edit(store_text, c->from, c->to);
		if (store_meta_parse(text, strlen(text), &m) != -c->err)
			fail_msg("\"%s\" for \"%s\"", c->to, c->from);
		free(text);
	}
	for (i = 0; i < strlen(store_text); i++)
		assert_err(store_meta_parse(store_text, i, &m), EUCLEAN);
}

/* layer.ini */

static const char layer_text[] =
    "[layer]\n"
    "format = 1\n"
    "incompat = 0\n"
    "ro_compat = 0\n"
    "compat = 0\n"
    "uuid = 00000000-0000-4000-8000-000000000004\n"
    "lineage = 00000000-0000-4000-8000-000000000003\n"
    "key = 00000000-0000-4000-8000-000000000005\n"
    "parent = 00000000-0000-4000-8000-000000000007/"
    "00000000-0000-4000-8000-000000000008\n"
    "parent_limit = 4096\n"
    "state = merging\n"
    "size = 8192\n"
    "created = 2026-11-24T05:06:07Z\n"
    "digest = 00000000000000000000000000000000"
    "000000000000000000000000000000ff\n"
    "\n"
    "[seal]\n"
    "mac = bfe975f9b706c8316e338d8a9b5bc54c"
    "6e3b191fec5de3c5ca62aa7f9310ea94\n";

static void
fill_layer(struct layer_meta *m)
{
	memset(m, 0, sizeof(*m));
	m->uuid = u("00000000-0000-4000-8000-000000000004");
	m->lineage = u("00000000-0000-4000-8000-000000000003");
	m->key = u("00000000-0000-4000-8000-000000000005");
	m->has_parent = true;
	m->parent.lineage = u("00000000-0000-4000-8000-000000000007");
	m->parent.layer = u("00000000-0000-4000-8000-000000000008");
	m->parent_limit = 4096;
	m->state = LAYER_MERGING;
	m->size = 8192;
	assert_ok(parse_time("2026-11-24T05:06:07Z", &m->created));
	m->digest[SHA256_LEN - 1] = 0xff;
}

static void
layer_ini_is_written_as_the_format_says(void **state)
{
	struct layer_meta m, back;
	char *text;

	(void)state;
	fill_layer(&m);
	assert_ok(layer_meta_format(&m, &dk, &text));
	assert_string_equal(text, layer_text);
	assert_ok(layer_meta_parse(text, strlen(text), &dk, &back));
	assert_memory_equal(&m, &back, sizeof(m));
	assert_err(layer_meta_parse(text, strlen(text), &other_dk, &back),
		   EBADMSG);
	free(text);

	/* The first of a lineage; bits that are not ours. */
	m.has_parent = false;
	memset(&m.parent, 0, sizeof(m.parent));
	m.parent_limit = 0;
	m.state = LAYER_OPEN;
	m.ro_compat = m.compat = 2;
	m.read_only = true;
	m.size = DISK_SIZE_MAX;
	assert_ok(layer_meta_format(&m, &dk, &text));
	assert_ok(layer_meta_parse(text, strlen(text), &dk, &back));
	assert_memory_equal(&m, &back, sizeof(m));
	free(text);
}

static void
every_flipped_bit_of_layer_ini_is_refused(void **state)
{
	size_t i, len = strlen(layer_text);
	char *text = strdup(layer_text);
	struct layer_meta m;
	int r;

	(void)state;
	for (i = 0; i < 8 * len; i++) {
		text[i / 8] ^= (char)(1 << i % 8);
		r = layer_meta_parse(text, len, &dk, &m);
		assert_true(r == -EUCLEAN || r == -EBADMSG ||
			    r == -EPROTONOSUPPORT);
		text[i / 8] ^= (char)(1 << i % 8);
	}
	for (i = 0; i < len; i++)
		assert_err(layer_meta_parse(text, i, &dk, &m), EUCLEAN);
	free(text);
}

static const struct change layer_changes[] = {
	{ "format = 1", "format = 9", EPROTONOSUPPORT },
	{ "\nincompat = 0", "\nincompat = 2", EPROTONOSUPPORT },
	{ "ro_compat = 0", "ro_compat = 2", EBADMSG },
	{ "state = merging", "state = sealed", EBADMSG },
	{ "state = merging", "state = gone", EUCLEAN },
	{ "parent = 0", "parent = -\n#", EUCLEAN },
	{ "parent_limit = 4096", "parent_limit = 4095", EUCLEAN },
	{ "size = 8192", "size = 131941395333632", EUCLEAN },
	{ "000000000008\n", "000000000004\n", EUCLEAN }, /* its own parent */
	{ "key = ", "key = -", EUCLEAN },
	{ "00ff\n", "00ff\nmore = 1\n", EUCLEAN },
	{ "mac = ", "mac = x", EUCLEAN },
};

static void
what_is_no_layer_ini_is_refused(void **state)
{
	struct layer_meta m;
	char *text;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(layer_changes) / sizeof(struct change); i++) {
		const struct change *c = &layer_changes[i];

		text = edit(layer_text, c->from, c->to);
		if (layer_meta_parse(text, strlen(text), &dk, &m) != -c->err)
			fail_msg("\"%s\" for \"%s\"", c->to, c->from);
		free(text);
	}
	fill_layer(&m);
	m.parent.layer = m.uuid;
	assert_err(layer_meta_format(&m, &dk, &text), EINVAL);
	fill_layer(&m);
	m.has_parent = false; /* but a limit */
	assert_err(layer_meta_format(&m, &dk, &text), EINVAL);
	fill_layer(&m);
	memset(&m.parent.layer, 0, sizeof(m.parent.layer));
	assert_err(layer_meta_format(&m, &dk, &text), EINVAL);
	fill_layer(&m);
	m.size = 100;
	assert_err(layer_meta_format(&m, &dk, &text), EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_good_or_bad),
		cmocka_unit_test(every_byte_can_be_a_value),
		cmocka_unit_test(store_ini_round_trips),
		cmocka_unit_test(layer_ini_is_written_as_the_format_says),
		cmocka_unit_test(every_flipped_bit_of_layer_ini_is_refused),
		cmocka_unit_test(what_is_no_layer_ini_is_refused),
	};

	assert_ok(crypto_init());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
