/*
 * import.c - `sealdisk import FILE NAME`: a new disk with the content of an
 * image.
 *
 * A raw image is read here and written by the engine, with the disk's lock
 * held.  Of another format qemu-img writes the disk as a file (place.h).  A
 * disk that did not become whole is removed again.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/codec.h>

#include "copy.h"
#include "disk.h"
#include "place.h"
#include "qemu.h"

struct import {
	struct cmd_env e;
	char file[PATH_MAX]; /* absolute */
	int fd;
	const char *format;
	uint64_t content; /* bytes of the image's disk */
	struct disk_params p;
	struct descriptor d;
};

static void
import_done(struct import *im)
{
	if (im->fd >= 0)
		(void)close(im->fd);
	cmd_close(&im->e);
}

/*
 * The command line, and the image.
 */

static int
parse_format(const char *name, struct import *im)
{
	im->format = qemu_format(name, false);
	if (im->format)
		return 0;
	return cmd_usage("format %s: %s", name, qemu_format_names(false));
}

static int
parse(int argc, char **argv, struct import *im)
{
	const char *size = NULL, *sector = NULL, *format = NULL;
	const struct cmd_option own[] = {
		{ "size", &size, NULL },
		{ "key", &im->p.key, NULL },
		{ "kind", &im->p.kind, NULL },
		{ "category", &im->p.category, NULL },
		{ "sector-size", &sector, NULL },
		{ "format", &format, NULL },
		{ NULL, NULL, NULL },
	};
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r)
		return r;
	im->p.name = argv[1];
	r = cmd_check_name(im->p.name);
	if (r == 0 && strcmp(argv[0], "-") == 0)
		r = cmd_usage("-: an image is read in places; name a file");
	if (r == 0 && size)
		r = cmd_parse_disk_size(size, &im->p.size);
	if (r == 0 && sector)
		r = cmd_parse_sector_size(sector, &im->p.sector_size);
	if (r == 0 && im->p.kind)
		r = cmd_check_kind(im->p.kind);
	if (r == 0 && im->p.category)
		r = cmd_check_category(im->p.category);
	if (r == 0 && format)
		r = parse_format(format, im);
	if (r == 0 && !realpath(argv[0], im->file))
		r = cmd_fail(-errno, NULL, NULL, "import %s", argv[0]);
	return r;
}

