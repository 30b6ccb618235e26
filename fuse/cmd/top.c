/*
 * top.c - `sealdisk top`: what goes on on the disks of a mounted store.
 *
 * On a terminal, figures a second, over and over, the busiest disk first.
 * Elsewhere, and with --once or --json, one look: totals since each disk was
 * attached.
 */
#include "cmd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <sealdisk/clock.h>
#include <sealdisk/codec.h>
#include <sealdisk/ioctl.h>

#include "copy.h"

#define INTERVAL_MS 1000

struct row {
	char name[DISK_NAME_MAX + 1];
	struct sd_ioc_stats now;
	struct sd_ioc_stats rate; /* live: counters a second */
};

struct sample {
	struct row *rows; /* of attached disks, by name */
	size_t n;
	int64_t at_ns;
};

static void
sample_done(struct sample *s)
{
	free(s->rows);
	*s = (struct sample){ .rows = NULL };
}

/*
 * Looking.
 */

static int
add(struct sample *s, int dir, const char *name)
{
	CLEANUP(close_fdp) int fd = -1;
	struct sd_ioc_stats stats;
	struct row *more;

	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	/* Gone since, or another user's. */
	if (fd < 0 || ioctl(fd, SD_IOC_STATS, &stats) < 0 || !stats.attached)
		return 0;
	more = realloc(s->rows, (s->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->rows = more;
	memset(&more[s->n], 0, sizeof(*more));
	(void)snprintf(more[s->n].name, sizeof(more[s->n].name), "%.*s",
		       DISK_NAME_MAX, name);
	more[s->n++].now = stats;
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->name,
		      ((const struct row *)b)->name);
}

static int
look(const char *mnt, struct sample *s)
{
	char path[PATH_MAX];
	struct dirent *ent;
	DIR *d;
	int r = 0;

	(void)snprintf(path, sizeof(path), "%.4000s/info/disks", mnt);
	d = opendir(path);
	if (!d)
		return -errno;
	s->at_ns = clock_ns();
	while (r == 0 && (ent = readdir(d)))
		if (ent->d_name[0] != '.')
			r = add(s, dirfd(d), ent->d_name);
	(void)closedir(d);
	if (s->n > 0)
		qsort(s->rows, s->n, sizeof(*s->rows), by_name);
	return r;
}

/*
 * One look.
 */

static int
print_json(const struct sample *s)
{
	json_t *all = json_array();

	for (size_t i = 0; all && i < s->n; i++) {
		const struct sd_ioc_stats *t = &s->rows[i].now;
		const struct {
			const char *key;
			uint64_t value;
		} fields[] = {
			{ "reads", t->reads },
			{ "read_bytes", t->read_bytes },
			{ "writes", t->writes },
			{ "write_bytes", t->write_bytes },
			{ "zeros", t->zeros },
			{ "flushes", t->flushes },
			{ "commits", t->commits },
			{ "commit_errors", t->commit_errors },
			{ "faults", t->faults },
			{ "repairs", t->repairs },
			{ "allocated", t->allocated },
			{ "dirty_groups", t->dirty_groups },
			{ "chunks_open", t->chunks_open },
			{ "failed", t->failed },
			{ "unclean", t->unclean },
		};
		json_t *row = json_pack("{ss}", "name", s->rows[i].name);

		for (size_t k = 0; k < sizeof(fields) / sizeof(fields[0]); k++)
			(void)json_object_set_new(
			    row, fields[k].key,
			    json_integer((json_int_t)fields[k].value));
		(void)json_array_append_new(all, row);
	}
	return cmd_print_json(all);
}

static const char *const heading[] = {
	"NAME",    "READ",  "WRITTEN", "READS",  "WRITES", "FLUSHES",
	"COMMITS", "DIRTY", "CHUNKS",  "FAULTS", "STATE",
};
static const char *const live_heading[] = {
	"NAME",      "READ/s", "WRITE/s", "READS/s", "WRITES/s", "FLUSHES/s",
	"COMMITS/s", "DIRTY",  "CHUNKS",  "FAULTS",  "STATE",
};
#define N_COLUMNS (sizeof(heading) / sizeof(heading[0]))

static int
add_row(struct cmd_table *t, const struct row *r, bool live)
{
	const struct sd_ioc_stats *s = live ? &r->rate : &r->now;
	const uint64_t numbers[] = {
		s->reads,     s->writes,           s->flushes,
		s->commits,   r->now.dirty_groups, r->now.chunks_open,
		r->now.faults
	};
	char size[2][16], text[7][24];
	const char *cells[N_COLUMNS] = { r->name, size[0], size[1] };

	format_size(s->read_bytes, size[0]);
	format_size(s->write_bytes, size[1]);
	for (size_t i = 0; i < 7; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "%llu",
			       (unsigned long long)numbers[i]);
		cells[3 + i] = text[i];
	}
	cells[10] = r->now.failed    ? "failed"
		    : r->now.unclean ? "recovered"
				     : "ok";
	return cmd_table_add(t, cells);
}

/* At most ${max} rows, and what is left out as a number. */
static int
print_table(const struct sample *s, bool live, size_t max)
{
	CLEANUP(cmd_table_freep)
	struct cmd_table *t =
	    cmd_table_new(N_COLUMNS, live ? live_heading : heading);
	size_t n = s->n < max ? s->n : max;
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && r == 0; i++)
		r = add_row(t, &s->rows[i], live);
	if (r < 0)
		return r;
	cmd_table_print(t);
	if (n < s->n)
		printf("... and %zu more\n", s->n - n);
	return 0;
}

