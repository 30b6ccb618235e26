/*
 * fault_kms.c - see fault_kms.h.
 */
#include "fault_kms.h"

#include <errno.h>
#include <string.h>

#include "client_private.h"

static const struct kms_ops *inner;
static struct kms_ops outer;
static struct kms_fault armed;
static unsigned calls;
static bool fired;
static void (*late)(void);

/* What the call under way suffers. */
static const struct kms_fault *
next(void)
{
	bool hit;

	calls++;
	if (late) {
		void (*fn)(void) = late;
		unsigned n = calls;

		late = NULL; /* what it asks itself is answered at once */
		fn();
		late = fn;
		calls = n;
	}
	hit = armed.nth &&
	      (calls == armed.nth || (armed.lasting && calls > armed.nth));
	fired |= hit;
	return hit ? &armed : NULL;
}

static bool
is_refused(const struct kms_fault *f)
{
	return f && f->harm == HARM_REFUSED;
}

/* After a call that succeeded. */
static int
lost(const struct kms_fault *f)
{
	return f && f->harm == HARM_LOST ? f->err : 0;
}

/* Another each time. */
static void
spoil_key(struct key *k)
{
	k->bytes[calls % KEY_LEN] ^= (uint8_t)(1 + calls);
}

static void
spoil_blob(enum kms_harm harm, struct wrapped_dk *w)
{
	switch (harm) {
	case HARM_EMPTY:
		w->blob_len = 0;
		break;
	case HARM_LONG:
		w->blob_len = sizeof(w->blob);
		memset(w->blob, 0x5a, w->blob_len);
		break;
	default:
		w->blob[w->blob_len - 1 - calls % 16] ^= 1;
	}
}

static int
fault_generate(struct kms *k, const char *key, const struct uuid *lineage,
	       struct wrapped_dk *ret, struct key *ret_dk)
{
	const struct kms_fault *f = next();
	struct wrapped_dk w;
	int r;

	if (is_refused(f))
		return f->err;
	r = inner->generate_data_key(k, key, lineage, &w, ret_dk);
	if (r == 0)
		r = lost(f);
	if (r == 0 && f && f->harm == HARM_WRONG && ret_dk)
		spoil_key(ret_dk);
	else if (r == 0 && f && f->harm == HARM_OTHER)
		r = inner->generate_data_key(k, key, lineage, &w, NULL);
	else if (r == 0 && f)
		spoil_blob(f->harm, &w);
	if (r == 0)
		*ret = w;
	return r;
}

static int
fault_decrypt(struct kms *k, const struct wrapped_dk *w, struct key *ret)
{
	const struct kms_fault *f = next();
	int r = is_refused(f) ? f->err : inner->decrypt(k, w, ret);

	if (r == 0)
		r = lost(f);
	if (r == 0 && f && f->harm == HARM_EMPTY)
		memset(ret, 0, sizeof(*ret));
	else if (r == 0 && f)
		spoil_key(ret);
	return r;
}

static int
fault_reencrypt(struct kms *k, const struct wrapped_dk *w, const char *key,
		const struct uuid *lineage, struct wrapped_dk *ret)
{
	const struct kms_fault *f = next();
	struct wrapped_dk new;
	int r;

	if (is_refused(f))
		return f->err;
	r = inner->reencrypt(k, w, key, lineage, &new);
	if (r == 0)
		r = lost(f);
	/* Another DK, which opens there as well. */
	if (r == 0 && f && (f->harm == HARM_OTHER || f->harm == HARM_WRONG))
		r = inner->generate_data_key(k, new.key_id, &new.lineage, &new,
					     NULL);
	else if (r == 0 && f)
		spoil_blob(f->harm, &new);
	if (r == 0)
		*ret = new;
	return r;
}

static int
fault_describe(struct kms *k, const char *key, struct kms_key_info *ret)
{
	const struct kms_fault *f = next();
	bool other = f && f->harm == HARM_OTHER;
	int r;

	if (is_refused(f))
		return f->err;
	r = inner->describe_key(k, key, ret);
	/* The service key, or one that is not to be found. */
	if (r == 0 && other && strcmp(ret->creator, "Ecs") != 0)
		r = inner->describe_key(k, KMS_SERVICE_ALIAS, ret);
	else if (r == 0 && other)
		ret->id[0] ^= 1;
	if (r == 0)
		r = lost(f);
	if (r == 0 && f && f->harm == HARM_EMPTY)
		memset(ret, 0, sizeof(*ret));
	else if (r == 0 && f && !other)
		ret->primary_version[0] = ret->primary_version[0] == 'a' ? 'b'
									 : 'a';
	return r;
}

static int
fault_set_anchor(struct kms *k, const struct uuid *disk, uint64_t generation,
		 const uint8_t digest[static SHA256_LEN], bool force)
{
	const struct kms_fault *f = next();
	int r = is_refused(f)
		    ? f->err
		    : inner->set_anchor(k, disk, generation, digest, force);

	return r == 0 ? lost(f) : r;
}

static int
fault_get_anchor(struct kms *k, const struct uuid *disk,
		 uint64_t *ret_generation,
		 uint8_t ret_digest[static SHA256_LEN])
{
	const struct kms_fault *f = next();
	int r = is_refused(f)
		    ? f->err
		    : inner->get_anchor(k, disk, ret_generation, ret_digest);

	if (r == 0)
		r = lost(f);
	if (r < 0 || !f)
		return r;
	if (f->harm == HARM_EMPTY)
		return -ENOENT;
	if (f->harm == HARM_WRONG)
		*ret_generation += 1000;
	ret_digest[0] ^= 1;
	return 0;
}

void
kms_fault_install(struct kms *k)
{
	if (k->ops != &outer)
		inner = k->ops;
	outer = *inner;
	outer.generate_data_key = fault_generate;
	outer.decrypt = fault_decrypt;
	outer.reencrypt = fault_reencrypt;
	outer.describe_key = fault_describe;
	outer.set_anchor = fault_set_anchor;
	outer.get_anchor = fault_get_anchor;
	k->ops = &outer;
	late = NULL;
	kms_fault_arm(&(struct kms_fault){ 0 });
}

void
kms_fault_arm(const struct kms_fault *f)
{
	armed = *f;
	calls = 0;
	fired = false;
}

bool
kms_fault_fired(void)
{
	return fired;
}

unsigned
kms_fault_calls(void)
{
	return calls;
}

void
kms_fault_late(void (*fn)(void))
{
	late = fn;
}
