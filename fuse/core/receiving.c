/*
 * receiving.c - the mark of a receive that is not done: receiving/UUID, named
 * by the topmost layer that is being made (sealdisk-stream(5)).
 *
 * It stands there, durably, before the first of these layers does, and goes
 * when the descriptor is there or when it is given up.  It keeps the sweep from
 * taking the layers for dead, and says how far all is durable.  Nothing in it
 * is authenticated: who could forge it could remove the layers themselves, and
 * what it claims to be there and is not, the first read finds missing.
 */
#include "stream_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

#define FOLDER "receiving"
#define MARK_MAGIC 0x56524453u /* "SDRV" */
#define MARK_VERSION 1
#define MARK_MIN (8 + 2 + 16 + 4 + 8 + 4 + 4)
#define MARK_MAX (MARK_MIN + 2 * DISK_NAME_MAX + 32 * (size_t)LAYERS_MAX)

void
receiving_done(struct receiving *m)
{
	free(m->v);
	*m = (struct receiving){ 0 };
}

static void
mark_path(const struct uuid *top, char out[static STORE_PATH_LEN])
{
	char u[UUID_STR_LEN];

	uuid_format(top, u);
	(void)snprintf(out, STORE_PATH_LEN, FOLDER "/%s", u);
}

/* ---- the file ---- */

static void
put_text(struct writer *w, const char *text)
{
	put_u8(w, (uint8_t)strlen(text));
	put_bytes(w, text, strlen(text));
}

static void
get_text(struct reader *r, char out[static DISK_NAME_MAX + 1])
{
	size_t len = get_u8(r);

	memset(out, 0, DISK_NAME_MAX + 1);
	if (len > DISK_NAME_MAX)
		r->bad = true;
	else
		get_bytes(r, out, len);
}

int
receiving_save(struct store *st, const struct receiving *m)
{
	size_t len = MARK_MIN + strlen(m->of) + strlen(m->name) + 32 * m->n;
	CLEANUP(free_memp) uint8_t *buf = malloc(len);
	struct writer w = writer_over(buf, len);
	char path[STORE_PATH_LEN];

	if (!buf)
		return -ENOMEM;
	put_u32(&w, MARK_MAGIC);
	put_u16(&w, MARK_VERSION);
	put_u8(&w, (uint8_t)m->type);
	put_zeros(&w, 1);
	put_text(&w, m->of);
	put_text(&w, m->name);
	put_bytes(&w, m->snapshot.bytes, 16);
	put_u32(&w, m->at);
	put_u64(&w, m->chunk);
	put_u32(&w, (uint32_t)m->n);
	for (size_t i = 0; i < m->n; i++) {
		put_bytes(&w, m->v[i].lineage.bytes, 16);
		put_bytes(&w, m->v[i].layer.bytes, 16);
	}
	put_u32(&w, crc32c(buf, len - 4));
	mark_path(&m->v[m->n - 1].layer, path);
	return st->ops->replace(st, path, buf, len);
}

static int
get_layers(struct reader *r, struct receiving *m)
{
	if (m->n == 0 || m->n >= LAYERS_MAX || m->at >= m->n ||
	    (size_t)(r->end - r->p) != 32 * m->n + 4)
		return -EUCLEAN;
	m->v = calloc(m->n, sizeof(*m->v));
	if (!m->v)
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++) {
		get_bytes(r, m->v[i].lineage.bytes, 16);
		get_bytes(r, m->v[i].layer.bytes, 16);
	}
	return 0;
}

static int
parse(const uint8_t *buf, size_t len, struct receiving *m)
{
	struct reader r = reader_over(buf, len);
	uint8_t type;
	int e;

	if (len < MARK_MIN || get_u32(&r) != MARK_MAGIC ||
	    get_u16(&r) != MARK_VERSION)
		return -EUCLEAN;
	type = get_u8(&r);
	get_skip(&r, 1);
	get_text(&r, m->of);
	get_text(&r, m->name);
	get_bytes(&r, m->snapshot.bytes, 16);
	m->at = get_u32(&r);
	m->chunk = get_u64(&r);
	m->n = get_u32(&r);
	if (r.bad || (type != DESC_SNAPSHOT && type != DESC_IMAGE))
		return -EUCLEAN;
	m->type = type;
	e = get_layers(&r, m);
	if (e == 0 && get_u32(&r) != crc32c(buf, len - 4))
		e = -EUCLEAN;
	return e;
}

int
receiving_load(struct store *st, const struct uuid *top, struct receiving *ret)
{
	CLEANUP(free_memp) char *text = NULL;
	struct receiving m = { .n = 0 };
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	mark_path(top, path);
	r = st->ops->load(st, path, MARK_MAX, &text, &len);
	if (r == 0)
		r = parse((const uint8_t *)text, len, &m);
	if (r == 0 && !uuid_equal(&m.v[m.n - 1].layer, top))
		r = -EUCLEAN;
	if (r == -EUCLEAN || r == -EFBIG) {
		log_warn("%s: malformed; nothing is swept while it is there",
			 path);
		r = -EUCLEAN;
	}
	if (r < 0)
		receiving_done(&m);
	else
		*ret = m;
	return r;
}

