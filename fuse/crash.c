/*
 * crash.c - the handler of the signals that are the end of a process.
 *
 * In it nothing is called that allocates or locks: what is in memory is listed
 * before, and backtrace(3) has loaded what it needs when it was called once.
 */
#include "crash.h"

#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#define OBJECTS_MAX 64
#define STACK 16384

struct object {
	char name[32];
	uintptr_t base, end;
};

static struct {
	struct keep *keep;
	struct object objects[OBJECTS_MAX];
	unsigned n_objects;
	atomic_bool taken; /* the first one that dies tells */
} crash;

static __thread const struct keep_request *request;
static __thread char alternate[STACK];

void
crash_request(const struct keep_request *q)
{
	request = q;
}

static void
name_frame(uintptr_t pc, struct keep_frame *f)
{
	f->offset = pc;
	strcpy(f->object, "?");
	for (unsigned i = 0; i < crash.n_objects; i++) {
		const struct object *o = &crash.objects[i];

		if (pc < o->base || pc >= o->end)
			continue;
		memcpy(f->object, o->name, sizeof(f->object));
		f->offset = pc - o->base;
		return;
	}
}

/* Three of one request are enough (pending.c). */
static void
suspect(const struct keep_request *q)
{
	struct keep_suspect *s, *found = NULL;

	for (unsigned i = 0; i < KEEP_SUSPECTS && !found; i++) {
		s = &crash.keep->suspects[i];
		if (s->request.unique == q->unique)
			found = s;
	}
	for (unsigned i = 0; i < KEEP_SUSPECTS && !found; i++) {
		s = &crash.keep->suspects[i];
		if (s->request.unique == 0)
			found = s;
	}
	if (!found) {
		found = &crash.keep->suspects[q->unique % KEEP_SUSPECTS];
		atomic_store(&found->deaths, 0);
	}
	found->request = *q;
	atomic_fetch_add(&found->deaths, 1);
}

static void
tell(int sig, uintptr_t address)
{
	struct keep_crash *c = &crash.keep->crash;
	void *frames[KEEP_FRAMES];
	int n = backtrace(frames, KEEP_FRAMES);

	c->n_frames = n > 0 ? (uint32_t)n : 0;
	for (uint32_t i = 0; i < c->n_frames; i++)
		name_frame((uintptr_t)frames[i], &c->frames[i]);
	c->address = address;
	memset(&c->request, 0, sizeof(c->request));
	if (request) {
		c->request = *request;
		suspect(request);
	}
	(void)prctl(PR_GET_NAME, c->thread);
	atomic_store(&c->signal, (uint32_t)sig);
}

static void
on_crash(int sig, siginfo_t *si, void *context)
{
	(void)context;
	if (!atomic_exchange(&crash.taken, true))
		tell(sig, (uintptr_t)si->si_addr);
	/* The handler was for once: this time it is the end. */
	(void)raise(sig);
}

static int
add_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct object *o = &crash.objects[crash.n_objects];
	const char *slash = strrchr(info->dlpi_name, '/');

	(void)size;
	(void)arg;
	if (crash.n_objects == OBJECTS_MAX)
		return 1;
	(void)snprintf(o->name, sizeof(o->name), "%s",
		       slash              ? slash + 1
		       : *info->dlpi_name ? info->dlpi_name
					  : "sealdisk");
	o->base = info->dlpi_addr;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t end = o->base + p->p_vaddr + p->p_memsz;

		if (p->p_type == PT_LOAD && end > o->end)
			o->end = end;
	}
	crash.n_objects++;
	return 0;
}

void
crash_thread(void)
{
	const stack_t st = { .ss_sp = alternate, .ss_size = sizeof(alternate) };

	if (crash.keep)
		(void)sigaltstack(&st, NULL);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

/* The sanitizer tells of it, and better. */
void
crash_init(struct keep *k)
{
	(void)k;
	(void)on_crash;
	(void)add_object;
}

#else

void
crash_init(struct keep *k)
{
	static const int signals[] = { SIGSEGV, SIGBUS,  SIGILL,
				       SIGFPE,  SIGABRT, SIGSYS };
	struct sigaction sa = {
		.sa_sigaction = on_crash,
		.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND),
	};
	void *frame;

	crash.keep = k;
	(void)backtrace(&frame, 1);
	(void)dl_iterate_phdr(add_object, NULL);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &sa, NULL);
	crash_thread();
}

#endif
