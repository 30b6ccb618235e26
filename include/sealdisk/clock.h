/*
 * clock.h - time that passes, from some beginning: it does not jump as the
 * wall's does.  For deadlines, budgets and how long something took.
 */
#ifndef SEALDISK_CLOCK_H
#define SEALDISK_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t
clock_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline int64_t
clock_us(void)
{
	return clock_ns() / 1000;
}

static inline int64_t
clock_ms(void)
{
	return clock_ns() / 1000000;
}

#endif
