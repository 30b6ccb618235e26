/*
 * repair_chunk.c - what a chunk file says of itself (repair.c), and pages of
 * one that cannot be read.
 */
#include "repair_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

bool
chunk_last_session(struct store_file *f, uint64_t index,
		   const uint8_t mac_key[static KEY_LEN], uint64_t *ret)
{
	uint8_t raw[PAGE_LEN];
	union page_body body;
	struct page_head h;
	bool some = false;

	*ret = 0;

	for (unsigned i = 0; i < 2 * CHUNK_GROUPS; i++) {
		unsigned g = i / 2;

		if (f->st->ops->read(f, raw, PAGE_LEN,
				     SUPER_LEN + page_offset(g, i % 2)) == 0 &&
		    page_decode(raw, mac_key, PAGE_GROUP,
				index * CHUNK_GROUPS + g, &h, &body) == 0) {
			some = true;
			if (h.session > *ret)
				*ret = h.session;
		}
	}
	return some;
}

/* By the salt in a superblock that is damaged, or whose copy of it is. */
static int
by_salt(struct repair *rp, struct store_file *f, uint64_t index,
	const uint8_t salt[static 12], struct super *ret, uint64_t *ret_session)
{
	uint8_t keys[2 * KEY_LEN];
	int r = -EBADMSG;

	for (uint8_t c = 0; r == -EBADMSG && c < UINT8_MAX; c++) {
		if (!cipher_name(c) ||
		    chunk_keys(rp->dk, salt, c, index, keys) < 0)
			continue;
		if (!chunk_last_session(f, index, keys + KEY_LEN, ret_session))
			continue;
		memcpy(ret->salt, salt, sizeof(ret->salt));
		ret->created = 0;
		memset(&ret->layer, 0, sizeof(ret->layer));
		r = 0;
	}
	secret_wipe(keys, sizeof(keys));
	return r;
}

static int
read_super(struct repair *rp, struct store_file *f, uint64_t index,
	   struct super *ret, uint64_t *ret_session)
{
	uint8_t raw[SUPER_LEN], keys[2 * KEY_LEN];
	int r;

	r = f->st->ops->read(f, raw, sizeof(raw), 0);
	if (r == 0)
		r = super_parse(raw, ret);
	if (r == 0)
		r = chunk_keys(rp->dk, ret->salt, ret->cipher, index, keys);
	if (r == 0)
		r = super_verify(raw, keys + KEY_LEN);
	if (r == 0 &&
	    (ret->index != index || !uuid_equal(&ret->dk, &rp->meta.key)))
		r = -EBADMSG;
	if (r == 0)
		(void)chunk_last_session(f, index, keys + KEY_LEN, ret_session);
	secret_wipe(keys, sizeof(keys));
	if (r != -EBADMSG && r != -EUCLEAN)
		return r;
	/* It is whole, and another key's. */
	if (super_parse(raw, ret) == 0 && !uuid_equal(&ret->dk, &rp->meta.key))
		return -EKEYREJECTED;
	return by_salt(rp, f, index, raw + SUPER_SALT, ret, ret_session);
}

/* A file that was only just made when it was cut off. */
static bool
is_blank(struct store_file *f)
{
	static const uint8_t zeros[PAGE_LEN];
	uint8_t raw[PAGE_LEN];
	uint64_t size;

	if (f->st->ops->size(f, &size) < 0)
		return false;
	for (uint64_t at = 0; at < SLOTS_OFFSET && at + PAGE_LEN <= size;
	     at += PAGE_LEN)
		if (f->st->ops->read(f, raw, PAGE_LEN, at) < 0 ||
		    memcmp(raw, zeros, PAGE_LEN) != 0)
			return false;
	return true;
}

/* That of this layer is its; of others later ones win, whose sessions are of
 * one disk, as they are of layers below this one. */
static void
take(struct repair *rp, unsigned i, const struct super *su, uint64_t session,
     enum repair_rank rank)
{
	struct entry *e = &rp->body.entry[i];

	if (e->state == ENTRY_DATA) {
		rp->several[i] = true;
		if (rank != rp->rank[i] ? rank < rp->rank[i]
					: session < rp->session[i] ||
					      (session == rp->session[i] &&
					       su->created <= rp->created[i]))
			return;
	}
	e->state = ENTRY_DATA;
	memcpy(e->unique, su->salt, sizeof(e->unique));
	rp->rank[i] = rank;
	rp->session[i] = session;
	rp->created[i] = su->created;
}

