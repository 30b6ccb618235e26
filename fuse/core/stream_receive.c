/*
 * stream_receive.c - a stream becomes a snapshot or an image.
 *
 * Everything in a stream is untrusted until it verifies under a DK that the KMS
 * has given, and nothing is stored before it does.  The CRCs and numbers of the
 * records tell faults of the way early and by their name; they are no defence.
 *
 * The order of steps: the plan (descriptor and layers, verified; what the store
 * has of them), the mark, the contents, the descriptor, the end of the mark.
 * So until the descriptor is written nobody sees any of it, and from then on it
 * is whole.
 */
#include "stream_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

static void
receiver_free(struct receiver *r)
{
	if (!r)
		return;
	dest_close(&r->dest);
	plan_done(&r->plan);
	receiving_done(&r->mark);
	lineages_unlock(&r->shared);
	lineages_unlock(&r->own);
	aead_free(r->aead);
	secret_free(r->keys, sizeof(*r->keys));
	free(r->buf);
	free(r);
}
DEFINE_CLEANUP(struct receiver, receiver_free)

static int
receiver_new(struct catalog *c, struct kms *kms, const struct stream_name *to,
	     const struct stream_source *source, struct stream_result *result,
	     struct receiver **ret)
{
	CLEANUP(receiver_freep) struct receiver *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->c = c;
	r->st = catalog_store(c);
	r->kms = kms;
	r->to = to;
	r->source = source;
	r->ret = result;
	r->buf = malloc(RECORD_MAX);
	r->keys = secret_alloc(sizeof(*r->keys));
	if (!r->buf || !r->keys)
		return -ENOMEM;
	e = aead_new(&r->aead);
	if (e == 0)
		*ret = TAKE(r);
	return e;
}

int
receive_why(struct receiver *r, int err, const char *why)
{
	if (!r->ret->why)
		r->ret->why = why;
	return err;
}

/* ---- records ---- */

static int
read_some(struct receiver *r, void *buf, size_t len)
{
	size_t got = 0;
	int e;

	e = r->source->read(r->source->arg, buf, len, &got);
	r->ret->bytes += e == 0 ? len : got;
	if (e == -ENODATA)
		return receive_why(r, e, "the stream ends before its end");
	return e < 0 ? receive_why(r, e, "the stream cannot be read") : 0;
}

static int
check_record(struct receiver *r, const struct record *rec)
{
	if (rec->number != r->number)
		return receive_why(r, -EPROTO,
				   "a record is missing, repeated or out of "
				   "order");
	if (r->number == 0)
		memcpy(r->stream, rec->stream, sizeof(r->stream));
	else if (memcmp(r->stream, rec->stream, sizeof(r->stream)) != 0)
		return receive_why(r, -EPROTO, "a record is of another stream");
	return 0;
}

int
receive_next(struct receiver *r, enum record_type want)
{
	uint8_t head[RECORD_HEAD_LEN];
	struct record rec;
	int e;

	e = read_some(r, head, sizeof(head));
	if (e < 0)
		return e;
	e = record_get(head, &rec);
	if (e < 0)
		return receive_why(r, e,
				   r->number == 0 ? "this is no stream of ours"
						  : "a record is damaged");
	e = check_record(r, &rec);
	if (e == 0)
		e = read_some(r, r->buf, rec.len);
	if (e < 0)
		return e;
	if (crc32c(r->buf, rec.len) != rec.crc)
		return receive_why(r, -EBADMSG, "a record is damaged");
	if (rec.type != want)
		return receive_why(r, -EPROTO, "a record is out of order");
	r->len = rec.len;
	r->number++;
	return 0;
}

static int
read_end(struct receiver *r)
{
	struct reader in;
	uint8_t byte;
	size_t got = 0;
	int e;

	e = receive_next(r, RECORD_END);
	if (e < 0)
		return e;
	in = reader_over(r->buf, r->len);
	if (get_u64(&in) != r->chunks || get_u64(&in) != r->blocks)
		return receive_why(r, -EPROTO, "its counts do not agree");
	e = r->source->read(r->source->arg, &byte, 1, &got);
	if (e == 0)
		return receive_why(r, -EPROTO,
				   "something comes after the end of it");
	return e == -ENODATA ? 0
			     : receive_why(r, e, "the stream cannot be read");
}

