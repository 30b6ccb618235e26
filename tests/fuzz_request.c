/*
 * fuzz_request.c - any bytes as a request to the KMS, its client and its server
 * side.
 *
 * An input is "METHOD URI", a line for each header, an empty line, and the
 * body, as HTTP has it, but with plain line feeds.  Whatever it is: nothing
 * crashes, nothing unsigned comes through that did not come over the Unix
 * socket, what is answered is JSON, and parameters that are encoded anew are
 * read as the same.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_request, as it is and changed at random; what is called good
 * there is a request whose signature is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "fake_service.h"
#include "front.h"
#include "fuzz.h"
#include "signature.h"

#define HEADERS_MAX 16

static struct service service;
static struct front *front;

/* The next line of *${p}, ended with a NUL; NULL where there is none. */
static char *
next_line(char **p)
{
	char *line = *p, *end = strchr(line, '\n');

	if (!end)
		return NULL;
	*end = '\0';
	*p = end + 1;
	return line;
}

/* ${text}, which ends with a NUL, is taken apart in place. */
static bool
to_raw(char *text, size_t len, struct raw_header *headers,
       struct raw_request *ret)
{
	char *p = text, *line = next_line(&p), *blank;

	if (!line || !(blank = strchr(line, ' ')))
		return false;
	*blank = '\0';
	*ret = (struct raw_request){ .method = line,
				     .uri = blank + 1,
				     .headers = headers };
	while ((line = next_line(&p)) && *line) {
		char *colon = strchr(line, ':');

		if (!colon || ret->n_headers == HEADERS_MAX)
			return false;
		*colon = '\0';
		headers[ret->n_headers++] =
		    (struct raw_header){ line, colon + 1 };
	}
	if (!line || p > text + len)
		return false;
	ret->body = p;
	ret->body_len = (size_t)(text + len - p);
	return true;
}

static bool
every(const struct request_param *p)
{
	(void)p;
	return true;
}

/* Encoded and read again, parameters are what they were. */
static void
encode_again(const struct request *q)
{
	CLEANUP(request_text_done) struct request_text t = { 0 };
	CLEANUP(request_freep) struct request *again = NULL;
	struct raw_request raw = { .method = "GET", .body = "" };

	request_text_add(&t, "/?", 2);
	request_text_params(&t, q->params, q->n_params, every);
	must(!t.bad);
	if (t.len - 2 > REQUEST_TEXT_MAX)
		return;
	raw.uri = t.buf;
	must(!request_parse(&raw, &again) && again->n_params == q->n_params);
	for (size_t i = 0; i < q->n_params; i++)
		must(strcmp(q->params[i].name, again->params[i].name) == 0 &&
		     strcmp(q->params[i].value, again->params[i].value) == 0);
}

static void
handle(const struct raw_request *raw, enum service_via via, bool is_signed)
{
	const struct service_peer peer = { .via = via, .address = "10.0.0.1" };
	struct front_reply *r;
	unsigned before = service.calls;
	json_t *o;

	r = front_handle(front, raw, &peer);
	must(service.calls == before || via == SERVICE_UNIX || is_signed);
	if (!r)
		return; /* what the service itself leaves out */
	o = json_loadb(r->text, r->len, JSON_REJECT_DUPLICATES, NULL);
	must(json_is_object(o) && json_object_get(o, "RequestId"));
	must(r->status >= 200 && r->status < 600);
	json_decref(o);
	front_reply_free(r);
}

/* Whether it is a request whose signature is good. */
static bool
take(const void *data, size_t len)
{
	CLEANUP(free_memp) char *text = calloc(1, len + 1);
	CLEANUP(request_freep) struct request *q = NULL;
	struct raw_header headers[HEADERS_MAX];
	struct raw_request raw;
	struct signature s;
	bool is_signed = false;

	must(text);
	memcpy(text, data, len);
	if (!to_raw(text, len, headers, &raw))
		return false;
	if (!request_parse(&raw, &q)) {
		encode_again(q);
		is_signed = !signature_read(q, &s) &&
			    !signature_verify(q, &s, "testsecret", 10);
	}
	handle(&raw, SERVICE_UNIX, is_signed);
	handle(&raw, SERVICE_TLS, is_signed);
	return is_signed;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (!front)
		must(crypto_init() == 0 &&
		     front_new(&service, 1000, &front) == 0);
	(void)take(data, len);
	return 0;
}

#ifndef SEALDISK_LIBFUZZER

int
main(int argc, char **argv)
{
	static const char form[] = "%&=+?;:,/ \n\0ff00";
	static const struct fuzzer f = { "fuzz_request", take, form,
					 sizeof(form), 2000 };
	int r;

	log_set_level(LOG_ERROR);
	must(crypto_init() == 0 && front_new(&service, 1000, &front) == 0);
	r = replay_main(&f, argc, argv);
	front_free(front);
	return r;
}

#endif
