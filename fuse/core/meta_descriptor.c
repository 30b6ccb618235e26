/*
 * meta_descriptor.c - what stands for a disk, a snapshot or an image.
 *
 * The text: [disk] in the order of format.md, [seal] with the MAC over all that
 * is before it, then one [key UUID] for each DK, in the order of `keys`.  These
 * lie outside the MAC, for they are rewrapped without the DK; each is
 * authenticated by its CMK, and a DK other than the one that sealed [disk] does
 * not verify it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "meta_private.h"

static const char *const types[] = { "disk", "snapshot", "image", NULL };
static const char *const kinds[] = { "system", "data", NULL };
static const char *const anchors[] = { "none", "kms", NULL };
static const char *const revocations[] = { "keep", "stop", NULL };

/* Far more than can be, and sums of it do not overflow. */
#define COUNT_MAX (UINT64_MAX >> 2)

#define AT(member) offsetof(struct descriptor, member)
#define TEXT(member) AT(member), sizeof(((struct descriptor *)0)->member), NULL

/* Before and after `keys`. */
static const struct field head[] = {
	{ "format", FIELD_FORMAT, 0, 0, NULL },
	{ "incompat", FIELD_U64, AT(incompat), META_KNOWN_INCOMPAT, NULL },
	{ "ro_compat", FIELD_U64, AT(ro_compat), UINT64_MAX, NULL },
	{ "compat", FIELD_U64, AT(compat), UINT64_MAX, NULL },
	{ "type", FIELD_ENUM, AT(type), 0, types },
	{ "name", FIELD_TEXT, TEXT(name) },
	{ "store", FIELD_UUID, AT(store), 0, NULL },
	{ "uuid", FIELD_UUID, AT(uuid), 0, NULL },
	{ "of", FIELD_TEXT_OPT, TEXT(of) },
	{ "set", FIELD_UUID_OPT, AT(set), 0, NULL },
	{ "members", FIELD_U32, AT(members), 65535, NULL },
	{ "size", FIELD_U64, AT(size), DISK_SIZE_MAX, NULL },
	{ "sector_size", FIELD_U32, AT(sector_size), 4096, NULL },
	{ "kind", FIELD_WORD, AT(kind), sizeof("system"), kinds },
	{ "category", FIELD_TEXT, TEXT(category) },
	{ "created", FIELD_TIME, AT(created), 0, NULL },
	{ "layer", FIELD_REF, AT(layer), 0, NULL },
	{ "lineage", FIELD_UUID, AT(lineage), 0, NULL },
	{ "key", FIELD_UUID, AT(key), 0, NULL },
};
static const struct field tail[] = {
	{ "session", FIELD_U64, AT(session), COUNT_MAX, NULL },
	{ "clean", FIELD_BOOL, AT(clean), 0, words_no_yes },
	{ "digest", FIELD_DIGEST, AT(digest), 0, NULL },
	{ "digest_session", FIELD_U64, AT(digest_session), COUNT_MAX, NULL },
	{ "checkpointed", FIELD_LATER_TIME, AT(checkpointed), 0, NULL },
	{ "rebuilt", FIELD_LATER_TIME, AT(rebuilt), 0, NULL },
	{ "anchor", FIELD_WORD, AT(anchor), sizeof("none"), anchors },
	{ "on_key_revoked", FIELD_WORD, AT(on_key_revoked), sizeof("keep"),
	  revocations },
	{ "allocated", FIELD_U64, AT(allocated), COUNT_MAX, NULL },
	{ "uid", FIELD_U32, AT(uid), UINT32_MAX - 1, NULL },
	{ "gid", FIELD_U32, AT(gid), UINT32_MAX - 1, NULL },
	{ "mode", FIELD_OCTAL, AT(mode), 0777, NULL },
};

#define KEY_AT(member) offsetof(struct desc_key, dk.member)
#define KEY_TEXT(member)                                                       \
	KEY_AT(member), sizeof(((struct desc_key *)0)->dk.member), NULL

