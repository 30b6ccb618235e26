/*
 * access.c - see access.h.
 *
 * Ids and secrets are letters and digits, as those of the cloud: they are typed
 * and pasted.  30 of them are 178 bits, and fit the cell that wraps a key.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>

#include "access.h"
#include "keys_private.h"

#define ID_PREFIX "SD"
#define ID_CHARS 22
#define SECRET_CHARS 30

_Static_assert(SECRET_CHARS < KEY_LEN, "a secret and its NUL fit a key");
_Static_assert(KEY_LEN <= ACCESS_SECRET_LEN, "room");
_Static_assert(sizeof(ID_PREFIX) + ID_CHARS <= KEYSTORE_ACCESS_LEN, "room");

/* ${n} letters and digits, each as likely as the others, and a NUL. */
static int
random_text(char *out, size_t n)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "abcdefghijklmnopqrstuvwxyz0123456789";
	const unsigned nset = sizeof(set) - 1, most = 256 - 256 % nset;
	CLEANUP(key_wipe) struct key pool = { { 0 } };
	size_t i = 0, at = sizeof(pool.bytes);
	int r;

	while (i < n) {
		if (at == sizeof(pool.bytes)) {
			r = crypto_random(pool.bytes, sizeof(pool.bytes));
			if (r < 0)
				return r;
			at = 0;
		}
		if (pool.bytes[at] < most)
			out[i++] = set[pool.bytes[at] % nset];
		at++;
	}
	out[n] = '\0';
	return 0;
}

/* Binds a secret to its row: in another it does not open. */

#define SECRET_LABEL "sealdisk access key"
#define SECRET_AD_LEN                                                          \
	(sizeof(SECRET_LABEL) + KEYSTORE_ACCESS_LEN + KMS_PRINCIPAL_LEN)

static void
secret_ad(const struct keystore_access_key *row,
	  uint8_t out[static SECRET_AD_LEN])
{
	struct writer w = writer_over(out, SECRET_AD_LEN);

	put_bytes(&w, SECRET_LABEL, sizeof(SECRET_LABEL));
	put_bytes(&w, row->id, sizeof(row->id));
	put_bytes(&w, row->principal, sizeof(row->principal));
}

static int
wrap_secret(struct keys *k, const struct key *secret,
	    struct keystore_access_key *row)
{
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	uint8_t ad[SECRET_AD_LEN];
	int r;

	r = keys_keystore_key(k, &kek);
	if (r < 0)
		return r;
	secret_ad(row, ad);
	r = envelope_wrap(k->aead, &kek, ad, sizeof(ad), secret,
			  row->secret.bytes);
	if (r == 0)
		row->secret.len = ENVELOPE_WRAPPED_LEN;
	return r;
}

static int
unwrap_secret(struct keys *k, const struct keystore_access_key *row,
	      struct key *ret)
{
	CLEANUP(key_wipe) struct key kek = { { 0 } };
	uint8_t ad[SECRET_AD_LEN];
	int r;

	r = keys_keystore_key(k, &kek);
	if (r < 0)
		return r;
	secret_ad(row, ad);
	r = envelope_unwrap(k->aead, &kek, ad, sizeof(ad), row->secret.bytes,
			    row->secret.len, ret);
	if (r != -EBADMSG)
		return r;
	log_error("keystore %s: the secret of access key %s does not verify: "
		  "it was changed or damaged",
		  k->path, row->id);
	return -EUCLEAN;
}

static void
fill_access_key(const struct keystore_access_key *row, struct access_key *ret)
{
	memcpy(ret->id, row->id, sizeof(ret->id));
	memcpy(ret->principal, row->principal, sizeof(ret->principal));
	ret->enabled = row->enabled;
	ret->created = row->created;
}

static int
add(struct keys *k, const struct key *secret, struct keystore_access_key *row)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int64_t n;
	int r;

	r = keys_begin(&c, k, true);
	if (r == 0)
		r = keystore_count_access_keys(k->ks, &n);
	if (r == 0 && n >= ACCESS_KEYS_MAX)
		r = -EDQUOT;
	if (r == 0)
		r = wrap_secret(k, secret, row);
	if (r == 0)
		r = keystore_add_access_key(k->ks, row);
	return r < 0 ? r : keys_commit(&c);
}

