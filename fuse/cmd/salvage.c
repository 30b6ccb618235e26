/*
 * salvage.c - `sealdisk check NAME --salvage NEW`.
 *
 * The new disk has a data key of its own: nothing of it hangs on what is
 * damaged.  The old one is only read, but that it is attached.
 */
#include "salvage.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <sealdisk/codec.h>
#include <sealdisk/progress.h>

#include "copy.h"
#include "disk.h"

#define PIECE (512U << 10) /* a group of the store, */
#define GRAIN 4096U        /* and a block */

struct salvage {
	struct cmd_env e;
	struct cmd_target from;
	struct descriptor d;
	const char *to;
	struct engine *engine;
	struct disk *src, *dst;
	struct scratch *scratch;
	struct progress *progress;
	uint8_t *buf; /* PIECE */
	uint64_t size, saved, lost;
	uint64_t lost_from, lost_to; /* the range that is being found */
	json_t *ranges;
};

static int
fail(const struct salvage *sv, int err, const char *what)
{
	return cmd_fail(err, err == -ECANCELED ? "interrupted" : NULL, NULL,
			"check %s --salvage %s: %s", sv->from.text, sv->to,
			what);
}

static int
fail_attach(const struct salvage *sv, int err)
{
	return cmd_fail(
	    err, NULL,
	    err == -EBADMSG || err == -EUCLEAN ? CMD_REPAIR_HINT : NULL,
	    "check %s --salvage %s: attach it", sv->from.text, sv->to);
}

/* ---- what is lost ---- */

static int
end_range(struct salvage *sv)
{
	uint64_t off = sv->lost_from, len = sv->lost_to - sv->lost_from;

	if (len == 0)
		return 0;
	sv->lost += len;
	sv->lost_from = sv->lost_to = 0;
	if (!cmd_globals.json)
		printf("lost at %" PRIu64 ", %" PRIu64 " bytes\n", off, len);
	return json_array_append_new(
		   sv->ranges, json_pack("{sI sI}", "offset", (json_int_t)off,
					 "length", (json_int_t)len)) == 0
		   ? 0
		   : -ENOMEM;
}

static int
lose(struct salvage *sv, uint64_t off, uint64_t len)
{
	int r = 0;

	if (sv->lost_to != off)
		r = end_range(sv);
	if (sv->lost_to != off || sv->lost_from == sv->lost_to)
		sv->lost_from = off;
	sv->lost_to = off + len;
	return r;
}

/* ---- copying ---- */

static bool
is_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static int
save(struct salvage *sv, size_t len, uint64_t off)
{
	sv->saved += len;
	return is_zero(sv->buf, len)
		   ? 0
		   : disk_write(sv->dst, sv->scratch, sv->buf, len, off);
}

static int
copy_blocks(struct salvage *sv, uint64_t off, size_t len)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i += GRAIN) {
		size_t n = len - i < GRAIN ? len - i : GRAIN;

		r = disk_read(sv->src, sv->scratch, sv->buf, n, off + i);
		if (disk_is_damage(r))
			r = lose(sv, off + i, n);
		else if (r == 0)
			r = save(sv, n, off + i);
	}
	return r;
}

static int
copy_piece(struct salvage *sv, uint64_t off)
{
	size_t n = sv->size - off < PIECE ? (size_t)(sv->size - off) : PIECE;
	int r;

	r = disk_read(sv->src, sv->scratch, sv->buf, n, off);
	if (disk_is_damage(r))
		return copy_blocks(sv, off, n);
	return r == 0 ? save(sv, n, off) : r;
}

/* Where nothing says that there is a hole, it is read. */
static int
skip_hole(struct salvage *sv, uint64_t *off)
{
	uint64_t at;
	int r = disk_seek(sv->src, sv->scratch, *off, true, &at);

	if (r == -ENXIO)
		*off = sv->size;
	else if (r == 0)
		*off = at / PIECE * PIECE > *off ? at / PIECE * PIECE : *off;
	return r == -ENXIO || disk_is_damage(r) ? 0 : r;
}

static int
copy_all(struct salvage *sv)
{
	uint64_t off = 0;
	int r = 0;

	while (r == 0 && off < sv->size) {
		r = copy_interrupted() ? -ECANCELED : skip_hole(sv, &off);
		if (r == 0 && off < sv->size)
			r = copy_piece(sv, off);
		off += PIECE;
		progress_update(sv->progress, off < sv->size ? off : sv->size);
	}
	return r == 0 ? end_range(sv) : r;
}

