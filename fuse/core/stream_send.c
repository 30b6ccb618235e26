/*
 * stream_send.c - a snapshot or image into a stream, without a key.
 *
 * What is read cannot be authenticated here, and need not be: the receiver
 * does.  All that is to be got right is which copy of a page travels.  A map's
 * pages are written only when all that they name is durable, so there the newer
 * copy is right.  So it is of a group, unless a crash came while the layer was
 * written and the group was never loaded since: then each entry in which the
 * copies differ is the newer one where its block verifies, else the older, and
 * to find that out takes the key.  Both copies travel then, and the blocks of
 * both.
 *
 * The layers are frozen, and stay what they are while their lineages' locks are
 * shared: a merge has those for itself.
 */
#include "stream_private.h"

#include <errno.h>
#include <string.h>

static void
sender_free(struct sender *s)
{
	if (!s)
		return;
	plan_done(&s->plan);
	lineages_unlock(&s->lineages);
	store_unlock(s->lock);
	free(s->text);
	free(s->buf);
	free(s->pages);
	free(s);
}
DEFINE_CLEANUP(struct sender, sender_free)

static struct sender *
sender_new(struct catalog *c, const struct stream_sink *sink,
	   struct stream_result *ret)
{
	struct sender *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->c = c;
	s->st = catalog_store(c);
	s->sink = sink;
	s->ret = ret;
	s->buf = malloc(RECORD_HEAD_LEN + RECORD_MAX);
	s->pages = malloc(CHUNK_PAGES_LEN);
	if (!s->buf || !s->pages ||
	    crypto_random(s->stream, sizeof(s->stream)) < 0) {
		sender_free(s);
		return NULL;
	}
	return s;
}

int
send_why(struct sender *s, int err, const char *text)
{
	s->ret->why = text;
	return err;
}

/* ---- records ---- */

/* ${len} bytes of payload are in place. */
int
send_record(struct sender *s, enum record_type type, size_t len)
{
	struct record rec = { .type = type,
			      .len = (uint32_t)len,
			      .crc = crc32c(send_payload(s), len),
			      .number = s->number++ };

	memcpy(rec.stream, s->stream, sizeof(rec.stream));
	record_put(&rec, s->buf);
	s->ret->bytes += RECORD_HEAD_LEN + len;
	return s->sink->write(s->sink->arg, s->buf, RECORD_HEAD_LEN + len);
}

static int
put_text(struct sender *s, enum record_type type, const char *text, size_t len)
{
	memcpy(send_payload(s), text, len);
	return send_record(s, type, len);
}

/* ---- what is sent ---- */

/* The descriptor as it is now that it cannot be removed. */
static int
load_shared(struct sender *s, const struct stream_name *n, struct descriptor *d,
	    char **ret_text, size_t *ret_len, struct store_lock **ret_lock)
{
	struct uuid was;
	int r;

	r = catalog_load(s->c, n->type, n->name, d, NULL, NULL);
	if (r < 0)
		return r;
	was = d->uuid;
	r = catalog_share_disk(s->c, &was, ret_lock);
	if (r < 0)
		return send_why(s, r,
				r == -EBUSY ? "it is being removed" : NULL);
	r = catalog_load(s->c, n->type, n->name, d, ret_text, ret_len);
	if (r == 0 && !uuid_equal(&d->uuid, &was))
		r = send_why(s, -EBUSY, "its name has passed to another");
	return r;
}

/* The base is here to say where to stop; the layers above it hold it. */
static int
load_base(struct sender *s, const struct stream_name *base)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_load(s->c, base->type, base->name, d, NULL, NULL);
	if (r < 0)
		return send_why(s, r,
				r == -ENOENT
				    ? "what it is to be sent from is not "
				      "there"
				    : NULL);
	s->base = d->layer;
	s->has_base = true;
	return 0;
}

static int
load_layer(struct sender *s, const struct layer_ref *ref, struct layer_meta *m)
{
	char path[STORE_PATH_LEN], *text;
	size_t len;
	int r;

	path_layer(ref, "layer.ini", path);
	r = s->st->ops->load(s->st, path, META_MAX, &text, &len);
	if (r < 0)
		return send_why(s, r == -ENOENT ? -EUCLEAN : r,
				"a layer of it cannot be read");
	r = layer_meta_peek(text, len, m);
	if (r == 0 && (!uuid_equal(&m->uuid, &ref->layer) ||
		       !uuid_equal(&m->lineage, &ref->lineage)))
		r = -EUCLEAN;
	if (r < 0) {
		free(text);
		return send_why(s, r, "a layer of it is malformed");
	}
	r = plan_add(&s->plan, m, text, len);
	if (r == 0 && m->state == LAYER_MERGING)
		r = send_why(s, -EBUSY, "a layer of it is just being merged");
	if (r == 0 && m->state == LAYER_OPEN)
		r = send_why(s, -EUCLEAN, "a layer of it is not frozen");
	return r;
}

