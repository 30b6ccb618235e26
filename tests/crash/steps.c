/*
 * steps.c - steps: by chance, by name, and in words.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops.h"

static void
random_range(struct step *st)
{
	static const unsigned shapes[] = { 512,      4096,      4096,
					   8192,     16 * KiB,  64 * KiB,
					   12 * KiB, 160 * KiB, 4096 };
	static const uint64_t places[] = { 0, 512 * KiB - 8 * KiB,
					   4 * MiB - 8 * KiB, 8 * MiB,
					   9 * MiB - 64 * KiB };
	unsigned unit = random_below(4) ? 4096 : random_below(2) ? 512 : 1;

	/* The same places come often. */
	st->off = places[random_below(5)] +
		  random_below(random_below(3) ? 32 * KiB : 4096) / unit * unit;
	st->len =
	    (random_below(shapes[random_below(9)]) / unit + 1) * (uint64_t)unit;
}

/* After a cut some ops are left out. */
static unsigned
weight(const struct op *op, bool second)
{
	return second && !op->second ? 0 : op->weight;
}

static unsigned
random_op(bool second)
{
	unsigned sum = 0, at, i;

	for (i = 0; i < n_ops; i++)
		sum += weight(&ops[i], second);
	at = random_below(sum);
	for (i = 0; at >= weight(&ops[i], second); i++)
		at -= weight(&ops[i], second);
	return i;
}

void
step_random(struct step *st, bool second)
{
	*st = (struct step){ .op = random_op(second),
			     .a = random_below(DISKS),
			     .b = random_below(SNAPS),
			     .seed = random_below(1u << 30) };
	random_range(st);
	if (strcmp(ops[st->op].name, "zero") == 0 && random_below(3) == 0) {
		st->off = (uint64_t)random_below(2) * 4 * MiB;
		st->len = 4 * MiB;
	}
	if (ops[st->op].len == OF_CHANGES)
		st->len = random_below(3)
			      ? 1 + random_below(random_below(2) ? 5 : 30)
			      : 0;
	if (ops[st->op].len == OF_DISK)
		st->len = random_below(2)
			      ? SIZE_MAX_OF_DISK
			      : 512 * (1 + (uint64_t)random_below(
					       SIZE_MAX_OF_DISK / 512));
}

struct step
step_named(const char *op, unsigned a, unsigned b, uint64_t off, uint64_t len)
{
	struct step st = { .a = a, .b = b, .off = off, .len = len };

	while (strcmp(ops[st.op].name, op) != 0)
		st.op++;
	st.seed = 1 + (unsigned)(off / 512 + len + 31 * a + 7 * b);
	return st;
}

void
step_print(const struct step *st)
{
	fprintf(stderr,
		"  %s disk %u snap %u off %" PRIu64 " len %" PRIu64
		" seed %u\n",
		ops[st->op].name, st->a, st->b, st->off, st->len, st->seed);
}
