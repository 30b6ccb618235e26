/*
 * meta_field.c - the members of a struct as `key = value` and back.
 *
 * A value is checked here for its form and bounds alone; that a number has no
 * leading zeros and the like follows of the text's being written again.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "meta_private.h"

const char *const words_no_yes[] = { "no", "yes", NULL };

#define REF_STR_LEN (2 * UUID_STR_LEN) /* UUID/UUID and the NUL */

/* Writing: each returns 0 or -EINVAL. */

static int
write_number(struct canon_text *t, const struct field *f, uint64_t v)
{
	if (v > f->max)
		return -EINVAL;
	if (f->type == FIELD_OCTAL)
		canon_put(t, f->key, "%04" PRIo64, v);
	else
		canon_put(t, f->key, "%" PRIu64, v);
	return 0;
}

static int
write_time(struct canon_text *t, const struct field *f, int64_t v)
{
	char s[TIME_STR_LEN];

	format_time(v, s);
	canon_put(t, f->key, "%s", s);
	return 0;
}

static int
write_uuid(struct canon_text *t, const struct field *f, const struct uuid *u)
{
	char s[UUID_STR_LEN];

	if (uuid_is_nil(u)) {
		if (f->type != FIELD_UUID_OPT)
			return -EINVAL;
		canon_put(t, f->key, "-");
		return 0;
	}
	uuid_format(u, s);
	canon_put(t, f->key, "%s", s);
	return 0;
}

static int
write_ref(struct canon_text *t, const struct field *f,
	  const struct layer_ref *ref)
{
	char lineage[UUID_STR_LEN], layer[UUID_STR_LEN];

	if (uuid_is_nil(&ref->layer) && f->type == FIELD_REF_OPT) {
		canon_put(t, f->key, "-");
		return 0;
	}
	if (uuid_is_nil(&ref->layer) || uuid_is_nil(&ref->lineage))
		return -EINVAL;
	uuid_format(&ref->lineage, lineage);
	uuid_format(&ref->layer, layer);
	canon_put(t, f->key, "%s/%s", lineage, layer);
	return 0;
}

static int
write_text(struct canon_text *t, const struct field *f, const char *s)
{
	char value[CANON_VALUE_MAX];

	/* What says who has a key is outside of the MAC, and is shown. */
	if ((!*s && f->type != FIELD_TEXT_OPT) || !utf8_valid(s, strlen(s)) ||
	    text_has_control(s))
		return -EINVAL;
	if (canon_encode(s, value, sizeof(value)) < 0)
		return -EINVAL;
	canon_put(t, f->key, "%s", value);
	return 0;
}

/* The index of ${word} among ${words}, or -1. */
static int
word_index(const char *const *words, const char *word)
{
	int i;

	for (i = 0; words[i]; i++)
		if (!strcmp(words[i], word))
			return i;
	return -1;
}

static int
write_index(struct canon_text *t, const struct field *f, unsigned index)
{
	unsigned n = 0;

	while (f->words[n])
		n++;
	if (index >= n || !*f->words[index])
		return -EINVAL;
	canon_put(t, f->key, "%s", f->words[index]);
	return 0;
}

static int
write_digest(struct canon_text *t, const struct field *f, const uint8_t *digest)
{
	char hex[2 * SHA256_LEN + 1];

	hex_encode(digest, SHA256_LEN, hex);
	canon_put(t, f->key, "%s", hex);
	return 0;
}

static int
field_put(struct canon_text *t, const struct field *f, const void *p)
{
	switch (f->type) {
	case FIELD_FORMAT:
		canon_put(t, f->key, "%d", STORE_FORMAT);
		return 0;
	case FIELD_U64:
		return write_number(t, f, *(const uint64_t *)p);
	case FIELD_U32:
	case FIELD_OCTAL:
		return write_number(t, f, *(const uint32_t *)p);
	case FIELD_LATER_TIME:
		if (*(const int64_t *)p == 0)
			return 0;
		return write_time(t, f, *(const int64_t *)p);
	case FIELD_TIME:
		return write_time(t, f, *(const int64_t *)p);
	case FIELD_UUID:
	case FIELD_UUID_OPT:
		return write_uuid(t, f, p);
	case FIELD_REF:
	case FIELD_REF_OPT:
		return write_ref(t, f, p);
	case FIELD_TEXT:
	case FIELD_TEXT_OPT:
		return write_text(t, f, p);
	case FIELD_WORD:
		return word_index(f->words, p) < 0 ? -EINVAL
						   : write_text(t, f, p);
	case FIELD_ENUM:
		return write_index(t, f, *(const unsigned *)p);
	case FIELD_BOOL:
		return write_index(t, f, *(const bool *)p);
	case FIELD_LATER_DIGEST:
		return digest_is_none(p) ? 0 : write_digest(t, f, p);
	case FIELD_DIGEST:
		return write_digest(t, f, p);
	}
	return -EINVAL;
}

