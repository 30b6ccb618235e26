/*
 * fuzz_settings.c - any bytes as sealdisk.ini, kmsd.ini, or as a mount option.
 *
 * The first byte of an input says which.  What is refused says why in one line
 * and leaves the settings as they were; what is taken has each text ended and
 * the addresses in it readable or refused.
 *
 * With libFuzzer by `make fuzz`.  Without, main() replays
 * tests/data/fuzz_settings, as it is and changed at random.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sealdisk/settings.h>

#include "fuzz.h"
#include "kmsd.h"

/* What kmsd says of wrong arguments. */
int
kmsd_usage(const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	must(vsnprintf(text, sizeof(text), fmt, ap) >= 0);
	va_end(ap);
	return KMSD_USAGE;
}

static bool
is_ended(const char *text, size_t cap)
{
	return strnlen(text, cap) < cap;
}

/* Whether ${r} is a success; else there is one line that says why, with what
 * was given in it. */
static bool
check_message(int r, char *msg)
{
	must((r == 0) == !msg);
	must(!msg || (*msg && !strchr(msg, '\n')));
	free(msg);
	return r == 0;
}

static bool
take_sealdisk(const char *path)
{
	struct settings before, s;
	char *msg = NULL;
	int r;

	memset(&s, 0x55, sizeof(s));
	before = s;
	r = settings_load(&s, path, &msg);
	if (!check_message(r, msg)) {
		must(memcmp(&s, &before, sizeof(s)) == 0);
		return false;
	}
	must(is_ended(s.store, sizeof(s.store)) &&
	     is_ended(s.kms_endpoint, sizeof(s.kms_endpoint)) &&
	     is_ended(s.instance_credential, sizeof(s.instance_credential)));
	must(s.n_kms_further <= KMS_SERVICES_MAX);
	for (size_t i = 0; i < s.n_kms_further; i++) {
		struct settings one = s;

		must(is_ended(s.kms_further[i].name,
			      sizeof(s.kms_further[i].name)));
		settings_use_kms(&one, i);
		must(one.n_kms_further == 0);
		must(strcmp(one.kms_endpoint, s.kms_further[i].endpoint) == 0);
	}
	return true;
}

static bool
take_kmsd(const char *path)
{
	struct listen_address a[SERVER_LISTEN_MAX];
	struct kmsd_settings c;
	char *msg = NULL;
	size_t n = 0;
	int r;

	r = kmsd_settings_load(&c, path, &msg);
	if (!check_message(r, msg))
		return false;
	must(is_ended(c.listen, sizeof(c.listen)) && c.socket_mode <= 0777);
	r = kmsd_addresses(c.listen, a, &n);
	must(r == KMSD_USAGE || (r == 0 && n >= 1 && n <= SERVER_LISTEN_MAX));
	for (size_t i = 0; i < n; i++)
		must(is_ended(a[i].host, sizeof(a[i].host)) &&
		     is_ended(a[i].port, sizeof(a[i].port)));
	return true;
}

/* "NAME=VALUE" */
static bool
take_option(char *text)
{
	char *value = strchr(text, '='), *msg = NULL;
	struct settings s, before;
	int r;

	/* What was given on the command line is said as it is. */
	if (!value || strchr(text, '\n'))
		return false;
	*value++ = '\0';
	settings_default(&s);
	before = s;
	r = settings_set(&s, text, value, &msg);
	must(r == 0 || memcmp(&s, &before, sizeof(s)) == 0);
	return check_message(r, msg);
}

static bool
take(const void *data, size_t len)
{
	static int fd = -1;
	CLEANUP(free_memp) char *text = NULL;
	const char *p = data;
	char path[32];

	if (len < 1)
		return false;
	if (p[0] == 'o') {
		text = strndup(p + 1, len - 1);
		must(text);
		return take_option(text);
	}
	if (fd < 0)
		fd = memfd_create("settings", MFD_CLOEXEC);
	must(fd >= 0 && ftruncate(fd, 0) == 0 &&
	     pwrite(fd, p + 1, len - 1, 0) == (ssize_t)len - 1);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return p[0] == 'k' ? take_kmsd(path) : take_sealdisk(path);
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
	static const char some[] = "\n[]= \t;#\"'\\_.,:/0129KMGTyesnoembedded";
	static const struct fuzzer f = { "fuzz_settings", take, some,
					 sizeof(some), 1000 };

	return replay_main(&f, argc, argv);
}

#endif
