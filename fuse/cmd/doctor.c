/*
 * doctor.c - `sealdisk doctor`: what costs speed or safety here, and how to
 * mend it.  It changes nothing.
 */
#include "doctor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

/* In the order in which they are told. */
static doctor_check *const checks[] = {
	doctor_dead,      doctor_disks,    doctor_itself,  doctor_keystore,
	doctor_root_key,  doctor_together, doctor_network, doctor_space,
	doctor_dumps,     doctor_swap,     doctor_slice,   doctor_old,
	doctor_loops,     doctor_aes,      doctor_kernel,  doctor_background,
	doctor_readahead, doctor_dirty,    doctor_files,   doctor_memory,
	doctor_flusher,   doctor_fstab,
};

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/*
 * Findings.
 */

void
doctor_add(struct doctor *d, enum doctor_severity s,
	   const struct doctor_words *w, const char *fmt, ...)
{
	static const char *const names[] = { "note", "warning", "serious" };
	char what[PATH_MAX + 512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	d->n_serious += s == SERIOUS;
	/* A path may be no UTF-8, and then no JSON. */
	for (char *p = what; !utf8_valid(what, strlen(what)) && *p; p++)
		if (*p & 0x80)
			*p = '?';
	(void)json_array_append_new(
	    d->findings, json_pack("{ss ss ss ss ss}", "severity", names[s],
				   "check", w->check, "what", what, "costs",
				   w->costs, "mend", w->mend));
}

static void
print_text(const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		(void)putchar(c < 0x20 || c == 0x7f ? '?' : c);
	}
}

static void
print_findings(const struct doctor *d)
{
	static const char *const keys[] = { "severity", "what", "costs",
					    "mend" };
	static const char *const after[] = { ": ", ": ", " (", ")\n" };
	json_t *f;
	size_t i;

	json_array_foreach(d->findings, i, f)
	{
		for (size_t k = 0; k < LEN(keys); k++) {
			print_text(
			    json_string_value(json_object_get(f, keys[k])));
			printf("%s", after[k]);
		}
	}
	if (json_array_size(d->findings) == 0)
		printf("Nothing was found, by %zu checks.\n", LEN(checks));
}

/*
 * Files.
 */

static bool path_va(const struct doctor *d, char ret[static PATH_MAX],
		    const char *fmt, va_list ap)
    __attribute__((__format__(__printf__, 3, 0)));

static bool
path_va(const struct doctor *d, char ret[static PATH_MAX], const char *fmt,
	va_list ap)
{
	int len = snprintf(ret, PATH_MAX, "%s", d->root), n;

	if (len < 0 || len >= PATH_MAX)
		return false;
	n = vsnprintf(ret + len, (size_t)(PATH_MAX - len), fmt, ap);
	return n >= 0 && n < PATH_MAX - len;
}

bool
doctor_path(const struct doctor *d, char ret[static PATH_MAX], const char *fmt,
	    ...)
{
	va_list ap;
	bool fits;

	va_start(ap, fmt);
	fits = path_va(d, ret, fmt, ap);
	va_end(ap);
	return fits;
}

bool
doctor_read(const struct doctor *d, char *ret, size_t cap, const char *fmt, ...)
{
	CLEANUP(close_fdp) int fd = -1;
	char path[PATH_MAX];
	ssize_t n = 1;
	size_t len = 0;
	va_list ap;
	bool fits;

	va_start(ap, fmt);
	fits = path_va(d, path, fmt, ap);
	va_end(ap);
	fd = fits ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return false;
	while (n > 0 && len < cap - 1) {
		n = read(fd, ret + len, cap - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	ret[len] = '\0';
	if (len > 0 && ret[len - 1] == '\n')
		ret[len - 1] = '\0';
	return n >= 0;
}

bool
doctor_find_line(const char *text, const char *key, char *ret, size_t cap)
{
	size_t len = strlen(key);
	const char *next;

	while (strncmp(text, key, len) != 0) {
		next = strchr(text, '\n');
		if (!next)
			return false;
		text = next + 1;
	}
	text += len;
	text += strspn(text, " \t");
	len = strcspn(text, " \t\n");
	(void)snprintf(ret, cap, "%.*s", (int)len, text);
	return true;
}

FILE *
doctor_open(const struct doctor *d, const char *path)
{
	char full[PATH_MAX];

	return doctor_path(d, full, "%s", path) ? fopen(full, "re") : NULL;
}

bool
doctor_stat(const struct doctor *d, const char *path, struct stat *ret)
{
	char full[PATH_MAX];

	return doctor_path(d, full, "%s", path) && stat(full, ret) == 0;
}

void
doctor_list(struct doctor *d, const char *path,
	    void (*fn)(struct doctor *d, const char *name, void *arg),
	    void *arg)
{
	char full[PATH_MAX];
	struct dirent *ent;
	DIR *dir;

	dir = doctor_path(d, full, "%s", path) ? opendir(full) : NULL;
	while (dir && (ent = readdir(dir)))
		if (ent->d_name[0] != '.')
			fn(d, ent->d_name, arg);
	if (dir)
		(void)closedir(dir);
}

/*
 * The command.
 */

/* The store of the settings need not be there: mounts have theirs. */
static int
find_store(struct doctor *d)
{
	const char *given = cmd_globals.store;

	if (!given)
		given = getenv("SEALDISK_STORE");
	if (!given || !given[0])
		given = d->settings.store;
	if (!given[0])
		return 0;
	if (d->root[0] == '\0')
		return cmd_store_path(&d->settings, d->store);
	(void)snprintf(d->store, sizeof(d->store), "%s", given);
	return 0;
}

static void
doctor_done(struct doctor *d)
{
	for (size_t i = 0; i < d->n_fs; i++) {
		free(d->fs[i].where);
		free(d->fs[i].type);
		free(d->fs[i].source);
	}
	free(d->fs);
	json_decref(d->findings);
}

int
cmd_doctor(int argc, char **argv)
{
	CLEANUP(doctor_done) struct doctor d = { .store = "" };
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_settings(&d.settings);
	if (r)
		return r;
	/* It reads only, and says so: no harm where it is not a test. */
	d.root = getenv("SEALDISK_DOCTOR_ROOT");
	if (!d.root)
		d.root = "";
	if (d.root[0])
		cmd_note("doctor: looking at %s in place of this machine",
			 d.root);
	d.findings = json_array();
	r = find_store(&d);
	if (r)
		return r;
	if (!d.findings || doctor_mounts(&d) < 0)
		return cmd_fail(-ENOMEM, NULL, NULL, "doctor");
	for (size_t i = 0; i < LEN(checks); i++)
		checks[i](&d);
	if (cmd_globals.json)
		r = cmd_print_json(json_incref(d.findings));
	else
		print_findings(&d);
	if (r == 0 && d.n_serious > 0)
		r = cmd_fail(-ECANCELED, "serious", "", "doctor: %u of %zu",
			     d.n_serious, json_array_size(d.findings));
	return r;
}
