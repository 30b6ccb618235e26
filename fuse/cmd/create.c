/*
 * create.c - `sealdisk create NAME --size N`: a new, empty disk.
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
parse(int *argc, char ***argv, struct disk_params *p)
{
	const char *size = NULL, *sector = NULL;
	const struct cmd_option own[] = {
		{ "size", &size, NULL },
		{ "key", &p->key, NULL },
		{ "kind", &p->kind, NULL },
		{ "category", &p->category, NULL },
		{ "sector-size", &sector, NULL },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(argc, argv, own);
	if (r)
		return r;
	p->name = (*argv)[0];
	r = cmd_check_name(p->name);
	if (r == 0 && !size)
		r = cmd_usage("--size is missing");
	if (r == 0)
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

static int
print(const struct descriptor *d)
{
	const struct desc_key *k = descriptor_key(d, &d->key);
	char uuid[UUID_STR_LEN];

	if (!cmd_globals.json)
		return 0;
	uuid_format(&d->uuid, uuid);
	return cmd_print_json(
	    json_pack("{ss ss sI ss}", "name", d->name, "uuid", uuid, "size",
		      (json_int_t)d->size, "key_id", k ? k->dk.key_id : ""));
}

int
cmd_create(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	struct disk_params p = {
		.sector_size = 4096,
		.uid = geteuid(),
		.gid = getegid(),
		.mode = 0600,
	};
	struct descriptor d;
	int r;

	r = parse(&argc, &argv, &p);
	if (r)
		return r;
	r = cmd_open(&e, CMD_KMS | CMD_CHANGE);
	if (r)
		return r;
	if (!p.key)
		p.key = e.settings.kms_key;
	if (!p.kind)
		p.kind = "data";
	r = cmd_check_key(p.key);
	if (r)
		return r;
	r = catalog_create(e.catalog, e.kms, &p, &d, NULL);
	return r < 0 ? fail(&p, r) : print(&d);
}
