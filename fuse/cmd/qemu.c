/*
 * qemu.c - disk images in other formats than raw, through qemu-img(1).
 */
#include "qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <sealdisk/io.h>
#include <sealdisk/progress.h>

#include "cmd.h"
#include "copy.h"
#include "program.h"

#define INFO_MAX 65536 /* bytes of JSON about an image */

/*
 * Formats.
 */

static const struct {
	const char *format, *magic;
	size_t len, off;
} magics[] = {
	{ "qcow2", "QFI\xfb", 4, 0 },
	{ "vmdk", "KDMV", 4, 0 },
	{ "vmdk", "COWD", 4, 0 },
	{ "vmdk", "# Disk DescriptorFile", 21, 0 },
	{ "vpc", "conectix", 8, 0 },
	{ "vhdx", "vhdxfile", 8, 0 },
	{ "vdi", "\x7f\x10\xda\xbe", 4, 64 },
};

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

const char *
qemu_format(const char *name, bool write)
{
	static const char *const all[] = { "raw",  "qcow2", "vpc",
					   "vmdk", "vhdx",  "vdi" };

	if (strcmp(name, "vhd") == 0)
		name = "vpc";
	for (size_t i = 0; i < (write ? 4 : LEN(all)); i++)
		if (strcmp(name, all[i]) == 0)
			return all[i];
	return NULL;
}

const char *
qemu_format_names(bool write)
{
	return write ? "raw, qcow2, vpc (VHD) or vmdk"
		     : "raw, qcow2, vpc (VHD), vmdk, vhdx or vdi";
}

/* A VHD of fixed size is a raw image with a footer of 512 bytes. */
static bool
is_fixed_vhd(int fd, uint64_t size)
{
	char footer[512];

	return size > sizeof(footer) &&
	       io_pread_all(fd, footer, sizeof(footer),
			    size - sizeof(footer)) == 0 &&
	       memcmp(footer, "conectix", 8) == 0 &&
	       memcmp(footer + 60, "\0\0\0\2", 4) == 0;
}

const char *
qemu_detect(int fd, uint64_t size)
{
	char head[512] = "";
	size_t len = size < sizeof(head) ? (size_t)size : sizeof(head);

	if (io_pread_all(fd, head, len, 0) < 0)
		return "raw"; /* which will fail to be read again */
	for (size_t i = 0; i < LEN(magics); i++)
		if (memcmp(head + magics[i].off, magics[i].magic,
			   magics[i].len) == 0)
			return magics[i].format;
	return is_fixed_vhd(fd, size) ? "vpc" : "raw";
}

/*
 * Running it.
 */

static const char *const places[] = {
	"/usr/bin/qemu-img",
	"/usr/local/bin/qemu-img",
	"/bin/qemu-img",
};

