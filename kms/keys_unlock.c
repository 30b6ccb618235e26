/*
 * keys_unlock.c - from the root to the keystore key.
 *
 * The keystore key is all that stays in memory: not the root, which may be what
 * a person knows and uses elsewhere, too.  It stays the same when the root is
 * changed, so that whoever has the keystore open goes on.  It is taken for what
 * it is by the keystore's uuid; another keystore that was put in the place of
 * this one needs its root again.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

#include "files.h"
#include "instance.h"
#include "keys_private.h"

/* The keystore key of ${head}, by what is at hand. */
static int
open_head(const struct keys *k, struct aead *a,
	  const struct keystore_head *head, bool may_ask, struct key *ret,
	  bool *ret_next)
{
	*ret_next = false;
	if (k->lent)
		return root_unwrap(k->lent, a, &head->uuid, head->key.bytes,
				   head->key.len, ret);
	return root_unlock(&k->settings, may_ask, a, &head->uuid,
			   head->key.bytes, head->key.len, ret, ret_next);
}

int
keys_keystore_key(struct keys *k, struct key *ret)
{
	struct keystore_head head;
	bool next;
	int r;

	r = keystore_get_head(k->ks, &head);
	if (r == 0 && !uuid_equal(&head.uuid, &k->kek_of)) {
		r = open_head(k, k->aead, &head, false, k->kek, &next);
		if (r == 0)
			k->kek_of = head.uuid;
		else
			log_error("keystore %s is another than it was, and "
				  "does not open: start again",
				  k->path);
	}
	if (r == 0)
		*ret = *k->kek;
	return r;
}

static int
read_head(struct keys *k, struct keystore_head *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_begin(&c, k, false);
	return r < 0 ? r : keystore_get_head(k->ks, ret);
}

/* Whoever is asked may think for long: not in a transaction, and with nothing
 * held that a call needs.  *${ret_head}: what it was tried on. */
static int
try(struct keys *k, struct keystore_head *ret_head, bool *ret_next)
{
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	CLEANUP(aead_freep) struct aead *a = NULL;
	int r;

	r = read_head(k, ret_head);
	if (r == 0)
		r = aead_new(&a);
	if (r == 0)
		r = open_head(k, a, ret_head, true, &kek, ret_next);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&k->lock);
	*k->kek = kek;
	k->kek_of = ret_head->uuid;
	(void)pthread_mutex_unlock(&k->lock);
	return 0;
}

/* That the root is changed between a look at the keystore and one at the file
 * is no reason to fail. */
static int
unlock(struct keys *k, bool *ret_next)
{
	struct keystore_head head, now;
	int r;

	do
		r = try(k, &head, ret_next);
	while ((r == -EKEYREJECTED || r == -ENOKEY) &&
	       read_head(k, &now) == 0 && !keystore_same_head(&now, &head));
	return r;
}

static int
settle(struct keys *k)
{
	CLEANUP(close_fdp) int lock = -1;
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_head head;
	int r;

	/* Whoever changed the root may be at it still. */
	r = files_lock_parent(k->path, &lock);
	if (r == 0)
		r = keys_begin(&c, k, false);
	if (r == 0)
		r = keystore_get_head(k->ks, &head);
	if (r < 0)
		return r;
	return root_settle(&k->settings, k->aead, &head.uuid, head.key.bytes,
			   head.key.len);
}

/* All other keys are there without it. */
static void
open_instance(struct keys *k)
{
	int r;

	if (!k->settings.instance_id[0] || k->lent)
		return;
	r = instance_open(&k->settings, true, &k->instance);
	if (r == 0)
		keys_reap(k); /* what could not be destroyed without */
	else
		log_warn("instance %s cannot be used, nor any key in it: %s",
			 k->settings.instance_id, err_text(r));
}

int
keys_unlock(struct keys *k)
{
	bool next = false;
	int r = 0;

	if (atomic_load(&k->unlocked))
		return 0;
	(void)pthread_mutex_lock(&k->root_lock);
	if (!atomic_load(&k->unlocked))
		r = unlock(k, &next);
	if (r == 0 && !atomic_load(&k->unlocked))
		open_instance(k);
	if (r == 0)
		atomic_store(&k->unlocked, true);
	if (r == 0 && next && settle(k) < 0)
		log_warn("root key file %s.next opens keystore %s, but cannot "
			 "be given the name that it should have",
			 k->settings.keystore_root_file, k->path);
	(void)pthread_mutex_unlock(&k->root_lock);
	return r;
}