/* ---- what is to come ---- */

const struct key *
receive_dk(const struct receiver *r, const struct uuid *uuid)
{
	for (size_t i = 0; i < r->d.n_keys; i++)
		if (uuid_equal(&r->d.keys[i].uuid, uuid))
			return &r->keys->dk[i];
	return NULL;
}

static int
read_head(struct receiver *r)
{
	int e;

	e = receive_next(r, RECORD_HEAD);
	if (e < 0)
		return e;
	e = stream_head_get(r->buf, &r->head);
	if (e == -EPROTONOSUPPORT)
		return receive_why(r, e, "it was made by a newer program");
	return e < 0 ? receive_why(r, e, "its head is malformed") : 0;
}

static int
read_descriptor(struct receiver *r)
{
	int e;

	e = receive_next(r, RECORD_DESCRIPTOR);
	if (e < 0)
		return e;
	e = descriptor_parse((const char *)r->buf, r->len, &r->d);
	if (e == 0 && (r->d.type == DESC_DISK ||
		       !uuid_equal(&r->d.uuid, &r->head.snapshot)))
		e = -EPROTO;
	if (e < 0)
		return receive_why(r, e, "its descriptor is malformed");
	for (size_t i = 0; e == 0 && i < r->d.n_keys; i++)
		e = kms_decrypt(r->kms, &r->d.keys[i].dk, &r->keys->dk[i]);
	if (e < 0)
		return e; /* says itself what it is */
	e = descriptor_verify((const char *)r->buf, r->len, &r->d.uuid,
			      receive_dk(r, &r->d.key));
	return e < 0 ? receive_why(r, e, "its descriptor does not verify") : 0;
}

/* A layer's place among the others. */
static bool
is_in_place(const struct receiver *r, const struct layer_meta *m)
{
	const struct desc_key *k = descriptor_key(&r->d, &m->key);
	size_t n = r->plan.n;

	if (!k || !uuid_equal(&k->dk.lineage, &m->lineage) ||
	    plan_find(&r->plan, &m->uuid) < n ||
	    (r->head.has_base && uuid_equal(&m->uuid, &r->head.base.layer)))
		return false;
	if (n > 0)
		return m->has_parent &&
		       ref_equal(&m->parent, &r->plan.v[n - 1].ref);
	if (!r->head.has_base)
		return !m->has_parent;
	return m->has_parent && ref_equal(&m->parent, &r->head.base);
}

static int
read_layer(struct receiver *r)
{
	const struct key *dk;
	struct layer_meta m;
	const char *text = (const char *)r->buf;
	char *copy;
	int e;

	e = receive_next(r, RECORD_LAYER);
	if (e < 0)
		return e;
	e = layer_meta_peek(text, r->len, &m);
	dk = e == 0 ? receive_dk(r, &m.key) : NULL;
	if (e == 0 && !dk)
		e = -EBADMSG;
	if (e == 0)
		e = layer_meta_parse(text, r->len, dk, &m);
	if (e < 0)
		return receive_why(r, e, "a layer does not verify");
	if (!is_in_place(r, &m))
		return receive_why(r, -EPROTO, "its layers are out of order");
	if (m.state != LAYER_FROZEN && m.state != LAYER_SEALED)
		return receive_why(r, -EPROTO, "a layer of it is not frozen");
	/* Its list of digests is not sent: it is sealed anew. */
	m.state = LAYER_FROZEN;
	memset(m.digest, 0, sizeof(m.digest));
	memset(m.parent_digest, 0, sizeof(m.parent_digest));
	e = layer_meta_format(&m, dk, &copy);
	return e < 0 ? e : plan_add(&r->plan, &m, copy, strlen(copy));
}

