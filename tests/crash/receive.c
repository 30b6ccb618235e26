/*
 * receive.c - an image from another store, as a stream.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"
#include "snapshot.h"
#include "stream.h"

#define FIRST_LEN (96 * KiB)

static struct {
	uint8_t *p;
	size_t len, cap;
} sent;

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static int
take(void *arg, const void *buf, size_t len)
{
	(void)arg;
	if (sent.len + len > sent.cap) {
		sent.cap = 2 * (sent.len + len);
		sent.p = realloc(sent.p, sent.cap);
		need(sent.p != NULL);
	}
	memcpy(sent.p + sent.len, buf, len);
	sent.len += len;
	return 0;
}

static int
give(void *arg, void *buf, size_t len, size_t *ret_got)
{
	size_t *at = arg, left = sent.len - *at;

	*ret_got = left < len ? left : len;
	memcpy(buf, sent.p + *at, *ret_got);
	*at += *ret_got;
	return *ret_got < len ? -ENODATA : 0;
}

static const uint8_t *
pattern(void)
{
	static uint8_t buf[FIRST_LEN];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i / BLOCK * 7 + i % 251);
	return buf;
}

static void
send_image(struct session *s)
{
	const struct stream_name what = { DESC_IMAGE, "i0" };
	const struct stream_sink sink = { take, NULL, NULL };
	struct stream_result result;

	need(stream_send(engine_catalog(s->e), &what, NULL, NULL, &sink,
			 &result) == 0);
}

void
stream_prepare(struct kms *kms)
{
	struct store_meta m = { .created = 1,
				.cipher = CIPHER_AES256_GCM,
				.slack = 1 << 20 };
	struct world *w = calloc(1, sizeof(*w));
	struct session s = { .kms = kms, .w = w };
	struct step create = step_named("create", 0, 0, 0, SIZE_MAX_OF_DISK);
	struct step attach = step_named("attach", 0, 0, 0, 0);
	struct snapshot_request q = { NULL, DESC_IMAGE, "i0" };

	need(w && uuid_new(&m.uuid) == 0 && mem_store_open(&s.st) == 0 &&
	     catalog_init(s.st, &m) == 0 && session_open(&s) &&
	     step_run(&s, &create) && step_run(&s, &attach));
	q.disk = s.d[0];
	need(disk_write(q.disk, s.s, pattern(), FIRST_LEN, 0) == 0 &&
	     disk_write(q.disk, s.s, pattern(), BLOCK, 4 * MiB) == 0 &&
	     disks_snapshot(s.e, s.s, &q, 1) == 0);
	send_image(&s);
	need(disk_detach(s.d[0]) == 0);
	s.d[0] = NULL;
	session_close(&s);
	store_free(s.st);
	free(w);
}

void
stream_done(void)
{
	free(sent.p);
}

/* The model of what is sent, made with that of a disk. */
static void
hold_sent(struct vsnap *n, struct vdisk *room)
{
	vdisk_set(room, NULL, SIZE_MAX_OF_DISK);
	(void)vdisk_may(room, pattern(), FIRST_LEN, 0);
	vdisk_wrote(room, FIRST_LEN, 0);
	(void)vdisk_may(room, pattern(), BLOCK, 4 * MiB);
	vdisk_wrote(room, BLOCK, 4 * MiB);
	n->there = PERHAPS;
	n->type = DESC_IMAGE;
	n->set = 0;
	n->size = SIZE_MAX_OF_DISK;
	memcpy(n->content, room->cur, sizeof(n->content));
}

/* What one that was cut has left is in the way of others. */
static void
give_up_receives(struct session *s)
{
	struct stream_name cut = { DESC_IMAGE, NULL };
	char name[32];

	cut.name = name;
	for (unsigned i = 0; i < SNAPS; i++) {
		(void)snprintf(name, sizeof(name), "i%u", i);
		(void)!stream_abort(engine_catalog(s->e), &cut);
	}
}

bool
op_receive(struct session *s, const struct step *st)
{
	const struct stream_owner owner = { 1, 2, 0600 };
	struct vdisk *room = calloc(1, sizeof(*room));
	struct vsnap *n = &s->w->snap[st->b];
	struct stream_name to = { DESC_IMAGE, NULL };
	struct stream_source source = { give, NULL, NULL };
	struct stream_result result;
	char name[32];
	size_t at = 0;
	int r;

	need(room != NULL);
	if (!snap_is_free(s->w, st->b)) {
		free(room);
		return true;
	}
	hold_sent(n, room);
	free(room);
	if (s->w->receive_cut)
		give_up_receives(s);
	s->w->receive_cut = true;
	to.name = snap_name(s->w, st->b, name);
	source.arg = &at;
	r = stream_receive(engine_catalog(s->e), s->kms, &to, &owner, &source,
			   &result);
	if (r < 0)
		return wrong(s, "receive: %s", strerror(-r));
	n->there = YES;
	s->w->receive_cut = false;
	return true;
}
