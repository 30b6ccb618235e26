/*
 * actions.c - the table of actions; see service_private.h.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "service_private.h"

#define ARGS(...)                                                              \
	(const struct arg_def[])                                               \
	{                                                                      \
		__VA_ARGS__,                                                   \
		{                                                              \
			.name = NULL                                           \
		}                                                              \
	}
#define NO_ARGS                                                                \
	(const struct arg_def[])                                               \
	{                                                                      \
		{                                                              \
			.name = NULL                                           \
		}                                                              \
	}

#define KEY                                                                    \
	{                                                                      \
		.name = "KeyId", .type = ARG_KEY, .required = true             \
	}
#define KEY_OR_ALIAS                                                           \
	{                                                                      \
		.name = "KeyId", .type = ARG_KEY_OR_ALIAS, .required = true    \
	}
#define ALIAS                                                                  \
	{                                                                      \
		.name = "AliasName", .type = ARG_ALIAS, .required = true       \
	}
#define PRINCIPAL                                                              \
	{                                                                      \
		.name = "Principal", .type = ARG_TEXT, .required = true,       \
		.min = 1, .max = 128                                           \
	}
#define ACCESS_KEY                                                             \
	{                                                                      \
		.name = "UserAccessKeyId", .type = ARG_TEXT, .required = true, \
		.min = 1, .max = KEYSTORE_ACCESS_LEN - 1                       \
	}
#define CONTEXT                                                                \
	{                                                                      \
		.name = "EncryptionContext", .type = ARG_CONTEXT               \
	}
#define DRY_RUN                                                                \
	{                                                                      \
		.name = "DryRun", .type = ARG_BOOL                             \
	}
#define ENCLAVE                                                                \
	{                                                                      \
		.name = "Recipient", .type = ARG_REFUSED                       \
	}
#define BLOB                                                                   \
	{                                                                      \
		.name = "CiphertextBlob", .type = ARG_DATA, .required = true,  \
		.min = ENVELOPE_OVERHEAD, .max = KEYS_BLOB_MAX                 \
	}
#define PAGE                                                                   \
	{ .name = "PageNumber",                                                \
	  .type = ARG_NUMBER,                                                  \
	  .min = 1,                                                            \
	  .max = INT32_MAX },                                                  \
	{                                                                      \
		.name = "PageSize", .type = ARG_NUMBER, .min = 0, .max = 101   \
	}
#define DATA_KEY_ARGS                                                          \
	ARGS(KEY_OR_ALIAS,                                                     \
	     { .name = "KeySpec",                                              \
	       .type = ARG_WORD,                                               \
	       .words = "AES_256|AES_128" },                                   \
	     { .name = "NumberOfBytes",                                        \
	       .type = ARG_NUMBER,                                             \
	       .min = 1,                                                       \
	       .max = 1024 },                                                  \
	     CONTEXT, DRY_RUN, ENCLAVE)
#define TAG_LIST_ARGS                                                          \
	{                                                                      \
		.name = "ResourceType", .type = ARG_WORD, .required = true,    \
		.words = "key"                                                 \
	}

/* Sorted by name. */
static const struct action table[] = {
	{ "BackupKeystore", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK,
	  action_backup_keystore,
	  ARGS({ .name = "Path",
		 .type = ARG_TEXT,
		 .required = true,
		 .min = 1,
		 .max = PATH_MAX - 1 }) },
	{ "CancelKeyDeletion", CLASS_MANAGE, SCOPE_KEY, KEYS_CANCEL,
	  action_cancel_key_deletion, ARGS(KEY) },
	{ "CreateAccessKey", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK,
	  action_create_access_key, ARGS(PRINCIPAL) },
	{ "CreateAlias", CLASS_MANAGE, SCOPE_KEY, KEYS_CREATE_ALIAS,
	  action_create_alias, ARGS(KEY, ALIAS) },
	{ "CreateKey", CLASS_MANAGE, SCOPE_NONE, KEYS_LOOK, action_create_key,
	  ARGS({ .name = "Description",
		 .type = ARG_TEXT,
		 .max = KEYS_TEXT_CHARS },
	       { .name = "KeySpec",
		 .type = ARG_WORD,
		 .words = "Aliyun_AES_256" },
	       { .name = "KeyUsage",
		 .type = ARG_WORD,
		 .words = "ENCRYPT/DECRYPT" },
	       { .name = "Origin",
		 .type = ARG_WORD,
		 .words = "Aliyun_KMS|EXTERNAL" },
	       { .name = "ProtectionLevel",
		 .type = ARG_WORD,
		 .words = "SOFTWARE|HSM" },
	       { .name = "EnableAutomaticRotation", .type = ARG_BOOL },
	       { .name = "RotationInterval", .type = ARG_SECONDS },
	       { .name = "Tags", .type = ARG_JSON, .max = KEYS_TAGS_MAX },
	       { .name = "Policy",
		 .type = ARG_TEXT,
		 .min = 1,
		 .max = KEYS_POLICY_MAX },
	       { .name = "DKMSInstanceId",
		 .type = ARG_TEXT,
		 .min = 1,
		 .max = 63 },
	       { .name = "KeyStorageMechanism",
		 .type = ARG_WORD,
		 .words = "HsmInternal" }) },
	{ "CreateKeyVersion", CLASS_MANAGE, SCOPE_KEY, KEYS_ROTATE,
	  action_create_key_version, ARGS(KEY_OR_ALIAS) },
	{ "Decrypt", CLASS_CRYPT, SCOPE_BLOB, KEYS_USE, action_decrypt,
	  ARGS(BLOB, CONTEXT, DRY_RUN, ENCLAVE) },
	{ "DeleteAccessKey", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK,
	  action_delete_access_key, ARGS(ACCESS_KEY) },
	{ "DeleteAlias", CLASS_MANAGE, SCOPE_ALIAS, KEYS_LOOK,
	  action_delete_alias, ARGS(ALIAS) },
	{ "DeleteKeyMaterial", CLASS_MANAGE, SCOPE_KEY, KEYS_PREPARE,
	  action_delete_key_material, ARGS(KEY) },
	{ "DeletePolicy", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK,
	  action_delete_policy, ARGS(PRINCIPAL) },
	{ "DescribeAccountKmsStatus", CLASS_LOOK, SCOPE_NONE, KEYS_LOOK,
	  action_describe_account_kms_status, NO_ARGS },
	{ "DescribeKey", CLASS_LOOK, SCOPE_KEY, KEYS_LOOK, action_describe_key,
	  ARGS(KEY_OR_ALIAS) },
	{ "DescribeKeyVersion", CLASS_LOOK, SCOPE_KEY, KEYS_LOOK,
	  action_describe_key_version,
	  ARGS(KEY_OR_ALIAS, { .name = "KeyVersionId",
			       .type = ARG_TEXT,
			       .required = true,
			       .min = 1,
			       .max = 63 }) },
	{ "DescribeRegions", CLASS_LOOK, SCOPE_NONE, KEYS_LOOK,
	  action_describe_regions, NO_ARGS },
	{ "DisableKey", CLASS_MANAGE, SCOPE_KEY, KEYS_DISABLE,
	  action_disable_key, ARGS(KEY) },
	{ "EnableKey", CLASS_MANAGE, SCOPE_KEY, KEYS_ENABLE, action_enable_key,
	  ARGS(KEY) },
	{ "Encrypt", CLASS_CRYPT, SCOPE_KEY, KEYS_USE, action_encrypt,
	  ARGS(KEY_OR_ALIAS,
	       { .name = "Plaintext",
		 .type = ARG_DATA,
		 .required = true,
		 .min = 1,
		 .max = KEYS_DATA_MAX },
	       CONTEXT, DRY_RUN) },
	{ "GenerateDataKey", CLASS_CRYPT, SCOPE_KEY, KEYS_USE,
	  action_generate_data_key, DATA_KEY_ARGS },
	{ "GenerateDataKeyWithoutPlaintext", CLASS_CRYPT, SCOPE_KEY, KEYS_USE,
	  action_generate_data_key_without_plaintext, DATA_KEY_ARGS },
	{ "GetAnchor", CLASS_LOOK, SCOPE_NONE, KEYS_LOOK, action_get_anchor,
	  ARGS({ .name = "DiskId",
		 .type = ARG_TEXT,
		 .required = true,
		 .min = 36,
		 .max = 36 }) },
	{ "GetKeyPolicy", CLASS_LOOK, SCOPE_KEY, KEYS_LOOK,
	  action_get_key_policy,
	  ARGS(KEY, { .name = "PolicyName",
		      .type = ARG_WORD,
		      .words = "default" }) },
	{ "GetParametersForImport", CLASS_MANAGE, SCOPE_KEY, KEYS_PREPARE,
	  action_get_parameters_for_import,
	  ARGS(KEY,
	       { .name = "WrappingAlgorithm",
		 .type = ARG_WORD,
		 .required = true,
		 .words = "RSAES_OAEP_SHA_256|RSAES_OAEP_SHA_1|"
			  "RSAES_PKCS1_V1_5" },
	       { .name = "WrappingKeySpec",
		 .type = ARG_WORD,
		 .required = true,
		 .words = "RSA_2048" }) },
	{ "GetPolicy", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK, action_get_policy,
	  ARGS(PRINCIPAL) },
	{ "GetUsage", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK, action_get_usage,
	  ARGS({ .name = "Month", .type = ARG_TEXT, .min = 1, .max = 7 }) },
	{ "GrantKey", CLASS_MANAGE, SCOPE_KEY, KEYS_CHANGE, action_grant_key,
	  ARGS(KEY, PRINCIPAL) },
	{ "ImportKeyMaterial", CLASS_MANAGE, SCOPE_KEY, KEYS_IMPORT,
	  action_import_key_material,
	  ARGS(KEY,
	       { .name = "EncryptedKeyMaterial",
		 .type = ARG_DATA,
		 .required = true,
		 .min = 1,
		 .max = 1024 },
	       { .name = "ImportToken",
		 .type = ARG_TEXT,
		 .required = true,
		 .min = 1,
		 .max = 4096 },
	       { .name = "KeyMaterialExpireUnix",
		 .type = ARG_NUMBER,
		 .max = INT64_C(1) << 40 }) },
	{ "ListAccessKeys", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK,
	  action_list_access_keys,
	  ARGS({ .name = "Principal",
		 .type = ARG_TEXT,
		 .min = 1,
		 .max = 128 }) },
	{ "ListAliases", CLASS_LOOK, SCOPE_NONE, KEYS_LOOK, action_list_aliases,
	  ARGS(PAGE) },
	{ "ListAliasesByKeyId", CLASS_LOOK, SCOPE_KEY, KEYS_LOOK,
	  action_list_aliases_by_key_id, ARGS(KEY, PAGE) },
	{ "ListKeyVersions", CLASS_LOOK, SCOPE_KEY, KEYS_LOOK,
	  action_list_key_versions, ARGS(KEY_OR_ALIAS, PAGE) },
	{ "ListKeys", CLASS_LOOK, SCOPE_NONE, KEYS_LOOK, action_list_keys,
	  ARGS(PAGE, { .name = "Filters", .type = ARG_JSON, .max = 10 }) },
	{ "ListPolicies", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK,
	  action_list_policies, NO_ARGS },
	{ "ListResourceTags", CLASS_LOOK, SCOPE_KEY, KEYS_LOOK,
	  action_list_resource_tags, ARGS(KEY) },
	{ "ListTagResources", CLASS_LOOK, SCOPE_LIST, KEYS_LOOK,
	  action_list_tag_resources,
	  ARGS(TAG_LIST_ARGS,
	       { .name = "NextToken", .type = ARG_NUMBER, .max = INT64_MAX }) },
	{ "ReEncrypt", CLASS_REENCRYPT, SCOPE_REENCRYPT, KEYS_USE,
	  action_reencrypt,
	  ARGS(BLOB,
	       { .name = "DestinationKeyId",
		 .type = ARG_KEY_OR_ALIAS,
		 .required = true },
	       { .name = "SourceEncryptionContext", .type = ARG_CONTEXT },
	       { .name = "DestinationEncryptionContext", .type = ARG_CONTEXT },
	       { .name = "SourceEncryptionAlgorithm", .type = ARG_REFUSED },
	       DRY_RUN) },
	{ "RevokeKey", CLASS_MANAGE, SCOPE_KEY, KEYS_CHANGE, action_revoke_key,
	  ARGS(KEY, PRINCIPAL) },
	{ "ScheduleKeyDeletion", CLASS_MANAGE, SCOPE_KEY, KEYS_SCHEDULE,
	  action_schedule_key_deletion,
	  ARGS(KEY, { .name = "PendingWindowInDays",
		      .type = ARG_NUMBER,
		      .required = true,
		      .min = KMS_DELETION_DAYS_MIN,
		      .max = KMS_DELETION_DAYS_MAX }) },
	{ "SetAnchor", CLASS_MANAGE, SCOPE_NONE, KEYS_LOOK, action_set_anchor,
	  ARGS({ .name = "DiskId",
		 .type = ARG_TEXT,
		 .required = true,
		 .min = 36,
		 .max = 36 },
	       { .name = "Generation",
		 .type = ARG_NUMBER,
		 .required = true,
		 .max = INT64_MAX },
	       { .name = "Digest",
		 .type = ARG_TEXT,
		 .required = true,
		 .min = 64,
		 .max = 64 },
	       { .name = "Force", .type = ARG_BOOL }) },
	{ "SetDeletionProtection", CLASS_MANAGE, SCOPE_KEY, KEYS_CHANGE,
	  action_set_deletion_protection,
	  ARGS({ .name = "KeyId", .type = ARG_KEY },
	       { .name = "ProtectedResourceArn", .type = ARG_KEY },
	       { .name = "EnableDeletionProtection",
		 .type = ARG_BOOL,
		 .required = true },
	       { .name = "DeletionProtectionDescription",
		 .type = ARG_TEXT,
		 .max = KEYS_TEXT_CHARS }) },
	{ "SetKeyPolicy", CLASS_MANAGE, SCOPE_KEY, KEYS_CHANGE,
	  action_set_key_policy,
	  ARGS(KEY,
	       { .name = "PolicyName", .type = ARG_WORD, .words = "default" },
	       { .name = "Policy",
		 .type = ARG_TEXT,
		 .required = true,
		 .min = 1,
		 .max = KEYS_POLICY_MAX }) },
	{ "SetPolicy", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK, action_set_policy,
	  ARGS(PRINCIPAL, { .name = "PolicyDocument",
			    .type = ARG_TEXT,
			    .required = true,
			    .min = 1,
			    .max = POLICY_TEXT_MAX }) },
	{ "TagResource", CLASS_MANAGE, SCOPE_KEY, KEYS_CHANGE,
	  action_tag_resource,
	  ARGS(KEY, { .name = "Tags",
		      .type = ARG_JSON,
		      .required = true,
		      .max = 10 }) },
	{ "TagResources", CLASS_MANAGE, SCOPE_LIST, KEYS_CHANGE,
	  action_tag_resources, ARGS(TAG_LIST_ARGS) },
	{ "UntagResource", CLASS_MANAGE, SCOPE_KEY, KEYS_CHANGE,
	  action_untag_resource,
	  ARGS(KEY, { .name = "TagKeys",
		      .type = ARG_JSON,
		      .required = true,
		      .max = KEYS_TAGS_MAX }) },
	{ "UntagResources", CLASS_MANAGE, SCOPE_LIST, KEYS_CHANGE,
	  action_untag_resources,
	  ARGS(TAG_LIST_ARGS, { .name = "All", .type = ARG_BOOL }) },
	{ "UpdateAccessKey", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK,
	  action_update_access_key,
	  ARGS(ACCESS_KEY, { .name = "Status",
			     .type = ARG_WORD,
			     .required = true,
			     .words = "Active|Inactive" }) },
	{ "UpdateAlias", CLASS_MANAGE, SCOPE_REALIAS, KEYS_UPDATE_ALIAS,
	  action_update_alias, ARGS(KEY, ALIAS) },
	{ "UpdateKeyDescription", CLASS_MANAGE, SCOPE_KEY, KEYS_CHANGE,
	  action_update_key_description,
	  ARGS(KEY, { .name = "Description",
		      .type = ARG_TEXT,
		      .required = true,
		      .max = KEYS_TEXT_CHARS }) },
	{ "UpdateRotationPolicy", CLASS_MANAGE, SCOPE_KEY, KEYS_ROTATE,
	  action_update_rotation_policy,
	  ARGS(KEY,
	       { .name = "EnableAutomaticRotation",
		 .type = ARG_BOOL,
		 .required = true },
	       { .name = "RotationInterval", .type = ARG_SECONDS }) },
	{ "VerifyAudit", CLASS_ADMIN, SCOPE_NONE, KEYS_LOOK,
	  action_verify_audit,
	  ARGS({ .name = "From",
		 .type = ARG_NUMBER,
		 .min = 1,
		 .max = UINT32_MAX }) },
};
#define NACTIONS (sizeof(table) / sizeof(table[0]))

static int
compare(const void *name, const void *a)
{
	return strcmp(name, ((const struct action *)a)->name);
}

const struct action *
action_find(const char *name)
{
	return bsearch(name, table, NACTIONS, sizeof(table[0]), compare);
}

const struct action *
action_nth(size_t n)
{
	return n < NACTIONS ? &table[n] : NULL;
}
