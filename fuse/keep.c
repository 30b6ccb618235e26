/*
 * keep.c - memory that outlives a worker: made, mapped, looked at.
 */
#include "keep.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "SDKEEP";

static size_t
whole_pages(size_t n)
{
	return (n + KEEP_PAGE - 1) / KEEP_PAGE * KEEP_PAGE;
}

size_t
keep_len(void)
{
	return whole_pages(sizeof(struct keep)) + whole_pages(kept_size());
}

struct kept *
keep_kept(struct keep *k)
{
	return (struct kept *)((char *)k + k->kept_at);
}

/* Locked as it is touched; where that is refused, as to a user under a limit,
 * it is kept out of dumps all the same (host_warn tells). */
static int
map(int fd, size_t len, struct keep **ret)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	(void)mlock2(p, len, MLOCK_ONFAULT);
	(void)madvise(p, len, MADV_DONTDUMP);
	*ret = p;
	return 0;
}

int
keep_new(int *ret_fd, struct keep **ret)
{
	CLEANUP(close_fdp) int fd = memfd_create("sealdisk", MFD_CLOEXEC);
	size_t len = keep_len();
	struct keep *k;
	int r;

	if (fd < 0 || ftruncate(fd, (off_t)len) < 0)
		return -errno;
	r = map(fd, len, &k);
	if (r < 0)
		return r;
	memcpy(k->magic, magic, sizeof(magic));
	k->version = KEEP_VERSION;
	k->settings_len = sizeof(struct settings);
	k->len = len;
	k->kept_at = whole_pages(sizeof(struct keep));
	kept_init(keep_kept(k));
	*ret_fd = TAKE_FD(fd);
	*ret = k;
	return 0;
}

int
keep_map(int fd, struct keep **ret)
{
	size_t len = keep_len();
	struct keep *k;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size != len)
		return -EPROTONOSUPPORT;
	r = map(fd, len, &k);
	if (r < 0)
		return r;
	if (memcmp(k->magic, magic, sizeof(magic)) != 0 ||
	    k->version != KEEP_VERSION || k->len != len ||
	    k->settings_len != sizeof(struct settings) ||
	    k->kept_at != whole_pages(sizeof(struct keep)))
		r = -EPROTONOSUPPORT;
	if (r == 0)
		r = kept_check(keep_kept(k), kept_size());
	if (r < 0)
		(void)munmap(k, len);
	else
		*ret = k;
	return r;
}

int
keep_map_thread(int fd, unsigned i, void *at)
{
	off_t off = (off_t)(offsetof(struct keep, threads) +
			    (size_t)i * sizeof(struct keep_thread));
	void *p = mmap(at, KEEP_PAGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, fd, off);

	if (p == MAP_FAILED)
		return -errno;
	(void)mlock(p, KEEP_PAGE);
	(void)madvise(p, KEEP_PAGE, MADV_DONTDUMP);
	return 0;
}
