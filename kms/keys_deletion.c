/*
 * keys_deletion.c - the end of a key: scheduled, called off, done.
 *
 * There is no process that waits for a key's last day.  From that on it is gone
 * for every action, whoever looks, and the next one to open the keystore
 * destroys its material.
 */
#include <errno.h>

#include <sealdisk/log.h>

#include "keys_private.h"

#define DAY 86400

bool
keys_is_gone(const struct keystore_key *row)
{
	return row->destroyed ||
	       (row->info.state == KMS_PENDING_DELETION &&
		row->info.delete_at && row->info.delete_at <= keys_now());
}

int
keys_schedule_deletion(struct keys *k, const char *id, unsigned days,
		       int64_t *ret_at)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int64_t at;
	int r;

	if (days < KMS_DELETION_DAYS_MIN || days > KMS_DELETION_DAYS_MAX)
		return -EINVAL;
	r = keys_begin(&c, k, true);
	if (r == 0)
		r = keys_find_id(k, id, &row);
	if (r == 0)
		r = keys_allowed(KEYS_SCHEDULE, &row);
	if (r == 0 && row.info.is_protected)
		r = -EBUSY;
	if (r < 0)
		return r;
	at = keys_now() + (int64_t)days * DAY;
	r = keystore_set_state(k->ks, row.seq, KMS_PENDING_DELETION);
	if (r == 0)
		r = keystore_set_deletion(k->ks, row.seq, at);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		*ret_at = at;
	return r;
}

int
keys_cancel_deletion(struct keys *k, const char *id)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin(&c, k, true);
	if (r == 0)
		r = keys_find_id(k, id, &row);
	if (r == 0)
		r = keys_allowed(KEYS_CANCEL, &row);
	if (r < 0)
		return r;
	/* Not to its former state; but without material it opens nothing. */
	r = keystore_set_state(k->ks, row.seq,
			       row.material.len ? KMS_ENABLED
						: KMS_PENDING_IMPORT);
	return r < 0 ? r : keys_commit(&c);
}

/* Imported material that has expired is as if it had been removed then. */
static int
drop_expired(struct keys *k, const struct uuid *id)
{
	struct keystore_key row;
	int r;

	r = keystore_get_key(k->ks, id, &row);
	if (r < 0)
		return r;
	keys_age(&row);
	if (row.info.state == KMS_PENDING_IMPORT)
		r = keystore_set_state(k->ks, row.seq, row.info.state);
	return r < 0 ? r : keystore_remove_material(k->ks, row.seq);
}

/* One thing that is due; -ENOKEY: there is none. */
static int
reap_one(struct keys *k, int64_t now, unsigned *ret_destroyed)
{
	struct uuid id;
	bool some, kept = false;
	int64_t key;
	int r;

	r = keystore_next_due(k->ks, now, k->instance != NULL, &key, &kept);
	if (r == 0 && kept) {
		r = keys_empty_instance(k, key);
		if (r < 0)
			return r;
	}
	*ret_destroyed += r == 0;
	if (r == 0)
		return keystore_destroy(k->ks, key, now);
	if (r == -ENOKEY)
		r = keystore_next_expired(k->ks, now, &id);
	if (r == 0)
		return drop_expired(k, &id);
	if (r == -ENOKEY)
		r = keystore_expire_imports(k->ks, now, &some);
	return r < 0 || some ? r : -ENOKEY;
}

/* -ENOKEY: nothing is due. */
static int
look(struct keys *k)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_begin(&c, k, false);
	return r < 0 ? r : keystore_any_due(k->ks, keys_now());
}

static int
reap(struct keys *k)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int64_t now = keys_now();
	unsigned n = 0;
	int r;

	r = keys_begin(&c, k, true);
	while (r == 0)
		r = reap_one(k, now, &n);
	if (r == -ENOKEY)
		r = keys_commit(&c);
	if (r < 0)
		return r;
	keystore_forget(k->ks);
	if (n)
		log_note("keystore %s: %u keys were scheduled for deletion, "
			 "and are destroyed now",
			 k->path, n);
	return 0;
}

void
keys_reap(struct keys *k)
{
	int r;

	r = look(k);
	if (r == 0)
		r = reap(k);
	if (r < 0 && r != -ENOKEY)
		log_warn("keystore %s: keys that are due cannot be destroyed: "
			 "%s",
			 k->path, err_text(r));
}
