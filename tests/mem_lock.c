/*
 * mem_lock.c - locks of the store in memory.  One that was taken in an earlier
 * life of the store (before a crash or kill) is nobody's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem_private.h"

static bool
in_the_way(const struct mem_store *ms, const char *path, bool exclusive)
{
	const struct mem_lock *l;

	for (l = ms->locks; l; l = l->next)
		if (l->life == ms->life && !strcmp(l->path, path) &&
		    (exclusive || l->mode == STORE_LOCK_EX))
			return true;
	return false;
}

int
mem_lock(struct store *st, const char *path, enum store_lock_mode mode,
	 bool wait, const char *info, struct store_lock **ret)
{
	struct mem_store *ms = mem_enter(st);
	struct mem_lock *l;
	int r;

	r = store_path_check(path);
	while (r == 0 && in_the_way(ms, path, mode == STORE_LOCK_EX)) {
		if (!wait)
			r = -EBUSY;
		else
			(void)pthread_cond_wait(&ms->unlocked, &ms->mutex);
	}
	if (r < 0)
		return mem_leave(ms, r);
	l = mem_need(calloc(1, sizeof(*l)));
	l->base.st = st;
	l->life = ms->life;
	l->mode = mode;
	l->path = mem_need(strdup(path));
	l->info = mem_need(strdup(mode == STORE_LOCK_EX && info ? info : ""));
	l->next = ms->locks;
	ms->locks = l;
	*ret = &l->base;
	return mem_leave(ms, 0);
}

int
mem_lock_say(struct store_lock *sl, const char *info)
{
	struct mem_store *ms = mem_enter(sl->st);
	struct mem_lock *l = (struct mem_lock *)sl;

	free(l->info);
	l->info = mem_need(strdup(info));
	return mem_leave(ms, 0);
}

void
mem_unlock(struct store_lock *sl, bool remove)
{
	struct mem_store *ms = mem_enter(sl->st);
	struct mem_lock *l = (struct mem_lock *)sl, **p = &ms->locks;

	(void)remove; /* there is no file */
	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	free(l->path);
	free(l->info);
	free(l);
	(void)pthread_cond_broadcast(&ms->unlocked);
	(void)mem_leave(ms, 0);
}

int
mem_lock_check(struct store_lock *sl)
{
	struct mem_store *ms = mem_enter(sl->st);
	bool ours = ((struct mem_lock *)sl)->life == ms->life;

	return mem_leave(ms, ours ? 0 : -EBUSY);
}

int
mem_lock_owner(struct store *st, const char *path, char **ret)
{
	struct mem_store *ms = mem_enter(st);
	const struct mem_lock *l;
	int r = -ENOENT;

	for (l = ms->locks; l && r < 0; l = l->next)
		if (l->life == ms->life && !strcmp(l->path, path)) {
			*ret = mem_need(strdup(l->info));
			r = 0;
		}
	return mem_leave(ms, r);
}
