/*
 * check.c - one state that a cut left: is what is there what may be?
 *
 * The engine runs in a thread of its own, as it would in another process: what
 * it keeps by thread is not that of the one which was cut.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "stream.h"

static uint64_t n_states, n_twice;
static char alarm_text[WHY_LEN];
static bool explain, deaf;

void
check_explain(void)
{
	explain = true;
}

uint64_t
states_checked(uint64_t *ret_twice)
{
	*ret_twice = n_twice;
	return n_states;
}

void
alarm_raised(const char *text)
{
	if (!*alarm_text && !deaf)
		(void)snprintf(alarm_text, sizeof(alarm_text), "%s", text);
}

void
alarm_heed(bool on)
{
	deaf = !on;
}

static bool
no_alarm(struct session *s)
{
	char text[WHY_LEN];

	if (!*alarm_text)
		return true;
	memcpy(text, alarm_text, sizeof(text));
	*alarm_text = '\0';
	return wrong(s, "an alarm: %s", text);
}

/* ---- names ---- */

static bool
look_for(struct session *s, enum there *there, bool *ghost, enum desc_type type,
	 const char *name)
{
	struct descriptor d;
	int r;

	r = catalog_load(engine_catalog(s->e), type, name, &d, NULL, NULL);
	if (r < 0 && r != -ENOENT)
		return wrong(s, "%s: %s", name, strerror(-r));
	if (*there != PERHAPS && !*ghost && (r == 0) != (*there == YES))
		return wrong(s, "%s is %sthere", name, r == 0 ? "" : "not ");
	*there = r == 0 ? YES : NO;
	*ghost = false;
	return true;
}

/* All snapshots of one instant, or none. */
static bool
sets_are_whole(struct session *s)
{
	const struct vsnap *n = s->w->snap;

	for (unsigned i = 0; i < SNAPS; i++)
		for (unsigned k = 0; k < i; k++)
			if (n[i].set && n[i].set == n[k].set &&
			    n[i].there != n[k].there)
				return wrong(s,
					     "of a set s%u is there without "
					     "s%u",
					     n[i].there ? i : k,
					     n[i].there ? k : i);
	return true;
}

/* Which of its names it has, where it was being renamed: one, not both. */
static bool
look_for_disk(struct session *s, unsigned i)
{
	struct vdisk *v = &s->w->disk[i];
	enum there other = PERHAPS;
	bool ghost = false;

	if (v->renaming) {
		v->name = !v->name;
		if (!look_for(s, &other, &ghost, DESC_DISK, disk_name(s->w, i)))
			return false;
		v->name = !v->name;
		v->there = other == YES ? NO : YES;
	}
	if (!look_for(s, &v->there, &v->ghost, DESC_DISK, disk_name(s->w, i)))
		return false;
	if (other == YES) {
		v->name = !v->name;
		v->there = YES;
	}
	v->renaming = false;
	return true;
}

bool
look_for_all(struct session *s)
{
	char name[32];

	for (unsigned i = 0; i < DISKS; i++)
		if (!look_for_disk(s, i))
			return false;
	for (unsigned i = 0; i < SNAPS; i++) {
		struct vsnap *n = &s->w->snap[i];

		if (!look_for(s, &n->there, &n->ghost,
			      n->type == DESC_DISK ? DESC_IMAGE : n->type,
			      snap_name(s->w, i, name)))
			return false;
	}
	return sets_are_whole(s);
}

/* ---- contents ---- */

bool
block_is_worth(const struct vdisk *v, const uint16_t *content, unsigned b)
{
	if (b % 64 == 0 || (content && content[b] != 0))
		return true;
	return v && (v->n_may[b] > 1 || v->may[b][0] != 0);
}

/* Up to the size: the bytes of block ${b}. */
static size_t
seen_of(uint64_t size, unsigned b)
{
	uint64_t at = (uint64_t)b * BLOCK;

	if (at >= size)
		return 0;
	return size - at < BLOCK ? (size_t)(size - at) : BLOCK;
}

/* What is read of the disk is ${content}, or, without one, what it may hold. */
bool
look_at_content(struct session *s, struct disk *d, const char *name,
		struct vdisk *v, const uint16_t *content)
{
	uint64_t size = disk_size(d), len;
	unsigned n;

