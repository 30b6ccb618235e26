/*
 * fuzz_service.c - any bytes as what a request to the key service carries: a
 * blob, an import token, sealed material, a context, tags, filters, a policy.
 *
 * The first byte of an input says which it is, the rest is the value.  Nothing
 * may crash, and nothing but what was sealed here may open.
 *
 * With libFuzzer by `make fuzz`.  Without, the files that are named, or all in
 * tests/data/fuzz_service, are replayed, and changes of each at random, and of
 * a blob and a token that are made for it; SEALDISK_SEED=N and
 * SEALDISK_ROUNDS=N say which and how many.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/crypto.h>
#include <sealdisk/io.h>
#include <sealdisk/kms.h>
#include <sealdisk/log.h>

#include "fuzz.h"
#include "service.h"

#ifdef SEALDISK_LIBFUZZER
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable() ((void)0)
#define __lsan_enable() ((void)0)
#endif

#define INPUT_MAX 40000

/* ---- a service with one key of each origin ---- */

static char dir[] = "/tmp/sealdisk-fuzz-XXXXXX";
static struct service *service;
static char key[KMS_ID_LEN], external[KMS_ID_LEN];
static char blob[1024], token[256]; /* good ones, as Base64 */

static const char *
text_of(const json_t *body, const char *name)
{
	const char *s = json_string_value(json_object_get(body, name));

	must(s);
	return s;
}

/* Whether it works; ${name} of its answer is copied to ${ret}. */
static bool
call(const char *action, const struct service_param *params, size_t n,
     const char *name, char *ret, size_t cap)
{
	struct service_request q = { .action = action,
				     .params = params,
				     .n_params = n,
				     .peer = { .via = SERVICE_EMBEDDED,
					       .uid = geteuid() } };
	struct service_reply r;
	bool ok;

	must(service_call(service, &q, &r) == 0);
	must(strcmp(text_of(r.body, "RequestId"), r.request_id) == 0);
	ok = r.status == 200;
	must(ok == !json_object_get(r.body, "Code"));
	if (ok && name)
		(void)snprintf(ret, cap, "%s", text_of(r.body, name));
	service_reply_done(&r);
	return ok;
}

static void
make_key(const char *origin, char *ret)
{
	const struct service_param create[] = { { "Origin", origin } };
	struct service_request q = { .action = "CreateKey",
				     .params = create,
				     .n_params = 1,
				     .peer = { .via = SERVICE_EMBEDDED,
					       .uid = geteuid() } };
	struct service_reply r;

	must(service_call(service, &q, &r) == 0 && r.status == 200);
	(void)snprintf(ret, KMS_ID_LEN, "%s",
		       text_of(json_object_get(r.body, "KeyMetadata"),
			       "KeyId"));
	service_reply_done(&r);
}

static void
begin_service(void)
{
	const struct service_param generate[] = { { "KeyId", key } };
	const struct service_param prepare[] = {
		{ "KeyId", external },
		{ "WrappingAlgorithm", "RSAES_PKCS1_V1_5" },
		{ "WrappingKeySpec", "RSA_2048" },
	};
	struct settings s;
	bool made;

	must(mkdtemp(dir));
	settings_default(&s);
	(void)snprintf(s.keystore_path, sizeof(s.keystore_path), "%s/db", dir);
	(void)snprintf(s.keystore_root_file, sizeof(s.keystore_root_file),
		       "%s/key", dir);
	(void)snprintf(s.keystore_audit, sizeof(s.keystore_audit), "%s/audit/",
		       dir);
	must(kms_init(&s, &made) == 0);
	must(service_open(&s, true, &service) == 0);
	make_key("Aliyun_KMS", key);
	make_key("EXTERNAL", external);
	must(call("GenerateDataKey", generate, 1, "CiphertextBlob", blob,
		  sizeof(blob)));
	must(call("GetParametersForImport", prepare, 3, "ImportToken", token,
		  sizeof(token)));
}

/* What libgcrypt gathers randomness with for RSA hangs on its secure memory,
 * where leaks are not looked for. */
static void
set_up(void)
{
	if (service)
		return;
	__lsan_disable();
	begin_service();
	__lsan_enable();
}

/* ---- inputs ---- */

static void
try_blob(const char *text)
{
	const struct service_param p[] = { { "CiphertextBlob", text } };

	must(call("Decrypt", p, 1, NULL, NULL, 0) == !strcmp(text, blob));
}

