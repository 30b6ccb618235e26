/*
 * service_private.h - what the actions of service.h are made of.
 *
 * One table (actions.c) says of each action which parameters it takes, on which
 * keys it acts and what it counts as; service.c does for all of them what is
 * the same; what is left to an action is a function that is given parsed
 * parameters and keys that its principal may use, and fills in the answer.
 */
#ifndef SEALDISK_KMS_SERVICE_PRIVATE_H
#define SEALDISK_KMS_SERVICE_PRIVATE_H

#include <stdatomic.h>

#include "authorize.h"
#include "keys_private.h"
#include "ledger.h"
#include "quota.h"
#include "service.h"

struct service {
	struct keys *keys;
	struct settings settings;
	struct authorizer *authorizer;
	struct quota *quota;
	struct ledger *ledger;
	_Atomic int64_t maintained; /* when, by keys_now() */
};

/*
 * service_errors.c: errors as the API has them.
 */

enum service_code {
	CODE_OK,
	CODE_ACCESS_DENIED, /* these three of a dry run only */
	CODE_DRY_RUN,
	CODE_VALIDATION,
	CODE_ALIAS_EXISTS,
	CODE_EXPIRED_TOKEN,
	CODE_NO_PERMISSION,
	CODE_ACCESS_KEY_DISABLED,
	CODE_NO_ACCESS_KEY,
	CODE_NO_ALIAS,
	CODE_NO_KEY,
	CODE_NO_VERSION,
	CODE_INTERNAL,
	CODE_INVALID_ACTION,
	CODE_INVALID_MATERIAL,
	CODE_INVALID_PARAMETER,
	CODE_INVALID_TOKEN,
	CODE_MISSING_PARAMETER,
	CODE_DISABLED,
	CODE_ENABLED,
	CODE_LIMIT,
	CODE_PENDING_DELETION,
	CODE_PENDING_IMPORT,
	CODE_PROTECTED,
	CODE_STATE,
	CODE_THROTTLED,
	CODE_UNAVAILABLE,
	CODE_UNSUPPORTED,
	CODE_UNSUPPORTED_ALIAS,
	CODE_UNSUPPORTED_LEVEL,
	CODE_UNSUPPORTED_ORIGIN,
	NCODES
};

/* For the error ${err} of an action with verdicts as ${row} has them.  -EACCES
 * and such are the keystore's, and nobody's business but ours. */
enum service_code service_code_of(int err, enum keys_action row);
const char *service_code_name(enum service_code c);
/* Add an error to ${body}.  ${param} is what it is about, or "". */
int service_put_error(json_t *body, enum service_code c, const char *param,
		      unsigned *ret_status) NONNULL CHECKED;

/* An answer with nothing but its id. */
int service_reply_start(struct service_reply *ret) NONNULL CHECKED;

/*
 * Arguments.
 */

enum arg_type {
	ARG_KEY,          /* an id or ARN */
	ARG_KEY_OR_ALIAS, /* or an alias */
	ARG_ALIAS,
	ARG_TEXT,    /* min to max characters; may be empty if min is 0 */
	ARG_WORD,    /* one of ${words} */
	ARG_NUMBER,  /* min to max */
	ARG_SECONDS, /* "7d", "48h", "60m", "3600s", "3600" */
	ARG_BOOL,
	ARG_DATA,    /* Base64 of min to max bytes */
	ARG_CONTEXT, /* an encryption context */
	ARG_JSON,    /* an array of no more than max */
	ARG_REFUSED, /* what would change the meaning, and is not there */
};

struct arg_def {
	const char *name; /* NULL: the end */
	enum arg_type type;
	bool required;
	int64_t min, max;
	const char *words; /* "a|b" */
};
#define ARGS_MAX 16

/* A parameter that was given, or not: then text is NULL. */
struct arg {
	const char *text;
	int64_t number; /* also of BOOL and SECONDS */
	uint8_t *data;  /* secret memory */
	size_t len, room;
	json_t *json;
	struct context ctx; /* into json */
};