	for (unsigned b = 0; seen_of(size, b) > 0; b += n + 1) {
		int r = 0;

		for (n = 0, len = 0; n < IO_LEN / BLOCK && b + n < BLOCKS &&
				     block_is_worth(v, content, b + n);
		     n++)
			len += seen_of(size, b + n);
		if (len > 0)
			r = disk_read(d, s->s, s->io, len, (uint64_t)b * BLOCK);
		if (r < 0)
			return wrong(s, "%s: block %u cannot be read: %s", name,
				     b, strerror(-r));
		for (unsigned i = 0; i < n; i++) {
			const uint8_t *p = s->io + i * BLOCK;
			size_t seen = seen_of(size, b + i);

			if (content ? memcmp(p, content_bytes(content[b + i]),
					     seen) != 0
				    : !vdisk_learn(v, b + i, p, seen))
				return wrong(s,
					     "%s: block %u holds what it "
					     "may not",
					     name, b + i);
		}
		if (n == IO_LEN / BLOCK)
			n--;
	}
	return true;
}

bool
look_at_faults(struct session *s, struct disk *d, const char *name)
{
	struct disk_stats st;

	disk_stats(d, &st);
	return no_alarm(s) &&
	       (st.faults == 0 || wrong(s, "%s: %llu faults", name,
					(unsigned long long)st.faults));
}

static bool
size_may_be(const struct vdisk *v, uint64_t size)
{
	for (unsigned i = 0; i < v->n_sizes; i++)
		if (v->sizes[i] == size)
			return true;
	return false;
}

/* Rolled back: then it is as that snapshot, all of it. */
bool
was_rolled_back(struct session *s, struct disk *d, struct vdisk *v)
{
	const struct vsnap *n = v->other ? &s->w->snap[v->other - 1] : NULL;

	v->other = 0;
	if (!n || disk_size(d) != n->size ||
	    !look_at_content(s, d, "", v, n->content))
		return false;
	vdisk_set(v, n->content, n->size);
	return true;
}

static bool
look_at_disk(struct session *s, unsigned i)
{
	struct vdisk *v = &s->w->disk[i];
	const char *name = disk_name(s->w, i);
	uint64_t size;
	int r;

	if (v->there != YES)
		return true;
	r = disk_attach(s->e, DESC_DISK, name, 0, &s->d[i]);
	if (r < 0) {
		s->d[i] = NULL;
		return no_alarm(s) && wrong(s, "%s: %s", name, strerror(-r));
	}
	if (was_rolled_back(s, s->d[i], v))
		return look_at_faults(s, s->d[i], name);
	size = disk_size(s->d[i]);
	if (!size_may_be(v, size))
		return wrong(s, "%s: its size is %llu", name,
			     (unsigned long long)size);
	if (!look_at_content(s, s->d[i], name, v, NULL))
		return false;
	v->size = size;
	vdisk_cut(v, size);
	return look_at_faults(s, s->d[i], name);
}

bool
look_at_snap(struct session *s, unsigned i)
{
	const struct vsnap *n = &s->w->snap[i];
	struct disk *d;
	char name[32];
	bool ok;
	int r;

	if (n->there != YES)
		return true;
	r = disk_attach(s->e, n->type, snap_name(s->w, i, name), 0, &d);
	if (r < 0)
		return no_alarm(s) && wrong(s, "%s: %s", name, strerror(-r));
	ok = disk_size(d) == n->size || wrong(s, "%s: its size is %llu", name,
					      (unsigned long long)disk_size(d));
	ok = ok && look_at_content(s, d, name, NULL, n->content) &&
	     look_at_faults(s, d, name);
	r = disk_detach(d);
	return ok && (r == 0 || wrong(s, "%s: detach: %s", name, strerror(-r)));
}

static bool
look_at_all(struct session *s)
{
	if (!look_for_all(s))
		return false;
	for (unsigned i = 0; i < SNAPS; i++)
		if (!look_at_snap(s, i))
			return false;
	for (unsigned i = 0; i < DISKS; i++)
		if (!look_at_disk(s, i))
			return false;
	return true;
}

/* ---- nothing is left behind ---- */

static int
count_one(const char *name, bool is_dir, void *arg)
{
	(void)name;
	(void)is_dir;
	++*(unsigned *)arg;
	return 0;
}

static bool
remove_all(struct session *s)
{
	struct step st = { 0 };

	for (st.a = 0; st.a < DISKS; st.a++) {
		st.op = step_named("remove-disk", 0, 0, 0, 0).op;
		if (!step_run(s, &st))
			return false;
	}
	for (st.b = 0; st.b < SNAPS; st.b++) {
		struct stream_name cut = { DESC_IMAGE, NULL };
		char name[32];

		st.op = step_named("remove-snap", 0, 0, 0, 0).op;
		if (!step_run(s, &st))
			return false;
		(void)snprintf(name, sizeof(name), "i%u", st.b);
		cut.name = name;
		(void)!stream_abort(engine_catalog(s->e), &cut);
	}
	return true;
}

