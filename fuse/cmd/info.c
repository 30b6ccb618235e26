/*
 * info.c - `sealdisk info [NAME]`: all about one disk, snapshot or image, or
 * about the store.
 *
 * What is said is put together as JSON, and printed as that or, field by field,
 * as text.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "scrub.h"

#define INFO_MAX 65536 /* bytes of MNT/info/disks/NAME */
#define LABEL_WIDTH 16

/* ${more} is taken. */
static int
add(json_t *j, json_t *more)
{
	int r = more && json_object_update(j, more) == 0 ? 0 : -ENOMEM;

	json_decref(more);
	return r;
}

/* Of a disk, what changes while it is attached. */
static int
add_session(json_t *j, const struct descriptor *d)
{
	char when[TIME_STR_LEN];
	int r;

	format_time(d->checkpointed, when);
	r = add(j, json_pack("{sI sb ss? ss ss}", "session",
			     (json_int_t)d->session, "clean", d->clean,
			     "checkpointed", d->checkpointed ? when : NULL,
			     "on_key_revoked", d->on_key_revoked, "anchor",
			     d->anchor));
	if (r == 0 && d->reencrypting)
		r = add(j, json_pack("{sI}", "reencrypt_rate",
				     (json_int_t)d->reencrypt_rate));
	return r;
}

/* Of a snapshot, what it is one of. */
static int
add_origin(json_t *j, const struct descriptor *d)
{
	bool alone = uuid_is_nil(&d->set);
	char set[UUID_STR_LEN];

	uuid_format(&d->set, set);
	return add(j, json_pack("{ss ss? sI}", "disk", d->of, "set",
				alone ? NULL : set, "members",
				(json_int_t)(alone ? 1 : d->members)));
}

/* Of each data key, what opens it; that of what is written comes first. */
static int
add_data_keys(json_t *j, const struct descriptor *d)
{
	json_t *keys = json_array();
	int r = json_object_set_new(j, "data_keys", keys);

	for (int other = 0; other < 2; other++)
		for (size_t i = 0; r == 0 && i < d->n_keys; i++) {
			const struct desc_key *k = &d->keys[i];
			char uuid[UUID_STR_LEN], lineage[UUID_STR_LEN];

			if (uuid_equal(&k->uuid, &d->key) == (other == 1))
				continue;
			uuid_format(&k->uuid, uuid);
			uuid_format(&k->dk.lineage, lineage);
			r = json_array_append_new(
			    keys,
			    json_pack("{ss ss ss ss ss}", "uuid", uuid,
				      "lineage", lineage, "kms", k->dk.kms,
				      "key_id", k->dk.key_id, "key_version_id",
				      k->dk.key_version_id));
		}
	return r < 0 ? -ENOMEM : 0;
}

/* The fields of `ls`, and then what stands in the descriptor besides. */
static int
add_descriptor(json_t *j, const struct descriptor *d)
{
	const struct desc_key *k = descriptor_key(d, &d->key);
	char lineage[UUID_STR_LEN], layer[UUID_STR_LEN], mode[8];
	char when[TIME_STR_LEN];
	int r;

	uuid_format(&d->lineage, lineage);
	uuid_format(&d->layer.layer, layer);
	(void)snprintf(mode, sizeof(mode), "%04o", d->mode & 0777U);
	r = add(j, json_pack("{ss ss sI sI sI ss ss ss ss ss}", "kind", d->kind,
			     "category", d->category, "sector_size",
			     (json_int_t)d->sector_size, "uid",
			     (json_int_t)d->uid, "gid", (json_int_t)d->gid,
			     "mode", mode, "kms", k ? k->dk.kms : "",
			     "key_version_id", k ? k->dk.key_version_id : "",
			     "lineage", lineage, "layer", layer));
	if (r == 0)
		r = add_data_keys(j, d);
	if (r == 0 && d->type == DESC_DISK)
		r = add_session(j, d);
	if (r == 0 && d->type == DESC_SNAPSHOT)
		r = add_origin(j, d);
	if (r == 0 && d->type != DESC_DISK)
		r = add(j, json_pack("{sb}", "sealed",
				     !digest_is_none(d->digest)));
	if (r == 0 && d->rebuilt) {
		format_time(d->rebuilt, when);
		r = add(j, json_pack("{ss}", "rebuilt", when));
	}
	return r;
}