/* ---- the disks ---- */

static int
make(struct salvage *sv)
{
	const struct desc_key *k = descriptor_key(&sv->d, &sv->d.key);
	const struct disk_params p = {
		.name = sv->to,
		.size = sv->d.size,
		.sector_size = sv->d.sector_size,
		.kind = sv->d.kind,
		.category = sv->d.category,
		.key = k ? k->dk.key_id : sv->e.settings.kms_key,
		.uid = sv->d.uid,
		.gid = sv->d.gid,
		.mode = sv->d.mode,
	};
	struct descriptor d;
	int r = catalog_create(sv->e.catalog, sv->e.kms, &p, &d, NULL);

	return r < 0 ? fail(sv, r, "make the new disk") : 0;
}

/* What has been told is why; a disk with half of what can be read is none. */
static int
take_back(struct salvage *sv, int err)
{
	bool more = true;
	int r = catalog_remove(sv->e.catalog, DESC_DISK, sv->to);

	if (r < 0)
		cmd_note("check: the disk %s is not whole, and could not be "
			 "removed (`sealdisk rm %s` does it)",
			 sv->to, sv->to);
	while (r == 0 && more)
		r = catalog_sweep(sv->e.catalog, 1000, &more);
	return err;
}

static int
with_disks(struct salvage *sv)
{
	int r, r2;

	r = disk_attach(sv->engine, sv->from.type, sv->from.name,
			DISK_READ_ONLY, &sv->src);
	if (r < 0)
		return fail_attach(sv, r);
	sv->size = disk_size(sv->src);
	r = make(sv);
	if (r == 0) {
		r = disk_attach(sv->engine, DESC_DISK, sv->to, 0, &sv->dst);
		if (r == 0) {
			r = copy_all(sv);
			r2 = disk_detach(sv->dst);
			r = r == 0 ? r2 : r;
		}
		if (r < 0)
			r = take_back(sv, fail(sv, r, "copy"));
	}
	(void)!disk_detach(sv->src);
	return r;
}

static int
run(struct salvage *sv)
{
	const struct engine_options opt = { .mount_point = "" };
	int r;

	sv->ranges = json_array();
	sv->buf = malloc(PIECE);
	r = sv->buf && sv->ranges ? scratch_new(&sv->scratch) : -ENOMEM;
	if (r == 0)
		r = engine_open(sv->e.store, sv->e.kms, &opt, &sv->engine);
	if (r < 0)
		return fail(sv, r, "open the store");
	sv->progress =
	    progress_new(cmd_globals.progress, "salvage", sv->d.size, "B");
	copy_catch_signals();
	r = with_disks(sv);
	progress_free(TAKE(sv->progress));
	return r;
}

static void
salvage_done(struct salvage *sv)
{
	if (sv->buf)
		secret_wipe(sv->buf, PIECE);
	free(sv->buf);
	scratch_free(sv->scratch);
	engine_close(sv->engine);
	json_decref(sv->ranges);
	cmd_close(&sv->e);
}

static int
print(struct salvage *sv)
{
	char text[16];

	if (cmd_globals.json)
		return cmd_print_json(json_pack(
		    "{ss ss sI sO}", "name", sv->from.text, "salvaged", sv->to,
		    "lost", (json_int_t)sv->lost, "ranges", sv->ranges));
	format_size(sv->size, text);
	printf("%s: what can be read of %s, but for %" PRIu64 " bytes\n",
	       sv->to, text, sv->lost);
	return 0;
}

int
salvage_disk(const struct cmd_target *t, const char *name)
{
	CLEANUP(salvage_done) struct salvage sv = { .from = *t, .to = name };
	int r;

	r = cmd_check_name(name);
	if (r == 0)
		r = cmd_open(&sv.e, CMD_KMS | CMD_CHANGE);
	if (r == 0)
		r = cmd_load_target(&sv.e, &sv.from, &sv.d);
	if (r == 0)
		r = run(&sv);
	if (r)
		return r;
	r = print(&sv);
	if (r || sv.lost == 0)
		return r;
	return cmd_fail(-EBADMSG, "not all of it could be read", "",
			"check %s --salvage %s", sv.from.text, name);
}