/* And then wrapped_dk. */
static const struct field key_fields[] = {
	{ "kms", FIELD_TEXT, KEY_TEXT(kms) },
	{ "key_id", FIELD_TEXT, KEY_TEXT(key_id) },
	{ "key_version_id", FIELD_TEXT, KEY_TEXT(key_version_id) },
	{ "lineage", FIELD_UUID, KEY_AT(lineage), 0, NULL },
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

const struct desc_key *
descriptor_key(const struct descriptor *d, const struct uuid *uuid)
{
	size_t i;

	for (i = 0; i < d->n_keys; i++)
		if (uuid_equal(&d->keys[i].uuid, uuid))
			return &d->keys[i];
	return NULL;
}

/* What no field can see alone. */

static bool
names_agree(const struct descriptor *d)
{
	if (name_check(d->name) < 0)
		return false;
	if (d->type == DESC_SNAPSHOT)
		return name_check(d->of) == 0;
	return !*d->of;
}

static bool
keys_agree(const struct descriptor *d)
{
	const struct desc_key *top = descriptor_key(d, &d->key);
	size_t i;

	if (!top || !uuid_equal(&top->dk.lineage, &d->lineage))
		return false;
	/* Each name leads to its own section. */
	for (i = 0; i < d->n_keys; i++)
		if (descriptor_key(d, &d->keys[i].uuid) != &d->keys[i])
			return false;
	return true;
}

static bool
agrees(const struct descriptor *d)
{
	const char *p;

	for (p = d->category; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_-", *p))
			return false;
	return names_agree(d) && meta_size_ok(d->size) &&
	       (d->sector_size == 512 || d->sector_size == 4096) &&
	       uuid_equal(&d->layer.lineage, &d->lineage) &&
	       uuid_is_nil(&d->set) == (d->members == 0) &&
	       d->digest_session <= d->session &&
	       (!d->reencrypting || d->type == DESC_DISK) && keys_agree(d);
}

/* Writing. */

static int
put_key_list(struct canon_text *t, const struct descriptor *d)
{
	char list[DESC_KEYS_MAX * UUID_STR_LEN];
	size_t i;

	_Static_assert(sizeof(list) <= CANON_VALUE_MAX, "keys in one line");
	if (d->n_keys == 0 || d->n_keys > DESC_KEYS_MAX)
		return -EINVAL;
	for (i = 0; i < d->n_keys; i++) {
		uuid_format(&d->keys[i].uuid, list + i * UUID_STR_LEN);
		list[(i + 1) * UUID_STR_LEN - 1] = ' ';
	}
	list[i * UUID_STR_LEN - 1] = '\0';
	canon_put(t, "keys", "%s", list);
	return 0;
}

/* Only while it goes on is it there. */
static void
put_reencrypt(struct canon_text *t, const struct descriptor *d)
{
	if (d->reencrypting)
		canon_put(t, "reencrypt", "%" PRIu64, d->reencrypt_rate);
}

static int
put_sealed(struct canon_text *t, const struct descriptor *d)
{
	int r;

	canon_section(t, "disk");
	r = fields_put(t, head, N(head), d);
	if (r == 0)
		r = put_key_list(t, d);
	if (r == 0)
		r = fields_put(t, tail, N(tail), d);
	if (r == 0)
		put_reencrypt(t, d);
	if (r == 0 && !agrees(d))
		r = -EINVAL;
	canon_blank(t);
	return r;
}

static void
key_section(const struct uuid *uuid, char out[static UUID_STR_LEN + 4])
{
	memcpy(out, "key ", 4);
	uuid_format(uuid, out + 4);
}

static int
put_key(struct canon_text *t, const struct desc_key *k)
{
	char section[UUID_STR_LEN + 4];
	char blob[BASE64_LEN(KMS_BLOB_MAX)];
	int r;

	if (k->dk.blob_len == 0 || k->dk.blob_len > KMS_BLOB_MAX)
		return -EINVAL;
	key_section(&k->uuid, section);
	canon_blank(t);
	canon_section(t, section);
	r = fields_put(t, key_fields, N(key_fields), k);
	if (r < 0)
		return r;
	base64_encode(k->dk.blob, k->dk.blob_len, blob);
	canon_put(t, "wrapped_dk", "%s", blob);
	return 0;
}

static int
put_keys(struct canon_text *t, const struct descriptor *d)
{
	size_t i;
	int r = 0;

	for (i = 0; i < d->n_keys && r == 0; i++)
		r = put_key(t, &d->keys[i]);
	return r;
}

int
descriptor_format(const struct descriptor *d, const struct key *dk, char **ret)
{
	CLEANUP(canon_text_done) struct canon_text t = { 0 };
	int r;

	r = put_sealed(&t, d);
	if (r == 0)
		r = meta_seal(&t, dk, PURPOSE_DESCRIPTOR, &d->uuid);
	if (r == 0)
		r = put_keys(&t, d);
	return r < 0 ? r : canon_finish(&t, ret);
}

/* Reading. */

static int
get_key(const struct canon *c, struct desc_key *k)
{
	char section[UUID_STR_LEN + 4];
	const char *blob;
	int r;

	key_section(&k->uuid, section);
	r = fields_get(c, section, key_fields, N(key_fields), k);
	if (r < 0)
		return r;
	blob = canon_get(c, section, "wrapped_dk");
	if (!blob || base64_decode(blob, k->dk.blob, sizeof(k->dk.blob),
				   &k->dk.blob_len) < 0)
		return -EUCLEAN;
	return 0;
}

static int
get_keys(const struct canon *c, struct descriptor *d)
{
	const char *list = canon_get(c, "disk", "keys");
	char one[UUID_STR_LEN];
	int r;

	for (d->n_keys = 0; list && *list; d->n_keys++) {
		if (d->n_keys == DESC_KEYS_MAX ||
		    strlen(list) < UUID_STR_LEN - 1)
			return -EUCLEAN;
		memcpy(one, list, UUID_STR_LEN - 1);
		one[UUID_STR_LEN - 1] = '\0';
		if (uuid_parse(one, &d->keys[d->n_keys].uuid) < 0)
			return -EUCLEAN;
		r = get_key(c, &d->keys[d->n_keys]);
		if (r < 0)
			return r;
		list += UUID_STR_LEN - 1;
		if (*list == ' ')
			list++;
	}
	return d->n_keys ? 0 : -EUCLEAN;
}

static int
get_reencrypt(const struct canon *c, struct descriptor *d)
{
	const char *rate = canon_get(c, "disk", "reencrypt");

	d->reencrypting = rate != NULL;
	if (!rate)
		return 0;
	return parse_u64(rate, &d->reencrypt_rate) < 0 ? -EUCLEAN : 0;
}

/* [disk] and [seal] of ${d}, the sections of ${keys}. */
static int
put_all(struct canon_text *t, const struct descriptor *d,
	const uint8_t mac[static MAC_LEN], const struct descriptor *keys)
{
	int r = put_sealed(t, d);

	if (r < 0)
		return r;
	meta_put_mac(t, mac);
	return put_keys(t, keys);
}

static int
parse(const char *text, size_t len, struct descriptor *d,
      uint8_t mac[static MAC_LEN])
{
	CLEANUP(canon_text_done) struct canon_text t = { 0 };
	CLEANUP(canon_freep) struct canon *c = NULL;
	int r;

	r = meta_ini(text, len, "disk", &c);
	if (r == 0)
		r = fields_get(c, "disk", head, N(head), d);
	if (r == 0)
		r = get_keys(c, d);
	if (r == 0)
		r = fields_get(c, "disk", tail, N(tail), d);
	if (r == 0)
		r = get_reencrypt(c, d);
	if (r == 0)
		r = meta_get_mac(c, mac);
	if (r < 0)
		return r;
	d->read_only = d->ro_compat & ~(uint64_t)META_KNOWN_RO_COMPAT;
	r = put_all(&t, d, mac, d);
	if (r < 0)
		return r == -EINVAL ? -EUCLEAN : r;
	return meta_same(&t, text, len);
}

int
descriptor_parse(const char *text, size_t len, struct descriptor *ret)
{
	CLEANUP(free_memp) struct descriptor *d = calloc(1, sizeof(*d));
	uint8_t mac[MAC_LEN];
	int r;

	if (!d)
		return -ENOMEM;
	r = parse(text, len, d, mac);
	if (r == 0)
		memcpy(ret, d, sizeof(*ret));
	return r;
}

int
descriptor_verify(const char *text, size_t len, const struct uuid *uuid,
		  const struct key *dk)
{
	return meta_check_mac(dk, PURPOSE_DESCRIPTOR, uuid, text, len);
}

int
descriptor_rewrite_keys(const char *text, size_t len,
			const struct descriptor *d, char **ret)
{
	CLEANUP(free_memp) struct descriptor *old = calloc(1, sizeof(*old));
	CLEANUP(canon_text_done) struct canon_text t = { 0 };
	uint8_t mac[MAC_LEN];
	size_t i;
	int r;

	if (!old)
		return -ENOMEM;
	r = parse(text, len, old, mac);
	if (r < 0)
		return r;
	/* Which DKs there are is sealed; only how they are wrapped is not. */
	if (d->n_keys != old->n_keys || !keys_agree(d))
		return -EINVAL;
	for (i = 0; i < d->n_keys; i++)
		if (!uuid_equal(&d->keys[i].uuid, &old->keys[i].uuid))
			return -EINVAL;
	r = put_all(&t, old, mac, d);
	return r < 0 ? r : canon_finish(&t, ret);
}
