/*
 * clone.c - `sealdisk clone SOURCE NAME`, and `create NAME --from SOURCE`: a
 * disk of its own that begins with what a snapshot, an image or another disk
 * holds.
 *
 * No block is copied: the clone reads what it has not written from what it
 * comes of.  It shares the data key of that, or gets one of its own, under
 * which it writes; what lies below stays under the other.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/kms.h>

#include "disk.h"
#include "freeze.h"

struct clone {
	struct cmd_env e;
	struct cmd_target from;
	struct descriptor d; /* of that, and then of the clone */
	const char *key;     /* or NULL */
	bool own; /* a data key of its own, even under the same one */
	char own_id[KMS_ID_LEN];
	struct clone_params p;
};

static void
clone_done(struct clone *c)
{
	cmd_close(&c->e);
}

static int
fail(const struct clone *c, int err)
{
	if (err == -EEXIST)
		return cmd_fail(err,
				"there is a disk of that name, or snapshots "
				"of one",
				"", "%s %s", cmd_name(), c->p.name);
	if (err == -E2BIG)
		return cmd_fail(err, "it has as many data keys as can be",
				"`sealdisk reencrypt` leaves it one",
				"%s %s from %s", cmd_name(), c->p.name,
				c->from.text);
	return cmd_fail(err, NULL, NULL, "%s %s from %s", cmd_name(), c->p.name,
			c->from.text);
}

/*
 * What is asked for and cannot be.
 */

/* The source's master key if none is said; another one takes a data key of the
 * clone's own. */
static int
check_key(struct clone *c)
{
	struct kms_key_info k;
	const char *key = c->key ? c->key : cmd_key_id(&c->d);
	int r;

	if (!c->key && !c->own)
		return 0;
	r = kms_describe_key(c->e.kms, key, &k);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "%s %s: key %s", cmd_name(),
				c->p.name, key);
	if (!c->own && strcmp(k.id, cmd_key_id(&c->d)) == 0)
		return 0;
	memcpy(c->own_id, k.id, sizeof(c->own_id));
	c->p.own_key = c->own_id;
	return 0;
}

static int
check_size(struct clone *c)
{
	struct cmd_state s;
	char has[16], size[16];

	if (!c->p.size)
		return 0;
	cmd_disk_state(&c->e, &c->d, &s);
	if (c->p.size >= s.size)
		return 0;
	format_size(s.size, has);
	format_size(c->p.size, size);
	return cmd_usage("size %s: a clone is not smaller than what it comes "
			 "from, and %s has %s",
			 size, c->from.text, has);
}

/*
 * Of a disk: it is copied as it is, and what the copy shall have of its own is
 * then set on that.
 */

static int
apply(struct descriptor *d, void *arg)
{
	const struct clone_params *p = arg;

	if (p->sector_size)
		d->sector_size = p->sector_size;
	if (p->kind)
		(void)snprintf(d->kind, sizeof(d->kind), "%s", p->kind);
	if (p->category)
		(void)snprintf(d->category, sizeof(d->category), "%s",
			       p->category);
	return 0;
}

static int
adjust_attached(struct disk *disk, const struct clone_params *p)
{
	CLEANUP(scratch_freep) struct scratch *scratch = NULL;
	struct clone_params copy = *p;
	int r;

	r = scratch_new(&scratch);
	if (r == 0)
		r = disk_update(disk, apply, &copy);
	/* It may have grown since we looked. */
	if (r == 0 && p->size > disk_size(disk))
		r = disk_resize(disk, scratch, p->size);
	return r;
}

static int
adjust(struct clone *c)
{
	const struct engine_options opt = { .mount_point = "" };
	CLEANUP(engine_closep) struct engine *eng = NULL;
	struct disk *disk;
	int r, r2;

	r = engine_open(c->e.store, c->e.kms, &opt, &eng);
	if (r == 0)
		r = disk_attach(eng, DESC_DISK, c->p.name, 0, &disk);
	if (r < 0)
		return r;
	r = adjust_attached(disk, &c->p);
	r2 = disk_detach(disk);
	return r < 0 ? r : r2;
}

