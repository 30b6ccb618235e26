/*
 * fuzz_text.c - any text as a number, a size, a time, a uuid, hex, Base64, a
 * value of canonical INI, a name, a name as commands take it.
 *
 * The first byte of an input says as what.  What is read is written again and
 * must come out the same where there is one form only; a name is held against
 * the rules once more.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays tests/data/fuzz_text,
 * as it is and changed at random.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/canon.h>
#include <sealdisk/codec.h>

#include "cmd.h"
#include "fuzz.h"
#include "meta.h"

#define TEXT_MAX 4096

static bool
take_number(const char *text)
{
	char again[24];
	uint64_t n;

	if (parse_u64(text, &n) < 0)
		return false;
	(void)snprintf(again, sizeof(again), "%llu", (unsigned long long)n);
	text += strspn(text, "0");
	must(strcmp(*text ? text : "0", again) == 0);
	return true;
}

static bool
take_size(const char *text)
{
	char again[24];
	uint64_t n, m;

	if (parse_size(text, &n) < 0)
		return false;
	(void)snprintf(again, sizeof(again), "%llu", (unsigned long long)n);
	must(parse_size(again, &m) == 0 && m == n);
	must(isdigit((unsigned char)text[0]));
	format_size(n, again);
	must(strlen(again) < 16);
	return true;
}

static bool
take_time(const char *text)
{
	char again[TIME_STR_LEN];
	int64_t t;

	if (parse_time(text, &t) < 0)
		return false;
	format_time(t, again);
	must(strcmp(text, again) == 0);
	return true;
}

static bool
take_uuid(const char *text)
{
	char again[UUID_STR_LEN];
	struct uuid u;

	if (uuid_parse(text, &u) < 0)
		return false;
	uuid_format(&u, again);
	must(strcmp(text, again) == 0);
	return true;
}

static bool
take_hex(const char *text)
{
	size_t len = strlen(text) / 2;
	uint8_t bytes[TEXT_MAX];
	char again[2 * TEXT_MAX + 1];

	if (hex_decode(text, bytes, len) < 0)
		return false;
	hex_encode(bytes, len, again);
	must(strcmp(text, again) == 0);
	return true;
}

static bool
take_base64(const char *text)
{
	char again[BASE64_LEN(TEXT_MAX)];
	uint8_t bytes[TEXT_MAX];
	size_t len;

	if (base64_decode(text, bytes, sizeof(bytes), &len) < 0)
		return false;
	base64_encode(bytes, len, again);
	must(strcmp(text, again) == 0);
	return true;
}

/* What any text is encoded to is decoded to it. */
static bool
take_value(const char *text)
{
	char value[3 * TEXT_MAX + 1], back[3 * TEXT_MAX + 1];

	must(canon_encode(text, value, sizeof(value)) == 0);
	must(canon_decode(value, back, sizeof(back)) == 0);
	must(strcmp(text, back) == 0);
	if (canon_decode(text, back, sizeof(back)) < 0)
		return false;
	must(strlen(back) <= strlen(text));
	return true;
}

/* The code point at ${p} of good UTF-8; *${ret} is what follows. */
static unsigned
code_point(const unsigned char *p, const unsigned char **ret)
{
	unsigned n = *p < 0x80 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
	unsigned c = n ? *p & (0x3fU >> n) : *p;

	while (n-- > 0)
		c = c << 6 | (*++p & 0x3f);
	*ret = p + 1;
	return c;
}

static bool
is_name(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t len = strlen(text);

	if (len < 1 || len > DISK_NAME_MAX || !utf8_valid(text, len) ||
	    *text == '.' || *text == '-')
		return false;
	while (*p) {
		unsigned c = code_point(p, &p);

		if (c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == '/' ||
		    c == '@' || c == ':')
			return false;
		must(c <= 0x10ffff && (c < 0xd800 || c > 0xdfff));
	}
	return true;
}

static bool
take_name(const char *text)
{
	must((name_check(text) == 0) == is_name(text));
	return is_name(text);
}

/* What a command says of a name that is none. */
int
cmd_usage(const char *fmt, ...)
{
	char text[16384];
	va_list ap;

	va_start(ap, fmt);
	must(vsnprintf(text, sizeof(text), fmt, ap) > 0);
	va_end(ap);
	return CMD_USAGE;
}

int
cmd_check_name(const char *name)
{
	return name_check(name) == 0 ? 0 : CMD_USAGE;
}

const char *
cmd_name(void)
{
	return "fuzz";
}

int
cmd_fail(int err, const char *why, const char *hint, const char *fmt, ...)
{
	(void)why;
	(void)hint;
	(void)fmt;
	return err;
}

/* DISK, DISK@SNAPSHOT, image:NAME. */
static bool
take_target(const char *text)
{
	struct cmd_target t, again;
	char path[PATH_MAX];
	const char *at;

	if (cmd_parse_name(text, CMD_ANY_TYPE, &t) != 0)
		return false;
	must(strcmp(t.text, text) == 0);
	at = strchr(t.name, '@');
	must(!at == (t.type != DESC_SNAPSHOT));
	must(is_name(at ? at + 1 : t.name));
	cmd_target_of(t.type, t.name, &again);
	must(strcmp(again.text, text) == 0);
	must(cmd_path_in("/mnt", true, &t, path) == 0);
	return true;
}

/* By the first byte of an input, modulo their number. */
static bool (*const takers[])(const char *text) = {
	take_number, take_size,  take_time, take_uuid,   take_hex,
	take_base64, take_value, take_name, take_target,
};
#define N_TAKERS (sizeof(takers) / sizeof(takers[0]))

static bool
take(const void *data, size_t len)
{
	CLEANUP(free_memp) char *text = NULL;
	const uint8_t *p = data;

	if (len < 1 || len > TEXT_MAX)
		return false;
	text = malloc(len);
	must(text);
	memcpy(text, p + 1, len - 1);
	text[len - 1] = '\0';
	return takers[p[0] % N_TAKERS](text);
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
	static const char some[] = "0189afAFkKgGTtzZ-:.%@/+=\xc2\x80\xed\xf0";
	static const struct fuzzer f = { "fuzz_text", take, some, sizeof(some),
					 5000 };

	return replay_main(&f, argc, argv);
}

#endif
