/*
 * fault_kms.h - a key service that fails and lies when a test says so.
 *
 * It stands between a struct kms and what serves it.  Calls are counted from
 * kms_fault_arm() on: those for data keys, keys that are described, anchors.
 */
#ifndef SEALDISK_FAULT_KMS_H
#define SEALDISK_FAULT_KMS_H

#include <stdbool.h>

#include <sealdisk/kms.h>

enum kms_harm {
	HARM_REFUSED, /* an error, and nothing was done */
	HARM_LOST,    /* an error, and it was done */
	/* Success, with an answer that is none: */
	HARM_WRONG, /* another key each time; a generation never reached */
	HARM_EMPTY, /* nothing in it */
	HARM_LONG,  /* a blob as long as there can be one */
	HARM_FLIP,  /* a bit of it changed */
	HARM_OTHER, /* the answer to somebody else's question of the same kind,
		     * which is good in itself */
	KMS_NHARM
};

struct kms_fault {
	unsigned nth; /* 1: the next call; 0: none */
	bool lasting; /* and all that follow */
	enum kms_harm harm;
	int err; /* of the first two */
};

/* From now on the calls of ${k} go through here; one at a time. */
void kms_fault_install(struct kms *k);

void kms_fault_arm(const struct kms_fault *f);
/* Whether any has failed since, and how many were made. */
bool kms_fault_fired(void);
unsigned kms_fault_calls(void);

/* Called while an answer is waited for, in all calls; NULL: nothing is. */
void kms_fault_late(void (*fn)(void));

#endif
