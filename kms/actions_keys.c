/*
 * actions_keys.c - keys made, described, switched and ended.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "service_private.h"

/* KeyMetadata. */

static const char *
rotation_name(const struct kms_key_info *i)
{
	if (!i->rotate_every)
		return "Disabled";
	return i->state == KMS_ENABLED ? "Enabled" : "Suspended";
}

static int
put_rotation(json_t *to, const struct kms_key_info *i)
{
	char every[32];
	int r;

	r = put_text(to, "AutomaticRotation", rotation_name(i));
	if (r < 0 || !i->rotate_every)
		return r;
	(void)snprintf(every, sizeof(every), "%llds",
		       (long long)i->rotate_every);
	r = put_text(to, "RotationInterval", every);
	return r < 0 ? r
		     : put_time(to, "NextRotationDate",
				i->rotated + i->rotate_every);
}

static int
put_metadata(json_t *to, const struct kms_key_info *i, const char *description)
{
	const struct {
		const char *name, *text;
	} texts[] = {
		{ "KeyId", i->id },
		{ "Arn", i->arn },
		{ "Creator", i->creator },
		{ "Description", description },
		{ "KeySpec", "Aliyun_AES_256" },
		{ "KeyUsage", "ENCRYPT/DECRYPT" },
		{ "KeyState", kms_state_name(i->state) },
		{ "Origin", i->origin },
		{ "ProtectionLevel", i->instance[0] ? "HSM" : "SOFTWARE" },
		{ "PrimaryKeyVersion", i->primary_version },
		{ "DKMSInstanceId", i->instance },
	};
	const struct {
		const char *name;
		int64_t at;
	} times[] = {
		{ "CreationDate", i->created },
		{ "LastRotationDate", i->rotated },
		{ "DeleteDate", i->delete_at },
		{ "MaterialExpireTime", i->expires_at },
	};
	size_t n;
	int r = 0;

	for (n = 0; n < sizeof(texts) / sizeof(texts[0]) && r == 0; n++)
		if (texts[n].text[0] || strcmp(texts[n].name, "DKMSInstanceId"))
			r = put_text(to, texts[n].name, texts[n].text);
	for (n = 0; n < sizeof(times) / sizeof(times[0]) && r == 0; n++)
		r = put_time(to, times[n].name, times[n].at);
	return r < 0 ? r : put_rotation(to, i);
}

static json_t *
add_metadata(struct action_call *c)
{
	json_t *to = json_object();

	return put_json(c->body, "KeyMetadata", to) < 0 ? NULL : to;
}

/* CreateKey. */

/* What the words say together must make sense. */
static int
fill_new(struct action_call *c, struct keys_new *new)
{
	const char *origin = call_arg(c, "Origin")->text;
	const char *level = call_arg(c, "ProtectionLevel")->text;
	bool hsm = level && strcmp(level, "HSM") == 0;
	bool rotates = call_flag(c, "EnableAutomaticRotation");

	new->external = origin &&strcmp(origin, "EXTERNAL") == 0;
	new->instance = call_arg(c, "DKMSInstanceId")->text;
	new->policy = call_arg(c, "Policy")->text;
	if (hsm && !new->instance) {
		c->code = CODE_UNSUPPORTED_LEVEL;
		return -EINVAL;
	}
	if (new->external && (new->instance || rotates)) {
		c->code = CODE_UNSUPPORTED_ORIGIN;
		return -EINVAL;
	}
	if (!rotates)
		return 0;
	new->rotate_every = call_number(c, "RotationInterval", 0);
	if (new->rotate_every >= KEYS_ROTATION_MIN &&new->rotate_every <=
	    KEYS_ROTATION_MAX)
		return 0;
	if (call_arg(c, "RotationInterval")->text)
		return call_refuse(c, "RotationInterval");
	c->code = CODE_MISSING_PARAMETER;
	c->bad = "RotationInterval";
	return -EINVAL;
}