/* What it was when it was last looked at, if it was. */
static int
add_scrub(json_t *j, struct cmd_env *e, const struct descriptor *d)
{
	char started[TIME_STR_LEN], ended[TIME_STR_LEN];
	struct scrub_record rec;
	json_t *v;

	if (scrub_record_load(e->store, &d->lineage, &d->uuid, &rec) < 0)
		return 0;
	format_time(rec.started, started);
	format_time(rec.ended, ended);
	v = json_pack("{ss ss ss sI sI sI sI sI sI sI}", "state",
		      scrub_end_word(rec.end), "started", started, "ended",
		      ended, "chunks", (json_int_t)rec.chunks, "pages",
		      (json_int_t)rec.pages, "blocks", (json_int_t)rec.blocks,
		      "damaged", (json_int_t)rec.damaged, "lost",
		      (json_int_t)rec.lost, "spare", (json_int_t)rec.spare,
		      "repaired", (json_int_t)rec.repaired);
	return v && json_object_set_new(j, "scrub", v) == 0 ? 0 : -ENOMEM;
}

/* One "key = value" of the daemon's text, a number where it looks like one. */
static int
add_field(json_t *section, char *line)
{
	char *eq = strstr(line, " = ");
	uint64_t n;
	json_t *v;

	if (!eq)
		return 0;
	*eq = '\0';
	if (parse_u64(eq + 3, &n) == 0 && n <= INT64_MAX)
		v = json_integer((json_int_t)n);
	else
		v = json_string(eq + 3);
	return v && json_object_set_new(section, line, v) == 0 ? 0 : -ENOMEM;
}

/*
 * What only the daemon that has the disk can tell: the section [counters] of
 * its text becomes an object of that name, and what [state] says of layers
 * stands beside the rest.
 */
static int
add_live(json_t *j, const char *info)
{
	CLEANUP(free_memp) char *text = NULL;
	char *line, *save = NULL;
	json_t *counters = json_object();
	bool state = false, count = false;
	size_t len;
	int r;

	r = json_object_set_new(j, "counters", counters);
	if (r < 0 || io_load(AT_FDCWD, info, INFO_MAX, &text, &len) < 0)
		return r; /* somebody else's file, or gone meanwhile */
	for (line = strtok_r(text, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == '[') {
			state = strcmp(line, "[state]") == 0;
			count = strcmp(line, "[counters]") == 0;
		} else if (count) {
			r = add_field(counters, line);
		} else if (state && (strncmp(line, "layers ", 7) == 0 ||
				     strncmp(line, "reencrypting ", 13) == 0)) {
			r = add_field(j, line);
		}
	}
	return r < 0 ? -ENOMEM : 0;
}

/* What takes no time: 64 MiB of pages. */
#define FREE_CHUNKS 1024

/* The daemon's text has what whole layers would free; this is all of it.  Null
 * where it cannot be known, or takes long and was not asked for. */
static int
add_would_free(json_t *j, struct cmd_env *e, const struct descriptor *d,
	       bool asked)
{
	uint64_t n = 0;
	int r = catalog_would_free(e->catalog, d, asked ? 0 : FREE_CHUNKS, &n);
	json_t *v = r == 0 ? json_integer((json_int_t)n) : json_null();

	if (err_is_shortage(r))
		return r;
	return json_object_set_new(j, "would_free", v) < 0 ? -ENOMEM : 0;
}

static void
print_value(const char *key, const json_t *v, int indent)
{
	char size[16];

	printf("%*s%-*s ", indent, "", LABEL_WIDTH - indent, key);
	if (json_is_string(v))
		printf("%s", json_string_value(v));
	else if (json_is_boolean(v))
		printf("%s", json_is_true(v) ? "yes" : "no");
	else if (json_is_integer(v))
		printf("%lld", (long long)json_integer_value(v));
	else
		printf("-");
	if (json_is_integer(v) &&
	    (strcmp(key, "size") == 0 || strcmp(key, "allocated") == 0 ||
	     strcmp(key, "would_free") == 0)) {
		format_size((uint64_t)json_integer_value(v), size);
		printf(" (%s)", size);
	}
	printf("\n");
}

static void print_object(json_t *j, int indent);

static void
print_any(const char *key, json_t *v, int indent)
{
	json_t *item;
	size_t i;

	if (json_is_object(v)) {
		printf("%*s%s\n", indent, "", key);
		print_object(v, indent + 2);
	} else if (json_is_array(v)) {
		json_array_foreach(v, i, item) print_any(key, item, indent);
	} else {
		print_value(key, v, indent);
	}
}

static void
print_object(json_t *j, int indent)
{
	const char *key;
	json_t *v;

	json_object_foreach(j, key, v) print_any(key, v, indent);
}

