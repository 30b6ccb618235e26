/*
 * helper_snapshot.c - what tests/stream.sh asks of the engine: a snapshot of a
 * disk that is detached, and the content of a snapshot or image.
 *
 *	helper_snapshot STORE take DISK@NAME
 *	helper_snapshot STORE cat DISK@NAME|image:NAME
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>
#include <sealdisk/settings.h>

#include "snapshot.h"

#define BUF_LEN (1u << 20)

static int
take(struct engine *e, struct scratch *s, char *name)
{
	struct snapshot_request q = { .type = DESC_SNAPSHOT };
	char *at = strchr(name, '@');
	int r, r2;

	if (!at)
		return -EINVAL;
	*at = '\0';
	q.name = at + 1;
	r = disk_attach(e, DESC_DISK, name, 0, &q.disk);
	if (r < 0)
		return r;
	r = disks_snapshot(e, s, &q, 1);
	r2 = disk_detach(q.disk);
	return r < 0 ? r : r2;
}

static int
cat(struct engine *e, struct scratch *s, const char *name)
{
	bool image = strncmp(name, "image:", 6) == 0;
	CLEANUP(free_memp) char *buf = malloc(BUF_LEN);
	struct disk *d;
	int r, r2;

	if (!buf)
		return -ENOMEM;
	r = disk_attach(e, image ? DESC_IMAGE : DESC_SNAPSHOT,
			image ? name + 6 : name, 0, &d);
	if (r < 0)
		return r;
	for (uint64_t off = 0; r == 0 && off < disk_size(d); off += BUF_LEN) {
		uint64_t left = disk_size(d) - off;
		size_t len = left < BUF_LEN ? (size_t)left : BUF_LEN;

		r = disk_read(d, s, buf, len, off);
		if (r == 0)
			r = io_write_all(STDOUT_FILENO, buf, len);
	}
	r2 = disk_detach(d);
	return r < 0 ? r : r2;
}

static int
run(const struct settings *s, char **argv)
{
	const struct engine_options opt = { .mount_point = "" };
	CLEANUP(scratch_freep) struct scratch *scratch = NULL;
	CLEANUP(kms_closep) struct kms *kms = NULL;
	CLEANUP(store_freep) struct store *st = NULL;
	CLEANUP(engine_closep) struct engine *e = NULL;
	int r;

	r = scratch_new(&scratch);
	if (r == 0)
		r = kms_open(s, &kms);
	if (r == 0)
		r = store_posix_open(argv[1], &st);
	if (r == 0)
		r = engine_open(st, kms, &opt, &e);
	if (r < 0)
		return r;
	return strcmp(argv[2], "take") == 0 ? take(e, scratch, argv[3])
					    : cat(e, scratch, argv[3]);
}

int
main(int argc, char **argv)
{
	CLEANUP(free_memp) char *msg = NULL;
	static struct settings s;
	int r;

	if (argc != 4)
		return 2;
	r = crypto_init();
	if (r == 0)
		r = settings_load(&s, NULL, &msg);
	if (r == 0)
		r = run(&s, argv);
	if (r < 0)
		(void)fprintf(stderr, "helper_snapshot: %s\n", err_text(r));
	return r < 0;
}
