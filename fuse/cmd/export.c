/*
 * export.c - `sealdisk export NAME FILE`: the content of a disk, snapshot or
 * image in the clear, in a new file that is its owner's alone.
 *
 * What is copied while somebody writes is the disk of no moment.  So a disk
 * that is open in a mount is refused, unless --live says that this is meant.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/io.h>

#include "copy.h"
#include "disk.h"
#include "place.h"
#include "qemu.h"

struct export
{
	struct cmd_env e;
	const char *file;   /* as given */
	char out[PATH_MAX]; /* absolute */
	int fd;
	bool made; /* the file is there, and ours */
	const char *format;
	bool live;
	uint64_t size;
	struct cmd_target t;
	struct descriptor d;
	char path[PATH_MAX]; /* of the disk in the mount that has it, or "" */
};

static void
export_done(struct export *x)
{
	if (x->fd >= 0)
		(void)close(x->fd);
	cmd_close(&x->e);
}

static int
parse(int *argc, char ***argv, struct export *x)
{
	const char *format = "raw";
	const char *given = NULL;
	const struct cmd_option own[] = {
		{ "format", &given, NULL },
		{ "live", NULL, &x->live },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(argc, argv, own);
	if (r)
		return r;
	if (given)
		format = given;
	x->format = qemu_format(format, true);
	x->file = (*argv)[1];
	if (!x->format)
		return cmd_usage("format %s: %s", format,
				 qemu_format_names(true));
	if (strcmp(x->file, "-") == 0)
		return cmd_usage("-: an image is written in places; name a "
				 "file");
	return 0;
}

/*
 * The disk.
 */

static int
fail(const struct export *x, bool reading, int err)
{
	if (err == -ECANCELED)
		return cmd_fail(err, "interrupted", "", "export %s", x->t.text);
	if (reading)
		return cmd_fail(err, NULL, NULL, "export %s: read it",
				x->t.text);
	return cmd_fail(err, NULL, NULL, "export %s to %s", x->t.text, x->file);
}

/* A daemon of this host has the disk.  0: it has let go of it, or --live. */
static int
quiesce(struct export *x)
{
	int r = place_detach(x->path);

	if (r == 0) {
		x->path[0] = '\0';
		return 0;
	}
	if (r == -EBUSY && x->live)
		return 0;
	if (r == -EBUSY)
		return cmd_fail(r, "it is in use, and would change meanwhile",
				"detach it; or --live exports what no moment "
				"has seen",
				"export %s", x->t.text);
	return fail(x, true, r);
}

static int
find_disk(struct export *x)
{
	struct store_lock *lock = NULL;
	struct stat st;
	int r;

	x->size = x->d.size;
	if (x->t.type != DESC_DISK) /* it does not change, whoever has it */
		return 0;
	r = cmd_lock(&x->e, &x->d, &lock, x->path);
	if (r)
		return r;
	if (lock) {
		store_unlock(lock);
		x->path[0] = '\0';
	} else {
		r = quiesce(x);
	}
	if (r == 0 && x->path[0]) {
		if (stat(x->path, &st) < 0)
			return fail(x, true, -errno);
		x->size = (uint64_t)st.st_size;
	}
	return r;
}

/*
 * The file.
 */

static int
absolute(const char *path, char ret[static PATH_MAX])
{
	char folder[PATH_MAX], real[PATH_MAX];
	const char *slash = strrchr(path, '/'), *name = path;
	int len;

	(void)snprintf(folder, sizeof(folder), ".");
	if (slash) {
		name = slash + 1;
		len = snprintf(folder, sizeof(folder), "%.*s",
			       (int)(slash - path + 1), path);
		if (len < 0 || (size_t)len >= sizeof(folder))
			return -ENAMETOOLONG;
	}
	if (!realpath(folder, real))
		return -errno;
	len = snprintf(ret, PATH_MAX, "%s/%s", strcmp(real, "/") ? real : "",
		       name);
	return len < 0 || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int
make_file(struct export *x)
{
	int r = absolute(x->file, x->out);

	if (r == 0) {
		x->fd =
		    open(x->out, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		r = x->fd < 0 ? -errno : 0;
	}
	x->made = r == 0;
	if (r == -EEXIST)
		return cmd_fail(r, NULL,
				"an image is never written over "
				"another file; name a new one",
				"export %s to %s", x->t.text, x->file);
	return r < 0 ? fail(x, false, r) : 0;
}

/* Everything of it on the medium. */
static int
settle_file(struct export *x)
{
	int r = io_fsync(x->fd);

	if (r == 0)
		r = io_sync_parent(AT_FDCWD, x->out);
	return r < 0 ? fail(x, false, r) : 0;
}

/*
 * The content.
 */

static int
copy_to_file(struct export *x, const struct copy_end *from, uint64_t size)
{
	const struct copy_end to = { .fd = x->fd };
	bool reading = false;
	int r;

	if (ftruncate(x->fd, (off_t)size) < 0)
		return fail(x, false, -errno);
	r = copy_image("export", from, &to, size, &reading);
	return r < 0 ? fail(x, reading, r) : 0;
}

static int
copy_disk(struct export *x, struct engine *eng)
{
	CLEANUP(scratch_freep) struct scratch *scratch = NULL;
	struct copy_end from = { .fd = -1 };
	int r, r2;

	r = scratch_new(&scratch);
	if (r == 0)
		r = disk_attach(eng, x->t.type, x->t.name, DISK_READ_ONLY,
				&from.disk);
	if (r < 0)
		return fail(x, true, r);
	from.scratch = scratch;
	x->size = disk_size(from.disk);
	r = copy_to_file(x, &from, x->size);
	scratch_wipe(scratch);
	r2 = disk_detach(from.disk);
	if (r == 0 && r2 < 0)
		r = fail(x, true, r2);
	return r;
}

static int
export_from_store(struct export *x)
{
	const struct engine_options opt = { .mount_point = "" };
	CLEANUP(engine_closep) struct engine *eng = NULL;
	int r;

	r = cmd_open_kms(&x->e.settings, &x->e.kms);
	if (r)
		return r;
	r = engine_open(x->e.store, x->e.kms, &opt, &eng);
	return r < 0 ? fail(x, true, r) : copy_disk(x, eng);
}

static int
export_from_mount(struct export *x)
{
	CLEANUP(close_fdp) int fd = open(x->path, O_RDONLY | O_CLOEXEC);
	const struct copy_end from = { .fd = fd };

	if (fd < 0)
		return fail(x, true, -errno);
	return copy_to_file(x, &from, x->size);
}

static int
export_other(struct export *x)
{
	struct place place;
	int r, r2 = 0;

	if (x->path[0])
		return qemu_from_disk(x->path, x->out, x->format, x->size);
	r = place_open(&x->e, &x->t, false, &place);
	if (r)
		return r;
	r = qemu_from_disk(place.path, x->out, x->format, x->size);
	r2 = place_close(&place);
	/* Opened by somebody meanwhile: perhaps for writing. */
	if (r == 0 && r2 < 0)
		r = fail(x, true, r2);
	return r;
}

static int
write_file(struct export *x)
{
	int r;

	if (strcmp(x->format, "raw") != 0)
		r = export_other(x);
	else if (x->path[0])
		r = export_from_mount(x);
	else
		r = export_from_store(x);
	return r ? r : settle_file(x);
}

int
cmd_export(int argc, char **argv)
{
	CLEANUP(export_done) struct export x = { .fd = -1 };
	int r;

	r = parse(&argc, &argv, &x);
	if (r == 0)
		r = cmd_parse_name(argv[0], CMD_ANY_TYPE, &x.t);
	if (r == 0)
		r = cmd_open(&x.e, 0);
	if (r == 0)
		r = cmd_load_target(&x.e, &x.t, &x.d);
	if (r == 0)
		r = find_disk(&x);
	if (r == 0)
		copy_catch_signals();
	if (r == 0)
		r = make_file(&x);
	if (r == 0)
		r = write_file(&x);
	if (r && x.made)
		(void)unlink(x.out);
	if (r)
		return r;
	if (!cmd_globals.json)
		return 0;
	return cmd_print_json(json_pack("{ss ss ss sI}", "name", x.t.text,
					"file", x.out, "format", x.format,
					"size", (json_int_t)x.size));
}