static int
read_layers(struct receiver *r)
{
	int e = 0;

	for (uint32_t i = 0; e == 0 && i < r->head.n_layers; i++)
		e = read_layer(r);
	if (e == 0 && !ref_equal(&r->plan.v[r->plan.n - 1].ref, &r->d.layer))
		e = receive_why(r, -EPROTO, "its layers are not all there");
	return e;
}

/* ---- the end ---- */

int
receive_checkpoint(struct receiver *r, size_t layer, uint64_t chunk)
{
	int e;

	for (r->mark.at = 0; r->mark.at + 1 < r->mark.n; r->mark.at++)
		if (ref_equal(&r->mark.v[r->mark.at], &r->plan.v[layer].ref))
			break;
	r->mark.chunk = chunk;
	e = r->st->ops->sync_all(r->st);
	if (e < 0)
		r->dest.sync_failed = true;
	if (e == 0)
		e = receiving_save(r->st, &r->mark);
	if (e < 0)
		return e;
	r->safe_layer = layer;
	r->safe_chunk = chunk;
	r->gained = true;
	return 0;
}

/* The name that it gets here. */
static int
put_descriptor(struct receiver *r, const struct stream_owner *owner)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	const struct key *dks[] = { receive_dk(r, &r->d.key) };
	const char *at = strchr(r->to->name, '@');
	int e;

	if (!d)
		return -ENOMEM;
	*d = r->d;
	e = uuid_new(&d->uuid);
	if (e < 0)
		return e;
	d->type = r->to->type;
	d->store = catalog_meta(r->c)->uuid;
	(void)snprintf(d->of, sizeof(d->of), "%.*s",
		       at ? (int)(at - r->to->name) : 0, r->to->name);
	(void)snprintf(d->name, sizeof(d->name), "%s",
		       at ? at + 1 : r->to->name);
	memset(&d->set, 0, sizeof(d->set));
	d->members = 0;
	d->uid = owner->uid;
	d->gid = owner->gid;
	d->mode = owner->mode;
	d->clean = true;
	strcpy(d->anchor, "none");
	memset(d->digest, 0, sizeof(d->digest));
	d->digest_session = 0;
	d->checkpointed = 0;
	for (size_t i = 0; e == 0 && i < r->plan.n; i++)
		e = lineage_mark(r->st, &r->plan.v[i].ref.lineage, UNSEALED);
	if (e < 0)
		return e;
	e = catalog_add(r->c, d, dks, 1);
	if (e == 0)
		r->ret->uuid = d->uuid;
	return e == -EEXIST ? receive_why(r, e, "the name is taken") : e;
}

/* What there is of it is worth to be kept: how far is it durable? */
static void
keep_what_is_there(struct receiver *r)
{
	bool more =
	    r->at_layer > r->safe_layer ||
	    (r->at_layer == r->safe_layer && r->at_chunk > r->safe_chunk);

	if (r->marked && more && !r->dest.sync_failed)
		(void)!receive_checkpoint(r, r->at_layer, r->at_chunk);
}

static int
receive(struct receiver *r, const struct stream_owner *owner)
{
	int e;

	e = read_head(r);
	if (e == 0)
		e = read_descriptor(r);
	if (e == 0)
		e = read_layers(r);
	if (e == 0)
		e = receive_prepare(r);
	if (e == 0)
		e = receive_contents(r);
	if (e == 0)
		e = read_end(r);
	if (e == 0)
		e = put_descriptor(r, owner);
	if (e < 0)
		keep_what_is_there(r);
	receive_leave(r, e == 0);
	return e;
}

int
stream_receive(struct catalog *c, struct kms *kms, const struct stream_name *to,
	       const struct stream_owner *owner,
	       const struct stream_source *source, struct stream_result *ret)
{
	CLEANUP(receiver_freep) struct receiver *r = NULL;
	int e;

	memset(ret, 0, sizeof(*ret));
	e = receiver_new(c, kms, to, source, ret, &r);
	if (e == 0)
		e = receive(r, owner);
	if (e == 0)
		ret->size = r->d.size;
	return e;
}
