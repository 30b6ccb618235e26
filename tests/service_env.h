/*
 * service_env.h - the service on a keystore of its own, and calls of it.
 */
#ifndef SEALDISK_SERVICE_ENV_H
#define SEALDISK_SERVICE_ENV_H

#include "kms_env.h"

#include "service.h"

/* env_setup() and this; ${e}->k stays closed. */
struct service_env {
	struct env *e;
	struct service *s;
	struct service_reply last; /* the answer to what was called last */
};

static inline void
service_env_open(struct service_env *v)
{
	env_close(v->e);
	assert_ok(service_open(&v->e->s, false, &v->s));
}

static inline void
service_env_close(struct service_env *v)
{
	service_reply_done(&v->last);
	service_close(v->s);
	v->s = NULL;
}

#define CALL_PARAMS_MAX 16

/* ${args}: names and values in turn, then NULL.  A value that is NULL is not
 * given.  Returns the code, "OK" if there is none. */
static inline const char *
call_with(struct service_env *v, const struct service_peer *peer,
	  const char *action, const char *const *args)
{
	struct service_param params[CALL_PARAMS_MAX];
	struct service_request q = { .action = action,
				     .params = params,
				     .peer = *peer };
	const char *code;

	for (; args[0]; args += 2) {
		assert_true(q.n_params < CALL_PARAMS_MAX);
		if (args[1])
			params[q.n_params++] =
			    (struct service_param){ args[0], args[1] };
	}
	service_reply_done(&v->last);
	assert_ok(service_call(v->s, &q, &v->last));
	assert_string_equal(
	    json_string_value(json_object_get(v->last.body, "RequestId")),
	    v->last.request_id);
	code = json_string_value(json_object_get(v->last.body, "Code"));
	assert_int_equal(code == NULL, v->last.status == 200);
	if (code)
		assert_int_equal(json_integer_value(json_object_get(
				     v->last.body, "HttpStatus")),
				 v->last.status);
	return code ? code : "OK";
}

#define CALL(v, action, ...)                                                   \
	call_with(v,                                                           \
		  &(struct service_peer){ .via = SERVICE_EMBEDDED,             \
					  .address = "test",                   \
					  .uid = geteuid() },                  \
		  action, (const char *const[]){ __VA_ARGS__, NULL, NULL })
#define assert_code(want, ...) assert_string_equal(CALL(__VA_ARGS__), want)
#define assert_works_as(...) assert_code("OK", __VA_ARGS__)

/* "KeyMetadata.KeyId" of the last answer; NULL: there is none. */
static inline json_t *
answer(struct service_env *v, const char *path)
{
	json_t *at = v->last.body;
	char part[64];
	size_t n;

	for (; at && *path; path += n + (path[n] == '.')) {
		n = strcspn(path, ".");
		assert_true(n < sizeof(part));
		memcpy(part, path, n);
		part[n] = '\0';
		at = part[0] >= '0' && part[0] <= '9'
			 ? json_array_get(at, (size_t)atoi(part))
			 : json_object_get(at, part);
	}
	return at;
}

static inline const char *
answer_text(struct service_env *v, const char *path)
{
	return json_string_value(answer(v, path));
}

static inline json_int_t
answer_number(struct service_env *v, const char *path)
{
	return json_integer_value(answer(v, path));
}

/* A copy that the caller frees. */
static inline char *
answer_copy(struct service_env *v, const char *path)
{
	const char *s = answer_text(v, path);
	char *copy;

	assert_non_null(s);
	copy = strdup(s);
	assert_non_null(copy);
	return copy;
}

#endif
