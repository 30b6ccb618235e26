/*
 * keys_props.c - what is said of a key: texts and tags.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "keys_private.h"
#include "policy.h"

/* Texts. */

static const enum keystore_text texts[] = {
	[KEYS_DESCRIPTION] = KEYSTORE_DESCRIPTION,
	[KEYS_PROTECTION] = KEYSTORE_PROTECTION,
	[KEYS_POLICY] = KEYSTORE_POLICY,
};

static int
begin_look(struct call *c, struct keys *k, const char *key,
	   struct keystore_key *ret)
{
	int r;

	r = keys_begin_with(c, k, key, ret);
	return r < 0 ? r : keys_allowed(KEYS_LOOK, ret);
}

static int
begin_change(struct call *c, struct keys *k, const char *id,
	     struct keystore_key *ret)
{
	int r;

	r = keys_begin(c, k, true);
	if (r == 0)
		r = keys_find_id(k, id, ret);
	return r < 0 ? r : keys_allowed(KEYS_CHANGE, ret);
}

int
keys_get_text(struct keys *k, const char *key, enum keys_text which, char **ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	CLEANUP(free_memp) char *text = NULL;
	struct keystore_key row;
	int r;

	r = begin_look(&c, k, key, &row);
	if (r == 0)
		r = keystore_get_text(k->ks, row.seq, texts[which], &text);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0)
		*ret = TAKE(text);
	return r;
}

static int
set_text(struct keys *k, const char *id, enum keys_text which, const char *text)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = begin_change(&c, k, id, &row);
	if (r == 0)
		r = keystore_set_text(k->ks, row.seq, texts[which], text);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_set_description(struct keys *k, const char *id, const char *text)
{
	if (!keys_is_text(text))
		return -EINVAL;
	return set_text(k, id, KEYS_DESCRIPTION, text);
}

int
keys_set_protection(struct keys *k, const char *id, const char *why)
{
	if (why && !keys_is_text(why))
		return -EINVAL;
	return set_text(k, id, KEYS_PROTECTION, why);
}

int
keys_set_policy(struct keys *k, const char *id, const char *policy)
{
	if (!keys_is_policy(policy))
		return -EINVAL;
	return set_text(k, id, KEYS_POLICY, policy);
}

bool
keys_is_policy(const char *text)
{
	CLEANUP(policy_freep) struct policy *p = NULL;
	char why[POLICY_WHY_LEN];

	return policy_parse(text, strlen(text), POLICY_OF_KEY, &p, why) == 0;
}

/* Tags. */

int
keys_read_tags(struct keys *k, const struct keystore_key *row,
	       struct keys_tags *ret)
{
	struct keys_tag *t = ret->tags;
	const char *last = "";
	int r;

	_Static_assert(KEYS_TAG_LEN == KEYSTORE_TAG_LEN, "tags");
	for (ret->n = 0; ret->n < KEYS_TAGS_MAX; ret->n++, t++) {
		r = keystore_next_tag(k->ks, row->seq, last, t->name, t->value);
		if (r == -ENOKEY)
			return 0;
		if (r < 0)
			return r;
		last = t->name;
	}
	return 0;
}

int
keys_put_tags(struct keys *k, const struct keystore_key *row,
	      const struct keys_tags *add)
{
	uint64_t n;
	size_t i;
	int r = 0;

	for (i = 0; i < add->n && r == 0; i++)
		r = keystore_set_tag(k->ks, row->seq, add->tags[i].name,
				     add->tags[i].value);
	if (r == 0)
		r = keystore_count_tags(k->ks, row->seq, &n);
	return r < 0 ? r : n > KEYS_TAGS_MAX ? -EDQUOT : 0;
}

int
keys_tag(struct keys *k, const char *id, const struct keys_tags *add)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = begin_change(&c, k, id, &row);
	if (r == 0)
		r = keys_put_tags(k, &row, add);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_untag(struct keys *k, const char *id, const struct keys_tags *names)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	size_t i;
	int r;

	r = begin_change(&c, k, id, &row);
	for (i = 0; i < names->n && r == 0; i++)
		r = keystore_remove_tag(k->ks, row.seq, names->tags[i].name);
	return r < 0 ? r : keys_commit(&c);
}

int
keys_get_tags(struct keys *k, const char *key, struct keys_tags *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = begin_look(&c, k, key, &row);
	if (r == 0)
		r = keys_read_tags(k, &row, ret);
	return r < 0 ? r : keys_commit(&c);
}

/* Subjects. */

static int
fill_subject(struct keys *k, const struct keystore_key *row,
	     struct keys_subject *ret)
{
	struct kms_key_info info;
	int r;

	r = keys_allowed(KEYS_LOOK, row);
	if (r == 0)
		r = keys_read_tags(k, row, &ret->tags);
	if (r == 0)
		r = keystore_get_text(k->ks, row->seq, KEYSTORE_POLICY,
				      &ret->policy);
	if (r < 0)
		return r;
	keys_fill_info(k, row, &info);
	memcpy(ret->id, info.id, sizeof(ret->id));
	memcpy(ret->version, info.primary_version, sizeof(ret->version));
	memcpy(ret->arn, info.arn, sizeof(ret->arn));
	ret->is_service = strcmp(info.creator, KEYS_SERVICE) == 0;
	return 0;
}

int
keys_look(struct keys *k, const char *key, struct keys_subject *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin_with(&c, k, key, &row);
	if (r == 0)
		r = fill_subject(k, &row, ret);
	if (r == 0)
		r = keys_commit(&c);
	if (r < 0)
		keys_subject_done(ret);
	return r;
}

int
keys_look_blob(struct keys *k, const void *blob, size_t len,
	       struct keys_subject *ret)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_key row;
	int r;

	r = keys_begin(&c, k, false);
	if (r == 0)
		r = keys_find_for_blob(k, blob, len, &row);
	return r < 0 ? r : fill_subject(k, &row, ret);
}

void
keys_subject_done(struct keys_subject *s)
{
	free(s->policy);
	s->policy = NULL;
}
