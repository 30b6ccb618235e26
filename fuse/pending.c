/*
 * pending.c - requests under way, in memory that outlives the worker.
 *
 * FUSE's header of a request is read straight into that memory, so nothing is
 * written for it here but that it has ended.
 */
#include "pending.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <sealdisk/log.h>

#include "crash.h"
#include "opcode.h"
#include "planted.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define DEATHS 3 /* that a request may cause */

#ifndef FUSE_NOTIFY_RESEND_CODE
#define FUSE_NOTIFY_RESEND_CODE 7
#endif

static __thread struct pending *self;

/*
 * A request that the kernel is just copying to us when we are killed ends with
 * EIO if it meets a page that is not there: it would have to fault it in, which
 * it does for nobody who is to die.  So all of them are there before.
 */
static void
touch_pages(struct worker *w)
{
	volatile uint8_t *p = w->in;

	if (madvise(w->in_base, WORKER_IN_LEN + KEEP_PAGE,
		    MADV_POPULATE_WRITE) == 0)
		return;
	for (size_t i = 0; i < WORKER_IN_LEN; i += KEEP_PAGE)
		p[i] = 0;
}

int
pending_thread(struct pending *p, struct keeper_link *link, struct worker *w,
	       unsigned i)
{
	int r;

	memset(p, 0, sizeof(*p));
	if (!link)
		return 0;
	if (i >= KEEP_THREADS)
		return -E2BIG;
	r = keep_map_thread(link->keep_fd, i, w->in_base);
	if (r < 0)
		return r;
	p->keep = link->keep;
	p->fuse_fd = link->fuse_fd;
	p->past = &link->keep->past[i];
	p->header = (struct fuse_in_header *)(void *)w->in;
	self = p;
	touch_pages(w);
	return 0;
}

uint64_t
pending_unique(void)
{
	return self ? self->header->unique : 0;
}

static void
answer(int fuse_fd, uint64_t unique, int err)
{
	struct fuse_out_header out = { sizeof(out), -err, unique };

	(void)!write(fuse_fd, &out, sizeof(out));
}

/*
 * Poison.
 */

static bool
is_poison(struct keep *k, const struct fuse_in_header *h)
{
	uint64_t unique = h->unique & ~KEEP_RESENT;

	for (unsigned i = 0; i < KEEP_SUSPECTS; i++) {
		struct keep_suspect *s = &k->suspects[i];

		if (s->request.unique == unique &&
		    atomic_load(&s->deaths) >= DEATHS)
			return true;
	}
	return false;
}

static void
refuse(const struct pending *p, const struct keep_request *q)
{
	answer(p->fuse_fd, p->header->unique, EIO);
	log_error("request %llu, %s of node %llu, %llu bytes at %llu, was the "
		  "end of %d processes: it is answered with an I/O error",
		  (unsigned long long)q->unique, opcode_name(q->opcode),
		  (unsigned long long)q->node, (unsigned long long)q->size,
		  (unsigned long long)q->off, DEATHS);
}

/* Of read and write the first words are handle, offset and size; of fallocate
 * handle, offset and length. */
static void
describe(const void *request, size_t len, struct keep_request *ret)
{
	const struct fuse_in_header *h = request;
	const struct fuse_read_in *in = (const void *)(h + 1);
	const struct fuse_fallocate_in *fall = (const void *)(h + 1);

	*ret = (struct keep_request){
		.unique = h->unique & ~KEEP_RESENT,
		.node = h->nodeid,
		.opcode = h->opcode,
	};
	if ((h->opcode == FUSE_READ || h->opcode == FUSE_WRITE) &&
	    len >= sizeof(*h) + sizeof(*in)) {
		ret->off = in->offset;
		ret->size = in->size;
	} else if (h->opcode == FUSE_FALLOCATE &&
		   len >= sizeof(*h) + sizeof(*fall)) {
		ret->off = fall->offset;
		ret->size = fall->length;
	}
}

bool
pending_begin(struct pending *p, const void *request, size_t len)
{
	const struct fuse_in_header *h = request;
	struct keep_request *q;

	if (!p->keep || len < sizeof(*h))
		return true;
	/* What the next worker greets with. */
	if (h->opcode == FUSE_INIT && len <= KEEP_INIT_MAX &&
	    !atomic_load(&p->keep->init_len)) {
		memcpy(p->keep->init, request, len);
		atomic_store(&p->keep->init_len, (uint32_t)len);
	}
	q = &p->past->last[p->past->n % KEEP_LAST];
	describe(request, len, q);
	p->past->n++;
	crash_request(q);
	if (!(h->unique & KEEP_RESENT) || !is_poison(p->keep, h))
		return true;
	refuse(p, q);
	return false;
}

void
pending_end(struct pending *p)
{
	if (!p->keep)
		return;
	crash_request(NULL);
	p->header->unique = 0;
}

/*
 * Jobs.
 */

struct keep_job *
pending_job(struct keeper_link *link, uint64_t unique)
{
	struct keep *k = link ? link->keep : NULL;

	for (unsigned i = 0; k && unique && i < KEEP_ONCE; i++) {
		struct keep_job *j = &k->jobs[(unique / 2 + i) % KEEP_ONCE];
		uint64_t none = 0;

		if (!atomic_compare_exchange_strong(&j->unique, &none, unique))
			continue;
		j->node = self ? self->header->nodeid : 0;
		j->opcode = self ? self->header->opcode : 0;
		return j;
	}
	return NULL;
}

static __thread struct keep_request job_request;

void
pending_job_run(const struct keep_job *j)
{
	if (!j) {
		crash_request(NULL);
		return;
	}
	job_request = (struct keep_request){
		.unique = atomic_load(&j->unique) & ~KEEP_RESENT,
		.node = j->node,
		.opcode = j->opcode,
	};
	crash_request(&job_request);
}

void
pending_job_end(struct keep_job *j)
{
	if (j)
		atomic_store(&j->unique, 0);
}

/*
 * After a death.
 */

static struct fuse_in_header *
header_of(struct keep_thread *t)
{
	/* As worker.c places it: a write's data begin on the next page. */
	return (struct fuse_in_header *)(void *)(t->page + KEEP_PAGE -
						 WORKER_WRITE_HEADERS);
}

static void
answer_all(struct keep *k, int fuse_fd)
{
	for (unsigned i = 0; i < KEEP_THREADS; i++) {
		uint64_t unique = header_of(&k->threads[i])->unique;

		if (unique)
			answer(fuse_fd, unique, EIO);
	}
	for (unsigned i = 0; i < KEEP_ONCE; i++) {
		uint64_t unique = atomic_load(&k->jobs[i].unique);

		if (unique)
			answer(fuse_fd, unique, EIO);
	}
}

void
pending_resend(struct keeper_link *link)
{
	struct fuse_out_header out = { .len = sizeof(out),
				       .error = FUSE_NOTIFY_RESEND_CODE };
	struct keep *k = link->keep;
	bool sent;

	errno = EINVAL;
	sent = !PLANTED(NO_RESEND) &&
	       write(link->fuse_fd, &out, sizeof(out)) == (ssize_t)sizeof(out);
	if (!sent && errno != ENODEV) {
		log_error("this kernel does not send requests again "
			  "(Linux 6.9 and later do): what was under way fails "
			  "with an I/O error");
		answer_all(k, link->fuse_fd);
	}
	for (unsigned i = 0; i < KEEP_THREADS; i++)
		header_of(&k->threads[i])->unique = 0;
	for (unsigned i = 0; i < KEEP_ONCE; i++)
		atomic_store(&k->jobs[i].unique, 0);
}
