/*
 * progress.c - how far a long command has come.
 *
 * The bar is drawn over itself with a carriage return; it ends with a newline
 * so that what follows stands alone.  A line of JSON is complete in itself: a
 * program that reads them needs no state.
 */
#include <sealdisk/progress.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sealdisk/codec.h>

#define BAR_LEN 30
#define INTERVAL_NS INT64_C(100000000)

struct progress {
	enum progress_mode mode;
	const char *op, *unit;
	uint64_t done, total;
	int64_t shown_at;
	size_t width; /* of the line on the terminal */
};

static int64_t
now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

struct progress *
progress_new(enum progress_mode mode, const char *op, uint64_t total,
	     const char *unit)
{
	struct progress *p = calloc(1, sizeof(*p));

	/* Without memory the command goes on without a bar. */
	if (!p)
		return NULL;
	if (mode == PROGRESS_AUTO)
		mode = isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_NONE;
	p->mode = mode;
	p->op = op;
	p->total = total;
	p->unit = unit;
	return p;
}

static void
show_json(const struct progress *p)
{
	char line[256];
	int len;

	/* ${op} and ${unit} are words of ours, in need of no escapes. */
	len = snprintf(line, sizeof(line),
		       "{\"op\":\"%s\",\"done\":%llu,\"total\":%llu,"
		       "\"unit\":\"%s\"}\n",
		       p->op, (unsigned long long)p->done,
		       (unsigned long long)p->total, p->unit);
	if (len > 0 && (size_t)len < sizeof(line))
		(void)fputs(line, stderr);
	(void)fflush(stderr);
}

static void
format_count(const struct progress *p, uint64_t n, char out[static 64])
{
	char size[16];

	if (strcmp(p->unit, "B") == 0) {
		format_size(n, size);
		(void)snprintf(out, 64, "%s", size);
	} else {
		(void)snprintf(out, 64, "%llu %s", (unsigned long long)n,
			       p->unit);
	}
}

static void
show_bar(struct progress *p)
{
	char done[64], total[64], line[256], bar[BAR_LEN + 1];
	uint64_t at = p->done < p->total ? p->done : p->total;
	double part = p->total ? (double)at / (double)p->total : 0;
	int len;

	format_count(p, p->done, done);
	if (p->total == 0) {
		len = snprintf(line, sizeof(line), "%s: %s", p->op, done);
	} else {
		memset(bar, '.', BAR_LEN);
		memset(bar, '#', (size_t)(part * BAR_LEN));
		bar[BAR_LEN] = '\0';
		format_count(p, p->total, total);
		len = snprintf(line, sizeof(line), "%s [%s] %3d %%  %s of %s",
			       p->op, bar, (int)(part * 100), done, total);
	}
	if (len < 0 || (size_t)len >= sizeof(line))
		return;
	/* Blanks over what a longer line has left. */
	(void)fprintf(stderr, "\r%-*s", (int)p->width, line);
	(void)fflush(stderr);
	p->width = (size_t)len;
}

static void
show(struct progress *p)
{
	if (p->mode == PROGRESS_JSON)
		show_json(p);
	else if (p->mode == PROGRESS_BAR)
		show_bar(p);
}

void
progress_update(struct progress *p, uint64_t done)
{
	int64_t now;

	if (!p || p->mode == PROGRESS_NONE)
		return;
	p->done = done;
	now = now_ns();
	if (p->shown_at != 0 && now - p->shown_at < INTERVAL_NS)
		return;
	p->shown_at = now;
	show(p);
}

void
progress_free(struct progress *p)
{
	if (!p)
		return;
	show(p);
	if (p->mode == PROGRESS_BAR)
		(void)fputc('\n', stderr);
	free(p);
}
