/*
 * state.c - what there is to say of a disk, snapshot or image.
 *
 * Nothing here is authenticated: a descriptor is, when the disk is attached.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/codec.h>

static void
find_paths(const char *mnt, const struct descriptor *d, struct cmd_state *s)
{
	struct cmd_target t;

	cmd_target_of_descriptor(d, &t);
	if (cmd_path_in(mnt, false, &t, s->path) < 0 ||
	    cmd_path_in(mnt, true, &t, s->info) < 0)
		s->path[0] = s->info[0] = '\0';
}

/* Nothing of it changes, so that no daemon is asked. */
static void
frozen_state(struct cmd_env *e, const struct descriptor *d,
	     struct cmd_state *ret)
{
	char mnt[PATH_MAX];

	ret->word = "detached";
	if (cmd_owner(e, &d->uuid, &ret->owner) < 0)
		return;
	ret->word = "attached";
	if (cmd_find_mount(e->path, mnt) < 0)
		return;
	find_paths(mnt, d, ret);
	if (ret->path[0])
		loop_find(ret->path, &ret->loops);
}

void
cmd_disk_state(struct cmd_env *e, const struct descriptor *d,
	       struct cmd_state *ret)
{
	struct stat st;

	memset(ret, 0, sizeof(*ret));
	ret->size = d->size;
	ret->allocated = d->allocated;
	if (d->type != DESC_DISK) {
		frozen_state(e, d, ret);
		return;
	}
	ret->owned = cmd_owner(e, &d->uuid, &ret->owner) == 0;
	ret->word = ret->owned ? "attached" : d->clean ? "detached" : "unclean";
	if (!ret->owned)
		return;
	if (ret->owner.this_host && ret->owner.mount_point[0])
		find_paths(ret->owner.mount_point, d, ret);
	if (!ret->path[0])
		return;
	loop_find(ret->path, &ret->loops);
	if (stat(ret->path, &st) == 0) {
		ret->size = (uint64_t)st.st_size;
		ret->allocated = (uint64_t)st.st_blocks * 512;
	}
}

static int
add_alias(const char *alias, const char *key_id, void *arg)
{
	json_t *all = arg, *of_key = json_object_get(all, key_id);

	if (!of_key) {
		of_key = json_array();
		if (json_object_set_new(all, key_id, of_key) < 0)
			return -ENOMEM;
	}
	return json_array_append_new(of_key, json_string(alias)) < 0 ? -ENOMEM
								     : 0;
}

json_t *
cmd_aliases(struct kms *kms)
{
	json_t *all = json_object();

	/* Without aliases the ids say the same. */
	if (all && kms && kms_list_aliases(kms, add_alias, all) < 0)
		(void)json_object_clear(all);
	return all;
}

const char *
cmd_alias_of(const json_t *aliases, const char *key_id)
{
	return json_string_value(
	    json_array_get(json_object_get(aliases, key_id), 0));
}

const char *
cmd_key_id(const struct descriptor *d)
{
	const struct desc_key *k = descriptor_key(d, &d->key);

	return k ? k->dk.key_id : "";
}

static json_t *
loops_json(const struct cmd_state *s)
{
	json_t *loops = json_array();

	for (size_t i = 0; i < s->loops.n; i++)
		(void)json_array_append_new(loops,
					    json_string(s->loops.dev[i]));
	return loops;
}

static json_t *
owner_json(const struct cmd_state *s)
{
	char since[TIME_STR_LEN];

	if (!s->owned)
		return json_null();
	format_time(s->owner.since, since);
	return json_pack("{ss sb sI ss ss so}", "host", s->owner.host,
			 "this_host", s->owner.this_host, "pid",
			 (json_int_t)s->owner.pid, "mount_point",
			 s->owner.mount_point, "since", since, "loop_devices",
			 loops_json(s));
}

json_t *
cmd_disk_json(const struct descriptor *d, const struct cmd_state *s,
	      const json_t *aliases)
{
	char created[TIME_STR_LEN], uuid[UUID_STR_LEN];
	const char *key = cmd_key_id(d);
	struct cmd_target t;
	json_t *j;

	cmd_target_of_descriptor(d, &t);
	format_time(d->created, created);
	uuid_format(&d->uuid, uuid);
	j = json_pack("{ss ss ss sI sI ss ss? ss so ss}", "name", t.text,
		      "type", cmd_type_word(d->type), "uuid", uuid, "size",
		      (json_int_t)s->size, "allocated",
		      (json_int_t)s->allocated, "key_id", key, "key_alias",
		      cmd_alias_of(aliases, key), "state", s->word,
		      "attached_by", owner_json(s), "created", created);
	if (j && d->type != DESC_DISK)
		(void)json_object_set_new(j, "loop_devices", loops_json(s));
	return j;
}

void
cmd_state_text(const struct cmd_state *s, char *ret, size_t cap)
{
	if (s->loops.n > 0)
		(void)snprintf(ret, cap, "%s %s%s", s->word, s->loops.dev[0],
			       s->loops.n > 1 ? ", ..." : "");
	else if (s->owned && !s->owner.this_host)
		(void)snprintf(ret, cap, "%s on host %s", s->word,
			       s->owner.host);
	else
		(void)snprintf(ret, cap, "%s", s->word);
}
