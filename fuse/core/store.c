/*
 * store.c - what every store shares: the grammar of paths.
 */
#include <errno.h>
#include <string.h>

#include "store.h"

static bool
component_ok(const char *s, size_t len)
{
	if (len == 0 || len > 255)
		return false;
	if (len == 1 && s[0] == '.')
		return false;
	return !(len == 2 && s[0] == '.' && s[1] == '.');
}

int
store_path_check(const char *path)
{
	size_t len;

	if (strlen(path) >= STORE_PATH_LEN)
		return -ENAMETOOLONG;
	for (;;) {
		len = strcspn(path, "/");
		if (!component_ok(path, len))
			return -EINVAL;
		if (!path[len])
			return 0;
		path += len + 1;
	}
}

int
store_put(struct store *st, const char *path, const void *buf, size_t len)
{
	int r = st->ops->replace(st, path, buf, len);

	if (r == -EISDIR && st->ops->remove(st, path) == 0)
		r = st->ops->replace(st, path, buf, len);
	return r;
}
