/*
 * init.c - `sealdisk init STORE`: a new store and, embedded, the keystore and
 * root key where there are none.
 *
 * The keystore comes first: a store without keys would be a store that nobody
 * can make a second time.  And before either, whether the store is there
 * already: then its keys are elsewhere, and a new keystore would only stand in
 * the way of the one that is to be put back.
 */
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include <sealdisk/io.h>

struct init {
	struct settings settings;
	char path[PATH_MAX];
	struct store_meta meta;
	bool made_keys;
};

/* An option that is a setting for this once. */
static int
override(struct settings *s, const char *name, const char *value)
{
	CLEANUP(free_memp) char *msg = NULL;

	if (!value || settings_set(s, name, value, &msg) == 0)
		return 0;
	return cmd_usage("%s: %s", strchr(name, '.') + 1, msg ? msg : "wrong");
}

static bool
is_embedded(const struct settings *s)
{
	return strcmp(s->kms_endpoint, "embedded") == 0;
}

/* What can be known of a service elsewhere without asking it. */
static int
check_service(const struct settings *s)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;

	return is_embedded(s) ? 0 : cmd_open_kms(s, &kms);
}

static int
parse(int argc, char **argv, struct init *in)
{
	const char *kms = NULL, *region = NULL, *cipher = NULL;
	const struct cmd_option own[] = {
		{ "kms", &kms, NULL },
		{ "region", &region, NULL },
		{ "cipher", &cipher, NULL },
		{ NULL, NULL, NULL },
	};
	struct settings *s = &in->settings;
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r)
		return r;
	if (argc == 1 && cmd_globals.store)
		return cmd_usage("the store is given twice");
	r = cmd_settings(s);
	if (r == 0)
		r = override(s, "kms.endpoint", kms);
	if (r == 0)
		r = override(s, "kms.region", region);
	if (r == 0)
		r = override(s, "store.cipher", cipher);
	if (r)
		return r;
	(void)snprintf(in->path, sizeof(in->path), "%s", argv[0]);
	return check_service(s);
}

/* The folder, opened as a store, and known to be none yet. */
static int
prepare(struct init *in, struct store **ret)
{
	CLEANUP(catalog_closep) struct catalog *c = NULL;
	char given[PATH_MAX];
	int r;

	memcpy(given, in->path, sizeof(given));
	r = io_mkdir_p(AT_FDCWD, given, 0700);
	if (r == 0 && !realpath(given, in->path))
		r = -errno;
	if (r == 0)
		r = store_posix_open(in->path, ret);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "init %s: folder", given);
	r = catalog_open(*ret, &c);
	if (r == 0)
		return cmd_fail(-EEXIST, "it is a store already",
				"nothing was changed", "init %s", in->path);
	if (r != -ENOENT)
		return cmd_fail(r, NULL, NULL, "init %s: store.ini", in->path);
	return 0;
}

static int
make_store(struct init *in, struct store *st)
{
	const struct settings *s = &in->settings;
	const char *why = NULL, *hint = NULL;
	int r;

	in->meta.created = time(NULL);
	in->meta.slack = s->slack;
	in->meta.commit_files = strcmp(s->commit, "files") == 0;
	r = cipher_parse(s->cipher, &in->meta.cipher);
	if (r == 0)
		r = uuid_new(&in->meta.uuid);
	if (r == 0)
		r = catalog_init(st, &in->meta);
	if (r == -ENOTEMPTY) {
		why = "the folder holds something else";
		hint = "name an empty or a new one";
	}
	return r < 0 ? cmd_fail(r, why, hint, "init %s", in->path) : 0;
}

static void
print_remote(const struct settings *s)
{
	printf("Its keys are those of the key service %s, which every command "
	       "must find in\nsealdisk.ini:\n\n"
	       "  [kms]\n  endpoint = %s\n",
	       s->kms_endpoint, s->kms_endpoint);
}

static void
print_text(const struct init *in)
{
	const struct settings *s = &in->settings;
	bool is_file = strcmp(s->keystore_root, "keyfile") == 0;
	char root[SETTING_MAX + 32];

	printf("Made the store %s.\n", in->path);
	if (!is_embedded(s)) {
		print_remote(s);
		return;
	}
	key_root_text(s, root, sizeof(root));
	printf("%s the keystore %s and its %s.\n",
	       in->made_keys ? "Made" : "It uses", s->keystore_path, root);
	printf("\nWho loses either loses every disk.  Keep copies of both, "
	       "away from this machine\nand apart from each other:\n\n"
	       "  sealdisk kms backup FILE    the keystore, again after each "
	       "new key\n");
	if (is_file)
		printf("  cp %s FILE    the root key, once\n",
		       s->keystore_root_file);
}

static int
print(const struct init *in)
{
	const struct settings *s = &in->settings;
	char uuid[UUID_STR_LEN];

	if (!cmd_globals.json) {
		print_text(in);
		return 0;
	}
	uuid_format(&in->meta.uuid, uuid);
	return cmd_print_json(
	    json_pack("{ss ss ss ss ss ss sb}", "store", in->path, "uuid", uuid,
		      "cipher", s->cipher, "keystore", s->keystore_path, "root",
		      s->keystore_root, "root_file", s->keystore_root_file,
		      "keystore_made", in->made_keys));
}

int
cmd_init(int argc, char **argv)
{
	CLEANUP(store_freep) struct store *st = NULL;
	struct init in = { .path = "" };
	int r;

	r = parse(argc, argv, &in);
	if (r == 0)
		r = prepare(&in, &st);
	if (r)
		return r;
	r = kms_init(&in.settings, &in.made_keys);
	if (r < 0)
		return cmd_fail_kms(&in.settings, r);
	r = make_store(&in, st);
	return r ? r : print(&in);
}