/* What is no material is never taken, not even with a good token. */
static void
try_import(const char *given_token, const char *material)
{
	const struct service_param p[] = {
		{ "KeyId", external },
		{ "EncryptedKeyMaterial", material },
		{ "ImportToken", given_token },
	};

	must(!call("ImportKeyMaterial", p, 3, NULL, NULL, 0));
}

static void
try_text(const char *action, const char *name, const char *text)
{
	const struct service_param p[] = { { "KeyId", key }, { name, text } };

	(void)call(action, p, 2, NULL, NULL, 0);
}

static void
try(char kind, const char *text)
{
	switch (kind) {
	case 'b':
		try_blob(text);
		break;
	case 't':
		try_import(text, "AAAA");
		break;
	case 'm':
		try_import(token, text);
		break;
	case 'c':
		try_text("GenerateDataKey", "EncryptionContext", text);
		break;
	case 'g':
		try_text("TagResource", "Tags", text);
		break;
	case 'f':
		try_text("ListKeys", "Filters", text);
		break;
	case 'p':
		try_text("SetKeyPolicy", "Policy", text);
		break;
	default:
		try_text("UpdateRotationPolicy", "RotationInterval", text);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text;

	set_up();
	/* Whoever carries a request has refused these. */
	if (len < 1 || len > INPUT_MAX || memchr(data + 1, 0, len - 1) ||
	    !utf8_valid((const char *)data + 1, len - 1))
		return 0;
	text = malloc(len);
	must(text);
	memcpy(text, data + 1, len - 1);
	text[len - 1] = '\0';
	try((char)data[0], text);
	free(text);
	return 0;
}

#ifndef SEALDISK_LIBFUZZER

/* Mostly with what a text of its kind may have. */
static size_t
change(uint8_t *p, size_t len)
{
	static const char some[] = "{}[]\":,\\AZaz09+/=. u0000";
	size_t at = 1 + rnd(len - 1), n;

	switch (rnd(4)) {
	case 0:
		p[at] = (uint8_t)some[rnd(sizeof(some) - 1)];
		return len;
	case 1:
		p[at] ^= (uint8_t)(1 << rnd(7));
		return len;
	case 2:
		return at;
	default:
		n = rnd(len - at) + 1;
		memmove(p + 1, p + at, n);
		return 1 + n;
	}
}

static void
replay_text(const char *text, size_t len, uint64_t rounds)
{
	uint8_t *p = malloc(len + 1);

	must(p);
	(void)LLVMFuzzerTestOneInput((const uint8_t *)text, len);
	for (uint64_t i = 0; i < rounds && len > 1; i++) {
		size_t now = len;

		memcpy(p, text, len);
		for (uint64_t n = rnd(3) + 1; n > 0 && now > 1; n--)
			now = change(p, now);
		(void)LLVMFuzzerTestOneInput(p, now);
	}
	free(p);
}

static void
replay(const char *path, uint64_t rounds)
{
	char *text;
	size_t len;

	must(io_load(AT_FDCWD, path, INPUT_MAX, &text, &len) == 0);
	replay_text(text, len, rounds);
	free(text);
}

static void
replay_made(char kind, const char *good, uint64_t rounds)
{
	char text[1100];
	int n = snprintf(text, sizeof(text), "%c%s", kind, good);

	must(n > 0 && (size_t)n < sizeof(text));
	replay_text(text, (size_t)n, rounds);
}

static void
clear(const char *folder)
{
	char path[4096 + 256];
	struct dirent *e;
	DIR *d = opendir(folder);

	while (d && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (unlink(path) < 0)
			clear(path);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(folder);
}

int
main(int argc, char **argv)
{
	uint64_t rounds = number_of("SEALDISK_ROUNDS", 200);

	must(crypto_init() == 0);
	log_to_syslog();
	seed();
	set_up();
	for (int i = 1; i < argc; i++)
		replay(argv[i], rounds);
	if (argc == 1) {
		replay_folder("fuzz_service", rounds, replay);
		replay_made('b', blob, rounds);
		replay_made('t', token, rounds);
	}
	service_close(service);
	clear(dir);
	(void)printf("[  PASSED  ] 1 test(s).\n");
	return 0;
}

#endif
