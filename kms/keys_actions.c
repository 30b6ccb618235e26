/*
 * keys_actions.c - the actions of keys.h.
 */
#include <errno.h>
#include <string.h>

#include "keys_private.h"

#define RESERVED "alias/acs" /* what begins so is not for users */

/* Keys. */

bool
keys_is_text(const char *s)
{
	size_t len = strlen(s), chars = 0;

	if (len > KEYSTORE_TEXT_MAX || !utf8_valid(s, len))
		return false;
	for (; *s; s++)
		chars += (*s & 0xc0) != 0x80;
	return chars <= KEYS_TEXT_CHARS;
}

static bool
is_good(const struct keys_new *new)
{
	int64_t every = new->rotate_every;

	return keys_is_text(new->description) &&
	       (!new->policy || keys_is_policy(new->policy)) &&
	       (every == 0 ||
		(!new->external &&every >= KEYS_ROTATION_MIN &&every <=
		 KEYS_ROTATION_MAX)) &&
	       !(new->external &&new->instance);
}

static int
check_count(struct keys *k, uint64_t max,
	    int (*count)(struct keystore *ks, const char *region,
			 uint64_t *ret))
{
	uint64_t n;
	int r;

	if (!max)
		return 0;
	r = count(k->ks, k->region, &n);
	return r < 0 ? r : n < max ? 0 : -EDQUOT;
}

int
keys_create(struct keys *k, const struct keys_new *new,
	    struct kms_key_info *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	if (!is_good(new))
		return -EINVAL;
	r = keys_unlock(k);
	if (r == 0)
		r = keys_begin(&c, k, true);
	if (r == 0)
		r = check_count(k, k->settings.keystore_max_keys,
				keystore_count_keys);
	if (r == 0)
		r = keys_add(k, new, KEYS_ACCOUNT, &row);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		keys_fill_info(k, &row, ret);
	return r;
}

int
keys_describe(struct keys *k, const char *key, struct kms_key_info *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin_with(&c, k, key, &row);
	if (r == 0)
		r = keys_allowed(KEYS_LOOK, &row);
	if (r < 0)
		return r;
	r = keys_commit(&c);
	if (r == 0)
		keys_fill_info(k, &row, ret);
	return r;
}

static int
switch_key(struct keys *k, const char *id, enum keys_action action,
	   enum kms_key_state to)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin(&c, k, true);
	if (r < 0)
		return r;
	r = keys_find_id(k, id, &row);
	if (r < 0)
		return r;
	r = keys_allowed(action, &row);
	if (r < 0)
		return r;
	r = keystore_set_state(k->ks, row.seq, to);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_enable(struct keys *k, const char *id)
{
	return switch_key(k, id, KEYS_ENABLE, KMS_ENABLED);
}

int
keys_disable(struct keys *k, const char *id)
{
	return switch_key(k, id, KEYS_DISABLE, KMS_DISABLED);
}

int
keys_next(struct keys *k, int64_t *pos, struct kms_key_info *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin(&c, k, false);
	if (r < 0)
		return r;
	r = keystore_next_key(k->ks, k->region, *pos, &row);
	if (r < 0)
		return r;
	keys_age(&row);
	keys_fill_info(k, &row, ret);
	*pos = row.seq;
	return 0;
}

/* Aliases. */

int
keys_check_alias(const char *alias)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "/_-.:";
	size_t len = strlen(alias);

	if (!keys_is_alias(alias) || len == strlen(ALIAS_PREFIX) ||
	    len >= KMS_ALIAS_LEN || strspn(alias, good) != len)
		return -EINVAL;
	if (strncmp(alias, RESERVED, strlen(RESERVED)) == 0)
		return -EPERM;
	return 0;
}

static int
add_alias(struct keys *k, const char *alias, int64_t key)
{
	int r;

	r = check_count(k, k->settings.keystore_max_aliases,
			keystore_count_aliases);
	return r < 0 ? r : keystore_add_alias(k->ks, k->region, alias, key);
}

static int
move_alias(struct keys *k, const char *alias, int64_t key)
{
	int r = keystore_move_alias(k->ks, k->region, alias, key);

	return r == -ENOKEY ? -ENOSTR : r;
}

static int
bind_alias(struct keys *k, const char *alias, const char *id,
	   enum keys_action action,
	   int (*put)(struct keys *k, const char *alias, int64_t key))
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_check_alias(alias);
	if (r < 0)
		return r;
	r = keys_begin(&c, k, true);
	if (r < 0)
		return r;
	r = keys_find_id(k, id, &row);
	if (r < 0)
		return r;
	r = keys_allowed(action, &row);
	if (r < 0)
		return r;
	r = put(k, alias, row.seq);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_create_alias(struct keys *k, const char *alias, const char *id)
{
	return bind_alias(k, alias, id, KEYS_CREATE_ALIAS, add_alias);
}

int
keys_update_alias(struct keys *k, const char *alias, const char *id)
{
	return bind_alias(k, alias, id, KEYS_UPDATE_ALIAS, move_alias);
}

int
keys_delete_alias(struct keys *k, const char *alias)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_check_alias(alias);
	if (r < 0)
		return r;
	r = keys_begin(&c, k, true);
	if (r < 0)
		return r;
	r = keystore_remove_alias(k->ks, k->region, alias);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_next_alias(struct keys *k, int64_t *pos,
		char ret_alias[static KMS_ALIAS_LEN],
		char ret_key[static KMS_ID_LEN])
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct uuid id;
	int r;

	r = keys_begin(&c, k, false);
	if (r < 0)
		return r;
	r = keystore_next_alias(k->ks, k->region, *pos, pos, ret_alias, &id);
	if (r == 0)
		uuid_format(&id, ret_key);
	return r;
}