/* Of a superblock that was written anew (scrub_group.c) 4 bytes may be known.
 */
static bool
is_layer(const struct uuid *a, const struct uuid *layer)
{
	static const uint8_t none[12];

	return uuid_equal(a, layer) ||
	       (memcmp(a->bytes + 4, none, sizeof(none)) == 0 &&
		memcmp(a->bytes, layer->bytes, 4) == 0);
}

static bool
same_parent(const struct layer_meta *a, const struct layer_meta *b)
{
	return a->has_parent == b->has_parent &&
	       (!a->has_parent ||
		uuid_equal(&a->parent.layer, &b->parent.layer));
}

/* Another layer that ${m}, which has been merged, may have been merged into. */
static bool
has_other_heir(const struct repair *rp, const struct layer_meta *m)
{
	for (size_t i = 0; i < rp->layers.n; i++) {
		const struct layer_meta *o = &rp->layers.v[i];

		if (o != m && same_parent(o, m) && !repair_has_ended(rp, o) &&
		    !repair_is_dead(rp, &o->uuid))
			return true;
	}
	return false;
}

/* One that is neither below this layer nor above it. */
static bool
has_branch(const struct repair *rp)
{
	const struct layer_ref *below = rp->meta.has_parent ? &rp->meta.parent
							    : NULL;

	for (size_t i = 0; i < rp->layers.n; i++) {
		const struct layer_meta *o = &rp->layers.v[i];
		const struct layer_ref ref = { o->lineage, o->uuid };

		if (!repair_has_ended(rp, o) && !repair_is_dead(rp, &o->uuid) &&
		    !layers_reach(&rp->layers, &ref, &rp->ref.layer) &&
		    !(below && layers_reach(&rp->layers, below, &o->uuid)))
			return true;
	}
	return false;
}

/* Whether what was made for ${layer} and nobody names has passed to this layer:
 * it is gone, or about to be.  Of one that is there it is what a crash has
 * left. */
enum passed { NOT_PASSED, PASSED, PASSED_PERHAPS };

static int
ask_ended(const struct repair *rp, const struct layer_meta *m, enum passed *ret)
{
	CLEANUP(chunk_set_done) struct chunk_set s = { .n_gaps = 0 };
	const struct layer_ref ref = { m->lineage, m->uuid };
	int r;

	*ret = PASSED;
	if (!has_other_heir(rp, m))
		return 0;
	/* Who has any of its chunks was its child. */
	r = chunk_set_add_layer(&s, rp->e->st, &ref, true);
	*ret = chunk_sets_meet(&s, &rp->others) ? NOT_PASSED : PASSED_PERHAPS;
	return err_is_shortage(r) ? r : 0;
}

static int
ask_passed(const struct repair *rp, const struct uuid *layer, enum passed *ret)
{
	for (size_t i = 0; i < rp->layers.n; i++) {
		const struct layer_meta *m = &rp->layers.v[i];

		if (!is_layer(layer, &m->uuid))
			continue;
		*ret = NOT_PASSED;
		return repair_has_ended(rp, m) && same_parent(m, &rp->meta)
			   ? ask_ended(rp, m, ret)
			   : 0;
	}
	*ret = PASSED;
	return 0;
}

/* For which layer it was made, where no superblock says so: the first 4 bytes
 * of the uuid. */
static void
by_name(const char *path, struct uuid *ret)
{
	const char *name = strrchr(path, '/');
	char hex[9] = "";

	memset(ret, 0, sizeof(*ret));
	if (!name || strlen(name) < 1 + 8 + 8)
		return;
	memcpy(hex, name + 1 + 8, 8);
	if (hex_decode(hex, ret->bytes, 4) < 0)
		memset(ret, 0, sizeof(*ret));
}

