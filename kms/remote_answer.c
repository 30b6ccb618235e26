/*
 * remote_answer.c - what a key service elsewhere says, field by field.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/codec.h>

#include "remote_private.h"

int
answer_text(const json_t *o, const char *name, bool needed, char *out,
	    size_t cap)
{
	const json_t *v = json_object_get(o, name);
	const char *s = json_string_value(v);
	size_t len = s ? json_string_length(v) : 0;

	if (!v && !needed) {
		out[0] = '\0';
		return 0;
	}
	if (!s || len >= cap || (needed && len == 0))
		return -EPROTO;
	if (strlen(s) != len || text_has_control(s))
		return -EPROTO;
	memcpy(out, s, len + 1);
	return 0;
}

/* A time; 0 where there is none. */
static int
answer_time(const json_t *o, const char *name, int64_t *ret)
{
	char text[TIME_STR_LEN];
	int r = answer_text(o, name, false, text, sizeof(text));

	*ret = 0;
	if (r < 0 || !text[0])
		return r;
	return parse_time(text, ret) < 0 ? -EPROTO : 0;
}

int
answer_bytes(const json_t *o, const char *name, void *out, size_t cap,
	     size_t *ret_len)
{
	const char *s = json_string_value(json_object_get(o, name));

	/* None of them is empty: a wrapped key of no bytes is none. */
	return s && base64_decode(s, out, cap, ret_len) == 0 && *ret_len > 0
		   ? 0
		   : -EPROTO;
}

static int
take_state(const json_t *o, enum kms_key_state *ret)
{
	const char *s = json_string_value(json_object_get(o, "KeyState"));

	for (int i = KMS_ENABLED; s && i <= KMS_PENDING_IMPORT; i++)
		if (strcmp(s, kms_state_name((enum kms_key_state)i)) == 0) {
			*ret = (enum kms_key_state)i;
			return 0;
		}
	return -EPROTO;
}

/* Descriptions are for people, and may be longer than what is kept of them:
 * what is not plain text becomes a question mark. */
static void
take_description(const json_t *o, char *out, size_t cap)
{
	const char *s = json_string_value(json_object_get(o, "Description"));
	size_t len = s ? strnlen(s, cap - 1) : 0;

	while (len > 0 && !utf8_valid(s, len))
		len--;
	if (len > 0)
		memcpy(out, s, len);
	out[len] = '\0';
	text_mask_control(out);
}

/* "604800s", where there is one. */
static int
take_rotation(const json_t *o, struct kms_key_info *info)
{
	char text[32], *unit;
	uint64_t every;
	int r = answer_text(o, "RotationInterval", false, text, sizeof(text));

	if (r < 0 || !text[0])
		return r;
	unit = strchr(text, 's');
	if (!unit || unit[1])
		return -EPROTO;
	*unit = '\0';
	if (parse_u64(text, &every) < 0 || every > INT32_MAX)
		return -EPROTO;
	info->rotate_every = (int64_t)every;
	if (info->state != KMS_ENABLED)
		return 0;
	return answer_time(o, "NextRotationDate", &info->rotate_at);
}

static bool
is_protected(const json_t *o)
{
	const char *s =
	    json_string_value(json_object_get(o, "DeletionProtection"));

	return s && strcmp(s, "Enabled") == 0;
}

int
answer_metadata(const json_t *answer, struct kms_key_info *ret)
{
	const json_t *o = json_object_get(answer, "KeyMetadata");
	struct kms_key_info info = { .versions = 1 };
	int r = json_is_object(o) ? 0 : -EPROTO;

	if (r == 0)
		r = answer_text(o, "KeyId", true, info.id, sizeof(info.id));
	if (r == 0)
		r = answer_text(o, "Arn", false, info.arn, sizeof(info.arn));
	if (r == 0)
		r = answer_text(o, "Creator", false, info.creator,
				sizeof(info.creator));
	if (r == 0)
		r = answer_text(o, "Origin", false, info.origin,
				sizeof(info.origin));
	if (r == 0)
		r = answer_text(o, "PrimaryKeyVersion", false,
				info.primary_version,
				sizeof(info.primary_version));
	if (r == 0)
		r = take_state(o, &info.state);
	if (r == 0)
		r = answer_time(o, "CreationDate", &info.created);
	if (r == 0)
		r = answer_time(o, "LastRotationDate", &info.rotated);
	if (r == 0)
		r = answer_time(o, "DeleteDate", &info.delete_at);
	if (r == 0)
		r = answer_time(o, "MaterialExpireTime", &info.expires_at);
	if (r == 0)
		r = answer_text(o, "DKMSInstanceId", false, info.instance,
				sizeof(info.instance));
	if (r == 0)
		r = take_rotation(o, &info);
	if (r < 0)
		return r;
	info.is_protected = is_protected(o);
	take_description(o, info.description, sizeof(info.description));
	if (info.rotated == 0)
		info.rotated = info.created;
	*ret = info;
	return 0;
}
