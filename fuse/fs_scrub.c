/*
 * fs_scrub.c - a scrub of an attached disk, in the background.
 *
 * It has a thread of its own and counts as a user of the disk, which does not
 * linger away meanwhile; whoever detaches the disk stops it.  What it has found
 * is kept with the disk's node, and in the store when it ends.
 */
#include "fs_private.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/ioprio.h>
#include <string.h>
#include <sys/syscall.h>

#include <sealdisk/ioctl.h>
#include <sealdisk/log.h>

#include "scrub.h"

/* That are kept, of what is damaged and of what is lost; all are counted, and
 * logged. */
#define FAULTS_MAX 200
#define LOST_MAX 200

struct scrubbing {
	struct fs *fs;
	struct drive *drive;
	struct scratch *scratch;
	pthread_t thread;
	struct scrub_options options;
	atomic_bool stop;
	pthread_mutex_t lock; /* guards what follows */
	bool running;
	int error; /* that it ended with; -ECANCELED: it was stopped */
	int64_t started, ended;
	struct scrub_totals totals;
	struct scrub_fault faults[FAULTS_MAX];
	struct {
		uint64_t off, len;
	} lost[LOST_MAX];
	size_t n_faults, n_lost;
	uint64_t untold; /* more of either */
};

static void
keep_fault(struct scrubbing *sc, const struct scrub_fault *f)
{
	if (f->what != SCRUB_LOST && sc->n_faults < FAULTS_MAX) {
		sc->faults[sc->n_faults++] = *f;
	} else if (f->what == SCRUB_LOST && sc->n_lost < LOST_MAX) {
		sc->lost[sc->n_lost].off = f->off;
		sc->lost[sc->n_lost++].len = f->len;
	} else {
		sc->untold++;
	}
}

static void
on_fault(const struct scrub_fault *f, void *arg)
{
	struct scrubbing *sc = arg;
	char name[NODE_NAME_MAX + 1];

	(void)pthread_mutex_lock(&sc->lock);
	keep_fault(sc, f);
	(void)pthread_mutex_unlock(&sc->lock);
	tree_name(sc->fs->tree, sc->drive->node, name);
	log_error("scrub %s: %s at offset %" PRIu64 ", %" PRIu64
		  " bytes%s%s%s%s",
		  name, scrub_word(f->what), f->off, f->len,
		  f->file[0] ? ", " : "", f->file,
		  f->repaired ? ": repaired" : "",
		  f->what == SCRUB_LOST ? ": cannot be read" : "");
}

static void
on_progress(const struct scrub_totals *t, void *arg)
{
	struct scrubbing *sc = arg;

	(void)pthread_mutex_lock(&sc->lock);
	sc->totals = *t;
	(void)pthread_mutex_unlock(&sc->lock);
}

static enum scrub_end
how_it_ended(int error)
{
	return error == 0            ? SCRUB_COMPLETE
	       : error == -ECANCELED ? SCRUB_STOPPED
				     : SCRUB_FAILED;
}

/* What people see later. */
static void
keep_record(struct scrubbing *sc, struct disk *disk)
{
	struct scrub_record rec = { .started = sc->started,
				    .ended = sc->ended,
				    .end = how_it_ended(sc->error),
				    .read_all = sc->options.blocks };
	struct descriptor desc;
	int r;

	disk_descriptor(disk, &desc);
	rec.uuid = desc.uuid;
	scrub_sum(&sc->totals, &rec);
	r = scrub_record_save(engine_store(sc->fs->opt.engine), &desc.lineage,
			      &rec);
	if (r < 0)
		log_warn("scrub %s: its result cannot be kept: %s", desc.name,
			 err_text(r));
}

/*
 * After all others, as far as the disk's scheduler knows that.  Not idle: what
 * is idle may wait for seconds, and while it reads a snapshot waits for it.
 */
static void
give_way(void)
{
	(void)!syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		       IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, IOPRIO_BE_NR - 1));
}

static void *
run(void *arg)
{
	struct scrubbing *sc = arg;
	struct disk *disk = atomic_load(&sc->drive->disk);
	struct scrub_totals t;
	int r;

	give_way();
	r = disk_scrub(disk, sc->scratch, &sc->options, &t);
	(void)pthread_mutex_lock(&sc->lock);
	sc->totals = t;
	sc->error = r;
	sc->ended = time(NULL);
	(void)pthread_mutex_unlock(&sc->lock);
	if (r < 0 && r != -ECANCELED)
		log_error("scrub: %s", err_text(r));
	if (!sc->fs->opt.read_only)
		keep_record(sc, disk);
	scratch_free(TAKE(sc->scratch));
	/* Before it says that it has ended: whoever waits for that is not to be
	 * told that the disk is in use.  Who frees ${sc} waits for us. */
	drive_unuse(sc->fs, sc->drive);
	(void)pthread_mutex_lock(&sc->lock);
	sc->running = false;
	(void)pthread_mutex_unlock(&sc->lock);
	return NULL;
}

static bool
is_running(struct scrubbing *sc)
{
	bool running;

	(void)pthread_mutex_lock(&sc->lock);
	running = sc->running;
	(void)pthread_mutex_unlock(&sc->lock);
	return running;
}

void
drive_scrub_free(struct scrubbing *sc)
{
	if (!sc)
		return;
	(void)pthread_join(sc->thread, NULL);
	(void)pthread_mutex_destroy(&sc->lock);
	free(sc);
}

