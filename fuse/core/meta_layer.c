/*
 * meta_layer.c - layer.ini.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "meta_private.h"

static const char *const states[] = { "open", "frozen", "merging", "sealed",
				      NULL };

#define AT(member) offsetof(struct layer_meta, member)

static const struct field layer_fields[] = {
	{ "format", FIELD_FORMAT, 0, 0, NULL },
	{ "incompat", FIELD_U64, AT(incompat), META_KNOWN_INCOMPAT, NULL },
	{ "ro_compat", FIELD_U64, AT(ro_compat), UINT64_MAX, NULL },
	{ "compat", FIELD_U64, AT(compat), UINT64_MAX, NULL },
	{ "uuid", FIELD_UUID, AT(uuid), 0, NULL },
	{ "lineage", FIELD_UUID, AT(lineage), 0, NULL },
	{ "key", FIELD_UUID, AT(key), 0, NULL },
	{ "parent", FIELD_REF_OPT, AT(parent), 0, NULL },
	{ "parent_limit", FIELD_U64, AT(parent_limit), DISK_SIZE_MAX, NULL },
	{ "state", FIELD_ENUM, AT(state), 0, states },
	{ "size", FIELD_U64, AT(size), DISK_SIZE_MAX, NULL },
	{ "created", FIELD_TIME, AT(created), 0, NULL },
	{ "digest", FIELD_DIGEST, AT(digest), 0, NULL },
	{ "parent_digest", FIELD_LATER_DIGEST, AT(parent_digest), 0, NULL },
};

#define N_FIELDS (sizeof(layer_fields) / sizeof(layer_fields[0]))

/* What no field can see alone. */
static bool
agrees(const struct layer_meta *m)
{
	if (!meta_size_ok(m->size))
		return false;
	/* What is sealed has a digest. */
	if (m->state == LAYER_SEALED && digest_is_none(m->digest))
		return false;
	if (!m->has_parent)
		return m->parent_limit == 0 && digest_is_none(m->parent_digest);
	return meta_size_ok(m->parent_limit) &&
	       !uuid_equal(&m->parent.layer, &m->uuid);
}

static int
put(struct canon_text *t, const struct layer_meta *m)
{
	struct layer_meta copy = *m;

	if (!agrees(m))
		return -EINVAL;
	if (!m->has_parent)
		copy.parent = (struct layer_ref){ 0 };
	else if (uuid_is_nil(&m->parent.layer))
		return -EINVAL;
	canon_section(t, "layer");
	return fields_put(t, layer_fields, N_FIELDS, &copy);
}

int
layer_meta_format(const struct layer_meta *m, const struct key *dk, char **ret)
{
	CLEANUP(canon_text_done) struct canon_text t = { 0 };
	int r;

	r = put(&t, m);
	if (r == 0) {
		canon_blank(&t);
		r = meta_seal(&t, dk, PURPOSE_LAYER, &m->uuid);
	}
	return r < 0 ? r : canon_finish(&t, ret);
}

static int
parse(const char *text, size_t len, struct layer_meta *m)
{
	CLEANUP(canon_text_done) struct canon_text t = { 0 };
	CLEANUP(canon_freep) struct canon *c = NULL;
	uint8_t mac[MAC_LEN];
	int r;

	memset(m, 0, sizeof(*m));
	r = meta_ini(text, len, "layer", &c);
	if (r == 0)
		r = fields_get(c, "layer", layer_fields, N_FIELDS, m);
	if (r == 0)
		r = meta_get_mac(c, mac);
	if (r < 0)
		return r;
	m->has_parent = !uuid_is_nil(&m->parent.layer);
	m->read_only = m->ro_compat & ~(uint64_t)META_KNOWN_RO_COMPAT;

	r = put(&t, m);
	if (r < 0)
		return r == -EINVAL ? -EUCLEAN : r;
	canon_blank(&t);
	meta_put_mac(&t, mac);
	return meta_same(&t, text, len);
}

int
layer_meta_peek(const char *text, size_t len, struct layer_meta *ret)
{
	struct layer_meta m;
	int r = parse(text, len, &m);

	if (r == 0)
		*ret = m;
	return r;
}

int
layer_meta_parse(const char *text, size_t len, const struct key *dk,
		 struct layer_meta *ret)
{
	struct layer_meta m;
	int r = parse(text, len, &m);

	if (r == 0)
		r = meta_check_mac(dk, PURPOSE_LAYER, &m.uuid, text, len);
	if (r == 0)
		*ret = m;
	return r;
}
