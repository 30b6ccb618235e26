/*
 * signature.c - who has signed a request.
 *
 * Both signatures are MACs over a text that is made anew from what was
 * understood of the request.  So nothing that was signed can be read in two
 * ways: what is not in that text is not used, or must be in it.
 */
#include "signature.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/secret.h>

static const struct refusal incomplete = {
	400, "IncompleteSignature",
	"The request signature does not conform to Alibaba Cloud standards."
};
static const struct refusal mismatch = {
	400, "SignatureDoesNotMatch",
	"The signature is not that of this request under this access key."
};
static const struct refusal no_time = {
	400, "IllegalTimestamp",
	"The input parameter \"Timestamp\" that is required for processing "
	"this request is not supplied."
};
static const struct refusal bad_time = {
	400, "InvalidTimeStamp.Format",
	"The time of the request is not YYYY-MM-DDThh:mm:ssZ."
};
static const struct refusal expired = {
	400, "InvalidTimeStamp.Expired",
	"The time of the request is too far from the server's."
};
static const struct refusal no_sts = {
	400, "InvalidSecurityToken", "Temporary credentials are not known here."
};

/* Reading. */

/* Copy ${len} bytes of plain ASCII without blanks, at least one. */
static bool
copy_word(const char *s, size_t len, char *out, size_t cap)
{
	if (len == 0 || len >= cap)
		return false;
	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] >= 0x7f)
			return false;
	memcpy(out, s, len);
	out[len] = '\0';
	return true;
}

static const struct refusal *
read_time(const char *s, struct signature *ret)
{
	if (!s)
		return &no_time;
	return parse_time(s, &ret->time) < 0 ? &bad_time : NULL;
}

static bool
is(const char *value, const char *wanted)
{
	return value && strcmp(value, wanted) == 0;
}

static const struct refusal *
read_v1(const struct request *q, struct signature *ret)
{
	const char *id = request_param(q, "AccessKeyId");
	const char *mac = request_param(q, "Signature");
	const char *nonce = request_param(q, "SignatureNonce");

	if (request_param(q, "SecurityToken"))
		return &no_sts;
	if (!id || !mac ||
	    !is(request_param(q, "SignatureMethod"), "HMAC-SHA1") ||
	    !is(request_param(q, "SignatureVersion"), "1.0"))
		return &incomplete;
	if (!nonce)
		nonce = mac;
	if (!copy_word(id, strlen(id), ret->access_key_id,
		       sizeof(ret->access_key_id)) ||
	    !copy_word(nonce, strlen(nonce), ret->nonce, sizeof(ret->nonce)) ||
	    base64_decode(mac, ret->mac, sizeof(ret->mac), &ret->mac_len) < 0 ||
	    ret->mac_len != SHA1_LEN)
		return &incomplete;
	return read_time(request_param(q, "Timestamp"), ret);
}

/* "NAME=word" at *${p}, up to ${end}; *${p} is moved behind that. */
static bool
read_field(const char **p, const char *name, char end, char *out, size_t cap)
{
	size_t name_len = strlen(name), len;

	while (**p == ' ')
		(*p)++;
	if (strncmp(*p, name, name_len) != 0 || (*p)[name_len] != '=')
		return false;
	*p += name_len + 1;
	len = end ? strcspn(*p, (char[2]){ end, '\0' }) : strlen(*p);
	if ((*p)[len] != end || !copy_word(*p, len, out, cap))
		return false;
	*p += len + (end != '\0');
	return true;
}

static const struct refusal *
read_authorization(const char *s, struct signature *ret)
{
	static const char scheme[] = "ACS3-HMAC-SHA256 ";
	char mac[2 * MAC_LEN + 1];

	if (strncmp(s, scheme, sizeof(scheme) - 1) != 0)
		return &incomplete;
	s += sizeof(scheme) - 1;
	if (!read_field(&s, "Credential", ',', ret->access_key_id,
			sizeof(ret->access_key_id)) ||
	    !read_field(&s, "SignedHeaders", ',', ret->signed_headers,
			sizeof(ret->signed_headers)) ||
	    !read_field(&s, "Signature", '\0', mac, sizeof(mac)) ||
	    strlen(mac) != 2 * MAC_LEN ||
	    hex_decode(mac, ret->mac, MAC_LEN) < 0)
		return &incomplete;
	ret->mac_len = MAC_LEN;
	return NULL;
}

