/*
 * key_life.c - `sealdisk key enable`, disable, rotate, schedule-deletion,
 * cancel-deletion: what becomes of a master key, and of the disks with it.
 */
#include "key.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/kms.h>

#define DAYS "30"

/* "3 disks hang on key ID: a, b, c." */
static void
describe(const struct key_load *load, const char *id, char *ret, size_t cap)
{
	if (load->n)
		(void)snprintf(ret, cap, "%u disk%s on key %s: %s.", load->n,
			       load->n == 1 ? " hangs" : "s hang", id,
			       load->names);
	else if (load->unknown)
		(void)snprintf(ret, cap,
			       "Which disks hang on key %s is not known (%s).",
			       id, load->unknown);
	else
		(void)snprintf(ret, cap,
			       "No disk is known that hangs on key "
			       "%s.",
			       id);
}

/*
 * What hangs on the key is said before it is taken away, and there must be an
 * answer: ${always}, or where that does harm, or may do.
 */
static int
confirm(const struct settings *s, const struct kms_key_info *k,
	const char *what_becomes, bool always)
{
	struct key_load load;
	char text[512];

	key_find_load(s, k->id, &load);
	if (!always && !load.n && !load.unknown)
		return 0;
	describe(&load, k->id, text, sizeof(text));
	if (strcmp(s->key_in_use, "refuse") == 0 && (load.n || load.unknown))
		return cmd_fail(
		    -EBUSY,
		    "it is in use, and [kms] key_in_use = "
		    "refuse",
		    "`sealdisk rotate --key` moves disks to another "
		    "key",
		    "%s: %s  %s", cmd_name(), text, what_becomes);
	if (!cmd_globals.yes &&
	    (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)))
		return cmd_usage("%s  %s  Say --yes", text, what_becomes);
	if (!cmd_globals.yes)
		return cmd_confirm("%s  %s", text, what_becomes);
	cmd_note("%s: %s  %s", cmd_name(), text, what_becomes);
	return 0;
}

int
key_enable(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	struct settings s;
	int r;

	r = key_open_kms(&argc, &argv, NULL, KEY_LOCKED, &s, &kms);
	if (r == 0)
		r = cmd_check_key(argv[0]);
	if (r)
		return r;
	r = kms_enable_key(kms, argv[0]);
	return r < 0 ? key_fail(r, argv[0]) : 0;
}

int
key_disable(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	struct kms_key_info k;
	struct settings s;
	int r;

	r = key_open_kms(&argc, &argv, NULL, KEY_LOCKED, &s, &kms);
	if (r == 0)
		r = cmd_check_key(argv[0]);
	if (r)
		return r;
	r = kms_describe_key(kms, argv[0], &k);
	if (r < 0)
		return key_fail(r, argv[0]);
	if (k.state == KMS_ENABLED && strcmp(k.creator, "Ecs") != 0) {
		r = confirm(&s, &k,
			    "None can be attached until the key is enabled "
			    "again.",
			    false);
		if (r)
			return r;
	}
	r = kms_disable_key(kms, k.id);
	return r < 0 ? key_fail(r, argv[0]) : 0;
}

int
key_rotate(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	struct kms_key_info k;
	struct settings s;
	int r;

	r = key_open_kms(&argc, &argv, NULL, KEY_UNLOCKED, &s, &kms);
	if (r == 0)
		r = cmd_check_key(argv[0]);
	if (r)
		return r;
	r = kms_create_key_version(kms, argv[0], &k);
	if (r == -EPERM)
		return cmd_fail(
		    r, "it is not one to rotate",
		    "a service key, or one that was imported; "
		    "`sealdisk rotate --key` moves disks to another",
		    "key rotate %s", argv[0]);
	if (r == -EDQUOT)
		return cmd_fail(r, "it has 50 versions, which is all",
				"make another key, and move the disks there "
				"with `sealdisk rotate --key`",
				"key rotate %s", argv[0]);
	if (r < 0)
		return key_fail(r, argv[0]);
	if (cmd_globals.json)
		return cmd_print_json(json_pack(
		    "{ss ss sI}", "key_id", k.id, "key_version_id",
		    k.primary_version, "versions", (json_int_t)k.versions));
	printf("%s\n", k.primary_version);
	if (isatty(STDOUT_FILENO))
		cmd_note("new disks are under this version; `sealdisk rotate` "
			 "brings those to it that are there");
	return 0;
}