static bool
is_one_of(const char *line, const char *const *names)
{
	for (; *names; names++) {
		size_t len = strlen(*names);

		if (strncmp(line, *names, len) == 0 && line[len] == ' ')
			return true;
	}
	return false;
}

/* What the daemon alone knows: what is being merged just now, and who it is. */
static int
add_daemon(json_t *reclaim, json_t *daemon, const char *mnt)
{
	static const char *const merging[] = { "merged_chunks", "merge_chunks",
					       NULL };
	static const char *const who[] = { "daemon_pid", "worker_pid",
					   "restarts", "upgrades", NULL };
	CLEANUP(free_memp) char *text = NULL;
	char info[PATH_MAX], *line, *save = NULL;
	size_t len;
	int r = 0;

	if (snprintf(info, sizeof(info), "%s/info/store", mnt) >=
		(int)sizeof(info) ||
	    io_load(AT_FDCWD, info, INFO_MAX, &text, &len) < 0)
		return 0;
	for (line = strtok_r(text, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save))
		if (is_one_of(line, merging))
			r = add_field(reclaim, line);
		else if (is_one_of(line, who))
			r = add_field(daemon, line);
	return r;
}

static int
store_json(struct cmd_env *e, json_t **ret)
{
	const struct store_meta *m = catalog_meta(e->catalog);
	char uuid[UUID_STR_LEN], created[TIME_STR_LEN], mnt[PATH_MAX] = "";
	CLEANUP(cmd_json_freep) json_t *daemon = json_object();
	CLEANUP(cmd_json_freep) json_t *reclaim = NULL;
	struct reclaim left;
	int r;

	r = catalog_reclaim(e->catalog, &left);
	if (r < 0)
		return r;
	if (cmd_find_mount(e->path, mnt) < 0)
		mnt[0] = '\0';
	uuid_format(&m->uuid, uuid);
	format_time(m->created, created);
	reclaim = json_pack("{sb sI sI sI sI}", "stuck", left.stuck, "lineages",
			    (json_int_t)left.lineages, "files",
			    (json_int_t)left.files, "layers",
			    (json_int_t)left.layers, "merges",
			    (json_int_t)left.merges);
	r = reclaim && daemon ? 0 : -ENOMEM;
	if (r == 0 && mnt[0])
		r = add_daemon(reclaim, daemon, mnt);
	if (r < 0)
		return r;
	*ret = json_pack("{ss ss ss ss sI ss ss? sO sO}", "store", e->path,
			 "uuid", uuid, "created", created, "cipher",
			 cipher_name(m->cipher), "slack", (json_int_t)m->slack,
			 "commit", m->commit_files ? "files" : "auto",
			 "mounted_on", mnt[0] ? mnt : NULL, "reclaim", reclaim,
			 "daemon", daemon);
	return *ret ? 0 : -ENOMEM;
}

static int
print(json_t *j)
{
	if (cmd_globals.json)
		return cmd_print_json(json_incref(j));
	print_object(j, 0);
	return 0;
}

static int
info_store(void)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	CLEANUP(cmd_json_freep) json_t *j = NULL;
	int r = cmd_open(&e, 0);

	if (r)
		return r;
	r = store_json(&e, &j);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "info");
	return print(j);
}

int
cmd_info(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	CLEANUP(cmd_json_freep) json_t *aliases = NULL;
	CLEANUP(cmd_json_freep) json_t *j = NULL;
	struct cmd_target t;
	struct descriptor d;
	struct cmd_state s;
	bool count = false;
	const struct cmd_option own[] = {
		{ "count", NULL, &count },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r == 0 && argc == 0)
		return info_store();
	if (r == 0)
		r = cmd_parse_name(argv[0], CMD_ANY_TYPE, &t);
	if (r == 0)
		r = cmd_open(&e, CMD_TRY_KMS);
	if (r == 0)
		r = cmd_load_target(&e, &t, &d);
	if (r)
		return r;
	cmd_disk_state(&e, &d, &s);
	aliases = cmd_aliases(e.kms);
	j = aliases ? cmd_disk_json(&d, &s, aliases) : NULL;
	r = j ? add_descriptor(j, &d) : -ENOMEM;
	if (r == 0)
		r = add_scrub(j, &e, &d);
	if (r == 0)
		r = add_would_free(j, &e, &d, count);
	if (r == 0 && s.path[0])
		r = add_live(j, s.info);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "info %s", t.text);
	return print(j);
}