static void
reverse(struct plan *p)
{
	for (size_t i = 0; i < p->n / 2; i++) {
		struct plan_layer l = p->v[i];

		p->v[i] = p->v[p->n - 1 - i];
		p->v[p->n - 1 - i] = l;
	}
}

/* From the snapshot's layer down. */
static int
find_layers(struct sender *s)
{
	struct layer_ref ref = s->d.layer;
	struct layer_meta m = { .has_parent = true };
	int r = 0;

	if (s->has_base && ref_equal(&ref, &s->base))
		return send_why(s, -EINVAL, "it is the same as that");
	while (r == 0 && m.has_parent) {
		if (s->has_base && ref_equal(&ref, &s->base))
			break;
		r = load_layer(s, &ref, &m);
		if (r == 0 && !m.has_parent && s->has_base)
			r = send_why(s, -EINVAL, "it does not come of that");
		ref = m.parent;
	}
	reverse(&s->plan);
	return r;
}

static int
open_what(struct sender *s, const struct stream_name *what,
	  const struct stream_name *base)
{
	struct uuid v[LINEAGES_MAX];
	int r;

	r = load_shared(s, what, &s->d, &s->text, &s->len, &s->lock);
	if (r == 0)
		r = lineages_lock(s->c, v, descriptor_lineages(&s->d, v), false,
				  &s->lineages);
	if (r == 0 && base)
		r = load_base(s, base);
	return r == 0 ? find_layers(s) : r;
}

/* ---- the whole ---- */

static int
begin_at(struct sender *s, const char *text, struct stream_head *h)
{
	struct token t;

	if (!text)
		return 0;
	if (token_parse(text, &t) < 0)
		return send_why(s, -EINVAL,
				"this says nothing of where to go on");
	h->at_layer = (uint32_t)plan_find(&s->plan, &t.layer);
	h->at_chunk = t.chunk;
	if (!uuid_equal(&t.snapshot, &s->d.uuid) || h->at_layer == s->plan.n)
		return send_why(s, -ESTALE, "another one was being received");
	return 0;
}

static int
send_head(struct sender *s, struct stream_head *h)
{
	int r;

	h->chunks = s->total;
	stream_head_put(h, send_payload(s));
	r = send_record(s, RECORD_HEAD, STREAM_HEAD_LEN);
	if (r == 0)
		r = put_text(s, RECORD_DESCRIPTOR, s->text, s->len);
	for (size_t i = 0; r == 0 && i < s->plan.n; i++)
		r = put_text(s, RECORD_LAYER, s->plan.v[i].text,
			     s->plan.v[i].len);
	return r;
}

static int
send_end(struct sender *s)
{
	struct writer w = writer_over(send_payload(s), END_LEN);

	put_u64(&w, s->ret->chunks);
	put_u64(&w, s->ret->blocks);
	return send_record(s, RECORD_END, END_LEN);
}

int
stream_send(struct catalog *c, const struct stream_name *what,
	    const struct stream_name *base, const char *token,
	    const struct stream_sink *sink, struct stream_result *ret)
{
	CLEANUP(sender_freep) struct sender *s = NULL;
	struct stream_head h = { .at_layer = 0 };
	int r;

	memset(ret, 0, sizeof(*ret));
	s = sender_new(c, sink, ret);
	if (!s)
		return -ENOMEM;
	r = open_what(s, what, base);
	if (r == 0)
		r = begin_at(s, token, &h);
	if (r < 0)
		return r;
	h.has_base = s->has_base;
	h.n_layers = (uint32_t)s->plan.n;
	h.base = s->base;
	h.store = catalog_meta(c)->uuid;
	h.snapshot = s->d.uuid;
	ret->uuid = s->d.uuid;
	ret->size = s->d.size;
	ret->layers = (unsigned)s->plan.n;
	r = send_layers(s, &h, true);
	if (r == 0)
		r = send_head(s, &h);
	if (r == 0)
		r = send_layers(s, &h, false);
	return r == 0 ? send_end(s) : r;
}
