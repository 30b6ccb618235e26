/*
 * service_errors.c - errors as the API has them: code, HTTP status, message.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "service_private.h"

/* %s is the parameter that it is about. */
static const struct {
	const char *name;
	unsigned status;
	const char *message;
} codes[NCODES] = {
	[CODE_OK] = { "OK", 200, "" },
	[CODE_ACCESS_DENIED] = { "AccessDeniedError", 403,
				 "The dry run failed: this operation is "
				 "forbidden by permission system." },
	[CODE_DRY_RUN] = { "DryRunOperationError", 400,
			   "The request would have succeeded; it was a dry "
			   "run." },
	[CODE_VALIDATION] = { "ValidationError", 400,
			      "The dry run failed: the request is not "
			      "valid." },
	[CODE_ALIAS_EXISTS] = { "AliasAlreadyExists", 400,
				"AliasName Already Exists." },
	[CODE_EXPIRED_TOKEN] = { "ExpiredImportToken", 400,
				 "import token is expired." },
	[CODE_NO_PERMISSION] = { "Forbidden.NoPermission", 403,
				 "This operation is forbidden by permission "
				 "system." },
	[CODE_ACCESS_KEY_DISABLED] = { "Forbidden.AccessKey", 403,
				       "This AccessKey is not enabled." },
	[CODE_NO_ACCESS_KEY] = { "InvalidAccessKeyId.NotFound", 404,
				 "The AccessKey ID provided does not exist in "
				 "our records." },
	[CODE_NO_ALIAS] = { "Forbidden.AliasNotFound", 404,
			    "The specified Alias is not found." },
	[CODE_NO_KEY] = { "Forbidden.KeyNotFound", 404,
			  "The specified Key is not found." },
	[CODE_NO_VERSION] = { "Forbidden.KeyVersionNotFound", 404,
			      "The specified Key version is not found." },
	[CODE_INTERNAL] = { "InternalFailure", 500, "Internal Failure." },
	[CODE_INVALID_ACTION] = { "InvalidAction.NotFound", 404,
				  "Specified api is not found." },
	[CODE_INVALID_MATERIAL] = { "InvalidKeyMaterial", 400,
				    "key material is invalid." },
	[CODE_INVALID_PARAMETER] = { "InvalidParameter", 400,
				     "The specified parameter \"%s\" is not "
				     "valid." },
	[CODE_INVALID_TOKEN] = { "InvalidImportToken", 400,
				 "import token is invalid." },
	[CODE_MISSING_PARAMETER] = { "MissingParameter", 400,
				     "The parameter \"%s\" is needed but not "
				     "provided." },
	[CODE_DISABLED] = { "Rejected.Disabled", 409,
			    "The request was rejected because the key state "
			    "is Disabled." },
	[CODE_ENABLED] = { "Rejected.Enabled", 409,
			   "The request was rejected because the key state is "
			   "Enabled." },
	[CODE_LIMIT] = { "Rejected.LimitExceeded", 400,
			 "The request was rejected because user create "
			 "resource limit was exceeded." },
	[CODE_PENDING_DELETION] = { "Rejected.PendingDeletion", 409,
				    "The request was rejected because the key "
				    "state is PendingDeletion." },
	[CODE_PENDING_IMPORT] = { "Rejected.PendingImport", 409,
				  "The request was rejected because the key "
				  "state is PendingImport." },
	[CODE_PROTECTED] = { "Rejected.DeletionProtected", 409,
			     "The request was rejected because the key is "
			     "protected from deletion." },
	[CODE_STATE] = { "Rejected.StateModifiedFailed", 409,
			 "Keystate modified failed." },
	[CODE_THROTTLED] = { "Rejected.Throttling", 429, "QPS Limit Exceeded" },
	[CODE_UNAVAILABLE] = { "ServiceUnavailableTemporary", 503,
			       "Service Unavailable Temporary." },
	[CODE_UNSUPPORTED] = { "UnsupportedOperation", 400,
			       "This action is not supported." },
	[CODE_UNSUPPORTED_ALIAS] = { "Unsupported.Alias", 400,
				     "Alias is not valid for this api." },
	[CODE_UNSUPPORTED_LEVEL] = { "Unsupported.ProtectionLevel", 400,
				     "This protection level is not valid for "
				     "this region" },
	[CODE_UNSUPPORTED_ORIGIN] = { "Unsupported.Origin", 400,
				      "This key origin is not valid for this "
				      "api." },
};

