/*
 * grow.h - arrays that grow by one element at a time.
 */
#ifndef SEALDISK_GROW_H
#define SEALDISK_GROW_H

#include <stdlib.h>

#include <sealdisk/cleanup.h>

/*
 * Room for one element more.
 * @v: the array, from malloc() or NULL; it has @n elements of @size bytes, and
 *     room for *@cap.
 * Returns the array, which may have moved, with *@cap made to fit; NULL without
 * memory: then @v and *@cap are as they were, and the caller's still.
 */
static inline CHECKED void *
grow(void *v, size_t n, size_t *cap, size_t size)
{
	size_t more = *cap ? 2 * *cap : 16;

	if (v && n < *cap)
		return v;
	v = reallocarray(v, more, size);
	if (v)
		*cap = more;
	return v;
}

#endif
