/*
 * request.h - a request to the KMS as it came over HTTP, and its parameters.
 *
 * Parameters stand in the query of the URL, in a form that is the body, or in
 * both.  Each is decoded here once (%XX, and + for a blank) and checked: a name
 * is letters, digits and . _ - and comes once; a value is UTF-8 without a NUL.
 * What is signed is not what was on the wire but these, encoded anew in the one
 * way that RFC 3986 leaves (request_encode), since clients differ in what they
 * encode.
 *
 * All of it is from strangers until signature.h says otherwise.  Values may be
 * secret: they are wiped when the request is freed.  Knows nothing of sockets.
 */
#ifndef SEALDISK_KMS_REQUEST_H
#define SEALDISK_KMS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include <sealdisk/cleanup.h>

#define REQUEST_PARAMS_MAX 256
#define REQUEST_NAME_MAX 128    /* bytes of a parameter's name */
#define REQUEST_TEXT_MAX 262144 /* bytes of query and form each, encoded */

/* Why a request comes to nothing: what is answered.  Static. */
struct refusal {
	unsigned status; /* of HTTP */
	const char *code, *message;
};

/* As it came.  Headers have lower case names and no blanks around values. */
struct raw_header {
	const char *name, *value;
};
struct raw_request {
	const char *method;
	const char *uri; /* "/?Action=...", not decoded */
	const struct raw_header *headers;
	size_t n_headers;
	const char *body;
	size_t body_len;
};

struct request_param {
	const char *name, *value;
	bool in_query; /* else in the form */
};

struct request {
	const struct raw_request *raw; /* the caller's, for as long as this */
	struct request_param *params;  /* sorted by the bytes of their names */
	size_t n_params;
	char *text; /* what params point into */
	size_t text_len;
};

/**
 * request_parse(raw, ret):
 * Decode the parameters of ${raw}.  The result is NULL, or why it is refused.
 */
const struct refusal *request_parse(const struct raw_request *raw,
				    struct request **ret) NONNULL CHECKED;
void request_free(struct request *q);
DEFINE_CLEANUP(struct request, request_free)

/* The value, or NULL. */
const char *request_param(const struct request *q, const char *name) NONNULL;
const char *request_header(const struct request *q, const char *name) NONNULL;

/* A text that grows; once there is no memory it stays `bad`. */
struct request_text {
	char *buf; /* ends with a NUL, or is NULL */
	size_t len, cap;
	bool bad;
};
void request_text_add(struct request_text *t, const char *s, size_t len)
    NONNULL;
/* Percent-encoded: all but letters, digits and - _ . ~ */
void request_text_encode(struct request_text *t, const char *s) NONNULL;
/* "name=value&...", encoded, of those parameters that ${want} takes. */
void request_text_params(struct request_text *t,
			 const struct request_param *params, size_t n,
			 bool (*want)(const struct request_param *p)) NONNULL;
void request_text_done(struct request_text *t); /* wipes */

/* Sort as signatures want it. */
void request_sort(struct request_param *params, size_t n);

extern const struct refusal refusal_memory;    /* there is none: 500 */
extern const struct refusal refusal_malformed; /* no parameters: 400 */

#endif