/* The next of "a;b;c", or NULL at the end; *${p} is moved behind it. */
static const char *
next_name(const char **p, size_t *ret_len)
{
	const char *name = *p;

	if (*name == '\0')
		return NULL;
	*ret_len = strcspn(name, ";");
	*p += *ret_len + (name[*ret_len] == ';');
	return name;
}

static bool
is_signed(const char *signed_headers, const char *name)
{
	const char *s;
	size_t len;

	while ((s = next_name(&signed_headers, &len)))
		if (strlen(name) == len && memcmp(name, s, len) == 0)
			return true;
	return false;
}

/* Sorted, none twice, and each of them there. */
static bool
names_are_canonical(const struct request *q, const char *names)
{
	const char *s;
	char before[REQUEST_NAME_MAX + 1] = "", name[REQUEST_NAME_MAX + 1];
	size_t len;

	while ((s = next_name(&names, &len))) {
		if (!copy_word(s, len, name, sizeof(name)) ||
		    strcmp(before, name) >= 0 || !request_header(q, name))
			return false;
		memcpy(before, name, len + 1);
	}
	return true;
}

/* What is used of the headers has to be signed. */
static bool
all_is_signed(const struct request *q, const char *names)
{
	static const char acs[] = "x-acs-";
	static const char *const needed[] = {
		"host",       "x-acs-action",          "x-acs-content-sha256",
		"x-acs-date", "x-acs-signature-nonce", "x-acs-version"
	};

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!is_signed(names, needed[i]))
			return false;
	for (size_t i = 0; i < q->raw->n_headers; i++) {
		const char *name = q->raw->headers[i].name;

		if (strncmp(name, acs, sizeof(acs) - 1) == 0 &&
		    !is_signed(names, name))
			return false;
	}
	return true;
}

static const struct refusal *
read_acs3(const struct request *q, const char *authorization,
	  struct signature *ret)
{
	const struct refusal *no = read_authorization(authorization, ret);
	const char *nonce = request_header(q, "x-acs-signature-nonce");

	if (no)
		return no;
	if (request_header(q, "x-acs-security-token"))
		return &no_sts;
	if (!request_header(q, "x-acs-date"))
		return &no_time;
	if (!names_are_canonical(q, ret->signed_headers) ||
	    !all_is_signed(q, ret->signed_headers) || !nonce ||
	    !copy_word(nonce, strlen(nonce), ret->nonce, sizeof(ret->nonce)))
		return &incomplete;
	return read_time(request_header(q, "x-acs-date"), ret);
}

const struct refusal *
signature_read(const struct request *q, struct signature *ret)
{
	const char *authorization = request_header(q, "authorization");
	bool v1 = request_param(q, "Signature") ||
		  request_param(q, "AccessKeyId");
	struct signature s = { .kind = SIGNATURE_NONE };
	const struct refusal *no = NULL;

	if (authorization && v1)
		return &incomplete;
	if (authorization) {
		s.kind = SIGNATURE_ACS3;
		no = read_acs3(q, authorization, &s);
	} else if (v1) {
		s.kind = SIGNATURE_V1;
		no = read_v1(q, &s);
	}
	if (!no)
		*ret = s;
	return no;
}

const struct refusal *
signature_fresh(const struct signature *s, int64_t now, int64_t oldest)
{
	if (s->time < oldest || s->time < now - SIGNATURE_WINDOW ||
	    s->time > now + SIGNATURE_WINDOW)
		return &expired;
	return NULL;
}

/* Making. */

static bool
is_not_signature(const struct request_param *p)
{
	return strcmp(p->name, "Signature") != 0;
}

static bool
is_in_query(const struct request_param *p)
{
	return p->in_query;
}

/* HMAC-SHA1 under the secret and a "&". */
static int
mac_v1(const struct request_text *t, const char *secret, size_t secret_len,
       uint8_t ret[static SHA1_LEN])
{
	const struct iovec part = { t->buf, t->len };
	char key[SIGNATURE_SECRET_MAX + 1];
	int r;

	if (secret_len > SIGNATURE_SECRET_MAX)
		return -EINVAL;
	memcpy(key, secret, secret_len);
	key[secret_len] = '&';
	r = hmac_sha1(key, secret_len + 1, &part, 1, ret);
	secret_wipe(key, sizeof(key));
	return r;
}

