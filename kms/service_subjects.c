/*
 * service_subjects.c - the keys that an action acts on.
 *
 * They are found once, before it is asked who may use them, and the action goes
 * by their ids: an alias that is moved meanwhile leads to no other key.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service_private.h"

static struct keys_subject *
add(struct action_call *c)
{
	return &c->subjects[c->n_subjects++];
}

static int
find_key(struct action_call *c, const char *key)
{
	int r = keys_look(c->k, key, add(c));

	if (r == -EINVAL) /* no key has an id of this form */
		return -ENOKEY;
	if (r == -ENOKEY && strncmp(key, "alias/", 6) == 0)
		return -ENOSTR;
	return r;
}

static enum arg_type
type_of(const struct action_call *c, const char *name)
{
	const struct arg_def *d = c->a->args;

	while (strcmp(d->name, name) != 0)
		d++;
	return d->type;
}

static int
find_named(struct action_call *c, const char *name)
{
	const char *key = call_arg(c, name)->text;

	if (strncmp(key, "alias/", 6) == 0 && type_of(c, name) == ARG_KEY) {
		c->code = CODE_UNSUPPORTED_ALIAS;
		return -EINVAL;
	}
	return find_key(c, key);
}

static int
find_one(struct action_call *c)
{
	if (call_arg(c, "KeyId")->text)
		return find_named(c, "KeyId");
	if (call_arg(c, "ProtectedResourceArn")->text)
		return find_named(c, "ProtectedResourceArn");
	c->code = CODE_MISSING_PARAMETER;
	c->bad = "KeyId";
	return -EINVAL;
}

/* A blob that no key here has sealed is like one that was changed. */
static int
find_blob(struct action_call *c)
{
	const struct arg *a = call_arg(c, "CiphertextBlob");
	int r = keys_look_blob(c->k, a->data, a->len, add(c));

	return r == -ENOKEY || r == -EKEYREJECTED
		   ? call_refuse(c, "CiphertextBlob")
		   : r;
}

/* ResourceId.1, ResourceId.2, ... */
static int
find_list(struct action_call *c)
{
	const char *id;
	char name[32];
	int r = 0;

	while (r == 0) {
		(void)snprintf(name, sizeof(name), "ResourceId.%zu",
			       c->n_subjects + 1);
		id = call_param(c, name);
		if (!id)
			return 0;
		if (c->n_subjects == ACTION_KEYS_MAX ||
		    strncmp(id, "alias/", 6) == 0)
			return call_refuse(c, "ResourceId");
		r = find_key(c, id);
	}
	return r;
}

static size_t
most(enum action_scope scope)
{
	return scope == SCOPE_LIST ? ACTION_KEYS_MAX : 2;
}

int
call_find_subjects(struct action_call *c)
{
	int r = 0;

	if (c->a->scope == SCOPE_NONE)
		return 0;
	c->subjects = calloc(most(c->a->scope), sizeof(*c->subjects));
	if (!c->subjects)
		return -ENOMEM;
	switch (c->a->scope) {
	case SCOPE_NONE:
		break;
	case SCOPE_KEY:
		r = find_one(c);
		break;
	case SCOPE_ALIAS:
		r = find_key(c, call_arg(c, "AliasName")->text);
		break;
	case SCOPE_REALIAS:
		r = find_one(c);
		if (r == 0)
			r = find_key(c, call_arg(c, "AliasName")->text);
		break;
	case SCOPE_BLOB:
		r = find_blob(c);
		break;
	case SCOPE_REENCRYPT:
		r = find_blob(c);
		if (r == 0)
			r = find_named(c, "DestinationKeyId");
		break;
	case SCOPE_LIST:
		r = find_list(c);
		break;
	}
	return r;
}

void
call_drop_subjects(struct action_call *c)
{
	for (size_t i = 0; i < c->n_subjects; i++)
		keys_subject_done(&c->subjects[i]);
	free(c->subjects);
	c->subjects = NULL;
	c->n_subjects = 0;
}
