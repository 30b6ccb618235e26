/*
 * names.c - what a name on the command line stands for: DISK, DISK@SNAPSHOT or
 * image:NAME.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#define IMAGE_PREFIX "image:"

/* By type. */
static const struct {
	const char *word, *a_word, *form, *folder, *list;
} types[] = {
	[DESC_DISK] = { "disk", "a disk", "DISK", "disks", "ls" },
	[DESC_SNAPSHOT] = { "snapshot", "a snapshot", "DISK@SNAPSHOT",
			    "snapshots", "ls snapshots" },
	[DESC_IMAGE] = { "image", "an image", "image:NAME", "images",
			 "ls images" },
};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

const char *
cmd_type_word(enum desc_type type)
{
	return types[type].word;
}

void
cmd_target_of(enum desc_type type, const char *name, struct cmd_target *ret)
{
	ret->type = type;
	(void)snprintf(ret->name, sizeof(ret->name), "%s", name);
	(void)snprintf(ret->text, sizeof(ret->text), "%s%s",
		       type == DESC_IMAGE ? IMAGE_PREFIX : "", ret->name);
}

void
cmd_target_of_descriptor(const struct descriptor *d, struct cmd_target *ret)
{
	char name[CMD_NAME_LEN];

	(void)snprintf(name, sizeof(name), "%s%s%s", d->of,
		       d->type == DESC_SNAPSHOT ? "@" : "", d->name);
	cmd_target_of(d->type, name, ret);
}

/* What of DISK, DISK@SNAPSHOT, image:NAME it looks like. */
static enum desc_type
type_of(const char *text)
{
	if (strncmp(text, IMAGE_PREFIX, strlen(IMAGE_PREFIX)) == 0)
		return DESC_IMAGE;
	return strchr(text, '@') ? DESC_SNAPSHOT : DESC_DISK;
}

/* Both parts of DISK@SNAPSHOT are names, and so is what else there is. */
static bool
is_name(enum desc_type type, const char *name)
{
	const char *at = strchr(name, '@');
	char of[DISK_NAME_MAX + 1];

	if (type != DESC_SNAPSHOT)
		return name_check(name) == 0;
	if ((size_t)(at - name) >= sizeof(of))
		return false;
	(void)snprintf(of, sizeof(of), "%.*s", (int)(at - name), name);
	return name_check(of) == 0 && name_check(at + 1) == 0;
}

/* It is one, but none of those that the command takes. */
static int
refuse_type(const char *text, enum desc_type type, unsigned kinds)
{
	char forms[64] = "";
	size_t len;

	for (size_t i = 0; i < N_TYPES; i++) {
		len = strlen(forms);
		if (kinds & CMD_TYPE(i))
			(void)snprintf(forms + len, sizeof(forms) - len, "%s%s",
				       len ? " or " : "", types[i].form);
	}
	return cmd_usage("name `%s`: that is %s, and %s is needed", text,
			 types[type].a_word, forms);
}

int
cmd_parse_name(const char *text, unsigned kinds, struct cmd_target *ret)
{
	enum desc_type type = type_of(text);
	const char *name = text;

	if (type == DESC_IMAGE)
		name += strlen(IMAGE_PREFIX);
	if (!is_name(type, name)) {
		if (kinds == CMD_TYPE(DESC_DISK) || type == DESC_DISK)
			return cmd_check_name(text);
		return cmd_usage("name `%s`: not DISK@SNAPSHOT or image:NAME, "
				 "each a name of 1 to 200 bytes of UTF-8 "
				 "without / @ : and control characters, not "
				 "beginning with . or -",
				 text);
	}
	if (!(kinds & CMD_TYPE(type)))
		return refuse_type(text, type, kinds);
	cmd_target_of(type, name, ret);
	return 0;
}

int
cmd_load_target(struct cmd_env *e, const struct cmd_target *t,
		struct descriptor *ret)
{
	char why[64], hint[96];
	int r;

	r = catalog_load(e->catalog, t->type, t->name, ret, NULL, NULL);
	if (r == -ENOENT) {
		(void)snprintf(why, sizeof(why), "there is no such %s",
			       types[t->type].word);
		(void)snprintf(hint, sizeof(hint),
			       "`sealdisk %s` shows what %ss there are",
			       types[t->type].list, types[t->type].word);
		return cmd_fail(r, why, hint, "%s %s", cmd_name(), t->text);
	}
	if (r == -EUCLEAN) {
		(void)snprintf(why, sizeof(why),
			       "its descriptor is malformed, or that of "
			       "another %s",
			       types[t->type].word);
		return cmd_fail(r, why,
				"put the right one back from a backup of the "
				"store",
				"%s %s", cmd_name(), t->text);
	}
	return r < 0 ? cmd_fail(r, NULL, NULL, "%s %s", cmd_name(), t->text)
		     : 0;
}

int
cmd_load(struct cmd_env *e, const char *name, struct descriptor *ret)
{
	struct cmd_target t;
	int r;

	/* What cannot be a name is not there, whatever else is wrong. */
	r = cmd_parse_name(name, CMD_TYPE(DESC_DISK), &t);
	return r ? r : cmd_load_target(e, &t, ret);
}

int
cmd_path_in(const char *mnt, bool info, const struct cmd_target *t,
	    char ret[static PATH_MAX])
{
	const char *at = strchr(t->name, '@');
	int of = at ? (int)(at - t->name) : 0;
	int len;

	len = snprintf(ret, PATH_MAX, "%s%s/%s/%.*s%s%s", mnt,
		       info ? "/info" : "", types[t->type].folder, of, t->name,
		       at ? "/" : "", at ? at + 1 : t->name);
	return len < 0 || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}
