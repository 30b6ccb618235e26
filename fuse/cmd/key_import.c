/*
 * key_import.c - `sealdisk key import` and `key set`: a master key's material,
 * if it is brought along, and its properties.
 *
 * The material is sealed in this process, whichever key service it is for; it
 * is in no argument, no message and no other file.
 */
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>
#include <sealdisk/kms.h>
#include <sealdisk/secret.h>

static int
read_material(const char *path, struct key *ret)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t more;
	ssize_t n;
	int r;

	if (fd < 0)
		return cmd_fail(-errno, NULL, NULL, "key import: %s", path);
	r = io_read_all(fd, ret->bytes, sizeof(ret->bytes));
	if (r == 0) {
		n = read(fd, &more, 1);
		r = n < 0 ? -errno : n > 0 ? -EMSGSIZE : 0;
	}
	if (r == -EIO || r == -ENODATA || r == -EMSGSIZE)
		return cmd_fail(-EINVAL,
				"key material is 32 bytes, and nothing"
				" else",
				"head -c 32 /dev/random makes some",
				"key import: %s", path);
	return r < 0 ? cmd_fail(r, NULL, NULL, "key import: %s", path) : 0;
}

static int
fail(int err, const char *key)
{
	const char *why = NULL, *hint = NULL;

	switch (err) {
	case -EPERM:
		why = "it was not made for imported material";
		hint = "`sealdisk key create --origin external` makes one";
		break;
	case -EBADMSG: /* no damage: exit status 1 */
		err = -EINVAL;
		why = "it had other material before, and only that can come "
		      "back";
		hint = "";
		break;
	case -EKEYEXPIRED:
		why = "it is scheduled for deletion, or destroyed";
		hint = "`sealdisk key cancel-deletion` calls that off";
		break;
	default:
		return key_fail(err, key);
	}
	return cmd_fail(err, why, hint, "key import %s", key);
}

static int
import(struct kms *kms, const char *key, const char *path, int64_t expires)
{
	CLEANUP(key_wipe) struct key material = { { 0 } };
	struct kms_import i = { .padding = RSA_OAEP_SHA256 };
	int r;

	r = read_material(path, &material);
	if (r)
		return r;
	r = kms_prepare_import(kms, key, &i);
	if (r == 0)
		r = kms_import_material(kms, key, &i, &material, expires);
	return r < 0 ? fail(r, key) : 0;
}

static int
parse_expires(const char *text, int64_t *ret)
{
	if (!text)
		return 0;
	if (parse_time(text, ret) < 0)
		return cmd_usage("--expires %s: not a time such as "
				 "2027-01-31T00:00:00Z",
				 text);
	if (*ret <= time(NULL))
		return cmd_usage("--expires %s: that is over", text);
	return 0;
}

int
key_import(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	const char *path = NULL, *until = NULL;
	bool rm = false;
	const struct cmd_option own[] = {
		{ "material", &path, NULL },
		{ "expires", &until, NULL },
		{ "rm", NULL, &rm },
		{ NULL, NULL, NULL },
	};
	struct settings s;
	int64_t expires = 0;
	int r;

	r = key_open_kms(&argc, &argv, own, KEY_UNLOCKED, &s, &kms);
	if (r == 0)
		r = cmd_check_key(argv[0]);
	if (r == 0)
		r = parse_expires(until, &expires);
	if (r)
		return r;
	if (rm == (path != NULL) || (rm && until))
		return cmd_usage("--material FILE, or --rm");
	if (path)
		return import(kms, argv[0], path, expires);
	r = kms_delete_material(kms, argv[0]);
	return r < 0 ? fail(r, argv[0]) : 0;
}

/* Properties. */

static int
set_rotation(struct kms *kms, const char *key, const char *value)
{
	uint64_t days = 0;
	int r;

	if (strcmp(value, "never") != 0 &&
	    (parse_u64(value, &days) < 0 || days < KMS_ROTATION_DAYS_MIN ||
	     days > KMS_ROTATION_DAYS_MAX))
		return cmd_usage("rotation=%s: %d to %d days, or never", value,
				 KMS_ROTATION_DAYS_MIN, KMS_ROTATION_DAYS_MAX);
	r = kms_set_rotation(kms, key, (unsigned)days);
	if (r == -EPERM)
		return cmd_fail(r, "it is not one to rotate",
				"a service key, or one that was imported",
				"key set %s", key);
	return r < 0 ? key_fail(r, key) : 0;
}

static int
set_protected(struct kms *kms, const char *key, const char *value)
{
	bool on = strcmp(value, "yes") == 0;
	int r;

	if (!on && strcmp(value, "no") != 0)
		return cmd_usage("protected=%s: yes or no", value);
	r = kms_set_protection(kms, key, on);
	return r < 0 ? key_fail(r, key) : 0;
}

static int
set_property(struct kms *kms, const char *key, const char *given)
{
	static const struct {
		const char *name;
		int (*set)(struct kms *kms, const char *key, const char *value);
	} table[] = {
		{ "rotation=", set_rotation },
		{ "protected=", set_protected },
	};
	size_t len;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		len = strlen(table[i].name);
		if (strncmp(given, table[i].name, len) == 0)
			return table[i].set(kms, key, given + len);
	}
	return cmd_usage("`%s`: a key has rotation=DAYS and protected=yes|no",
			 given);
}

int
key_set(int argc, char **argv)
{
	CLEANUP(kms_closep) struct kms *kms = NULL;
	struct settings s;
	int r;

	r = key_open_kms(&argc, &argv, NULL, KEY_UNLOCKED, &s, &kms);
	if (r == 0)
		r = cmd_check_key(argv[0]);
	for (int i = 1; r == 0 && i < argc; i++)
		r = set_property(kms, argv[0], argv[i]);
	return r;
}