static const char *
find_program(void)
{
	for (size_t i = 0; i < LEN(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return NULL;
}

/* ${args}: what follows the program's name, up to NULL. */
static int
run_it(const char *file, const char *const *args,
       void (*fn)(const char *text, size_t len, void *arg), void *arg)
{
	char said[PROGRAM_SAID_MAX];
	const char *argv[24] = { "qemu-img" };
	const char *path = find_program();
	int r;

	if (!path)
		return cmd_fail(-EOPNOTSUPP, "qemu-img is not installed",
				"on Debian: qemu-utils; raw images need none",
				"%s %s", cmd_name(), file);
	for (size_t i = 0; args[i] && i + 2 < LEN(argv); i++)
		argv[i + 1] = args[i];
	r = program_run(path, argv, fn, arg, said);
	if (r == -ECANCELED)
		return cmd_fail(-ECANCELED, "interrupted", "", "%s %s",
				cmd_name(), file);
	if (r == -ECHILD)
		return cmd_fail(-EIO, said, "", "%s %s: qemu-img", cmd_name(),
				file);
	return r < 0 ? cmd_fail(r, NULL, NULL, "%s %s: %s", cmd_name(), file,
				path)
		     : 0;
}

/*
 * What an image is.
 */

struct text {
	char buf[INFO_MAX];
	size_t len;
};

static void
collect(const char *text, size_t len, void *arg)
{
	struct text *t = arg;

	if (len > sizeof(t->buf) - t->len)
		len = sizeof(t->buf) - t->len;
	memcpy(t->buf + t->len, text, len);
	t->len += len;
}

/* An image can name any file of this machine as a part of itself, and whoever
 * made it may not be who imports it. */
static const char *
names_another(const json_t *info, const char *file)
{
	const char *other = NULL;
	json_t *data, *extents, *extent;
	size_t i;

	other = json_string_value(json_object_get(info, "backing-filename"));
	data =
	    json_object_get(json_object_get(info, "format-specific"), "data");
	if (!other)
		other = json_string_value(json_object_get(data, "data-file"));
	extents = json_object_get(data, "extents");
	json_array_foreach(extents, i, extent)
	{
		const char *name =
		    json_string_value(json_object_get(extent, "filename"));

		if (!other && name && strcmp(name, file) != 0)
			other = name;
	}
	return other;
}

static int
check_info(const json_t *info, const char *file, uint64_t *ret)
{
	const json_t *size = json_object_get(info, "virtual-size");
	const char *other = names_another(info, file);

	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return cmd_fail(-EIO, "it says nothing of the image's size", "",
				"%s %s: qemu-img", cmd_name(), file);
	if (other)
		return cmd_fail(-EINVAL, "its content lies in another file too",
				"if it is trusted, `qemu-img convert` makes "
				"one file of them",
				"%s %s: %s", cmd_name(), file, other);
	if (json_is_true(json_object_get(info, "encrypted")))
		return cmd_fail(-EINVAL, "it is encrypted by itself",
				"decrypt it with `qemu-img convert` first",
				"%s %s", cmd_name(), file);
	*ret = (uint64_t)json_integer_value(size);
	return 0;
}

int
qemu_size(const char *file, const char *format, uint64_t *ret)
{
	const char *const args[] = { "info",          "-f", format,
				     "--output=json", file, NULL };
	CLEANUP(free_memp) struct text *t = calloc(1, sizeof(*t));
	CLEANUP(cmd_json_freep) json_t *info = NULL;
	int r;

	if (!t)
		return cmd_fail(-ENOMEM, NULL, NULL, "%s %s", cmd_name(), file);
	r = run_it(file, args, collect, t);
	if (r)
		return r;
	info = json_loadb(t->buf, t->len, 0, NULL);
	return check_info(info, file, ret);
}

/*
 * Converting.
 */

struct percent {
	struct progress *progress;
	uint64_t size;
	char text[64]; /* since the last carriage return */
	size_t len;
};

/* "    (12.50/100%)\r" */
static void
take_percent(const char *text, size_t len, void *arg)
{
	struct percent *p = arg;
	double part;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\r' && text[i] != '\n') {
			if (p->len < sizeof(p->text) - 1)
				p->text[p->len++] = text[i];
			continue;
		}
		p->text[p->len] = '\0';
		p->len = 0;
		if (p->progress && sscanf(p->text, " (%lf", &part) == 1 &&
		    part >= 0 && part <= 100)
			progress_update(
			    p->progress,
			    (uint64_t)(part * 0.01 * (double)p->size));
	}
}

static int
convert(const char *file, const char *const *args, uint64_t size)
{
	CLEANUP(progress_freep)
	struct progress *p =
	    progress_new(cmd_globals.progress, cmd_name(), size, "B");
	struct percent percent = { .progress = p, .size = size };

	return run_it(file, args, take_percent, &percent);
}

int
qemu_to_disk(const char *file, const char *format, const char *disk,
	     uint64_t size)
{
	/* The disk is new.  Without the page cache, several at once, in any
	 * order: nothing reads it meanwhile. */
	const char *const args[] = {
		"convert", "-p", "-n",   "--target-is-zero",
		"-W",      "-m", "8",    "-t",
		"none",    "-f", format, "-O",
		"raw",     file, disk,   NULL,
	};

	return convert(file, args, size);
}

int
qemu_from_disk(const char *disk, const char *file, const char *format,
	       uint64_t size)
{
	/* By default a VHD's size is rounded up to what old disks' cylinders,
	 * heads and sectors come to. */
	bool vpc = strcmp(format, "vpc") == 0;
	const char *const args[] = {
		"convert",
		"-p",
		"-T",
		"none",
		"-t",
		"writeback",
		"-f",
		"raw",
		"-O",
		format,
		vpc ? "-o" : disk,
		vpc ? "subformat=dynamic,force_size=on" : file,
		vpc ? disk : NULL,
		file,
		NULL,
	};

	return convert(file, args, size);
}
