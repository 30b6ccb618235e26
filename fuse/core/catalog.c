/*
 * catalog.c - a store's names: where they lie, reading and writing what is
 * behind them.  Changes of names: catalog_change.c.
 *
 * A snapshot's name is DISK@NAME; neither part can hold an @.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "catalog_private.h"

/* Paths. */

static const char *const folders[] = { "disks", "snapshots", "images" };

void
path_descriptor(enum desc_type type, const char *of, const char *name,
		char out[static STORE_PATH_LEN])
{
	if (type == DESC_SNAPSHOT)
		(void)snprintf(out, STORE_PATH_LEN, "%s/%s/%s.ini",
			       folders[type], of, name);
	else
		(void)snprintf(out, STORE_PATH_LEN, "%s/%s.ini", folders[type],
			       name);
}

void
path_lineage(const struct uuid *lineage, const char *file,
	     char out[static STORE_PATH_LEN])
{
	char u[UUID_STR_LEN];

	uuid_format(lineage, u);
	(void)snprintf(out, STORE_PATH_LEN, "lineages/%s%s%s", u,
		       file ? "/" : "", file ? file : "");
}

void
path_layer(const struct layer_ref *l, const char *file,
	   char out[static STORE_PATH_LEN])
{
	char lineage[UUID_STR_LEN], layer[UUID_STR_LEN];

	uuid_format(&l->lineage, lineage);
	uuid_format(&l->layer, layer);
	(void)snprintf(out, STORE_PATH_LEN, "lineages/%s/layers/%s/%s", lineage,
		       layer, file);
}

void
path_chunk(const struct uuid *lineage, uint64_t index,
	   const struct uuid *creator, const uint8_t salt[static 12],
	   char out[static STORE_PATH_LEN])
{
	char u[UUID_STR_LEN], by[9], s[9];

	uuid_format(lineage, u);
	hex_encode(creator->bytes, 4, by);
	hex_encode(salt, 4, s);
	(void)snprintf(out, STORE_PATH_LEN,
		       "lineages/%s/chunks/%04" PRIx64 "/%07" PRIx64
		       "-%s-%s.chunk",
		       u, index >> 12, index, by, s);
}

void
path_snapshots(const char *disk, char out[static STORE_PATH_LEN])
{
	(void)snprintf(out, STORE_PATH_LEN, "snapshots/%s", disk);
}

void
path_folder(const char *path, char out[static STORE_PATH_LEN])
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	memcpy(out, path, len);
	out[len] = '\0';
}

/* Split DISK@NAME; elsewhere ${of} is "". */
static int
split_name(enum desc_type type, const char *name, char of[DISK_NAME_MAX + 1],
	   const char **ret_name)
{
	const char *at = strchr(name, '@');
	size_t len = at ? (size_t)(at - name) : 0;

	if ((type == DESC_SNAPSHOT) != (at != NULL) || len > DISK_NAME_MAX)
		return -EINVAL;
	memcpy(of, name, len);
	of[len] = '\0';
	if (at && name_check(of) < 0)
		return -EINVAL;
	*ret_name = at ? at + 1 : name;
	return name_check(*ret_name);
}

int
catalog_path(enum desc_type type, const char *name,
	     char out[static STORE_PATH_LEN])
{
	char of[DISK_NAME_MAX + 1];
	int r;

	r = split_name(type, name, of, &name);
	if (r == 0)
		path_descriptor(type, of, name, out);
	return r;
}

