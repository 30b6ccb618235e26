/*
 * cleanup.h - resources that end with their scope.
 */
#ifndef SEALDISK_CLEANUP_H
#define SEALDISK_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((__cleanup__(fn)))

/*
 * DEFINE_CLEANUP(struct disk, disk_free) defines disk_freep(), the handler for
 * a `struct disk *` variable.  Every destructor here accepts NULL.
 */
#define DEFINE_CLEANUP(type, destroy)                                          \
	static inline void destroy##p(type **p)                                \
	{                                                                      \
		destroy(*p);                                                   \
	}

/* Move a pointer out of a CLEANUP variable; its reader becomes the owner. */
#define TAKE(p)                                                                \
	__extension__({                                                        \
		__typeof__(p) taken_ = (p);                                    \
		(p) = NULL;                                                    \
		taken_;                                                        \
	})

/* The same for a file descriptor. */
#define TAKE_FD(fd)                                                            \
	__extension__({                                                        \
		int taken_ = (fd);                                             \
		(fd) = -1;                                                     \
		taken_;                                                        \
	})

/* For malloc'ed memory of any type: CLEANUP(free_memp) char *s = NULL; */
static inline void
free_memp(void *p)
{
	void **pp = p;

	free(*pp);
}

static inline void
close_fdp(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

#define NONNULL __attribute__((__nonnull__))
#define CHECKED __attribute__((__warn_unused_result__))

#endif