static bool
has_own(const struct clone_params *p)
{
	return p->size || p->sector_size || p->kind || p->category;
}

/* The copy shares the data key until it gets its own; where it does not, or
 * cannot have what else was asked for, it goes again. */
static int
finish_copy(struct clone *c)
{
	int r = 0;

	if (c->p.own_key)
		r = catalog_own_key(c->e.catalog, c->e.kms, c->p.name,
				    c->p.own_key);
	if (r == 0 && has_own(&c->p))
		r = adjust(c);
	if (r == 0)
		return 0;
	if (catalog_remove(c->e.catalog, DESC_DISK, c->p.name) == 0)
		(void)!cmd_sweep(&c->e, c->p.name);
	return fail(c, r);
}

static int
copy_disk(struct clone *c)
{
	int r;

	/* Before anything is made. */
	if (has_own(&c->p) && !c->e.kms) {
		r = cmd_open_kms(&c->e.settings, &c->e.kms);
		if (r)
			return r;
	}
	r = freeze_disks(&c->e, DESC_DISK, c->p.name, &c->d, 1);
	if (r == -EEXIST)
		return fail(c, r);
	return r ? r : finish_copy(c);
}

static int
clone_frozen(struct clone *c)
{
	int r;

	r = catalog_clone(c->e.catalog, c->e.kms, c->from.type, c->from.name,
			  &c->p, &c->d);
	return r < 0 ? fail(c, r) : 0;
}

static int
run(struct clone *c)
{
	struct cmd_target t;
	int r;

	r = check_key(c);
	if (r == 0)
		r = check_size(c);
	if (r == 0)
		r = c->from.type == DESC_DISK ? copy_disk(c) : clone_frozen(c);
	if (r || !cmd_globals.json)
		return r;
	cmd_target_of(DESC_DISK, c->p.name, &t);
	r = cmd_load_target(&c->e, &t, &c->d);
	return r ? r : cmd_print_made(&c->d);
}

int
cmd_clone_from(const char *source, const char *key, bool own_key,
	       const struct clone_params *p)
{
	CLEANUP(clone_done)
	struct clone c = { .key = key, .own = own_key, .p = *p };
	bool kms;
	int r;

	r = cmd_parse_name(source, CMD_ANY_TYPE, &c.from);
	if (r)
		return r;
	/* The daemon that has a disk attached needs no key for a copy. */
	kms = key || own_key || c.from.type != DESC_DISK;
	r = cmd_open(&c.e, CMD_CHANGE | (kms ? CMD_KMS : 0));
	if (r == 0)
		r = cmd_load_target(&c.e, &c.from, &c.d);
	return r ? r : run(&c);
}

int
cmd_clone(int argc, char **argv)
{
	const char *size = NULL, *sector = NULL, *key = NULL;
	bool own_key = false;
	struct clone_params p = {
		.uid = geteuid(),
		.gid = getegid(),
		.mode = 0600,
	};
	const struct cmd_option own[] = {
		{ "size", &size, NULL },
		{ "kind", &p.kind, NULL },
		{ "category", &p.category, NULL },
		{ "sector-size", &sector, NULL },
		{ "key", &key, NULL },
		{ "own-key", NULL, &own_key },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r)
		return r;
	p.name = argv[1];
	r = cmd_check_name(p.name);
	if (r == 0 && size)
		r = cmd_parse_disk_size(size, &p.size);
	if (r == 0 && sector)
		r = cmd_parse_sector_size(sector, &p.sector_size);
	if (r == 0 && p.kind)
		r = cmd_check_kind(p.kind);
	if (r == 0 && p.category)
		r = cmd_check_category(p.category);
	if (r == 0 && key)
		r = cmd_check_key(key);
	return r ? r : cmd_clone_from(argv[0], key, own_key, &p);
}
