/*
 * remote_list.c - the lists of a key service elsewhere, page by page.
 */
#include <errno.h>
#include <stdio.h>

#include "client_private.h"
#include "remote_private.h"

#define PAGE_SIZE_TEXT "100"
#define PAGES_MAX 1000 /* of a list */

/* All items of a list, as {OUTER: {INNER: [...]}} by pages; an empty page is
 * its end. */
static int
each_item(struct kms *k, const char *action, const char *outer,
	  const char *inner, int (*fn)(const json_t *item, void *arg),
	  void *arg)
{
	char number[16];
	const struct request_param params[] = {
		{ "PageNumber", number, false },
		{ "PageSize", PAGE_SIZE_TEXT, false },
	};

	for (unsigned page = 1; page <= PAGES_MAX; page++) {
		CLEANUP(json_done) json_t *o = NULL;
		const json_t *items, *item;
		size_t i;
		int r;

		(void)snprintf(number, sizeof(number), "%u", page);
		r = remote_call(k->remote, action, params, 2, true, &o);
		if (r < 0)
			return r;
		items = json_object_get(json_object_get(o, outer), inner);
		if (json_array_size(items) == 0)
			return 0;
		json_array_foreach(items, i, item)
		{
			r = fn(item, arg);
			if (r)
				return r;
		}
	}
	return -EPROTO;
}

struct key_list {
	struct kms *k;
	int (*fn)(const struct kms_key_info *info, void *arg);
	void *arg;
};

static int
take_key(const json_t *item, void *arg)
{
	struct key_list *l = arg;
	struct kms_key_info info;
	char id[KMS_ID_LEN];
	int r = answer_text(item, "KeyId", true, id, sizeof(id));

	if (r == 0)
		r = remote_describe_key(l->k, id, &info);
	if (r == -ENOKEY) /* it has gone meanwhile */
		return 0;
	return r < 0 ? r : l->fn(&info, l->arg);
}

int
remote_list_keys(struct kms *k,
		 int (*fn)(const struct kms_key_info *info, void *arg),
		 void *arg)
{
	struct key_list l = { k, fn, arg };

	return each_item(k, "ListKeys", "Keys", "Key", take_key, &l);
}

struct alias_list {
	int (*fn)(const char *alias, const char *key_id, void *arg);
	void *arg;
};

static int
take_alias(const json_t *item, void *arg)
{
	const struct alias_list *l = arg;
	char alias[KMS_ALIAS_LEN], id[KMS_ID_LEN];
	int r = answer_text(item, "AliasName", true, alias, sizeof(alias));

	if (r == 0)
		r = answer_text(item, "KeyId", true, id, sizeof(id));
	return r < 0 ? r : l->fn(alias, id, l->arg);
}

int
remote_list_aliases(struct kms *k,
		    int (*fn)(const char *alias, const char *key_id, void *arg),
		    void *arg)
{
	struct alias_list l = { fn, arg };

	return each_item(k, "ListAliases", "Aliases", "Alias", take_alias, &l);
}
