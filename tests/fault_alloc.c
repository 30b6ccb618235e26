/*
 * fault_alloc.c - see fault_alloc.h.  Made for programs that are linked with
 * alloc_ldflags of Makefile.am.
 */
#include "fault_alloc.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* GPG_ERR_SOURCE_GCRYPT and GPG_ERR_ENOMEM: gcrypt.h is not for tests. */
#define GCRY_ENOMEM (1u << 24 | 1u << 15 | 86u)

static _Thread_local struct {
	unsigned nth;
	bool lasting, fired;
} armed;

void
alloc_arm(unsigned nth, bool lasting)
{
	armed.nth = nth;
	armed.lasting = lasting;
	if (nth)
		armed.fired = false;
}

bool
alloc_fired(void)
{
	return armed.fired;
}

bool
alloc_strikes(void)
{
	if (armed.nth == 0 || --armed.nth > 0)
		return false;
	if (armed.lasting)
		armed.nth = 1;
	armed.fired = true;
	errno = ENOMEM;
	return true;
}

/* Declares what the linker calls the function, and what stands for it. */
#define WRAP(type, name, params)                                               \
	type __real_##name params;                                             \
	type __wrap_##name params;                                             \
	type __wrap_##name params

WRAP(void *, malloc, (size_t len))
{
	return alloc_strikes() ? NULL : __real_malloc(len);
}

WRAP(void *, calloc, (size_t n, size_t len))
{
	return alloc_strikes() ? NULL : __real_calloc(n, len);
}

WRAP(void *, realloc, (void *p, size_t len))
{
	return alloc_strikes() ? NULL : __real_realloc(p, len);
}

WRAP(void *, reallocarray, (void *p, size_t n, size_t len))
{
	return alloc_strikes() ? NULL : __real_reallocarray(p, n, len);
}

WRAP(char *, strdup, (const char *s))
{
	return alloc_strikes() ? NULL : __real_strdup(s);
}

WRAP(void *, secret_alloc, (size_t len))
{
	return alloc_strikes() ? NULL : __real_secret_alloc(len);
}

WRAP(void *, mmap,
     (void *at, size_t len, int prot, int flags, int fd, off_t off))
{
	return alloc_strikes() ? MAP_FAILED
			       : __real_mmap(at, len, prot, flags, fd, off);
}

WRAP(int, pthread_create,
     (pthread_t * t, const pthread_attr_t *a, void *(*fn)(void *), void *arg))
{
	return alloc_strikes() ? EAGAIN : __real_pthread_create(t, a, fn, arg);
}

WRAP(DIR *, opendir, (const char *path))
{
	return alloc_strikes() ? NULL : __real_opendir(path);
}

WRAP(DIR *, fdopendir, (int fd))
{
	return alloc_strikes() ? NULL : __real_fdopendir(fd);
}

WRAP(unsigned, gcry_cipher_open,
     (void **ret, int algo, int mode, unsigned flags))
{
	return alloc_strikes()
		   ? GCRY_ENOMEM
		   : __real_gcry_cipher_open(ret, algo, mode, flags);
}

WRAP(unsigned, gcry_kdf_open,
     (void **ret, int algo, int sub, const unsigned long *param, unsigned n,
      const void *a, size_t a_len, const void *b, size_t b_len, const void *c,
      size_t c_len, const void *d, size_t d_len))
{
	return alloc_strikes()
		   ? GCRY_ENOMEM
		   : __real_gcry_kdf_open(ret, algo, sub, param, n, a, a_len, b,
					  b_len, c, c_len, d, d_len);
}

/* asprintf() and vasprintf(), also as they are with _FORTIFY_SOURCE. */

int __real_vasprintf(char **ret, const char *fmt, va_list ap)
    __attribute__((__format__(__printf__, 2, 0)));

static int print(char **ret, const char *fmt, va_list ap)
    __attribute__((__format__(__printf__, 2, 0)));
static int
print(char **ret, const char *fmt, va_list ap)
{
	return alloc_strikes() ? -1 : __real_vasprintf(ret, fmt, ap);
}

int __wrap_vasprintf(char **ret, const char *fmt, va_list ap)
    __attribute__((__format__(__printf__, 2, 0)));
int
__wrap_vasprintf(char **ret, const char *fmt, va_list ap)
{
	return print(ret, fmt, ap);
}

int __wrap___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap)
    __attribute__((__format__(__printf__, 3, 0)));
int
__wrap___vasprintf_chk(char **ret, int flag, const char *fmt, va_list ap)
{
	(void)flag;
	return print(ret, fmt, ap);
}

int __wrap_asprintf(char **ret, const char *fmt, ...)
    __attribute__((__format__(__printf__, 2, 3)));
int
__wrap_asprintf(char **ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = print(ret, fmt, ap);
	va_end(ap);
	return n;
}

int __wrap___asprintf_chk(char **ret, int flag, const char *fmt, ...)
    __attribute__((__format__(__printf__, 3, 4)));
int
__wrap___asprintf_chk(char **ret, int flag, const char *fmt, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, fmt);
	n = print(ret, fmt, ap);
	va_end(ap);
	return n;
}
