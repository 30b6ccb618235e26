/*
 * merge_take.c - who has what of a layer that others read, and the disk that
 * does the work in it (merge.c, reencrypt.c, seal.c).
 */
#include "merge_private.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* How long the names are waited for. */
#define NAMES_MS 20

struct disk *
engine_hold(struct engine *e, const struct uuid *uuid)
{
	struct disk *found = NULL;

	pthread_mutex_lock(&e->mutex);
	for (struct link *l = e->disks.next; l != &e->disks; l = l->next) {
		struct disk *d = LINK_OWNER(l, struct disk, all);

		if (d->attached && uuid_equal(&d->desc.uuid, uuid))
			found = d;
	}
	if (found)
		found->holds++;
	pthread_mutex_unlock(&e->mutex);
	return found;
}

void
engine_release(struct engine *e, struct disk *d)
{
	pthread_mutex_lock(&e->mutex);
	d->holds--;
	pthread_cond_broadcast(&e->released);
	pthread_mutex_unlock(&e->mutex);
}

/* Of what reaches Y: hold what is attached here, lock what nobody has. */
static int
take_one(struct merge *m, const struct seen *s)
{
	struct disk *d = engine_hold(m->e, &s->uuid);
	int r;

	if (d) {
		m->held[m->n_held++] = d;
		if (s->type == DESC_DISK &&
		    uuid_equal(&s->layer.layer, &m->y->uuid))
			m->d = d;
		return 0;
	}
	/* The disk itself will do the work, and takes its lock. */
	if (m->y->state == LAYER_OPEN)
		return 0;
	r = catalog_lock_disk(m->e->cat, &s->uuid, "", &m->locks[m->n_locks]);
	m->n_locks += r == 0;
	return r;
}

int
merge_take(struct merge *m)
{
	const struct census *c = &m->v->census;
	int r = 0;

	m->locks = calloc(c->n + 1, sizeof(struct store_lock *));
	m->held = calloc(c->n + 1, sizeof(struct disk *));
	if (!m->locks || !m->held)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < c->n; i++)
		if (layers_reach(&m->v->live, &c->seen[i].layer, &m->y->uuid))
			r = take_one(m, &c->seen[i]);
	return r;
}

void
merge_done(struct merge *m)
{
	if (m->own && !m->own->nameless) {
		(void)!disk_detach(m->own);
	} else if (m->own) {
		quiet_round(m->own, true); /* the mirrors */
		disk_abandon(m->own);
	}
	for (size_t i = 0; i < m->n_held; i++)
		engine_release(m->e, m->held[i]);
	for (size_t i = 0; i < m->n_locks; i++)
		store_unlock(m->locks[i]);
	free(m->held);
	free(m->locks);
	merge_buf_free(m->buf);
}

int
merge_buf_new(uint8_t **ret)
{
	void *p = mmap(NULL, GROUP_LEN, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	(void)madvise(p, GROUP_LEN, MADV_DONTDUMP);
	*ret = p;
	return 0;
}

void
merge_buf_free(uint8_t *buf)
{
	if (!buf)
		return;
	secret_wipe(buf, GROUP_LEN);
	munmap(buf, GROUP_LEN);
}

/* A descriptor that reaches Y; its keys open both. */
static const struct seen *
some_descriptor(const struct merge *m)
{
	const struct census *c = &m->v->census;

	for (size_t i = 0; i < c->n; i++)
		if (layers_reach(&m->v->live, &c->seen[i].layer, &m->y->uuid))
			return &c->seen[i];
	return NULL;
}

int
merge_open_worker(struct merge *m)
{
	const struct seen *s = some_descriptor(m);
	const struct layer_ref y = { m->y->lineage, m->y->uuid };
	int r = 0;

	if (!s)
		return -ENOENT;
	if (!m->d && m->y->state == LAYER_OPEN)
		r = disk_attach(m->e, DESC_DISK, s->name, DISK_BRIEF, &m->own);
	else if (!m->d && m->n_held > 0)
		r = disk_open_layer_of(m->held[0], &y, &m->own);
	else if (!m->d)
		r = disk_open_layer(m->e, s, &y, &m->own);
	if (r < 0)
		return r;
	if (!m->d)
		m->d = m->own;
	/* Another one may have come on top since. */
	return uuid_equal(&m->d->top->ref.layer, &m->y->uuid) ? 0 : -EAGAIN;
}

static int
load_authentic(struct merge *m, const struct seen *s, struct descriptor *d)
{
	CLEANUP(free_memp) char *text = NULL;
	size_t len;
	int r;

	r = catalog_load(m->e->cat, s->type, s->name, d, &text, &len);
	if (r == 0 && !uuid_equal(&d->uuid, &s->uuid))
		r = -EAGAIN;
	return r < 0 ? r
		     : descriptor_verify(text, len, &d->uuid, m->d->top->dk);
}

int
merge_count(struct merge *m)
{
	CLEANUP(store_unlockp) struct store_lock *names = NULL;
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	int64_t blocks = atomic_exchange(&m->d->allocated, 0);
	int r = d ? 0 : -ENOMEM;

	/*
	 * Somebody may be wrapping its data keys anew: what is saved here must
	 * not undo that.  Who has the names may wait for a disk that we have,
	 * so they are not waited for long; to count too few harms nobody.
	 */
	for (unsigned i = 0; r == 0 && !names; i++) {
		r = catalog_try_names(m->e->cat, &names);
		if (r == -EBUSY && i < NAMES_MS)
			r = usleep(1000);
	}
	if (r == -EBUSY)
		return 0;
	for (size_t i = 0; r == 0 && blocks > 0 && i < m->v->census.n; i++) {
		const struct seen *s = &m->v->census.seen[i];

		if (!uuid_equal(&s->layer.layer, &m->y->uuid))
			continue;
		r = load_authentic(m, s, d);
		if (r < 0)
			break;
		d->allocated += (uint64_t)blocks * BLOCK_SIZE;
		r = catalog_save(m->e->cat, d, m->d->top->dk);
	}
	return r;
}
