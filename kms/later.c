/*
 * later.c - a service that could not be opened, and may be when it is needed:
 * for a daemon that goes on where another has died (fuse/fs_resume.c), whose
 * disks need no key service as long as they stay attached.
 *
 * It has what a daemon asks for.  Each call tries to open it first; until that
 * succeeds it fails with the error of that.
 */
#include <errno.h>
#include <stdatomic.h>

#include "client_private.h"

/* The service, opened by now; or NULL, and *${ret} says why not. */
static const struct kms_ops *
settle(struct kms *k, int *ret)
{
	const struct kms_ops *ops = atomic_load(&k->opened);

	*ret = 0;
	if (ops)
		return ops;
	(void)pthread_mutex_lock(&k->lock);
	if (!atomic_load(&k->opened)) {
		*ret = k->later->open(k, false);
		if (*ret < 0)
			k->later->close(k);
		/* A keystore that is not there, or in pieces, is a service
		 * that is away. */
		if (*ret == -ENOENT || *ret == -EEXIST || *ret == -EUCLEAN)
			*ret = -EHOSTDOWN;
		else
			atomic_store(&k->opened, k->later);
	}
	(void)pthread_mutex_unlock(&k->lock);
	return atomic_load(&k->opened);
}

static int
later_open(struct kms *k, bool locked)
{
	(void)locked;
	/* It need not succeed yet. */
	(void)settle(k, &(int){ 0 });
	return 0;
}

static void
later_close(struct kms *k)
{
	const struct kms_ops *ops = atomic_load(&k->opened);

	if (ops)
		ops->close(k);
}

static int
later_generate(struct kms *k, const char *key, const struct uuid *lineage,
	       struct wrapped_dk *ret, struct key *ret_dk)
{
	int r;
	const struct kms_ops *ops = settle(k, &r);

	return ops ? ops->generate_data_key(k, key, lineage, ret, ret_dk) : r;
}

static int
later_decrypt(struct kms *k, const struct wrapped_dk *w, struct key *ret)
{
	int r;
	const struct kms_ops *ops = settle(k, &r);

	return ops ? ops->decrypt(k, w, ret) : r;
}

static int
later_reencrypt(struct kms *k, const struct wrapped_dk *w, const char *key,
		const struct uuid *lineage, struct wrapped_dk *ret)
{
	int r;
	const struct kms_ops *ops = settle(k, &r);

	return ops ? ops->reencrypt(k, w, key, lineage, ret) : r;
}

static int
later_set_anchor(struct kms *k, const struct uuid *disk, uint64_t generation,
		 const uint8_t digest[static SHA256_LEN], bool force)
{
	int r;
	const struct kms_ops *ops = settle(k, &r);

	return ops ? ops->set_anchor(k, disk, generation, digest, force) : r;
}

static int
later_get_anchor(struct kms *k, const struct uuid *disk,
		 uint64_t *ret_generation,
		 uint8_t ret_digest[static SHA256_LEN])
{
	int r;
	const struct kms_ops *ops = settle(k, &r);

	return ops ? ops->get_anchor(k, disk, ret_generation, ret_digest) : r;
}

static int
later_describe(struct kms *k, const char *key, struct kms_key_info *ret)
{
	int r;
	const struct kms_ops *ops = settle(k, &r);

	return ops ? ops->describe_key(k, key, ret) : r;
}

const struct kms_ops later_ops = {
	.open = later_open,
	.close = later_close,
	.generate_data_key = later_generate,
	.decrypt = later_decrypt,
	.reencrypt = later_reencrypt,
	.set_anchor = later_set_anchor,
	.get_anchor = later_get_anchor,
	.describe_key = later_describe,
};