static int
parse_days(const char *text, unsigned *ret)
{
	uint64_t days;

	if (parse_u64(text, &days) < 0 || days < KMS_DELETION_DAYS_MIN ||
	    days > KMS_DELETION_DAYS_MAX)
		return cmd_usage("--days %s: from %d to %d", text,
				 KMS_DELETION_DAYS_MIN, KMS_DELETION_DAYS_MAX);
	*ret = (unsigned)days;
	return 0;
}

static int
print_deletion(const char *id, int64_t at)
{
	char when[TIME_STR_LEN];

	format_time(at, when);
	if (cmd_globals.json)
		return cmd_print_json(
		    json_pack("{ss ss}", "key_id", id, "delete_at", when));
	printf("%s\n", when);
	return 0;
}

static int
schedule(struct kms *kms, const struct settings *s, const char *key,
	 unsigned days)
{
	struct kms_key_info k;
	char fate[160];
	int64_t at;
	int r;

	r = kms_describe_key(kms, key, &k);
	if (r < 0)
		return key_fail(r, key);
	if (k.state != KMS_PENDING_DELETION && strcmp(k.creator, "Ecs") != 0) {
		(void)snprintf(
		    fate, sizeof(fate),
		    "None can be attached from now on, and in %u "
		    "days the key is destroyed: all under it is lost "
		    "for good.",
		    days);
		r = confirm(s, &k, fate, true);
		if (r)
			return r;
	}
	r = kms_schedule_key_deletion(kms, k.id, days, &at);
	return r < 0 ? key_fail(r, key) : print_deletion(k.id, at);
}

int
key_schedule_deletion(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	const char *given = NULL;
	const struct cmd_option own[] = {
		{ "days", &given, NULL },
		{ NULL, NULL, NULL },
	};
	struct settings s;
	unsigned days;
	int r;

	r = key_open_kms(&argc, &argv, own, KEY_LOCKED, &s, &kms);
	if (r == 0)
		r = parse_days(given ? given : DAYS, &days);
	if (r == 0)
		r = cmd_check_key(argv[0]);
	return r ? r : schedule(kms, &s, argv[0], days);
}

static int
change_grant(int argc, char **argv, bool grant)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	struct settings s;
	int r;

	r = key_open_kms(&argc, &argv, NULL, KEY_LOCKED, &s, &kms);
	if (r == 0)
		r = cmd_check_key(argv[0]);
	if (r)
		return r;
	r = kms_grant_key(kms, argv[0], argv[1], grant);
	if (r == -EALREADY) /* who wants it so has it */
		r = 0;
	if (r == -EINVAL)
		return cmd_usage("`%s`: a principal is the NAME of an access "
				 "key's owner, uid:N or disks",
				 argv[1]);
	return r < 0 ? key_fail(r, argv[0]) : 0;
}

int
key_grant(int argc, char **argv)
{
	return change_grant(argc, argv, true);
}

int
key_revoke(int argc, char **argv)
{
	return change_grant(argc, argv, false);
}

int
key_cancel_deletion(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	struct settings s;
	int r;

	r = key_open_kms(&argc, &argv, NULL, KEY_LOCKED, &s, &kms);
	if (r == 0)
		r = cmd_check_key(argv[0]);
	if (r)
		return r;
	r = kms_cancel_key_deletion(kms, argv[0]);
	return r < 0 ? key_fail(r, argv[0]) : 0;
}
