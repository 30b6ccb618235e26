/*
 * repair_chunk.c - what a chunk file says of itself (repair.c).
 */
#include "repair_private.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

uint64_t
chunk_last_session(struct store_file *f, uint64_t index,
		   const uint8_t mac_key[static KEY_LEN])
{
	uint8_t raw[PAGE_LEN];
	union page_body body;
	struct page_head h;
	uint64_t last = 0;

	for (unsigned i = 0; i < 2 * CHUNK_GROUPS; i++) {
		unsigned g = i / 2;

		if (f->st->ops->read(f, raw, PAGE_LEN,
				     SUPER_LEN + page_offset(g, i % 2)) == 0 &&
		    page_decode(raw, mac_key, PAGE_GROUP,
				index * CHUNK_GROUPS + g, &h, &body) == 0 &&
		    h.session > last)
			last = h.session;
	}
	return last;
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
		*ret_session = chunk_last_session(f, index, keys + KEY_LEN);
		if (*ret_session == 0)
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
		*ret_session = chunk_last_session(f, index, keys + KEY_LEN);
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

/* Later ones win. */
static void
take(struct repair *rp, unsigned i, const struct super *su, uint64_t session,
     bool lost)
{
	struct entry *e = &rp->body.entry[i];

	if (e->state == ENTRY_DATA) {
		rp->several[i] = true;
		if (lost || session < rp->session[i] ||
		    (session == rp->session[i] &&
		     su->created <= rp->created[i]))
			return;
	}
	rp->lost[i] = lost;
	e->state = ENTRY_DATA;
	memcpy(e->unique, su->salt, sizeof(e->unique));
	rp->session[i] = session;
	rp->created[i] = su->created;
}

int
repair_consider(const char *path, uint64_t index, const uint8_t salt[static 4],
		void *arg)
{
	CLEANUP(store_closep) struct store_file *f = NULL;
	struct repair *rp = arg;
	enum chunk_claim claim = chunk_set_ask(&rp->others, index, salt);
	struct super su;
	uint64_t session;
	int r;

	if (index / MAP_CHUNKS != rp->page || claim == CLAIM_SURE)
		return 0;
	r = rp->e->st->ops->open(rp->e->st, path, false, &f);
	if (r == 0)
		r = read_super(rp, f, index, &su, &session);
	if (err_is_shortage(r))
		return r;
	/* Of a layer that is gone, and that was merged into this one or not:
	 * if nobody else has it, it is this one's. */
	if (r == 0 &&
	    (claim == CLAIM_NONE || uuid_equal(&su.layer, &rp->ref.layer))) {
		take(rp, (unsigned)(index % MAP_CHUNKS), &su, session, false);
		return 0;
	}
	if (r == -EKEYREJECTED || (r < 0 && f && is_blank(f)) ||
	    (r == 0 && chunk_set_gap(&rp->others, index, &su.layer)))
		return 0;
	log_warn("%s: %s", path,
		 r < 0 ? err_text(r) : "which layer has it cannot be known");
	su = (struct super){ .created = 0 };
	memcpy(su.salt, salt, 4);
	take(rp, (unsigned)(index % MAP_CHUNKS), &su, 0, true);
	return 0;
}