/* Those that a carrier of requests finds by itself. */
static const struct {
	const char *name;
	unsigned status;
	const char *message;
} carried[] = {
	{ "IllegalTimestamp", 400,
	  "The input parameter \"Timestamp\" that is required for processing "
	  "this request is not supplied." },
	{ "IncompleteSignature", 400,
	  "The request signature does not conform to Alibaba Cloud "
	  "standards." },
	{ "InvalidTimeStamp.Expired", 400,
	  "Specified time stamp or date value is expired." },
	{ "InvalidTimeStamp.Format", 400,
	  "Specified time stamp or date value is not well formatted." },
	{ "ParseRequestParameterException", 400,
	  "Server parse parameters exception. Please check your input "
	  "params." },
	{ "SignatureDoesNotMatch", 400,
	  "The request signature does not match." },
	{ "SignatureNonceUsed", 400,
	  "Specified signature nonce was used already." },
	{ "UnsupportedHTTPMethod", 403, "This http method is not supported." },
};
#define NCARRIED (sizeof(carried) / sizeof(carried[0]))

static enum service_code
code_of_state(enum keys_action row, enum kms_key_state state)
{
	static const enum service_code rejected[] = {
		[KMS_ENABLED] = CODE_ENABLED,
		[KMS_DISABLED] = CODE_DISABLED,
		[KMS_PENDING_DELETION] = CODE_PENDING_DELETION,
		[KMS_PENDING_IMPORT] = CODE_PENDING_IMPORT,
	};

	return keys_verdict(row, state) == KEYS_UNMODIFIED ? CODE_STATE
							   : rejected[state];
}

enum service_code
service_code_of(int err, enum keys_action row)
{
	static const struct {
		int err;
		enum service_code code;
	} table[] = {
		{ 0, CODE_OK },
		{ -ENOKEY, CODE_NO_KEY },
		{ -EIDRM, CODE_NO_KEY },
		{ -ENOENT, CODE_NO_VERSION },
		{ -ENOSTR, CODE_NO_ALIAS },
		{ -EALREADY, CODE_STATE },
		{ -EPERM, CODE_UNSUPPORTED },
		{ -EMEDIUMTYPE, CODE_UNSUPPORTED_ORIGIN },
		{ -EDQUOT, CODE_LIMIT },
		{ -EBUSY, CODE_PROTECTED },
		{ -EEXIST, CODE_ALIAS_EXISTS },
		{ -EBADE, CODE_INVALID_TOKEN },
		{ -ETIME, CODE_EXPIRED_TOKEN },
		{ -EBADMSG, CODE_INVALID_MATERIAL },
		{ -EINVAL, CODE_INVALID_PARAMETER },
		{ -EHOSTDOWN, CODE_UNAVAILABLE },
	};

	if (err == -EKEYREVOKED)
		return code_of_state(row, KMS_DISABLED);
	if (err == -EKEYEXPIRED)
		return code_of_state(row, KMS_PENDING_DELETION);
	if (err == -ENODATA)
		return code_of_state(row, KMS_PENDING_IMPORT);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].err == err)
			return table[i].code;
	return CODE_INTERNAL;
}

const char *
service_code_name(enum service_code c)
{
	return codes[c].name;
}

static int
put_error(json_t *body, const char *name, unsigned status, const char *message)
{
	int r;

	r = put_number(body, "HttpStatus", status);
	if (r == 0)
		r = put_text(body, "Code", name);
	return r < 0 ? r : put_text(body, "Message", message);
}

int
service_put_error(json_t *body, enum service_code c, const char *param,
		  unsigned *ret_status)
{
	const char *m = codes[c].message, *gap = strstr(m, "%s");
	char text[256];

	if (gap)
		(void)snprintf(text, sizeof(text), "%.*s%.64s%s",
			       (int)(gap - m), m, param, gap + 2);
	else
		(void)snprintf(text, sizeof(text), "%s", m);
	*ret_status = codes[c].status;
	return put_error(body, codes[c].name, codes[c].status, text);
}

/* Any code of either table. */
static int
put_named(json_t *body, const char *code, const char *param,
	  unsigned *ret_status)
{
	unsigned i;

	for (i = 0; i < NCARRIED; i++)
		if (strcmp(carried[i].name, code) == 0) {
			*ret_status = carried[i].status;
			return put_error(body, code, carried[i].status,
					 carried[i].message);
		}
	for (i = CODE_OK + 1; i < NCODES; i++)
		if (strcmp(codes[i].name, code) == 0)
			return service_put_error(body, (enum service_code)i,
						 param, ret_status);
	return service_put_error(body, CODE_INTERNAL, "", ret_status);
}

int
service_refuse(const char *code, const char *param, struct service_reply *ret)
{
	CLEANUP(service_reply_done) struct service_reply reply = { 0 };
	int r;

	service_json_init();
	r = service_reply_start(&reply);
	if (r == 0)
		r = put_named(reply.body, code, param, &reply.status);
	if (r < 0)
		return -ENOMEM;
	*ret = reply;
	reply.body = NULL;
	return 0;
}
