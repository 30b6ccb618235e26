/*
 * stream.h - a snapshot or image from one store to another
 * (sealdisk-stream(5)).
 *
 * Sending needs no key: everything is taken as it lies in the store.  What is
 * received is authenticated before it is stored, and has no name before all of
 * it is there.  What a stopped receive leaves is kept, to go on with or to be
 * given up.
 *
 * One thread each.  Functions return 0 or a negative errno; `why` of a result
 * then says in words what that cannot, or is NULL.
 */
#ifndef SEALDISK_STREAM_H
#define SEALDISK_STREAM_H

#include "catalog.h"

/* Two uuids and a number, with the NUL. */
#define STREAM_TOKEN_LEN (2 * UUID_STR_LEN + 21)

/* Where a stream goes, and where it comes from. */
struct stream_sink {
	/* All of it, or an error. */
	int (*write)(void *arg, const void *buf, size_t len);
	/* May be NULL.  ${done} and ${total} are chunks. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};
struct stream_source {
	/* All of it; -ENODATA: the stream ends, and *${ret_got} bytes of it
	 * were left. */
	int (*read)(void *arg, void *buf, size_t len, size_t *ret_got);
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

struct stream_name {
	enum desc_type type; /* DESC_SNAPSHOT or DESC_IMAGE */
	const char *name;    /* DISK@NAME of a snapshot */
};

struct stream_result {
	struct uuid uuid; /* of the descriptor: sent, or made */
	uint64_t size;    /* of the disk */
	unsigned layers;  /* sent, or made */
	unsigned there;   /* receive: layers that the store had */
	uint64_t chunks, blocks;
	uint64_t bytes; /* of the stream */
	const char *why;
};

/**
 * stream_send(c, what, base, token, sink, ret):
 * Write the layers of ${what}, without those of ${base} and below unless that
 * is NULL; from where ${token} says on unless that is NULL.
 *
 * -ENOENT   ${what} or ${base} is not there
 * -EINVAL   ${what} does not come of ${base}; ${token} is none
 * -ESTALE   ${token} is of another snapshot
 * -EBUSY    it is being removed, or one of its layers merged
 * -EUCLEAN, -EBADMSG  the store is damaged
 */
int stream_send(struct catalog *c, const struct stream_name *what,
		const struct stream_name *base, const char *token,
		const struct stream_sink *sink, struct stream_result *ret)
    __attribute__((__nonnull__(1, 2, 5, 6))) CHECKED;

struct stream_owner {
	uint32_t uid, gid, mode;
};

/**
 * stream_receive(c, kms, to, owner, source, ret):
 * Make ${to} of a stream.  One Decrypt for each of its DKs.
 *
 * -EEXIST   the name is taken; or a layer is here that is another one
 * -ENOENT   the base is not here
 * -EBUSY    a layer of it is just being received or removed
 * -ENODATA  the stream was cut
 * -EPROTO   it is no stream, or not one in order
 * -EPROTONOSUPPORT  it is of a newer version
 * -EBADMSG  something in it does not verify
 * -ESTALE   it goes on elsewhere than where the receive was cut
 * and the errors of kms.h
 */
int stream_receive(struct catalog *c, struct kms *kms,
		   const struct stream_name *to,
		   const struct stream_owner *owner,
		   const struct stream_source *source,
		   struct stream_result *ret) NONNULL CHECKED;

/* Where a receive into ${to} that was cut goes on, for stream_send().
 * -ENOENT: there is none. */
int stream_token(struct catalog *c, const struct stream_name *to,
		 char out[static STREAM_TOKEN_LEN]) NONNULL CHECKED;

/* Give it up; the sweep removes what there is of it.  -ENOENT; -EBUSY: it is
 * under way. */
int stream_abort(struct catalog *c, const struct stream_name *to)
    NONNULL CHECKED;

#endif
