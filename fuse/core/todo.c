/*
 * todo.c - chunk files that no map names, after an unclean stop.
 *
 * A chunk is made before the map says so, and removed after: a crash between
 * leaves a file that was never acknowledged, or is given up.  `todo` holds the
 * names of files made; it is a hint, never synced and not authenticated, so
 * what it says decides only where to look: a file goes if its superblock is
 * authentic, says that this very layer made it in an earlier session, and the
 * map does not name it.  At the end of a session that went on after the death
 * of a process, that session's own are looked at, too.
 */
#include "engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#define TODO_MAX (64u << 20)

/* Whether the map names a chunk whose salt begins so. */
static bool
is_named(struct layer *l, struct scratch *s, uint64_t index,
	 const uint8_t *salt, size_t salt_len)
{
	struct page *p;
	const struct entry *e;
	bool named;
	int r;

	r = map_get(l, index / MAP_CHUNKS, s, false, false, &p);
	/* What cannot be read may name it. */
	if (r < 0)
		return r != -ENOENT;
	e = &p->body.entry[index % MAP_CHUNKS];
	named = e->state == ENTRY_DATA &&
		memcmp(e->unique, salt, salt_len) == 0;
	page_release(p);
	return named;
}

/*
 * Most of what was made stays, and need not be opened to see that: its name
 * (XXXXIII-LLLLLLLL-SSSSSSSS.chunk) has index and salt.
 */
static bool
is_named_so(struct layer *l, struct scratch *s, const char *path)
{
	const char *name = strrchr(path, '/');
	uint8_t salt[4];
	char hex[9] = "";
	uint64_t index;

	return name &&
	       sscanf(name, "/%7" SCNx64 "-%*8c-%8c.chunk", &index, hex) == 2 &&
	       index < DISK_SIZE_MAX / CHUNK_LEN &&
	       hex_decode(hex, salt, sizeof(salt)) == 0 &&
	       is_named(l, s, index, salt, sizeof(salt));
}

/* Whether the superblock is this layer's, of an earlier session, authentic. */
static bool
is_ours(struct layer *l, struct scratch *s, const char *path, struct super *su)
{
	struct store *st = l->disk->e->st;
	CLEANUP(store_closep) struct store_file *f = NULL;
	uint8_t *keys = secret_alloc(2 * KEY_LEN);
	char expect[STORE_PATH_LEN];
	bool ok;

	ok = keys && st->ops->open(st, path, false, &f) == 0 &&
	     f->st->ops->read(f, s->temp, SUPER_LEN, 0) == 0 &&
	     super_parse(s->temp, su) == 0 &&
	     chunk_keys(l->dk, su->salt, su->cipher, su->index, keys) == 0 &&
	     super_verify(s->temp, keys + KEY_LEN) == 0 &&
	     uuid_equal(&su->layer, &l->ref.layer) &&
	     uuid_equal(&su->lineage, &l->ref.lineage) &&
	     (su->session < l->disk->session ||
	      (l->disk->gone_on && su->session == l->disk->session));
	secret_free(keys, 2 * KEY_LEN);
	if (!ok)
		return false;
	path_chunk(&l->ref.lineage, su->index, &su->layer, su->salt, expect);
	return strcmp(path, expect) == 0;
}

static void
clean_one(struct layer *l, struct scratch *s, const char *path)
{
	struct store *st = l->disk->e->st;
	struct super su;

	if (!is_ours(l, s, path, &su) ||
	    is_named(l, s, su.index, su.salt, sizeof(su.salt)))
		return;
	log_debug("%s: no map names it: removed", path);
	(void)!st->ops->remove(st, path);
}

/* A file so new that not even its superblock reached the medium: its name
 * says whose it is, and nothing that a map names is empty. */
static void
clean_empty(struct layer *l, const char *path)
{
	struct store *st = l->disk->e->st;
	CLEANUP(store_closep) struct store_file *f = NULL;
	char own[STORE_PATH_LEN];
	uint64_t size;

	path_chunk(&l->ref.lineage, 0, &l->ref.layer, (const uint8_t[12]){ 0 },
		   own);
	/* lineages/UUID/chunks/: the same as ours? */
	if (strncmp(path, own,
		    strlen("lineages/") + UUID_STR_LEN + strlen("chunks")) != 0)
		return;
	if (st->ops->open(st, path, false, &f) == 0 &&
	    st->ops->size(f, &size) == 0 && size == 0)
		(void)!st->ops->remove(st, path);
}

int
layer_clean_todo(struct layer *l, struct scratch *s)
{
	struct store *st = l->disk->e->st;
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	if (l->todo_len == 0)
		return 0;
	path_layer(&l->ref, "todo", path);
	r = st->ops->load(st, path, TODO_MAX, &text, &len);
	if (r < 0)
		return disk_is_damage(r) ? 0 : r;
	for (char *line = text, *end; (end = strchr(line, '\n'));
	     line = end + 1) {
		*end = '\0';
		if (strncmp(line, "lineages/", 9) != 0 ||
		    is_named_so(l, s, line))
			continue;
		clean_one(l, s, line);
		clean_empty(l, line);
	}
	l->todo_len = 0;
	return l->todo->st->ops->truncate(l->todo, 0);
}
