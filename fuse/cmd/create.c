/*
 * create.c - `sealdisk create NAME --size N`: a new, empty disk.  With --from
 * it is a clone (clone.c).
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>

/*
 * Categories are those of the cloud's disks, and say nothing to the engine.
 * Local disks are never encrypted there, so that no disk of ours is one.
 */
int
cmd_check_category(const char *category)
{
	if (strncmp(category, "local", 5) == 0)
		return cmd_usage("category %s: local disks cannot be encrypted",
				 category);
	if (!category[0] || strlen(category) > 31 ||
	    category[strspn(category, "abcdefghijklmnopqrstuvwxyz"
				      "0123456789_")])
		return cmd_usage("category %s: lower case letters, digits "
				 "and _",
				 category);
	return 0;
}

int
cmd_check_kind(const char *kind)
{
	if (strcmp(kind, "system") == 0 || strcmp(kind, "data") == 0)
		return 0;
	return cmd_usage("kind %s: system or data", kind);
}

int
cmd_parse_sector_size(const char *text, uint32_t *ret)
{
	if (strcmp(text, "512") == 0)
		*ret = 512;
	else if (strcmp(text, "4096") == 0)
		*ret = 4096;
	else
		return cmd_usage("sector size %s: 512 or 4096", text);
	return 0;
}

static int
parse(int *argc, char ***argv, struct disk_params *p, const char **ret_from,
      bool *ret_own)
{
	const char *size = NULL, *sector = NULL;
	const struct cmd_option own[] = {
		{ "size", &size, NULL },
		{ "key", &p->key, NULL },
		{ "kind", &p->kind, NULL },
		{ "category", &p->category, NULL },
		{ "sector-size", &sector, NULL },
		{ "from", ret_from, NULL },
		{ "own-key", NULL, ret_own },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(argc, argv, own);
	if (r)
		return r;
	p->name = (*argv)[0];
	r = cmd_check_name(p->name);
	if (r == 0 && !size && !*ret_from)
		r = cmd_usage("--size is missing");
	if (r == 0 && *ret_own && !*ret_from)
		r = cmd_usage("--own-key is for --from: an empty disk always "
			      "has a data key of its own");
	if (r == 0 && size)
		r = cmd_parse_disk_size(size, &p->size);
	if (r == 0 && sector)
		r = cmd_parse_sector_size(sector, &p->sector_size);
	if (r == 0 && p->kind)
		r = cmd_check_kind(p->kind);
	if (r == 0 && p->category)
		r = cmd_check_category(p->category);
	return r;
}

static int
fail(const struct disk_params *p, int err)
{
	const char *why = NULL, *hint = NULL;
	bool key = false;

	switch (-err) {
	case EEXIST:
		why = "there is a disk of that name, or snapshots of one";
		break;
	case ENOKEY:
	case EKEYREVOKED:
	case EKEYEXPIRED:
	case EKEYREJECTED:
		key = true;
		break;
	default:
		break;
	}
	if (key)
		return cmd_fail(err, why, hint, "create %s: key %s", p->name,
				p->key);
	return cmd_fail(err, why, hint, "create %s", p->name);
}

int
cmd_print_made(const struct descriptor *d)
{
	char uuid[UUID_STR_LEN];
	struct cmd_target t;

	if (!cmd_globals.json)
		return 0;
	cmd_target_of_descriptor(d, &t);
	uuid_format(&d->uuid, uuid);
	return cmd_print_json(json_pack("{ss ss sI ss}", "name", t.text, "uuid",
					uuid, "size", (json_int_t)d->size,
					"key_id", cmd_key_id(d)));
}

static int
clone(const char *from, bool own_key, const struct disk_params *p)
{
	const struct clone_params c = {
		.name = p->name,
		.size = p->size,
		.sector_size = p->sector_size,
		.kind = p->kind,
		.category = p->category,
		.uid = p->uid,
		.gid = p->gid,
		.mode = p->mode,
	};

	return cmd_clone_from(from, p->key, own_key, &c);
}

int
cmd_create(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	const char *from = NULL;
	bool own_key = false;
	struct disk_params p = {
		.uid = geteuid(),
		.gid = getegid(),
		.mode = 0600,
	};
	struct descriptor d;
	int r;

	r = parse(&argc, &argv, &p, &from, &own_key);
	if (r)
		return r;
	if (from)
		return clone(from, own_key, &p);
	r = cmd_open(&e, CMD_KMS | CMD_CHANGE);
	if (r)
		return r;
	if (!p.key)
		p.key = e.settings.kms_key;
	if (!p.kind)
		p.kind = "data";
	if (!p.sector_size)
		p.sector_size = 4096;
	r = cmd_check_key(p.key);
	if (r)
		return r;
	r = catalog_create(e.catalog, e.kms, &p, &d, NULL);
	return r < 0 ? fail(&p, r) : cmd_print_made(&d);
}
