/*
 * freeze.c - disks as they are at this moment, under a new name.
 *
 * A disk that is attached is frozen by whoever has it, at a flush barrier: by
 * its daemon, which is told by a link(2) in its mount, or where there are
 * several disks, by an ioctl; it attaches those that are not.  Where none is
 * attached, this command attaches them all itself.
 */
#include "freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <sealdisk/ioctl.h>

#include "snapshot.h"

_Static_assert(FREEZE_MAX == SD_IOC_DISKS, "the daemon takes as many");

#define TRIES 5 /* between our look and our attach somebody may be faster */
#define SEAL_SECONDS 2

/* Several are told apart by what they are called. */
static int
fail(const struct descriptor *d, size_t n, int err)
{
	const char *why = NULL, *hint = NULL;

	if (err == -EEXIST)
		return err;
	if (err == -E2BIG) {
		why = "there are too many snapshots below it";
		hint = "`sealdisk rm` removes some";
	} else if (err == -EROFS) {
		why = "it is read-only, or writing to it has failed";
	} else if (err == -EBUSY) {
		why = "somebody has attached it just now";
		hint = "try again";
	} else if (err == -EPERM && geteuid() != 0) {
		why = "that is for its owner and root";
	} else if (err == -ENOTTY || err == -EOPNOTSUPP || err == -EPERM) {
		why = "the daemon that has it attached is an older program";
		hint = "detach it, and try again";
	}
	if (n > 1)
		return cmd_fail(err, why, hint, "%s: %zu disks at one instant",
				cmd_name(), n);
	return cmd_fail(err, why, hint, "%s %s", cmd_name(), d->name);
}

/* ---- in a mount ---- */

static int
link_one(const char *mnt, const struct descriptor *d,
	 const struct cmd_target *to)
{
	char from_path[PATH_MAX], to_path[PATH_MAX];
	struct cmd_target from;
	int r;

	cmd_target_of(DESC_DISK, d->name, &from);
	r = cmd_path_in(mnt, false, &from, from_path);
	if (r == 0)
		r = cmd_path_in(mnt, false, to, to_path);
	if (r < 0)
		return r;
	return link(from_path, to_path) < 0 ? -errno : 0;
}

static int
snapshot_several(const char *mnt, const char *name, const struct descriptor *d,
		 size_t n)
{
	CLEANUP(close_fdp)
	int fd = open(mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct sd_ioc_snapshot arg = { .n = (uint32_t)n };

	if (fd < 0)
		return -errno;
	(void)snprintf(arg.name, sizeof(arg.name), "%s", name);
	for (size_t i = 0; i < n; i++)
		(void)snprintf(arg.disks[i], sizeof(arg.disks[i]), "%s",
			       d[i].name);
	return ioctl(fd, SD_IOC_SNAPSHOT, &arg) < 0 ? -errno : 0;
}

static int
in_mount(const char *mnt, enum desc_type type, const char *name,
	 const struct descriptor *d, size_t n)
{
	char full[CMD_NAME_LEN];
	struct cmd_target to;

	if (n > 1)
		return snapshot_several(mnt, name, d, n);
	(void)snprintf(full, sizeof(full), "%s%s%s",
		       type == DESC_SNAPSHOT ? d->name : "",
		       type == DESC_SNAPSHOT ? "@" : "", name);
	cmd_target_of(type, full, &to);
	return link_one(mnt, d, &to);
}

/* ---- here ---- */

/* Detach what has been attached; the first error counts. */
static int
let_go(struct disk **disks, size_t n, int r)
{
	int r2;

	for (size_t i = 0; i < n; i++) {
		r2 = disk_detach(disks[i]);
		if (r == 0)
			r = r2;
	}
	return r;
}

/* What was frozen just now is known best by who has done it.  The rest is for a
 * mount. */
static void
seal(struct engine *eng)
{
	time_t until = time(NULL) + SEAL_SECONDS;

	while (time(NULL) < until && engine_seal(eng, NULL) > 0)
		;
}

static int
with_engine(struct engine *eng, enum desc_type type, const char *name,
	    const struct descriptor *d, size_t n)
{
	CLEANUP(scratch_freep) struct scratch *scratch = NULL;
	struct snapshot_request reqs[FREEZE_MAX];
	struct disk *disks[FREEZE_MAX];
	size_t have = 0;
	int r;

	r = scratch_new(&scratch);
	while (r == 0 && have < n) {
		r = disk_attach(eng, DESC_DISK, d[have].name, 0, &disks[have]);
		if (r < 0)
			break;
		reqs[have] =
		    (struct snapshot_request){ disks[have], type, name };
		have++;
	}
	if (r == 0) {
		r = disks_snapshot(eng, scratch, reqs, n);
		scratch_wipe(scratch);
		if (r == 0)
			seal(eng);
	}
	return let_go(disks, have, r);
}

static int
in_store(struct cmd_env *e, enum desc_type type, const char *name,
	 const struct descriptor *d, size_t n)
{
	const struct engine_options opt = { .mount_point = "" };
	CLEANUP(engine_closep) struct engine *eng = NULL;
	int r;

	r = engine_open(e->store, e->kms, &opt, &eng);
	return r < 0 ? r : with_engine(eng, type, name, d, n);
}

/* ---- where ---- */

/* MNT/disks/NAME is in ${mnt}, which is "" as long as none is known. */
static int
take_mount(const struct descriptor *d, const char *path,
	   char mnt[static PATH_MAX])
{
	size_t len = strlen(path) - strlen("/disks/") - strlen(d->name);

	if (!mnt[0]) {
		(void)snprintf(mnt, PATH_MAX, "%.*s", (int)len, path);
		return 0;
	}
	if (strlen(mnt) == len && strncmp(mnt, path, len) == 0)
		return 0;
	return cmd_fail(-EBUSY, "another mount has other ones of them",
			"detach it there first", "%s %s", cmd_name(), path);
}

/* The mount that has any of them, or ""; who else has one is named. */
static int
find_mount(struct cmd_env *e, const struct descriptor *d, size_t n,
	   char mnt[static PATH_MAX])
{
	struct store_lock *lock;
	char path[PATH_MAX];
	int r = 0;

	mnt[0] = '\0';
	for (size_t i = 0; r == 0 && i < n; i++) {
		lock = NULL;
		r = cmd_lock(e, &d[i], &lock, path);
		if (r == 0 && !lock)
			r = take_mount(&d[i], path, mnt);
		store_unlock(lock);
	}
	return r;
}

int
freeze_disks(struct cmd_env *e, enum desc_type type, const char *name,
	     const struct descriptor *d, size_t n)
{
	char mnt[PATH_MAX];
	int r = -EBUSY;

	for (int i = 0; r == -EBUSY && i < TRIES; i++) {
		r = find_mount(e, d, n, mnt);
		if (r == 0 && !mnt[0] && !e->kms)
			r = cmd_open_kms(&e->settings, &e->kms);
		if (r)
			return r;
		r = mnt[0] ? in_mount(mnt, type, name, d, n)
			   : in_store(e, type, name, d, n);
	}
	return r < 0 ? fail(d, n, r) : 0;
}