enum action_class {
	CLASS_MANAGE, /* durable before it is answered */
	CLASS_LOOK,
	CLASS_CRYPT,
	CLASS_REENCRYPT,
	CLASS_ADMIN, /* durable; of the service, not of keys: "ram:..." */
};

/* On which keys an action acts; they are found before it is authorized, and it
 * is given their ids. */
enum action_scope {
	SCOPE_NONE,
	SCOPE_KEY,       /* KeyId, or ProtectedResourceArn */
	SCOPE_ALIAS,     /* AliasName, and the key that it stands for */
	SCOPE_REALIAS,   /* the same, and KeyId */
	SCOPE_BLOB,      /* CiphertextBlob */
	SCOPE_REENCRYPT, /* the same, and DestinationKeyId */
	SCOPE_LIST,      /* ResourceId.N */
};

struct action_call;

struct action {
	const char *name;
	enum action_class class;
	enum action_scope scope;
	enum keys_action row; /* which of the matrix of states */
	int (*run)(struct action_call *c);
	const struct arg_def *args;
};

/* NULL: there is none of this name. */
const struct action *action_find(const char *name) NONNULL;
/* In turn; NULL at the end. */
const struct action *action_nth(size_t n);

#define ACTION_KEYS_MAX 50
struct action_call {
	struct service *s;
	struct keys *k;
	const struct service_request *q;
	const struct action *a;
	struct arg args[ARGS_MAX];     /* in the order of a->args */
	struct keys_subject *subjects; /* what it acts on */
	size_t n_subjects;
	json_t *body;
	const char *bad;        /* the parameter that an error is about */
	enum service_code code; /* that an errno cannot say; or CODE_OK */
	char used_version[KMS_ID_LEN]; /* what sealed or opened data, or "" */
	struct principal who;
	char why[POLICY_WHY_LEN]; /* of a refusal; for the audit log alone */
	int64_t began;            /* microseconds */
};

/*
 * service_args.c
 */

/* -EINVAL, with c->code and c->bad. */
int call_parse(struct action_call *c) NONNULL CHECKED;
void call_drop_args(struct action_call *c) NONNULL;
/* The argument of this name, which is one of the action's. */
const struct arg *call_arg(const struct action_call *c, const char *name)
    NONNULL;
/* A parameter as it was given, or NULL. */
const char *call_param(const struct action_call *c, const char *name) NONNULL;
/* The argument's number, or ${dflt}. */
int64_t call_number(const struct action_call *c, const char *name, int64_t dflt)
    NONNULL;
bool call_flag(const struct action_call *c, const char *name) NONNULL;
/* -EINVAL, about parameter ${name}, a literal. */
int call_refuse(struct action_call *c, const char *name) NONNULL CHECKED;
/* Tags by customers: -EINVAL. */
bool tag_is_good(const char *name, const char *value) NONNULL;
int tag_add(struct keys_tags *tags, const char *name, const char *value)
    NONNULL CHECKED;
/* The array of {"TagKey", "TagValue"} that is argument ${name}. */
int call_tags(struct action_call *c, const char *name, struct keys_tags *ret)
    NONNULL CHECKED;

/* Whether ${text} can be a key's policy: -EINVAL. */
int call_check_policy(struct action_call *c, const char *text) NONNULL CHECKED;

/*
 * service_subjects.c
 */

int call_find_subjects(struct action_call *c) NONNULL CHECKED;
void call_drop_subjects(struct action_call *c) NONNULL;

/*
 * service_access.c: who asks, whether he may, how often, and what is written
 * down of it.
 */