int
store_exists(struct store *st, const char *path)
{
	struct store_file *f;
	int r;

	r = st->ops->open(st, path, false, &f);
	if (r == 0)
		store_close(f);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

static int
stop_at_first(const char *name, bool is_dir, void *arg)
{
	(void)name;
	(void)is_dir;
	(void)arg;
	return 1;
}

int
has_snapshots(struct store *st, const char *disk)
{
	char path[STORE_PATH_LEN];
	int r;

	path_snapshots(disk, path);
	r = st->ops->list(st, path, stop_at_first, NULL);
	return r == -ENOENT ? 0 : r;
}

/* Listing. */

void
names_done(struct names *n)
{
	while (n->n > 0)
		free(n->v[--n->n]);
	free(n->v);
	free(n->is_dir);
	*n = (struct names){ .max = n->max };
}

static int
names_grow(struct names *n)
{
	size_t cap = n->cap ? 2 * n->cap : 64;
	bool *d;
	char **v;

	v = realloc(n->v, cap * sizeof(*v));
	if (!v)
		return -ENOMEM;
	n->v = v;
	d = realloc(n->is_dir, cap * sizeof(*d));
	if (!d)
		return -ENOMEM;
	n->is_dir = d;
	n->cap = cap;
	return 0;
}

static int
names_add(const char *name, bool is_dir, void *arg)
{
	struct names *n = arg;

	if (n->max && n->n == n->max)
		return 1;
	if (n->n == n->cap && names_grow(n) < 0)
		return -ENOMEM;
	n->v[n->n] = strdup(name);
	if (!n->v[n->n])
		return -ENOMEM;
	n->is_dir[n->n++] = is_dir;
	return 0;
}

int
names_list(struct store *st, const char *path, struct names *n)
{
	int r;

	names_done(n);
	r = st->ops->list(st, path, names_add, n);
	return r == -ENOENT || r > 0 ? 0 : r;
}

static int
by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Keep NAME of every NAME.ini, sorted; is_dir means nothing after it. */
static void
keep_descriptors(struct names *n)
{
	size_t i, kept = 0;

	for (i = 0; i < n->n; i++) {
		char *name = n->v[i];
		size_t len = strlen(name);

		if (len > 4 && !n->is_dir[i] && !strcmp(name + len - 4, ".ini"))
			name[len - 4] = '\0';
		else
			name[0] = '\0';
		if (name_check(name) == 0)
			n->v[kept++] = name;
		else
			free(name);
	}
	n->n = kept;
	if (kept)
		qsort(n->v, kept, sizeof(*n->v), by_bytes);
}

static int
list_folder(struct catalog *c, const char *path, const char *of,
	    int (*fn)(const char *name, void *arg), void *arg)
{
	CLEANUP(names_done) struct names n = { 0 };
	char full[2 * DISK_NAME_MAX + 2];
	size_t i;
	int r;

	r = names_list(c->st, path, &n);
	keep_descriptors(&n);
	for (i = 0; i < n.n && r == 0; i++) {
		(void)snprintf(full, sizeof(full), "%s%s%s", of ? of : "",
			       of ? "@" : "", n.v[i]);
		r = fn(full, arg);
	}
	return r;
}

int
catalog_snapshots(struct catalog *c, const char *disk,
		  int (*fn)(const char *name, void *arg), void *arg)
{
	char path[STORE_PATH_LEN];
	int r;

	if (name_check(disk) < 0)
		return 0;
	path_snapshots(disk, path);
	r = list_folder(c, path, disk, fn, arg);
	return r == -ENOTDIR ? 0 : r;
}

int
catalog_snapshot_folders(struct catalog *c,
			 int (*fn)(const char *disk, void *arg), void *arg)
{
	CLEANUP(names_done) struct names disks = { 0 };
	size_t i;
	int r;

	r = names_list(c->st, folders[DESC_SNAPSHOT], &disks);
	if (r == 0 && disks.n)
		qsort(disks.v, disks.n, sizeof(*disks.v), by_bytes);
	for (i = 0; i < disks.n && r == 0; i++) {
		if (name_check(disks.v[i]) < 0)
			continue;
		r = has_snapshots(c->st, disks.v[i]);
		if (r > 0)
			r = fn(disks.v[i], arg);
		else if (r == -ENOTDIR)
			r = 0;
	}
	return r;
}

/* A listing of all snapshots under way. */
struct all {
	struct catalog *c;
	int (*fn)(const char *name, void *arg);
	void *arg;
};

static int
list_one_disk(const char *disk, void *arg)
{
	struct all *a = arg;

	return catalog_snapshots(a->c, disk, a->fn, a->arg);
}

int
catalog_list(struct catalog *c, enum desc_type type,
	     int (*fn)(const char *name, void *arg), void *arg)
{
	struct all a = { c, fn, arg };

	if (type == DESC_SNAPSHOT)
		return catalog_snapshot_folders(c, list_one_disk, &a);
	return list_folder(c, folders[type], NULL, fn, arg);
}

/* The store. */

static int
look_inside(const char *name, bool is_dir, void *arg)
{
	if (!strcmp(name, STORE_INI))
		return -EEXIST;
	if (!is_dir || (strcmp(name, "lost+found") && strcmp(name, "locks")))
		*(bool *)arg = true;
	return 0;
}

/* "locks" is what we make ourselves before we look for certain. */
static int
check_empty(struct store *st)
{
	bool other = false;
	int r;

	r = st->ops->list(st, "", look_inside, &other);
	return r == 0 && other ? -ENOTEMPTY : r;
}

int
catalog_init(struct store *st, const struct store_meta *m)
{
	struct catalog c = { .st = st };
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	CLEANUP(free_memp) char *text = NULL;
	int r;

	r = store_meta_format(m, &text);
	if (r == 0)
		r = check_empty(st); /* before anything is made in it */
	if (r == 0)
		r = catalog_lock_names(&c, &lock);
	if (r == 0)
		r = check_empty(st);
	if (r == 0)
		r = st->ops->replace(st, STORE_INI, text, strlen(text));
	/* What opens the store makes up for one that failed. */
	if (r == 0)
		(void)!store_spare_put(st, text);
	return r;
}

int
catalog_open(struct store *st, struct catalog **ret)
{
	CLEANUP(free_memp) char *text = NULL;
	CLEANUP(catalog_closep) struct catalog *c = calloc(1, sizeof(*c));
	size_t len;
	int r;

	if (!c)
		return -ENOMEM;
	c->st = st;
	r = st->ops->load(st, STORE_INI, META_MAX, &text, &len);
	if (r == 0)
		r = store_meta_parse(text, len, &c->meta);
	if (r < 0)
		return r == -EFBIG ? -EUCLEAN : r;
	*ret = TAKE(c);
	return 0;
}

void
catalog_close(struct catalog *c)
{
	free(c);
}

const struct store_meta *
catalog_meta(const struct catalog *c)
{
	return &c->meta;
}

struct store *
catalog_store(const struct catalog *c)
{
	return c->st;
}

/* Descriptors. */

int
catalog_load(struct catalog *c, enum desc_type type, const char *name,
	     struct descriptor *ret, char **ret_text, size_t *ret_len)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN], of[DISK_NAME_MAX + 1];
	size_t len;
	int r;

	if (!d)
		return -ENOMEM;
	if (split_name(type, name, of, &name) < 0)
		return -ENOENT; /* what cannot be is not there */
	path_descriptor(type, of, name, path);
	r = c->st->ops->load(c->st, path, META_MAX, &text, &len);
	if (r == 0)
		r = descriptor_parse(text, len, d);
	if (r < 0)
		return r == -EFBIG ? -EUCLEAN : r;
	if (d->type != type || strcmp(d->name, name) ||
	    !uuid_equal(&d->store, &c->meta.uuid))
		return -EUCLEAN;
	/* `of` is what the disk was called when the snapshot was sealed; when
	 * the disk is renamed, its folder of snapshots goes along as it is. */
	strcpy(d->of, of);

	memcpy(ret, d, sizeof(*ret));
	if (ret_text) {
		*ret_text = TAKE(text);
		*ret_len = len;
	}
	return 0;
}

int
catalog_load_verified(struct catalog *c, struct kms *kms, enum desc_type type,
		      const char *name, struct descriptor *ret,
		      struct key *ret_dk)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_load(c, type, name, d, &text, &len);
	/* descriptor_parse has seen to it that the top DK is among them. */
	if (r == 0)
		r = kms_decrypt(kms, &descriptor_key(d, &d->key)->dk, &dk);
	if (r == 0)
		r = descriptor_verify(text, len, &d->uuid, &dk);
	if (r < 0)
		return r;
	memcpy(ret, d, sizeof(*ret));
	memcpy(ret_dk, &dk, sizeof(*ret_dk));
	return 0;
}

int
catalog_save_first(struct catalog *c, const struct descriptor *d,
		   const struct key *dk)
{
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	int r;

	r = descriptor_format(d, dk, &text);
	if (r < 0)
		return r;
	path_descriptor(d->type, d->of, d->name, path);
	return c->st->ops->replace(c->st, path, text, strlen(text));
}
