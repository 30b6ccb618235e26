/*
 * fuzz_remote.c - any bytes as what a key service elsewhere answers.
 *
 * An input is the call, the status of the answers (0: the connection ends),
 * and the answers themselves, each up to a NUL; when there are no more, the
 * last one comes again.  What comes of a call is an error, or all that it
 * promises, with nothing in it that steers a terminal.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_remote, as it is and changed at random.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sealdisk/crypto.h>
#include <sealdisk/kms.h>
#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#include "fuzz.h"
#include "http.h"

/* ---- HTTP, without a network ---- */

static const char *next_answer, *answers_end;
static unsigned status;
static int http;

int
http_new(const char *endpoint, const char *ca_file, struct http **ret)
{
	(void)endpoint;
	(void)ca_file;
	*ret = (struct http *)(void *)&http;
	return 0;
}

void
http_free(struct http *h)
{
	(void)h;
}

const char *
http_host(const struct http *h)
{
	(void)h;
	return "localhost";
}

void
http_answer_done(struct http_answer *a)
{
	free(a->text);
}

int
http_post(struct http *h, const struct raw_header *headers, size_t n,
	  const char *body, size_t len, int64_t timeout_ms, bool again,
	  struct http_answer *ret)
{
	const char *end;

	(void)h;
	(void)again;
	(void)timeout_ms;
	for (size_t i = 0; i < n; i++)
		must(strlen(headers[i].name) > 0 &&
		     !strpbrk(headers[i].value, "\r\n"));
	must(!memchr(body, '\0', len));
	if (status == 0)
		return -ECONNRESET;
	end = memchr(next_answer, '\0', (size_t)(answers_end - next_answer));
	if (!end)
		end = answers_end;
	ret->len = (size_t)(end - next_answer);
	ret->text = strndup(next_answer, ret->len);
	must(ret->text);
	ret->status = status;
	if (end < answers_end)
		next_answer = end + 1;
	return 0;
}

/* ---- the calls ---- */

static const char key_name[] = "alias/a";
static const struct uuid lineage = { "lineage of disk" };

static bool
is_plain(const char *text, size_t cap)
{
	size_t len = strnlen(text, cap);

	return len < cap && utf8_valid(text, len) && !text_has_control(text);
}

static int
check_info(const struct kms_key_info *i, void *arg)
{
	(void)arg;
	must(i->id[0] && is_plain(i->id, sizeof(i->id)));
	must(is_plain(i->arn, sizeof(i->arn)));
	must(is_plain(i->description, sizeof(i->description)));
	must(is_plain(i->creator, sizeof(i->creator)));
	must(is_plain(i->origin, sizeof(i->origin)));
	must(is_plain(i->primary_version, sizeof(i->primary_version)));
	must(is_plain(i->instance, sizeof(i->instance)));
	must(i->state <= KMS_PENDING_IMPORT && i->rotate_every >= 0);
	return 0;
}

static int
check_alias(const char *alias, const char *key, void *arg)
{
	(void)arg;
	must(is_plain(alias, KMS_ALIAS_LEN) && is_plain(key, KMS_ID_LEN));
	return 0;
}

static void
check_wrapped(const struct wrapped_dk *w)
{
	must(w->blob_len > 0 && w->blob_len <= KMS_BLOB_MAX);
	must(is_plain(w->key_id, sizeof(w->key_id)) && w->key_id[0]);
	must(is_plain(w->key_version_id, sizeof(w->key_version_id)));
	must(is_plain(w->kms, sizeof(w->kms)));
}

static int
call_data(struct kms *k, unsigned which)
{
	struct wrapped_dk w = { .kms = "default",
				.key_id = "k",
				.key_version_id = "v",
				.lineage = lineage,
				.blob_len = 40 };
	struct wrapped_dk made = w;
	CLEANUP(key_wipe) struct key dk;
	int r;

	if (which == 0)
		r = kms_generate_data_key(k, key_name, &lineage, &made, &dk);
	else if (which == 1)
		r = kms_decrypt(k, &w, &dk);
	else
		r = kms_reencrypt(k, &w, key_name, &lineage, &made);
	if (r == 0)
		check_wrapped(&made);
	return r;
}

static int
call_import(struct kms *k)
{
	const struct key material = { "of your own" };
	struct kms_import i = { .padding = RSA_OAEP_SHA256 };
	int r = kms_prepare_import(k, key_name, &i);

	if (r < 0)
		return r;
	must(is_plain(i.token, sizeof(i.token)) && i.token[0]);
	return kms_import_material(k, key_name, &i, &material, 0);
}

static int
call_anchor(struct kms *k, bool set)
{
	uint8_t digest[SHA256_LEN] = { 0 };
	uint64_t generation = 7;

	return set ? kms_set_anchor(k, &lineage, generation, digest, false)
		   : kms_get_anchor(k, &lineage, &generation, digest);
}

static int
call_keys(struct kms *k, unsigned which)
{
	struct kms_key_info info = { .id = "" };
	int64_t at = 0;
	int r;

	switch (which) {
	case 0:
		r = kms_describe_key(k, key_name, &info);
		break;
	case 1:
		r = kms_create_key(k, "", &info);
		break;
	case 2:
		r = kms_create_external_key(k, "", &info);
		break;
	case 3:
		r = kms_create_key_version(k, key_name, &info);
		break;
	case 4:
		return kms_schedule_key_deletion(k, key_name, 30, &at);
	case 5:
		return kms_set_protection(k, key_name, true);
	case 6:
		return kms_grant_key(k, key_name, "user/a", true);
	default:
		return kms_disable_key(k, key_name);
	}
	if (r == 0)
		(void)check_info(&info, NULL);
	return r;
}

static int
call(struct kms *k, unsigned which)
{
	if (which < 3)
		return call_data(k, which);
	switch (which) {
	case 3:
		return call_import(k);
	case 4:
	case 5:
		return call_anchor(k, which == 4);
	case 6:
		return kms_list_keys(k, check_info, NULL);
	case 7:
		return kms_list_aliases(k, check_alias, NULL);
	default:
		return call_keys(k, which % 8);
	}
}

static struct kms *
open_kms(void)
{
	static struct settings s;
	struct kms *k = NULL;

	must(crypto_init() == 0);
	log_to_syslog();
	log_set_level(LOG_ERROR);
	settings_default(&s);
	strcpy(s.kms_endpoint, "unix:/nowhere");
	s.kms_timeout = 0; /* whatever it is, it is not asked again */
	must(kms_open(&s, &k) == 0);
	return k;
}

static bool
take(const void *data, size_t len)
{
	static const unsigned statuses[] = { 200, 0, 400, 403, 500, 503 };
	static struct kms *k;
	const uint8_t *p = data;
	int r;

	if (!k)
		k = open_kms();
	if (len < 2 || len > HTTP_ANSWER_MAX)
		return false;
	status = statuses[p[1] % (sizeof(statuses) / sizeof(statuses[0]))];
	next_answer = (const char *)p + 2;
	answers_end = (const char *)p + len;
	r = call(k, p[0] % 16);
	must(r <= 0 && r > -512);
	return r == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	(void)take(data, len);
	return 0;
}

#ifndef SEALDISK_LIBFUZZER

int
main(int argc, char **argv)
{
	static const char some[] = "{}[]\",:\\0019utf/=A";
	static const struct fuzzer f = { "fuzz_remote", take, some,
					 sizeof(some), 1000 };

	return replay_main(&f, argc, argv);
}

#endif