/* First of all: whether it could be. */
int call_ready(struct action_call *c) NONNULL CHECKED;
int call_authenticate(struct action_call *c) NONNULL CHECKED;
int call_authorize(struct action_call *c) NONNULL CHECKED;
/* -EDQUOT  he calls too often */
int call_meter(struct action_call *c) NONNULL CHECKED;
/* An error: whatever the answer is, it must not be given. */
int call_record(struct action_call *c, enum service_code code,
		const struct service_reply *reply) NONNULL CHECKED;

/*
 * service_json.c
 */

/* From now on jansson wipes what it frees. */
void service_json_init(void);
/* Takes ${v} over, which may be NULL: there was no memory. */
int put_json(json_t *to, const char *name, json_t *v)
    __attribute__((__nonnull__(1, 2))) CHECKED;
int put_text(json_t *to, const char *name, const char *text) NONNULL CHECKED;
int put_number(json_t *to, const char *name, int64_t v) NONNULL CHECKED;
/* "" for 0. */
int put_time(json_t *to, const char *name, int64_t t) NONNULL CHECKED;
/* As Base64. */
int put_data(json_t *to, const char *name, const void *p, size_t len)
    NONNULL CHECKED;
/* {outer: {inner: [...]}}; the array is borrowed, NULL without memory. */
json_t *put_list(json_t *to, const char *outer, const char *inner) NONNULL;

/* The part of a list that was asked for by PageNumber and PageSize. */
struct page {
	int64_t number, size, total;
};
struct page page_of(const struct action_call *c) NONNULL;
/* Count one more; whether it is on the page. */
bool page_takes(struct page *p) NONNULL;
int page_put(const struct page *p, json_t *to) NONNULL CHECKED;

/*
 * actions_*.c
 */

int action_backup_keystore(struct action_call *c);
int action_cancel_key_deletion(struct action_call *c);
int action_create_access_key(struct action_call *c);
int action_create_alias(struct action_call *c);
int action_create_key(struct action_call *c);
int action_create_key_version(struct action_call *c);
int action_decrypt(struct action_call *c);
int action_delete_access_key(struct action_call *c);
int action_delete_alias(struct action_call *c);
int action_delete_key_material(struct action_call *c);
int action_delete_policy(struct action_call *c);
int action_describe_account_kms_status(struct action_call *c);
int action_describe_key(struct action_call *c);
int action_describe_key_version(struct action_call *c);
int action_describe_regions(struct action_call *c);
int action_disable_key(struct action_call *c);
int action_enable_key(struct action_call *c);
int action_encrypt(struct action_call *c);
int action_generate_data_key(struct action_call *c);
int action_generate_data_key_without_plaintext(struct action_call *c);
int action_get_anchor(struct action_call *c);
int action_get_key_policy(struct action_call *c);
int action_get_parameters_for_import(struct action_call *c);
int action_get_policy(struct action_call *c);
int action_get_usage(struct action_call *c);
int action_grant_key(struct action_call *c);
int action_import_key_material(struct action_call *c);
int action_list_access_keys(struct action_call *c);
int action_list_aliases(struct action_call *c);
int action_list_aliases_by_key_id(struct action_call *c);
int action_list_key_versions(struct action_call *c);
int action_list_keys(struct action_call *c);
int action_list_policies(struct action_call *c);
int action_list_resource_tags(struct action_call *c);
int action_list_tag_resources(struct action_call *c);
int action_reencrypt(struct action_call *c);
int action_revoke_key(struct action_call *c);
int action_schedule_key_deletion(struct action_call *c);
int action_set_anchor(struct action_call *c);
int action_set_deletion_protection(struct action_call *c);
int action_set_key_policy(struct action_call *c);
int action_set_policy(struct action_call *c);
int action_tag_resource(struct action_call *c);
int action_tag_resources(struct action_call *c);
int action_untag_resource(struct action_call *c);
int action_untag_resources(struct action_call *c);
int action_update_access_key(struct action_call *c);
int action_update_alias(struct action_call *c);
int action_update_key_description(struct action_call *c);
int action_update_rotation_policy(struct action_call *c);
int action_verify_audit(struct action_call *c);

#endif