int
fields_put(struct canon_text *t, const struct field *table, size_t n,
	   const void *obj)
{
	size_t i;
	int r;

	for (i = 0; i < n; i++) {
		r = field_put(t, &table[i],
			      (const char *)obj + table[i].offset);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Reading: each returns 0 or any negative errno. */

static int
read_number(const struct field *f, const char *s, uint64_t *ret)
{
	int r = parse_u64(s, ret);

	if (r < 0)
		return r;
	return *ret > f->max ? -ERANGE : 0;
}

static int
read_u32(const struct field *f, const char *s, uint32_t *ret)
{
	uint64_t v;
	int r = read_number(f, s, &v);

	if (r == 0)
		*ret = (uint32_t)v; /* no table says more than UINT32_MAX */
	return r;
}

static int
read_octal(const struct field *f, const char *s, uint32_t *ret)
{
	uint32_t v = 0;

	if (strlen(s) > 8)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '7')
			return -EINVAL;
		v = v << 3 | (uint32_t)(*s - '0');
	}
	*ret = v;
	return v > f->max ? -ERANGE : 0;
}

static int
read_uuid(const struct field *f, const char *s, struct uuid *ret)
{
	int r;

	if (f->type == FIELD_UUID_OPT && !strcmp(s, "-")) {
		*ret = (struct uuid){ { 0 } };
		return 0;
	}
	r = uuid_parse(s, ret);
	return r == 0 && uuid_is_nil(ret) ? -EINVAL : r;
}

static int
read_ref(const struct field *f, const char *s, struct layer_ref *ret)
{
	static const struct field part = { .type = FIELD_UUID };
	char lineage[UUID_STR_LEN];
	int r;

	if (f->type == FIELD_REF_OPT && !strcmp(s, "-")) {
		*ret = (struct layer_ref){ 0 };
		return 0;
	}
	if (strlen(s) != 2 * (UUID_STR_LEN - 1) + 1 ||
	    s[UUID_STR_LEN - 1] != '/')
		return -EINVAL;
	memcpy(lineage, s, UUID_STR_LEN - 1);
	lineage[UUID_STR_LEN - 1] = '\0';
	r = read_uuid(&part, lineage, &ret->lineage);
	return r < 0 ? r : read_uuid(&part, s + UUID_STR_LEN, &ret->layer);
}

static int
read_text(const struct field *f, const char *s, char *ret)
{
	int r = canon_decode(s, ret, f->max);

	if (r == 0 && !*ret && f->type != FIELD_TEXT_OPT)
		r = -EINVAL;
	if (r == 0 && f->type == FIELD_WORD && word_index(f->words, ret) < 0)
		r = -EINVAL;
	return r;
}

static int
read_index(const struct field *f, const char *s, unsigned *ret)
{
	int i = *s ? word_index(f->words, s) : -1;

	if (i < 0)
		return -EINVAL;
	*ret = (unsigned)i;
	return 0;
}

static int
read_bool(const struct field *f, const char *s, bool *ret)
{
	unsigned i;
	int r = read_index(f, s, &i);

	if (r == 0)
		*ret = i;
	return r;
}

static int
field_get(const struct field *f, const char *s, void *p)
{
	uint64_t format;

	switch (f->type) {
	case FIELD_FORMAT:
		return parse_u64(s, &format); /* meta_ini looked at it */
	case FIELD_U64:
		return read_number(f, s, p);
	case FIELD_U32:
		return read_u32(f, s, p);
	case FIELD_OCTAL:
		return read_octal(f, s, p);
	case FIELD_TIME:
	case FIELD_LATER_TIME:
		return parse_time(s, p);
	case FIELD_UUID:
	case FIELD_UUID_OPT:
		return read_uuid(f, s, p);
	case FIELD_REF:
	case FIELD_REF_OPT:
		return read_ref(f, s, p);
	case FIELD_TEXT:
	case FIELD_TEXT_OPT:
	case FIELD_WORD:
		return read_text(f, s, p);
	case FIELD_ENUM:
		return read_index(f, s, p);
	case FIELD_BOOL:
		return read_bool(f, s, p);
	case FIELD_DIGEST:
	case FIELD_LATER_DIGEST:
		return hex_decode(s, p, SHA256_LEN);
	}
	return -EINVAL;
}

/* The object was all zeros before. */
static bool
may_lack(const struct field *f)
{
	return f->type == FIELD_LATER_TIME || f->type == FIELD_LATER_DIGEST;
}

int
fields_get(const struct canon *c, const char *section,
	   const struct field *table, size_t n, void *obj)
{
	const char *value;
	size_t i;

	for (i = 0; i < n; i++) {
		value = canon_get(c, section, table[i].key);
		if (!value && may_lack(&table[i]))
			continue;
		if (!value || field_get(&table[i], value,
					(char *)obj + table[i].offset) < 0)
			return -EUCLEAN;
	}
	return 0;
}