int
action_create_key(struct action_call *c)
{
	const char *description = call_arg(c, "Description")->text;
	struct keys_new new = { .description = description ? description : "" };
	struct keys_tags tags;
	struct kms_key_info info;
	json_t *to;
	int r;

	r = fill_new(c, &new);
	if (r == 0)
		r = call_tags(c, "Tags", &tags);
	if (r == 0 && new.policy)
		r = call_check_policy(c, new.policy);
	if (r < 0)
		return r;
	new.tags = &tags;
	r = keys_create(c->k, &new, &info);
	if (r == -ENXIO)
		return call_refuse(c, "DKMSInstanceId");
	if (r == -EINVAL)
		return call_refuse(c, "Description");
	if (r < 0)
		return r;
	memcpy(c->used_version, info.primary_version, sizeof(c->used_version));
	to = add_metadata(c);
	return to ? put_metadata(to, &info, new.description) : -ENOMEM;
}

/* DescribeKey. */

int
action_describe_key(struct action_call *c)
{
	CLEANUP(free_memp) char *description = NULL, *protection = NULL;
	const char *id = c->subjects[0].id;
	struct kms_key_info info;
	json_t *to;
	int r;

	r = keys_describe(c->k, id, &info);
	if (r == 0)
		r = keys_get_text(c->k, id, KEYS_DESCRIPTION, &description);
	if (r == 0)
		r = keys_get_text(c->k, id, KEYS_PROTECTION, &protection);
	if (r < 0)
		return r;
	to = add_metadata(c);
	if (!to)
		return -ENOMEM;
	r = put_metadata(to, &info, description ? description : "");
	if (r == 0)
		r = put_text(to, "DeletionProtection",
			     protection ? "Enabled" : "Disabled");
	if (r == 0 && protection)
		r = put_text(to, "DeletionProtectionDescription", protection);
	return r;
}

/* The rest. */

int
action_enable_key(struct action_call *c)
{
	return keys_enable(c->k, c->subjects[0].id);
}

int
action_disable_key(struct action_call *c)
{
	return keys_disable(c->k, c->subjects[0].id);
}

int
action_schedule_key_deletion(struct action_call *c)
{
	unsigned days = (unsigned)call_number(c, "PendingWindowInDays", 0);
	int64_t at;

	return keys_schedule_deletion(c->k, c->subjects[0].id, days, &at);
}

int
action_cancel_key_deletion(struct action_call *c)
{
	return keys_cancel_deletion(c->k, c->subjects[0].id);
}

int
action_set_deletion_protection(struct action_call *c)
{
	const char *why = call_arg(c, "DeletionProtectionDescription")->text;
	bool on = call_flag(c, "EnableDeletionProtection");

	if (!on)
		why = NULL;
	else if (!why)
		why = "";
	return keys_set_protection(c->k, c->subjects[0].id, why);
}

int
action_update_key_description(struct action_call *c)
{
	return keys_set_description(c->k, c->subjects[0].id,
				    call_arg(c, "Description")->text);
}

int
action_update_rotation_policy(struct action_call *c)
{
	int64_t every = call_number(c, "RotationInterval", 0);
	bool on = call_flag(c, "EnableAutomaticRotation");

	if (on && !call_arg(c, "RotationInterval")->text) {
		c->code = CODE_MISSING_PARAMETER;
		c->bad = "RotationInterval";
		return -EINVAL;
	}
	if (on && (every < KEYS_ROTATION_MIN || every > KEYS_ROTATION_MAX))
		return call_refuse(c, "RotationInterval");
	return keys_set_rotation(c->k, c->subjects[0].id, on ? every : 0);
}

/* The account and the region. */

int
action_describe_regions(struct action_call *c)
{
	json_t *list = put_list(c->body, "Regions", "Region");
	json_t *region = json_object();
	int r = -ENOMEM;

	if (list && region)
		r = put_text(region, "RegionId", c->s->settings.kms_region);
	if (r == 0 && json_array_append(list, region) < 0)
		r = -ENOMEM;
	json_decref(region);
	return r;
}

int
action_describe_account_kms_status(struct action_call *c)
{
	return put_text(c->body, "AccountStatus", "Enabled");
}
