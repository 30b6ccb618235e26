/*
 * actions_versions.c - key versions; imported material; key policies.
 */
#include <errno.h>
#include <string.h>

#include "service_private.h"

/* Versions. */

static json_t *
version_json(const struct keys_version *v)
{
	json_t *to = json_object();
	int r = to ? 0 : -ENOMEM;

	if (r == 0)
		r = put_text(to, "KeyId", v->key_id);
	if (r == 0)
		r = put_text(to, "KeyVersionId", v->id);
	if (r == 0)
		r = put_time(to, "CreationDate", v->created);
	if (r == 0)
		return to;
	json_decref(to);
	return NULL;
}

int
action_create_key_version(struct action_call *c)
{
	struct kms_key_info info;
	struct keys_version v;
	int r;

	r = keys_create_version(c->k, c->subjects[0].id, &info);
	if (r < 0)
		return r;
	memcpy(v.key_id, info.id, sizeof(v.key_id));
	memcpy(v.id, info.primary_version, sizeof(v.id));
	v.created = info.rotated;
	memcpy(c->used_version, v.id, sizeof(c->used_version));
	return put_json(c->body, "KeyVersion", version_json(&v));
}

int
action_describe_key_version(struct action_call *c)
{
	struct keys_version v;
	int r;

	r = keys_describe_version(c->k, c->subjects[0].id,
				  call_arg(c, "KeyVersionId")->text, &v);
	return r < 0 ? r : put_json(c->body, "KeyVersion", version_json(&v));
}

int
action_list_key_versions(struct action_call *c)
{
	CLEANUP(free_memp) struct keys_version *all = NULL;
	struct page page = page_of(c);
	json_t *list, *one;
	size_t n, i;
	int r;

	r = keys_versions(c->k, c->subjects[0].id, &all, &n);
	if (r < 0)
		return r;
	list = put_list(c->body, "KeyVersions", "KeyVersion");
	if (!list)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		if (!page_takes(&page))
			continue;
		one = version_json(&all[i]);
		if (!one || json_array_append_new(list, one) < 0)
			return -ENOMEM;
	}
	return page_put(&page, c->body);
}

/* Import. */

static enum rsa_padding
padding_of(const char *name)
{
	if (strcmp(name, "RSAES_OAEP_SHA_256") == 0)
		return RSA_OAEP_SHA256;
	return strcmp(name, "RSAES_OAEP_SHA_1") == 0 ? RSA_OAEP_SHA1
						     : RSA_PKCS1_V15;
}

int
action_get_parameters_for_import(struct action_call *c)
{
	const char *padding = call_arg(c, "WrappingAlgorithm")->text;
	const char *id = c->subjects[0].id;
	struct keys_import i;
	int r;

	r = keys_import_parameters(c->k, id, padding_of(padding), &i);
	if (r == 0)
		r = put_text(c->body, "KeyId", id);
	if (r == 0)
		r = put_data(c->body, "ImportToken", i.token, sizeof(i.token));
	if (r == 0)
		r = put_data(c->body, "PublicKey", i.public, sizeof(i.public));
	return r < 0 ? r : put_time(c->body, "TokenExpireTime", i.expires);
}

int
action_import_key_material(struct action_call *c)
{
	const struct arg *sealed = call_arg(c, "EncryptedKeyMaterial");
	const char *token = call_arg(c, "ImportToken")->text;
	uint8_t bytes[KEYS_TOKEN_LEN];
	size_t len = 0;
	int r;

	/* That it is malformed matters once its key could take it. */
	if (base64_decode(token, bytes, sizeof(bytes), &len) < 0)
		len = 0;
	r = keys_import(c->k, c->subjects[0].id, bytes, len, sealed->data,
			sealed->len,
			call_number(c, "KeyMaterialExpireUnix", 0));
	return r == -EINVAL ? call_refuse(c, "KeyMaterialExpireUnix") : r;
}

int
action_delete_key_material(struct action_call *c)
{
	return keys_delete_material(c->k, c->subjects[0].id);
}

/* Key policies. */

/* What holds for a key without one: nobody may anything by it but the owner of
 * the keystore, who always may.  It can be set again as it is read. */
static const char no_policy[] =
    "{\"Version\":\"1\",\"Statement\":[{\"Sid\":\"default\",\"Effect\":"
    "\"Allow\",\"Principal\":{\"RAM\":[\"acs:ram::local:root\"]},"
    "\"Action\":[\"kms:*\"],\"Resource\":[\"*\"]}]}";

int
call_check_policy(struct action_call *c, const char *text)
{
	CLEANUP(policy_freep) struct policy *p = NULL;
	int r;

	r = policy_parse(text, strlen(text), POLICY_OF_KEY, &p, c->why);
	return r == -EINVAL ? call_refuse(c, "Policy") : r;
}

int
action_get_key_policy(struct action_call *c)
{
	CLEANUP(free_memp) char *policy = NULL;
	int r;

	r = keys_get_text(c->k, c->subjects[0].id, KEYS_POLICY, &policy);
	return r < 0 ? r
		     : put_text(c->body, "Policy", policy ? policy : no_policy);
}

int
action_set_key_policy(struct action_call *c)
{
	const char *policy = call_arg(c, "Policy")->text;
	int r = call_check_policy(c, policy);

	if (r == 0)
		r = keys_set_policy(c->k, c->subjects[0].id, policy);
	return r == -EINVAL ? call_refuse(c, "Policy") : r;
}