int
repair_consider(const char *path, uint64_t index, const uint8_t salt[static 4],
		void *arg)
{
	CLEANUP(store_closep) struct store_file *f = NULL;
	unsigned i = (unsigned)(index % MAP_CHUNKS);
	struct repair *rp = arg;
	enum chunk_claim claim = chunk_set_ask(&rp->others, index, salt);
	enum passed passed = PASSED;
	struct super su;
	uint64_t session;
	int r, e;

	if (index / MAP_CHUNKS != rp->page || !rp->asked[i] ||
	    claim == CLAIM_SURE)
		return 0;
	r = rp->e->st->ops->open(rp->e->st, path, false, &f);
	if (r == 0)
		r = read_super(rp, f, index, &su, &session);
	if (err_is_shortage(r))
		return r;
	if (r == -EKEYREJECTED || (r < 0 && f && is_blank(f)))
		return 0;
	if (r < 0 || uuid_is_nil(&su.layer))
		by_name(path, &su.layer);
	if (r == 0 && is_layer(&su.layer, &rp->ref.layer)) {
		take(rp, i, &su, session, OWN);
		return 0;
	}
	if (!is_layer(&su.layer, &rp->ref.layer)) {
		e = ask_passed(rp, &su.layer, &passed);
		if (e < 0 || passed == NOT_PASSED)
			return e;
	}
	/* That was merged into this one or not: if nobody else has it, it is
	 * this one's, or was kept since this one's map could not be read. */
	if (r == 0 && claim == CLAIM_NONE && passed == PASSED) {
		take(rp, i, &su, session, OF_ONE_GONE);
		rp->several[i] |= has_branch(rp);
		return 0;
	}
	log_warn("%s: %s", path,
		 r < 0 ? err_text(r) : "which layer has it cannot be known");
	su = (struct super){ .created = 0 };
	memcpy(su.salt, salt, 4);
	take(rp, i, &su, 0, NOT_READ);
	return 0;
}

/* ---- group pages ---- */

/* By the cipher that it names itself: with a wrong one nothing verifies. */
static bool
group_verifies(const struct repair *rp, const uint8_t *raw, uint64_t index,
	       unsigned g, const uint8_t salt[static 12])
{
	uint64_t group = index * CHUNK_GROUPS + g;
	uint8_t keys[2 * KEY_LEN];
	union page_body body;
	struct page_head h;
	int r;

	r = page_decode_open(raw, PAGE_GROUP, group, &h, &body);
	if (r == 0)
		r = chunk_keys(rp->dk, salt, h.cipher, index, keys);
	if (r == 0)
		r = page_decode(raw, keys + KEY_LEN, PAGE_GROUP, group, &h,
				&body);
	secret_wipe(keys, sizeof(keys));
	return r == 0;
}

static int
mend_group(struct repair *rp, struct store_file *f, const char *path,
	   uint64_t index, unsigned g, const uint8_t salt[static 12])
{
	const struct store_ops *ops = f->st->ops;
	uint8_t raw[PAGE_LEN];
	unsigned good = 2, unread = 2;
	int r;

	for (unsigned i = 0; i < 2; i++) {
		r = ops->read(f, rp->pages, PAGE_LEN,
			      SUPER_LEN + page_offset(g, i));
		if (err_is_shortage(r))
			return r;
		if (r == 0 && group_verifies(rp, rp->pages, index, g, salt)) {
			memcpy(raw, rp->pages, PAGE_LEN);
			good = i;
		} else if (r < 0 && r != -ENODATA) {
			unread = i;
		}
	}
	if (good == 2 || unread == 2)
		return 0;
	r = ops->write(f, raw, PAGE_LEN, SUPER_LEN + page_offset(g, unread));
	if (r == 0)
		r = ops->sync(f);
	if (r < 0)
		log_warn("%s: a group page cannot be mended: %s", path,
			 err_text(r));
	rp->report.groups += r == 0;
	return err_is_shortage(r) ? r : 0;
}

int
repair_mend_groups(const char *path, uint64_t index,
		   const uint8_t salt[static 4], void *arg)
{
	CLEANUP(store_closep) struct store_file *f = NULL;
	struct repair *rp = arg;
	const struct entry *e = &rp->body.entry[index % MAP_CHUNKS];
	int r;

	if (index / MAP_CHUNKS != rp->page || e->state != ENTRY_DATA ||
	    memcmp(e->unique, salt, 4) != 0)
		return 0;
	r = rp->e->st->ops->open(rp->e->st, path, true, &f);
	if (r == 0)
		r = f->st->ops->read(f, rp->pages, sizeof(rp->pages),
				     SUPER_LEN);
	if (r == 0 || !f || err_is_shortage(r))
		return err_is_shortage(r) ? r : 0;
	r = 0;
	for (unsigned g = 0; r == 0 && g < CHUNK_GROUPS; g++)
		r = mend_group(rp, f, path, index, g, e->unique);
	return r;
}
