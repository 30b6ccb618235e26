/*
 * resize.c - `sealdisk resize NAME SIZE`: larger or smaller, in use too.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/codec.h>
#include <sealdisk/log.h>

#include "disk.h"

/* What the disk holds now: that of a disk in use, its daemon knows. */
static uint64_t
size_now(const struct descriptor *d, const char *path)
{
	struct stat st;

	return path[0] && stat(path, &st) == 0 ? (uint64_t)st.st_size : d->size;
}

static int
confirm_shrink(const char *name, uint64_t from, uint64_t to)
{
	char a[16], b[16];

	if (to >= from)
		return 0;
	format_size(from, a);
	format_size(to, b);
	return cmd_confirm("Disk %s shrinks from %s to %s: what lies behind "
			   "that will be gone for good.",
			   name, a, b);
}

/* Loop devices over the disk learn its new size. */
static void
tell_loops(const char *path)
{
	struct loop_list loops;
	int r;

	loop_find(path, &loops);
	for (size_t i = 0; i < loops.n; i++) {
		r = loop_resized(loops.dev[i]);
		if (r < 0)
			cmd_note("resize: %s does not know the new size: %s "
				 "(losetup -c tells it)",
				 loops.dev[i], err_text(r));
	}
}

static int
resize_in_mount(const char *path, uint64_t size)
{
	if (truncate(path, (off_t)size) < 0)
		return -errno;
	tell_loops(path);
	return 0;
}

static int
resize_in_store(struct cmd_env *e, const char *name, uint64_t size)
{
	const struct engine_options opt = { .mount_point = "" };
	CLEANUP(engine_closep) struct engine *eng = NULL;
	CLEANUP(scratch_freep) struct scratch *scratch = NULL;
	struct disk *disk = NULL;
	int r, r2;

	r = engine_open(e->store, e->kms, &opt, &eng);
	if (r == 0)
		r = scratch_new(&scratch);
	if (r == 0)
		r = disk_attach(eng, DESC_DISK, name, 0, &disk);
	if (r < 0)
		return r;
	r = disk_resize(disk, scratch, size);
	scratch_wipe(scratch);
	r2 = disk_detach(disk);
	return r < 0 ? r : r2;
}

/*
 * The engine takes the lock by itself; ours only told that it is free.  Between
 * the two a daemon may attach the disk: then the answer is -EBUSY.
 */
static int
resize(struct cmd_env *e, const struct descriptor *d, uint64_t size)
{
	struct store_lock *lock = NULL;
	char path[PATH_MAX] = "";
	int r;

	r = cmd_lock(e, d, &lock, path);
	if (r)
		return r;
	store_unlock(lock);
	if (lock)
		path[0] = '\0';
	r = confirm_shrink(d->name, size_now(d, path), size);
	if (r == 0 && lock)
		r = cmd_open_kms(&e->settings, &e->kms);
	if (r)
		return r;
	r = lock ? resize_in_store(e, d->name, size)
		 : resize_in_mount(path, size);
	return r < 0 ? cmd_fail(r, NULL, NULL, "resize %s", d->name) : 0;
}

int
cmd_resize(int argc, char **argv)
{
	CLEANUP(cmd_close) struct cmd_env e = { .path = "" };
	struct descriptor d;
	uint64_t size;
	int r;

	r = cmd_parse(&argc, &argv, NULL);
	if (r == 0)
		r = cmd_parse_disk_size(argv[1], &size);
	if (r == 0)
		r = cmd_open(&e, 0);
	if (r == 0)
		r = cmd_load(&e, argv[0], &d);
	return r ? r : resize(&e, &d, size);
}
