/*
 * set.c - `sealdisk set NAME KEY=VALUE ...`: properties of a disk.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include <sealdisk/ioctl.h>
#include <sealdisk/secret.h>

static int
check_on_key_revoked(const char *value)
{
	if (strcmp(value, "keep") == 0 || strcmp(value, "stop") == 0)
		return 0;
	return cmd_usage("on_key_revoked %s: keep or stop", value);
}

static int
check_anchor(const char *value)
{
	if (strcmp(value, "none") == 0 || strcmp(value, "kms") == 0)
		return 0;
	return cmd_usage("anchor %s: none or kms", value);
}

/* A value fits in both places once its check has passed. */
static const struct property {
	const char *key;
	int (*check)(const char *value);
	size_t offset, room; /* of the member of struct descriptor */
} properties[] = {
#define MEMBER(m)                                                              \
	offsetof(struct descriptor, m), sizeof(((struct descriptor *)NULL)->m)
	{ "kind", cmd_check_kind, MEMBER(kind) },
	{ "category", cmd_check_category, MEMBER(category) },
	{ "on_key_revoked", check_on_key_revoked, MEMBER(on_key_revoked) },
	{ "anchor", check_anchor, MEMBER(anchor) },
};
#define N_PROPERTIES (sizeof(properties) / sizeof(properties[0]))

/* KEY=VALUE, cut in two at ${value}. */
static int
find_property(const char *word, const struct property **ret,
	      const char **ret_value)
{
	const char *eq = strchr(word, '=');
	size_t len = eq ? (size_t)(eq - word) : 0;

	if (!eq)
		return cmd_usage("%s: not KEY=VALUE", word);
	for (size_t i = 0; i < N_PROPERTIES; i++)
		if (strlen(properties[i].key) == len &&
		    memcmp(properties[i].key, word, len) == 0) {
			*ret = &properties[i];
			*ret_value = eq + 1;
			return properties[i].check(eq + 1);
		}
	return cmd_usage("%s: there is no such property; kind, category, "
			 "on_key_revoked or anchor",
			 word);
}

/* All of them, before any is set. */
static int
check_all(int n, char **words)
{
	const struct property *p;
	const char *value;
	int r = 0;

	for (int i = 0; r == 0 && i < n; i++)
		r = find_property(words[i], &p, &value);
	return r;
}

static void
apply(struct descriptor *d, const struct property *p, const char *value)
{
	(void)snprintf((char *)d + p->offset, p->room, "%s", value);
}

static int
set_in_store(struct cmd_env *e, const char *name, int n, char **words)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	const struct property *p;
	const char *value;
	struct descriptor d;
	int r;

	r = catalog_load_verified(e->catalog, e->kms, DESC_DISK, name, &d, &dk);
	for (int i = 0; r == 0 && i < n; i++) {
		r = find_property(words[i], &p, &value);
		if (r == 0)
			apply(&d, p, value);
	}
	return r ? r : catalog_save(e->catalog, &d, &dk);
}

static int
set_in_mount(const char *info, int n, char **words)
{
	CLEANUP(close_fdp) int fd = open(info, O_RDONLY | O_CLOEXEC);
	const struct property *p;
	const char *value;
	int r = 0;

	if (fd < 0)
		return -errno;
	for (int i = 0; r == 0 && i < n; i++) {
		struct sd_ioc_property arg = { .key = "" };

		r = find_property(words[i], &p, &value);
		if (r)
			return r;
		(void)snprintf(arg.key, sizeof(arg.key), "%s", p->key);
		(void)snprintf(arg.value, sizeof(arg.value), "%s", value);
		if (ioctl(fd, SD_IOC_SET, &arg) < 0)
			r = -errno;
	}
	return r;
}

int
cmd_set(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	char path[PATH_MAX], info[PATH_MAX];
	struct descriptor d;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = check_all(argc - 1, argv + 1);
	if (r == 0)
		r = cmd_open(&e, 0);
	if (r == 0)
		r = cmd_load(&e, argv[0], &d);
	if (r == 0)
		r = cmd_lock(&e, &d, &lock, path);
	if (r == 0 && lock)
		r = cmd_open_kms(&e.settings, &e.kms);
	if (r)
		return r;
	if (!lock)
		r = cmd_info_path(path, info);
	if (r == 0)
		r = lock ? set_in_store(&e, d.name, argc - 1, argv + 1)
			 : set_in_mount(info, argc - 1, argv + 1);
	return r < 0 ? cmd_fail(r, NULL, NULL, "set %s", d.name) : r;
}
