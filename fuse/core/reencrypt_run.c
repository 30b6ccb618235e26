/*
 * reencrypt_run.c - who asks for it, and the thread that does it (reencrypt.c).
 */
#include "merge_private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sealdisk/log.h>

/* Until it is tried again what could not be done. */
#define RETRY_MS 1000

static void
wait_until(struct disk *d, int64_t until)
{
	int64_t left;

	while (!is_told(&d->re.stop) && (left = until - now_ms()) > 0)
		usleep((useconds_t)(left < REENCRYPT_MS ? left : REENCRYPT_MS) *
		       1000);
}

/* Whether the thread has come to its end.  Whoever asks for more just then
 * either is seen here, or sees that a new thread is needed. */
static bool
is_over(struct disk *d, int r)
{
	bool over;

	pthread_mutex_lock(&d->size_lock);
	over = is_told(&d->re.stop) || r == -EROFS ||
	       (r == 0 && !d->desc.reencrypting);
	if (over)
		d->re.running = false;
	pthread_mutex_unlock(&d->size_lock);
	return over;
}

static void *
reencrypt_main(void *arg)
{
	struct disk *d = arg;
	int r = 1;

	while (!is_over(d, r)) {
		int64_t now, next;

		r = disk_reencrypt_step(d);
		now = now_ms();
		if (r < 0)
			log_debug("reencrypt %s: %s", d->desc.name,
				  err_text(r));
		next = r < 0 ? now + RETRY_MS : d->re.next_ms;
		if (r != 0)
			wait_until(d, next > now + REENCRYPT_MS
					  ? next
					  : now + REENCRYPT_MS);
	}
	if (r == 0)
		engine_sweep(d->e, &d->re.stop);
	return NULL;
}

void
reencrypt_stop(struct disk *d)
{
	atomic_store(&d->re.stop, true);
	if (d->re.has_thread)
		pthread_join(d->re.thread, NULL);
	d->re.has_thread = false;
	atomic_store(&d->re.stop, false);
}

/* Whether there is a thread to be made. */
static bool
begins(struct disk *d)
{
	bool begin;

	pthread_mutex_lock(&d->size_lock);
	begin = d->desc.reencrypting && !d->re.running;
	d->re.running |= begin;
	pthread_mutex_unlock(&d->size_lock);
	return begin;
}

int
reencrypt_start(struct disk *d)
{
	pthread_attr_t a;
	int r;

	if (d->e->manual || d->brief || d->read_only || !begins(d))
		return 0;
	reencrypt_stop(d); /* one that has come to its end, and sweeps */
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 256 * 1024);
	r = pthread_create(&d->re.thread, &a, reencrypt_main, d);
	pthread_attr_destroy(&a);
	d->re.has_thread = r == 0;
	if (r) {
		pthread_mutex_lock(&d->size_lock);
		d->re.running = false;
		pthread_mutex_unlock(&d->size_lock);
	}
	return -r;
}

/* ---- asked for ---- */

static int
set_rate(struct descriptor *desc, void *arg)
{
	const uint64_t *rate = arg;

	if (!desc->reencrypting)
		return -ENOENT;
	desc->reencrypt_rate = *rate;
	return 0;
}

int
disk_reencrypt(struct disk *d, struct scratch *s, const char *key,
	       uint64_t rate)
{
	CLEANUP(free_memp) struct descriptor *desc = malloc(sizeof(*desc));
	CLEANUP(own_key_wipe) struct own_key own = { .dk = { { 0 } } };
	int r;

	if (!desc)
		return -ENOMEM;
	if (d->read_only) /* as is all that is no disk */
		return -EROFS;
	r = disk_update(d, set_rate, &rate);
	if (r != -ENOENT)
		return r < 0 ? r : -EALREADY;
	disk_descriptor(d, desc);
	if (!key)
		key = descriptor_key(desc, &desc->key)->dk.key_id;
	r = own_key_new(d->e->kms, key, desc, &own);
	if (r == 0)
		r = snapshot_rekey(d, s, &own, rate);
	return r < 0 ? r : reencrypt_start(d);
}

bool
disk_reencrypting(struct disk *d, struct reencrypt_state *ret)
{
	uint64_t done = atomic_load(&d->re.done);
	uint64_t total = atomic_load(&d->re.total);

	*ret = (struct reencrypt_state){
		.done = done < total ? done : total,
		.total = total,
		.error = atomic_load(&d->re.error),
	};
	return reencrypt_is_wanted(d);
}