int
receiving_remove(struct store *st, const struct receiving *m)
{
	char path[STORE_PATH_LEN];
	int r;

	mark_path(&m->v[m->n - 1].layer, path);
	r = st->ops->remove(st, path);
	return r < 0 ? r : st->ops->sync_dir(st, FOLDER);
}

/* ---- all of them ---- */

/* ${fn} returns 0 to go on, else what is returned.  What cannot be read stops
 * the sweep alone. */
static int
each(struct store *st, bool strict, int (*fn)(struct receiving *m, void *arg),
     void *arg)
{
	CLEANUP(names_done) struct names n = { 0 };
	struct uuid top;
	int r;

	r = names_list(st, FOLDER, &n);
	for (size_t i = 0; r == 0 && i < n.n; i++) {
		CLEANUP(receiving_done) struct receiving m = { .n = 0 };

		if (uuid_parse(n.v[i], &top) < 0)
			continue;
		r = receiving_load(st, &top, &m);
		if (r == 0)
			r = fn(&m, arg);
		else if (r == -ENOENT || (r == -EUCLEAN && !strict))
			r = 0; /* it has just been done */
	}
	return r;
}

struct search {
	enum desc_type type;
	char full[2 * DISK_NAME_MAX + 2];
	struct receiving *ret;
};

static void
full_name(const struct receiving *m, char out[static 2 * DISK_NAME_MAX + 2])
{
	(void)snprintf(out, 2 * DISK_NAME_MAX + 2, "%s%s%s", m->of,
		       m->type == DESC_SNAPSHOT ? "@" : "", m->name);
}

static int
look_for_name(struct receiving *m, void *arg)
{
	char full[2 * DISK_NAME_MAX + 2];
	struct search *s = arg;

	full_name(m, full);
	if (m->type != s->type || strcmp(full, s->full) != 0)
		return 0;
	*s->ret = *m;
	m->v = NULL;
	return 1;
}

int
receiving_find(struct catalog *c, const struct stream_name *name,
	       struct receiving *ret)
{
	struct search s = { .type = name->type, .ret = ret };
	int r;

	if (strlen(name->name) >= sizeof(s.full))
		return -ENOENT;
	strcpy(s.full, name->name);
	r = each(c->st, false, look_for_name, &s);
	return r > 0 ? 0 : r == 0 ? -ENOENT : r;
}

static bool
has_layer(const struct receiving *m, const struct uuid *layer)
{
	for (size_t i = 0; i < m->n; i++)
		if (uuid_equal(&m->v[i].layer, layer))
			return true;
	return false;
}

static int
look_for_layers(struct receiving *m, void *arg)
{
	const struct receiving *ours = arg;

	if (uuid_equal(&m->v[m->n - 1].layer, &ours->v[ours->n - 1].layer))
		return 0;
	for (size_t i = 0; i < ours->n; i++)
		if (has_layer(m, &ours->v[i].layer))
			return 1;
	return 0;
}

int
receiving_clashes(struct store *st, const struct receiving *m, bool *ret)
{
	struct receiving copy = *m;
	int r = each(st, false, look_for_layers, &copy);

	*ret = r > 0;
	return r < 0 ? r : 0;
}

/* ---- for the catalog ---- */

struct keep {
	const struct uuid *lineage;
	struct layer_set *live;
	bool *alive;
};

static int
keep_layers(struct receiving *m, void *arg)
{
	struct keep *k = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n; i++) {
		if (!uuid_equal(&m->v[i].lineage, k->lineage))
			continue;
		*k->alive = true;
		r = layers_add(k->live, &m->v[i].layer);
	}
	return r;
}

int
receiving_reached(struct store *st, const struct uuid *lineage,
		  struct layer_set *live, bool *ret_alive)
{
	struct keep k = { lineage, live, ret_alive };

	return each(st, true, keep_layers, &k);
}

struct forget {
	struct store *st;
	const struct census *s;        /* what is there, */
	const struct descriptor *gone; /* or what is going to be removed */
};

/* A crash came between the descriptor and the end of its mark. */
static int
forget_one(struct receiving *m, void *arg)
{
	const struct uuid *top = &m->v[m->n - 1].layer;
	const struct forget *f = arg;
	char full[2 * DISK_NAME_MAX + 2];
	bool done = false;

	full_name(m, full);
	for (size_t i = 0; f->s && i < f->s->n; i++)
		if (f->s->seen[i].type == m->type &&
		    uuid_equal(&f->s->seen[i].layer.layer, top) &&
		    strcmp(f->s->seen[i].name, full) == 0)
			done = true;
	if (f->gone && f->gone->type == m->type &&
	    uuid_equal(&f->gone->layer.layer, top) &&
	    strcmp(f->gone->name, m->name) == 0)
		done = true;
	return done ? receiving_remove(f->st, m) : 0;
}

int
receiving_forget(struct store *st, const struct census *s,
		 const struct descriptor *gone)
{
	struct forget f = { st, s, gone };

	return each(st, false, forget_one, &f);
}
