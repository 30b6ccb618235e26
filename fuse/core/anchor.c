/*
 * anchor.c - the key service knows how far a disk has come.
 *
 * A descriptor that is put back together with all that it names is the disk as
 * it was: nothing in the store can tell.  So a disk with `anchor = kms` tells
 * the key service at each checkpoint, when that is durable: twice the session,
 * and one if it has ended cleanly, which grows with each attach and each end;
 * and the digest in the descriptor then.  A descriptor that is behind that, or
 * is there and has another digest, is an older one.  One that is ahead is not:
 * it was written, and telling failed.
 *
 * Whatever the descriptor says, it is asked: an older one may say `none`.
 */
#include "engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/log.h>

static uint64_t
generation(const struct descriptor *d)
{
	return 2 * d->session + d->clean;
}

static bool
is_anchored(const struct descriptor *d)
{
	return strcmp(d->anchor, "kms") == 0;
}

static void
tell(struct kms *kms, const struct descriptor *d, bool force)
{
	int r = kms_set_anchor(kms, &d->uuid, generation(d), d->digest, force);

	if (r < 0)
		log_warn("disk %s: the key service was not told of session "
			 "%" PRIu64 ": %s",
			 d->name, d->session, err_text(r));
}

void
anchor_tell(struct kms *kms, const struct descriptor *d)
{
	if (is_anchored(d))
		tell(kms, d, false);
}

void
anchor_force(struct kms *kms, const struct descriptor *d)
{
	uint8_t digest[SHA256_LEN];
	uint64_t g;

	if (is_anchored(d) || kms_get_anchor(kms, &d->uuid, &g, digest) == 0)
		tell(kms, d, true);
}

int
anchor_check(struct disk *d, int flags)
{
	struct descriptor *desc = &d->desc;
	uint8_t digest[SHA256_LEN];
	char why[128];
	uint64_t g;
	int r;

	r = kms_get_anchor(d->e->kms, &desc->uuid, &g, digest);
	if (r == -ENOENT) {
		anchor_tell(d->e->kms, desc);
		return 0;
	}
	if (r < 0)
		return r;
	if (generation(desc) > g ||
	    (generation(desc) == g &&
	     memcmp(digest, desc->digest, sizeof(digest)) == 0))
		return 0;
	(void)snprintf(why, sizeof(why),
		       "its descriptor is of session %" PRIu64
		       ", the key service knows one of session %" PRIu64,
		       desc->session, g / 2);
	if (!(flags & DISK_ACCEPT_ROLLBACK))
		return checkpoint_rolled_back(d, flags, why);
	/* No session comes twice. */
	if (desc->session < g / 2)
		desc->session = g / 2;
	return 0;
}