/*
 * Over and over.
 */

static uint64_t
rate(uint64_t now, uint64_t before, int64_t ns)
{
	/* A disk that was detached meanwhile begins anew. */
	return now > before
		   ? (uint64_t)((double)(now - before) * 1e9 / (double)ns)
		   : 0;
}

static int
by_activity(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	uint64_t m = x->rate.read_bytes + x->rate.write_bytes;
	uint64_t n = y->rate.read_bytes + y->rate.write_bytes;

	return m != n ? (m < n ? 1 : -1) : strcmp(x->name, y->name);
}

static void
fill_rates(struct sample *s, const struct sample *before)
{
	int64_t ns = s->at_ns - before->at_ns;

	for (size_t i = 0; i < s->n && ns > 0 && before->n > 0; i++) {
		struct row *r = &s->rows[i];
		const struct row *old =
		    bsearch(r, before->rows, before->n, sizeof(*old), by_name);
		const struct sd_ioc_stats *n = &r->now, *o;

		if (!old)
			continue;
		o = &old->now;
		r->rate.reads = rate(n->reads, o->reads, ns);
		r->rate.read_bytes = rate(n->read_bytes, o->read_bytes, ns);
		r->rate.writes = rate(n->writes, o->writes, ns);
		r->rate.write_bytes = rate(n->write_bytes, o->write_bytes, ns);
		r->rate.flushes = rate(n->flushes, o->flushes, ns);
		r->rate.commits = rate(n->commits, o->commits, ns);
	}
}

static size_t
rows_that_fit(void)
{
	struct winsize w;

	/* Title, heading, "and more", and the cursor. */
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_row < 6)
		return 20;
	return w.ws_row - 4U;
}

/* True: it is to end. */
static bool
wait_for_key(bool keys)
{
	struct pollfd p = { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN };
	char c = 0;

	if (poll(&p, 1, INTERVAL_MS) > 0 && read(STDIN_FILENO, &c, 1) <= 0)
		return true;
	return c == 'q' || c == 'Q' || copy_interrupted();
}

static int
draw(const char *mnt, struct sample *s, const struct sample *before)
{
	struct sample shown = { .n = s->n };
	int r;

	fill_rates(s, before);
	/* Shown in another order than the next look needs. */
	shown.rows = malloc((s->n ? s->n : 1) * sizeof(*shown.rows));
	if (!shown.rows)
		return -ENOMEM;
	if (s->n > 0) {
		memcpy(shown.rows, s->rows, s->n * sizeof(*shown.rows));
		qsort(shown.rows, s->n, sizeof(*shown.rows), by_activity);
	}
	/* Home, and what is left of the last picture away. */
	printf("\033[H\033[J%s: %zu disks attached.  q ends.\n", mnt, s->n);
	r = print_table(&shown, true, rows_that_fit());
	(void)fflush(stdout);
	free(shown.rows);
	return r;
}

static int
run(const char *mnt, bool keys)
{
	CLEANUP(sample_done) struct sample before = { .rows = NULL };
	int r;

	do {
		CLEANUP(sample_done) struct sample s = { .rows = NULL };

		r = look(mnt, &s);
		if (r < 0)
			return r;
		r = draw(mnt, &s, &before);
		sample_done(&before);
		before = s;
		s = (struct sample){ .rows = NULL };
	} while (r == 0 && !wait_for_key(keys));
	return r;
}

static int
run_on_terminal(const char *mnt)
{
	struct termios saved, raw;
	bool keys = isatty(STDIN_FILENO) &&
		    tcgetattr(STDIN_FILENO, &saved) == 0;
	int r;

	copy_catch_signals();
	if (keys) {
		raw = saved;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	/* The other screen, no cursor, lines cut at the edge. */
	printf("\033[?1049h\033[?25l\033[?7l");
	r = run(mnt, keys);
	printf("\033[?7h\033[?25h\033[?1049l");
	(void)fflush(stdout);
	if (keys)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	return r;
}

int
cmd_top(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	CLEANUP(sample_done) struct sample s = { .rows = NULL };
	char mnt[PATH_MAX], hint[PATH_MAX + 64];
	bool once = false;
	const struct cmd_option own[] = {
		{ "once", NULL, &once },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r == 0)
		r = cmd_open(&e, 0);
	if (r)
		return r;
	r = cmd_find_mount(e.path, mnt);
	(void)snprintf(hint, sizeof(hint),
		       "`sealdisk mount %s MOUNTPOINT` mounts it", e.path);
	if (r < 0)
		return cmd_fail(
		    r, r == -ENOENT ? "the store is not mounted" : NULL, hint,
		    "top");
	if (!once && !cmd_globals.json && isatty(STDOUT_FILENO)) {
		r = run_on_terminal(mnt);
	} else {
		r = look(mnt, &s);
		if (r == 0 && cmd_globals.json)
			return print_json(&s);
		if (r == 0)
			r = print_table(&s, false, SIZE_MAX);
	}
	return r < 0 ? cmd_fail(r, NULL, NULL, "top %s", mnt) : 0;
}