int
signature_v1(const char *method, const struct request_param *params, size_t n,
	     const char *secret, size_t secret_len,
	     uint8_t ret[static SHA1_LEN])
{
	CLEANUP(request_text_done) struct request_text query = { 0 };
	CLEANUP(request_text_done) struct request_text t = { 0 };

	request_text_params(&query, params, n, is_not_signature);
	if (query.bad)
		return -ENOMEM;
	request_text_add(&t, method, strlen(method));
	request_text_add(&t, "&%2F&", 5);
	request_text_encode(&t, query.buf);
	return t.bad ? -ENOMEM : mac_v1(&t, secret, secret_len, ret);
}

static const char *
raw_header(const struct raw_request *raw, const char *name, size_t len)
{
	for (size_t i = 0; i < raw->n_headers; i++)
		if (strlen(raw->headers[i].name) == len &&
		    memcmp(raw->headers[i].name, name, len) == 0)
			return raw->headers[i].value;
	return "";
}

static void
add_headers(struct request_text *t, const struct raw_request *raw,
	    const char *names)
{
	const char *name;
	size_t len;

	while ((name = next_name(&names, &len))) {
		const char *value = raw_header(raw, name, len);

		request_text_add(t, name, len);
		request_text_add(t, ":", 1);
		request_text_add(t, value, strlen(value));
		request_text_add(t, "\n", 1);
	}
}

static void
add_line(struct request_text *t, const char *s)
{
	request_text_add(t, s, strlen(s));
	request_text_add(t, "\n", 1);
}

int
signature_acs3(const struct raw_request *raw, const char *query,
	       const char *signed_headers, const char *secret,
	       size_t secret_len, uint8_t ret[static MAC_LEN])
{
	static const char hash[] = "x-acs-content-sha256";
	CLEANUP(request_text_done) struct request_text t = { 0 };
	uint8_t digest[SHA256_LEN];
	char line[sizeof("ACS3-HMAC-SHA256\n") + 2 * SHA256_LEN] =
	    "ACS3-HMAC-SHA256\n";
	const struct iovec part = { line, sizeof(line) - 1 };
	const char *body = raw_header(raw, hash, sizeof(hash) - 1);
	int r;

	if (secret_len > SIGNATURE_SECRET_MAX)
		return -EINVAL;
	add_line(&t, raw->method);
	add_line(&t, "/");
	add_line(&t, query);
	add_headers(&t, raw, signed_headers);
	add_line(&t, "");
	add_line(&t, signed_headers);
	request_text_add(&t, body, strlen(body));
	if (t.bad)
		return -ENOMEM;
	r = sha256(t.buf, t.len, digest);
	if (r < 0)
		return r;
	hex_encode(digest, sizeof(digest), line + strlen(line));
	return hmac_sha256_any(secret, secret_len, &part, 1, ret);
}

/* Verifying. */

static const struct refusal *
verdict(int r, const struct signature *s, const uint8_t *mac)
{
	if (r < 0)
		return &refusal_memory;
	return crypto_equal(mac, s->mac, s->mac_len) ? NULL : &mismatch;
}

static const struct refusal *
check_body(const struct request *q)
{
	const char *said = request_header(q, "x-acs-content-sha256");
	uint8_t digest[SHA256_LEN];
	char hex[2 * SHA256_LEN + 1];

	if (sha256(q->raw->body_len ? q->raw->body : "", q->raw->body_len,
		   digest) < 0)
		return &refusal_memory;
	hex_encode(digest, sizeof(digest), hex);
	return is(said, hex) ? NULL : &mismatch;
}

static const struct refusal *
verify_acs3(const struct request *q, const struct signature *s,
	    const char *secret, size_t secret_len)
{
	CLEANUP(request_text_done) struct request_text query = { 0 };
	const struct refusal *no = check_body(q);
	uint8_t mac[MAC_LEN];
	int r;

	if (no)
		return no;
	request_text_params(&query, q->params, q->n_params, is_in_query);
	if (query.bad)
		return &refusal_memory;
	r = signature_acs3(q->raw, query.buf, s->signed_headers, secret,
			   secret_len, mac);
	return verdict(r, s, mac);
}

const struct refusal *
signature_verify(const struct request *q, const struct signature *s,
		 const char *secret, size_t secret_len)
{
	uint8_t mac[MAC_LEN];
	int r;

	if (s->kind == SIGNATURE_ACS3)
		return verify_acs3(q, s, secret, secret_len);
	if (s->kind != SIGNATURE_V1)
		return &incomplete;
	r = signature_v1(q->raw->method, q->params, q->n_params, secret,
			 secret_len, mac);
	return verdict(r, s, mac);
}