static int
open_image(struct import *im)
{
	struct stat st;
	off_t size;

	/* Nobody may ever write to a FIFO that we wait for. */
	im->fd = open(im->file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (im->fd < 0 || fstat(im->fd, &st) < 0)
		return cmd_fail(-errno, NULL, NULL, "import %s", im->file);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return cmd_fail(-EINVAL,
				"it is neither a file nor a block device", "",
				"import %s", im->file);
	size = lseek(im->fd, 0, SEEK_END);
	if (size < 0)
		return cmd_fail(-errno, NULL, NULL, "import %s", im->file);
	im->content = (uint64_t)size;
	if (!im->format)
		im->format = qemu_detect(im->fd, im->content);
	if (strcmp(im->format, "raw") == 0)
		return 0;
	return qemu_size(im->file, im->format, &im->content);
}

/* The disk's size: what was asked for, or the image's in whole sectors. */
static int
choose_size(struct import *im)
{
	char has[16], size[16];

	if (im->content > DISK_SIZE_MAX)
		return cmd_fail(-EFBIG, "a disk has at most 120T", "",
				"import %s", im->file);
	format_size(im->content, has);
	format_size(im->p.size, size);
	if (im->p.size && im->p.size < im->content)
		return cmd_usage("size %s: the image has %s", size, has);
	if (!im->p.size)
		im->p.size = (im->content + 511) / 512 * 512;
	if (!im->p.size)
		return cmd_fail(-EINVAL, "it is empty", "--size says a size",
				"import %s", im->file);
	return 0;
}

/*
 * The content.
 */

static int
fail_copy(const struct import *im, bool reading, int err)
{
	if (err == -ECANCELED)
		return cmd_fail(err, "interrupted", "", "import %s", im->file);
	if (reading)
		return cmd_fail(err,
				err == -ENODATA ? "it became shorter" : NULL,
				NULL, "import %s: read it", im->file);
	return cmd_fail(err, NULL, NULL, "import %s to %s", im->file,
			im->p.name);
}

static int
copy_raw(struct import *im, struct engine *eng)
{
	CLEANUP(scratch_freep) struct scratch *scratch = NULL;
	struct copy_end from = { .fd = im->fd }, to = { .fd = -1 };
	bool reading = false;
	int r, r2;

	r = scratch_new(&scratch);
	if (r == 0)
		r = disk_attach(eng, DESC_DISK, im->p.name, 0, &to.disk);
	if (r < 0)
		return fail_copy(im, false, r);
	to.scratch = scratch;
	r = copy_image("import", &from, &to, im->content, &reading);
	scratch_wipe(scratch);
	r2 = disk_detach(to.disk); /* commits */
	if (r < 0)
		return fail_copy(im, reading, r);
	return r2 < 0 ? fail_copy(im, false, r2) : 0;
}

static int
import_raw(struct import *im)
{
	const struct engine_options opt = { .mount_point = "" };
	CLEANUP(engine_closep) struct engine *eng = NULL;
	int r = engine_open(im->e.store, im->e.kms, &opt, &eng);

	(void)posix_fadvise(im->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return r < 0 ? fail_copy(im, false, r) : copy_raw(im, eng);
}

static int
import_other(struct import *im)
{
	struct cmd_target t;
	struct place place;
	int r, r2;

	cmd_target_of(DESC_DISK, im->p.name, &t);
	r = place_open(&im->e, &t, true, &place);
	if (r)
		return r;
	r = qemu_to_disk(im->file, im->format, place.path, im->content);
	r2 = place_close(&place);
	if (r == 0 && r2 < 0)
		r = fail_copy(im, false, r2);
	return r;
}

/*
 * The disk.
 */

static int
make(struct import *im)
{
	const char *why = NULL;
	int r;

	if (!im->p.key)
		im->p.key = im->e.settings.kms_key;
	if (!im->p.kind)
		im->p.kind = "data";
	r = cmd_check_key(im->p.key);
	if (r)
		return r;
	r = catalog_create(im->e.catalog, im->e.kms, &im->p, &im->d, NULL);
	if (r == -EEXIST)
		why = "there is a disk of that name, or snapshots of one";
	if (r == -ENOKEY || r == -EKEYREVOKED || r == -EKEYEXPIRED ||
	    r == -EKEYREJECTED)
		return cmd_fail(r, NULL, NULL, "import to %s: key %s",
				im->p.name, im->p.key);
	return r < 0 ? cmd_fail(r, why, NULL, "import to %s", im->p.name) : 0;
}

/* What has been told is why; a disk with half of its content is no disk. */
static void
take_back(struct import *im)
{
	char path[PATH_MAX], mnt[PATH_MAX];
	bool more = true;
	int len, r;

	r = catalog_remove(im->e.catalog, DESC_DISK, im->p.name);
	/* Its daemon has not let go of it yet. */
	if (r == -EBUSY && cmd_find_mount(im->e.path, mnt) == 0) {
		len = snprintf(path, sizeof(path), "%s/disks/%s", mnt,
			       im->p.name);
		if (len > 0 && (size_t)len < sizeof(path))
			r = unlink(path) < 0 ? -errno : 0;
	}
	if (r < 0 && r != -ENOENT)
		cmd_note("import: the disk %s is not whole, and could not be "
			 "removed (`sealdisk rm %s` does it)",
			 im->p.name, im->p.name);
	while (r == 0 && more)
		r = catalog_sweep(im->e.catalog, 1000, &more);
}

static int
print(const struct import *im)
{
	const struct desc_key *k = descriptor_key(&im->d, &im->d.key);
	char uuid[UUID_STR_LEN];

	if (!cmd_globals.json)
		return 0;
	uuid_format(&im->d.uuid, uuid);
	return cmd_print_json(
	    json_pack("{ss ss sI ss ss}", "name", im->d.name, "uuid", uuid,
		      "size", (json_int_t)im->d.size, "key_id",
		      k ? k->dk.key_id : "", "format", im->format));
}

int
cmd_import(int argc, char **argv)
{
	CLEANUP(import_done)
	struct import im = {
		.fd = -1,
		.p = { .sector_size = 512,
		       .uid = geteuid(),
		       .gid = getegid(),
		       .mode = 0600 },
	};
	int r;

	r = parse(argc, argv, &im);
	if (r == 0)
		r = open_image(&im);
	if (r == 0)
		r = choose_size(&im);
	if (r == 0)
		r = cmd_open(&im.e, CMD_KMS | CMD_CHANGE);
	if (r == 0)
		copy_catch_signals();
	if (r == 0)
		r = make(&im);
	if (r)
		return r;
	r = strcmp(im.format, "raw") == 0 ? import_raw(&im) : import_other(&im);
	if (r) {
		take_back(&im);
		return r;
	}
	return print(&im);
}