void
drive_scrub_stop(struct drive *d)
{
	if (!d->scrub || !is_running(d->scrub))
		return;
	d->scrub->stop = true;
	while (is_running(d->scrub))
		(void)usleep(1000);
}

bool
drive_is_scrubbed(struct drive *d)
{
	return d->scrub && is_running(d->scrub);
}

/* On the strand; the caller has counted itself in, which the thread takes. */
static int
start(struct fs *fs, struct drive *d, const struct sd_ioc_scrub *arg)
{
	struct scrubbing *sc = calloc(1, sizeof(*sc)), *old;
	pthread_attr_t attr;
	int r;

	if (!sc)
		return -ENOMEM;
	sc->fs = fs;
	sc->drive = d;
	sc->options = (struct scrub_options){
		.blocks = arg->flags & SD_SCRUB_BLOCKS,
		.repair = (arg->flags & SD_SCRUB_REPAIR) && !fs->opt.read_only,
		.rate = arg->rate,
		.stop = &sc->stop,
		.fault = on_fault,
		.progress = on_progress,
		.arg = sc,
	};
	sc->started = time(NULL);
	sc->running = true;
	(void)pthread_mutex_init(&sc->lock, NULL);
	r = scratch_new(&sc->scratch);
	if (r == 0) {
		(void)pthread_attr_init(&attr);
		(void)pthread_attr_setstacksize(&attr, WORKER_STACK_SIZE);
		r = -pthread_create(&sc->thread, &attr, run, sc);
		(void)pthread_attr_destroy(&attr);
	}
	if (r < 0) {
		scratch_free(sc->scratch);
		(void)pthread_mutex_destroy(&sc->lock);
		free(sc);
		return r;
	}
	(void)pthread_mutex_lock(&d->lock);
	old = d->scrub;
	d->scrub = sc;
	(void)pthread_mutex_unlock(&d->lock);
	drive_scrub_free(old);
	return 0;
}

int
drive_scrub(struct fs *fs, struct drive *d, const struct sd_ioc_scrub *arg)
{
	int r;

	if (arg->flags & SD_SCRUB_STOP) {
		drive_scrub_stop(d);
		return 0;
	}
	if (drive_is_scrubbed(d))
		return -EALREADY;
	r = drive_attach(fs, d, true);
	if (r < 0)
		return r;
	r = start(fs, d, arg);
	if (r < 0)
		drive_unuse(fs, d);
	return r;
}

/* ---- what info tells ---- */

static void
print_record(FILE *f, const struct scrub_record *rec)
{
	char text[TIME_STR_LEN];

	format_time(rec->started, text);
	fprintf(f, "started = %s\n", text);
	if (rec->ended) {
		format_time(rec->ended, text);
		fprintf(f, "ended = %s\n", text);
	}
	fprintf(f,
		"chunks = %" PRIu64 "\npages = %" PRIu64 "\nblocks = %" PRIu64
		"\ndamaged = %" PRIu64 "\nlost = %" PRIu64 "\nspare = %" PRIu64
		"\nrepaired = %" PRIu64 "\n",
		rec->chunks, rec->pages, rec->blocks, rec->damaged, rec->lost,
		rec->spare, rec->repaired);
}

/* With its lock held. */
static void
print_live(FILE *f, struct scrubbing *sc)
{
	struct scrub_record rec = { .started = sc->started,
				    .ended = sc->ended };

	scrub_sum(&sc->totals, &rec);
	fprintf(f, "\n[scrub]\nstate = %s\nof = %" PRIu64 "\n",
		sc->running ? "running"
			    : scrub_end_word(how_it_ended(sc->error)),
		sc->totals.chunks);
	if (!sc->running && how_it_ended(sc->error) == SCRUB_FAILED)
		fprintf(f, "error = %s\n", err_text(sc->error));
	print_record(f, &rec);
	if (sc->untold > 0)
		fprintf(f, "untold = %" PRIu64 "\n", sc->untold);
	if (sc->n_faults + sc->n_lost > 0)
		fprintf(f, "\n[faults]\n");
	for (size_t i = 0; i < sc->n_faults; i++) {
		const struct scrub_fault *x = &sc->faults[i];

		fprintf(f, "%zu = %s,%" PRIu64 ",%" PRIu64 ",%s,%s\n", i + 1,
			scrub_word(x->what), x->off, x->len,
			x->repaired ? "repaired" : "", x->file);
	}
	for (size_t i = 0; i < sc->n_lost; i++)
		fprintf(f, "%zu = %s,%" PRIu64 ",%" PRIu64 ",,\n",
			sc->n_faults + i + 1, scrub_word(SCRUB_LOST),
			sc->lost[i].off, sc->lost[i].len);
}

void
drive_scrub_print(FILE *f, struct fs *fs, struct drive *d,
		  const struct descriptor *desc)
{
	struct scrub_record rec;
	struct scrubbing *sc = NULL;

	if (d) {
		(void)pthread_mutex_lock(&d->lock);
		sc = d->scrub;
		if (sc) {
			(void)pthread_mutex_lock(&sc->lock);
			print_live(f, sc);
			(void)pthread_mutex_unlock(&sc->lock);
		}
		(void)pthread_mutex_unlock(&d->lock);
	}
	if (sc || scrub_record_load(engine_store(fs->opt.engine),
				    &desc->lineage, &desc->uuid, &rec) < 0)
		return;
	fprintf(f, "\n[scrub]\nstate = %s\n", scrub_end_word(rec.end));
	print_record(f, &rec);
}
