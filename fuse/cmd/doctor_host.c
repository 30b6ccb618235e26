/*
 * doctor_host.c - checks of the machine: processor, kernel, swap, fstab.
 */
#include "doctor.h"

#include <stdlib.h>
#include <string.h>

#include "cmd.h"

#define KERNEL_MAJOR 6 /* the oldest that is supported: 6.1 */
#define KERNEL_MINOR 1

void
doctor_kernel(struct doctor *d)
{
	static const struct doctor_words w = {
		"kernel",
		"it is not supported, and serves FUSE more slowly",
		"update it",
	};
	char text[128];
	int major, minor;

	if (doctor_read(d, text, sizeof(text), "/proc/sys/kernel/osrelease") &&
	    sscanf(text, "%d.%d", &major, &minor) == 2 &&
	    (major < KERNEL_MAJOR ||
	     (major == KERNEL_MAJOR && minor < KERNEL_MINOR)))
		doctor_add(d, WARNING, &w,
			   "the kernel is Linux %s, older "
			   "than %d.%d",
			   text, KERNEL_MAJOR, KERNEL_MINOR);
}

/* "flags : fpu ... aes" of x86, "Features : fp asimd aes" of Arm; of others it
 * cannot be told. */
void
doctor_aes(struct doctor *d)
{
	static const struct doctor_words w = {
		"aes",
		"each block costs ten times as much to encrypt and decrypt",
		"in a virtual machine: have the host pass the flag on",
	};
	CLEANUP(free_memp) char *line = NULL;
	FILE *f = doctor_open(d, "/proc/cpuinfo");
	bool told = false, aes = false;
	size_t cap = 0;
	char *save;

	while (f && !told && getline(&line, &cap, f) > 0) {
		told = strncmp(line, "flags", 5) == 0 ||
		       strncmp(line, "Features", 8) == 0;
		save = NULL;
		for (char *word = strtok_r(line, " \t\n", &save); told && word;
		     word = strtok_r(NULL, " \t\n", &save))
			aes = aes || strcmp(word, "aes") == 0;
	}
	if (f)
		(void)fclose(f);
	if (told && !aes)
		doctor_add(d, WARNING, &w,
			   "the processor has no AES instructions");
}

/*
 * Swap.
 */

static bool
swap_is_safe(struct doctor *d, const char *path, const char *type)
{
	const struct doctor_fs *fs;
	char dev[64];

	/* In memory; with a backing device it is on that, which is seldom. */
	if (strncmp(path, "/dev/zram", 9) == 0)
		return true;
	if (strcmp(type, "partition") == 0)
		return doctor_is_crypt(d, strrchr(path, '/') + 1);
	fs = doctor_fs_of(d, path);
	if (!fs)
		return false;
	(void)snprintf(dev, sizeof(dev), "%u:%u", fs->major, fs->minor);
	return doctor_is_crypt(d, dev);
}

void
doctor_swap(struct doctor *d)
{
	static const struct doctor_words w = {
		"swap",
		"what programs have read from a disk can lie there in the "
		"clear, and stay",
		"encrypt swap, with a key made anew at each boot, or do "
		"without",
	};
	CLEANUP(free_memp) char *line = NULL;
	FILE *f = doctor_open(d, "/proc/swaps");
	char path[PATH_MAX], type[32];
	size_t cap = 0;

	while (f && getline(&line, &cap, f) > 0) {
		if (line[0] != '/' ||
		    sscanf(line, "%4095s %31s", path, type) != 2)
			continue;
		cmd_unescape(path);
		if (!swap_is_safe(d, path, type))
			doctor_add(d, WARNING, &w,
				   "swap on %s is not encrypted", path);
	}
	if (f)
		(void)fclose(f);
}

/*
 * fstab.
 */

struct line {
	char spec[PATH_MAX], where[PATH_MAX], type[64], options[PATH_MAX];
};

static bool
read_line(const char *text, struct line *l)
{
	text += strspn(text, " \t");
	if (*text == '#' || sscanf(text, "%4095s %4095s %63s %4095s", l->spec,
				   l->where, l->type, l->options) != 4)
		return false;
	cmd_unescape(l->spec);
	cmd_unescape(l->where);
	return true;
}

/* Whether one of the options is ${name}, or begins with it and an =. */
static bool
has_option(const char *options, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = options; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (strncmp(p, name, len) == 0 &&
		    (p[len] == '\0' || p[len] == ',' || p[len] == '='))
			return true;
	}
	return false;
}

static bool
is_store_line(const struct line *l)
{
	return strcmp(l->type, "fuse.sealdisk") == 0 ||
	       strcmp(l->type, "sealdisk") == 0;
}

static void
look_store_line(struct doctor *d, const struct line *l)
{
	static const struct doctor_words w = {
		"fstab-netdev",
		"it is mounted before the network is there, and unmounted "
		"after it has gone; a boot stops where it fails",
		"add _netdev to its options",
	};
	const struct doctor_fs *fs = doctor_fs_of(d, l->spec);
	bool remote = strcmp(d->settings.kms_endpoint, "embedded") != 0 ||
		      (fs && doctor_is_network(fs));

	if (!has_option(l->options, "_netdev"))
		doctor_add(d, remote ? WARNING : NOTE, &w,
			   "the line of %s in fstab has no _netdev", l->where);
}

static void
look_disk_line(struct doctor *d, const struct line *l, const struct line *store)
{
	static const struct doctor_words order = {
		"fstab-order",
		"it may be tried before the store is mounted, and unmounted "
		"after it",
		"add x-systemd.requires-mounts-for= and the store's mount "
		"point",
	};
	static const struct doctor_words cycle = {
		"fstab-cycle",
		"it is wanted before the network, and its store after: at boot "
		"systemd drops one of them",
		"add _netdev to this line, too",
	};

	if (!has_option(l->options, "x-systemd.requires-mounts-for") &&
	    !has_option(l->options, "x-systemd.requires"))
		doctor_add(d, WARNING, &order,
			   "the line of %s in fstab does not wait for %s",
			   l->where, store->where);
	if (has_option(store->options, "_netdev") &&
	    !has_option(l->options, "_netdev") &&
	    !has_option(l->options, "noauto"))
		doctor_add(d, WARNING, &cycle,
			   "the line of %s in fstab has no _netdev, and that "
			   "of its store has",
			   l->where);
}

/* The disks on the store of one line. */
static void
look_at_disks(struct doctor *d, const struct line *store)
{
	CLEANUP(free_memp) char *text = NULL;
	CLEANUP(free_memp) struct line *l = malloc(sizeof(*l));
	FILE *f = doctor_open(d, "/etc/fstab");
	size_t cap = 0;

	while (f && l && getline(&text, &cap, f) > 0)
		if (read_line(text, l) && !is_store_line(l) &&
		    doctor_is_below(l->spec, store->where))
			look_disk_line(d, l, store);
	if (f)
		(void)fclose(f);
}

void
doctor_fstab(struct doctor *d)
{
	CLEANUP(free_memp) char *text = NULL;
	CLEANUP(free_memp) struct line *l = malloc(sizeof(*l));
	FILE *f = doctor_open(d, "/etc/fstab");
	size_t cap = 0;

	while (f && l && getline(&text, &cap, f) > 0) {
		if (!read_line(text, l) || !is_store_line(l))
			continue;
		look_store_line(d, l);
		look_at_disks(d, l);
	}
	if (f)
		(void)fclose(f);
}
