/*
 * fs_note.c - text that an open info file, or an open folder, goes on reading.
 */
#include "fs_private.h"

#include <errno.h>
#include <stdlib.h>

struct note {
	struct note *next;
	uint64_t id;
	char *text;
	size_t len;
};

/* With fs->lock held. */
static struct note **
find(struct fs *fs, uint64_t id)
{
	struct note **p = &fs->notes;

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

int
note_put(struct fs *fs, char *text, size_t len, uint64_t *ret_id)
{
	struct note *n = calloc(1, sizeof(*n));

	if (!n) {
		free(text);
		return -ENOMEM;
	}
	n->text = text;
	n->len = len;
	(void)pthread_mutex_lock(&fs->lock);
	if (++fs->next_note == 0)
		fs->next_note = 1;
	n->id = fs->next_note;
	n->next = fs->notes;
	fs->notes = n;
	*ret_id = n->id;
	(void)pthread_mutex_unlock(&fs->lock);
	return 0;
}

void
note_set(struct fs *fs, uint64_t id, char *text, size_t len)
{
	struct note *n;

	(void)pthread_mutex_lock(&fs->lock);
	n = *find(fs, id);
	if (n) {
		char *old = n->text;

		n->text = text;
		n->len = len;
		text = old;
	}
	(void)pthread_mutex_unlock(&fs->lock);
	free(text);
}

const char *
note_get(struct fs *fs, uint64_t id, size_t *ret_len)
{
	const char *text = NULL;
	struct note *n;

	(void)pthread_mutex_lock(&fs->lock);
	n = *find(fs, id);
	if (n) {
		text = n->text;
		*ret_len = n->len;
	}
	(void)pthread_mutex_unlock(&fs->lock);
	return text;
}

void
note_drop(struct fs *fs, uint64_t id)
{
	struct note **p, *n;

	(void)pthread_mutex_lock(&fs->lock);
	p = find(fs, id);
	n = *p;
	if (n)
		*p = n->next;
	(void)pthread_mutex_unlock(&fs->lock);
	if (!n)
		return;
	free(n->text);
	free(n);
}

void
notes_free(struct fs *fs)
{
	while (fs->notes)
		note_drop(fs, fs->notes->id);
}
