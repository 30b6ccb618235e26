/*
 * mem_fork.c - from a store in memory that was recorded, what a power cut could
 * leave of it, as a store of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem_private.h"
#include "mem_store.h"

struct forking {
	struct mem_store *to;
	unsigned (*choose)(void *arg, const struct mem_ask *ask);
	void *arg;
	char path[STORE_PATH_LEN];
};

static unsigned
ask(struct forking *f, enum mem_what what, unsigned n, uint64_t off,
    uint64_t len)
{
	const struct mem_ask a = { what, n, f->path, off, len };

	return f->choose(f->arg, &a);
}

/* ---- contents ---- */

static void
copy_durable(const struct content *from, struct content *to)
{
	to->n = from->n;
	to->pieces = mem_need(calloc(from->n + 1, sizeof(*to->pieces)));
	for (size_t i = 0; i < from->n; i++) {
		struct piece *p;

		if (!from->pieces[i] || !from->pieces[i]->durable)
			continue;
		p = mem_need(calloc(1, sizeof(*p)));
		p->durable = p->seen = mem_need(malloc(PIECE_LEN));
		memcpy(p->seen, from->pieces[i]->durable, PIECE_LEN);
		p->used = UINT16_MAX;
		to->pieces[i] = p;
	}
	to->size = to->durable_size = from->durable_size;
}

static void
apply(struct content *to, const struct change *ch, uint64_t off, uint64_t len)
{
	if (ch->data)
		(void)content_write(to, ch->data + (off - ch->off), len, off,
				    NULL);
	else
		(void)content_zero(to, off, len, NULL);
}

static void
apply_torn(struct forking *f, struct content *to, const struct change *ch)
{
	/* Past what there is nothing is to be zeroed. */
	uint64_t end = (uint64_t)to->n * PIECE_LEN, off = ch->off, n;

	if (ch->data || ch->len < end - off)
		end = ch->off + ch->len;
	for (; off < end; off += n) {
		n = SECTOR_LEN - off % SECTOR_LEN;
		if (n > end - off)
			n = end - off;
		if (ask(f, MEM_SECTOR, 2, off, n) == 1)
			apply(to, ch, off, n);
	}
}

static void
apply_changes(struct forking *f, const struct content *from, struct content *to)
{
	for (const struct change *ch = from->changes; ch; ch = ch->next)
		switch (ask(f, MEM_WRITE, 3, ch->off, ch->len)) {
		case 0:
			break;
		case 1:
			apply(to, ch, ch->off, ch->len);
			break;
		default:
			apply_torn(f, to, ch);
		}
}

static uint64_t
choose_size(struct forking *f, const struct content *from)
{
	uint64_t was = from->durable_size;
	unsigned n = 1, which;

	for (const struct change *ch = from->changes; ch; ch = ch->next) {
		n += ch->size != was;
		was = ch->size;
	}
	which = n > 1 ? ask(f, MEM_SIZE, n, 0, 0) : 0;
	was = from->durable_size;
	for (const struct change *ch = from->changes; which > 0 && ch;
	     ch = ch->next) {
		which -= ch->size != was;
		was = ch->size;
	}
	return was;
}

static void
fork_content(struct forking *f, const struct content *from, struct content *to)
{
	copy_durable(from, to);
	apply_changes(f, from, to);
	to->size = choose_size(f, from);
	(void)content_zero(to, to->size, UINT64_MAX - to->size, NULL);
	content_sync(to);
	f->to->used += content_units(to);
}

/* ---- names ---- */

static struct node *
choose_node(struct forking *f, const struct entry *e)
{
	struct node *at = e->durable;
	unsigned n = 1, which;

	for (const struct past *p = e->past; p; p = p->next)
		n++;
	n += e->past || e->seen != e->durable;
	which = n > 1 ? ask(f, MEM_NAME, n, 0, 0) : 0;
	for (const struct past *p = e->past; which > 0; which--) {
		at = p ? p->node : e->seen;
		p = p ? p->next : NULL;
	}
	return at;
}

static void
fork_folder(struct forking *f, const struct node *from, struct node *to)
{
	size_t at = strlen(f->path);

	for (const struct entry *e = from->entries; e; e = e->next) {
		const struct node *n;
		struct entry *made;

		(void)snprintf(f->path + at, sizeof(f->path) - at, "%s%s",
			       at ? "/" : "", e->name);
		n = choose_node(f, e);
		if (n) {
			made = mem_find(to, e->name, strlen(e->name), true);
			mem_point(f->to, &made->seen, mem_node_new(n->is_dir));
			mem_settle(f->to, made);
			if (n->is_dir)
				fork_folder(f, n, made->seen);
			else
				fork_content(f, &n->content,
					     &made->seen->content);
		}
		f->path[at] = '\0';
	}
}

struct store *
mem_store_fork(struct store *st,
	       unsigned (*choose)(void *arg, const struct mem_ask *ask),
	       void *arg)
{
	struct mem_store *ms = mem_enter(st);
	struct forking f = { .choose = choose, .arg = arg };
	struct store *to;

	(void)!mem_store_open(&to);
	f.to = (struct mem_store *)to;
	fork_folder(&f, ms->root, f.to->root);
	mem_store_record(to, NULL, NULL);
	(void)mem_leave(ms, 0);
	return to;
}

void
mem_store_record(struct store *st, void (*fn)(void *arg), void *arg)
{
	struct mem_store *ms = mem_enter(st);

	/* What was done before and not recorded could not be told apart. */
	if (!ms->recording)
		mem_sync_below(ms, ms->root, true);
	ms->recording = true;
	ms->watch = fn;
	ms->watch_arg = arg;
	(void)mem_leave(ms, 0);
}