int
access_create(struct keys *k, const char *principal, struct access_key *ret,
	      char ret_secret[static ACCESS_SECRET_LEN])
{
	struct keystore_access_key row = { .enabled = true,
					   .created = time(NULL) };
	CLEANUP(key_wipe) struct key secret = { { 0 } };
	int r;

	if (strlen(principal) >= sizeof(row.principal))
		return -EINVAL;
	strcpy(row.principal, principal);
	strcpy(row.id, ID_PREFIX);
	r = random_text(row.id + strlen(ID_PREFIX), ID_CHARS);
	if (r == 0)
		r = random_text((char *)secret.bytes, SECRET_CHARS);
	if (r == 0)
		r = keys_unlock(k);
	if (r == 0)
		r = add(k, &secret, &row);
	if (r < 0)
		return r;
	fill_access_key(&row, ret);
	memcpy(ret_secret, secret.bytes, sizeof(secret.bytes));
	return 0;
}

int
access_next(struct keys *k, int64_t *pos, struct access_key *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_access_key row;
	int r;

	r = keys_begin(&c, k, false);
	if (r == 0)
		r = keystore_next_access_key(k->ks, *pos, &row);
	if (r == 0)
		r = keys_commit(&c);
	if (r < 0)
		return r;
	*pos = row.seq;
	fill_access_key(&row, ret);
	return 0;
}

int
access_find(struct keys *k, const char *id, struct access_key *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_access_key row;
	int r;

	r = keys_begin(&c, k, false);
	if (r == 0)
		r = keystore_get_access_key(k->ks, id, &row);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		fill_access_key(&row, ret);
	return r;
}

int
access_enable(struct keys *k, const char *id, bool enabled)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_begin(&c, k, true);
	if (r == 0)
		r = keystore_enable_access_key(k->ks, id, enabled);
	return r < 0 ? r : keys_commit(&c);
}

int
access_delete(struct keys *k, const char *id)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_begin(&c, k, true);
	if (r == 0)
		r = keystore_remove_access_key(k->ks, id);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		keystore_forget(k->ks);
	return r;
}

int
access_secret(struct keys *k, const char *id,
	      char ret[static ACCESS_SECRET_LEN])
{
	CLEANUP(key_wipe) struct key secret = { { 0 } };
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_access_key row;
	int r;

	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(&c, k, false);
	if (r == 0)
		r = keystore_get_access_key(k->ks, id, &row);
	if (r == 0 && !row.enabled)
		r = -EKEYREVOKED;
	if (r == 0)
		r = unwrap_secret(k, &row, &secret);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		memcpy(ret, secret.bytes, sizeof(secret.bytes));
	return r;
}

/* 1: there is something to be kept of it. */
static int
look_at_stamp(struct keystore_access_key *row, int64_t run, int64_t time,
	      int64_t now)
{
	if (row->run != run) {
		if (row->before < row->newest)
			row->before = row->newest;
		row->run = run;
		row->newest = 0;
	}
	if (time <= row->before)
		return -ESTALE;
	if (time <= now || time <= row->newest)
		return 0;
	row->newest = (time / 60 + 1) * 60;
	return 1;
}

static int
stamp(struct keys *k, const char *id, int64_t run, int64_t time, int64_t now,
      bool write)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_access_key row;
	bool keep = false;
	int r;

	r = keys_begin(&c, k, write);
	if (r == 0)
		r = keystore_get_access_key(k->ks, id, &row);
	if (r == 0)
		r = look_at_stamp(&row, run, time, now);
	if (r > 0) {
		keep = true;
		r = write ? keystore_stamp_access_key(k->ks, &row) : 0;
	}
	if (r == 0)
		r = keys_commit(&c);
	return r < 0 ? r : keep;
}

int
access_stamp(struct keys *k, const char *id, int64_t run, int64_t time,
	     int64_t now)
{
	int r;

	r = stamp(k, id, run, time, now, false);
	if (r > 0)
		r = stamp(k, id, run, time, now, true);
	return r < 0 ? r : 0;
}