/* Each lineage's last folder goes as a store is opened. */
static bool
leaves_nothing(struct session *s)
{
	struct step tidy = step_named("tidy", 0, 0, 0, 0);
	unsigned left = 0;

	if (!remove_all(s) || !step_run(s, &tidy))
		return false;
	session_close(s);
	if (!session_open(s) || !step_run(s, &tidy))
		return false;
	(void)!s->st->ops->list(s->st, "lineages", count_one, &left);
	if (left > 0)
		return wrong(s, "%u lineages are left of nothing", left);
	/* One of them is store.ini's. */
	(void)!s->st->ops->list(s->st, "spares", count_one, &left);
	return left == 1 || wrong(s, "%u spare copies are left", left - 1);
}

/* ---- going on ---- */

struct second {
	struct session *s;
	unsigned count, cut_at;
	bool cut, ok;
};

static bool
cut_now(struct second *n)
{
	struct choices c = { .how = random_below(2) ? WHOLE : TORN,
			     .keep = random_below(17),
			     .rng = random_number() };
	struct store *st;
	bool ok;

	n->cut = true;
	n_twice++;
	st = mem_store_fork(n->s->st, choices_answer, &c);
	if (explain) {
		fprintf(stderr, "cut again; not kept:\n");
		choices_print(&c);
	}
	ok = check_state(st, n->s->w, n->s->kms, random_number(),
			 n->s->cuts + 1, n->s->why);
	choices_free(&c);
	return ok;
}

static void
on_durable(void *arg)
{
	struct second *n = arg;

	if (!n->cut && n->count++ == n->cut_at)
		n->ok = cut_now(n);
}

static bool
go_on_step(struct session *s, const struct step *st, const struct second *n)
{
	if (n->cut)
		return true;
	if (explain)
		step_print(st);
	return step_run(s, st) && n->ok;
}

/* Write on, flush, and so on; in between, or after it, it is cut again. */
static bool
go_on(struct session *s)
{
	struct second n = { .s = s,
			    .cut_at = random_below(1 + random_below(40)),
			    .ok = true };
	unsigned steps = 2 + random_below(6);
	struct step st;
	bool ok = true;

	mem_store_record(s->st, on_durable, &n);
	for (unsigned i = 0; ok && i < DISKS; i++) {
		st = step_named("write", i, 0, random_below(3) * BLOCK, 12000);
		ok = go_on_step(s, &st, &n);
		if (ok && random_below(6) == 0) {
			st = step_named("die", 0, 0, 0, random_below(6));
			ok = go_on_step(s, &st, &n);
		}
		st = step_named(random_below(3) ? "flush" : "background", i, 0,
				0, 0);
		ok = ok && go_on_step(s, &st, &n);
	}
	for (unsigned i = 0; ok && i < steps; i++) {
		step_random(&st, true);
		ok = go_on_step(s, &st, &n);
	}
	ok = ok && (n.cut || cut_now(&n)) && no_alarm(s);
	mem_store_record(s->st, NULL, NULL);
	return ok;
}

/* ---- a state ---- */

struct state {
	struct session s;
	uint64_t seed;
	bool ok;
};

static void *
look(void *arg)
{
	struct state *t = arg;

	random_seed(t->seed);
	t->ok = session_open(&t->s);
	if (t->ok && t->seed % 4 < 2) {
		t->ok = t->seed % 4 ? lose_some_layers(&t->s)
				    : look_beside_a_bad_place(&t->s);
		random_seed(t->seed);
	}
	if (t->ok && random_below(4) == 0)
		t->ok = lose_some(&t->s);
	t->ok = t->ok && look_at_all(&t->s);
	if (t->ok && t->s.cuts < CUTS)
		t->ok = go_on(&t->s);
	else if (t->ok && random_below(8) == 0)
		t->ok = leaves_nothing(&t->s);
	session_close(&t->s);
	return NULL;
}

bool
check_state(struct store *st, const struct world *w, struct kms *kms,
	    uint64_t seed, unsigned cuts, char why[static WHY_LEN])
{
	struct world *mine = malloc(sizeof(*mine));
	struct state t = {
		.s = { .st = st, .kms = kms, .w = mine, .cuts = cuts },
		.seed = seed
	};
	unsigned mark = contents();
	pthread_t thread;

	if (!mine)
		abort();
	memcpy(mine, w, sizeof(*mine));
	n_states++;
	if (pthread_create(&thread, NULL, look, &t) != 0 ||
	    pthread_join(thread, NULL) != 0)
		abort();
	contents_cut(mark);
	store_free(st);
	free(mine);
	*alarm_text = '\0';
	if (!t.ok)
		memcpy(why, t.s.why, WHY_LEN);
	return t.ok;
}
