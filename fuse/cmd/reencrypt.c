/*
 * reencrypt.c - `sealdisk reencrypt NAME`: a new data key, and all that the
 * disk holds copied under it, while the disk is in use.
 *
 * Where the store is mounted its daemon does it, and goes on when the command
 * has ended; else this command does it itself.  Snapshots, images and clones
 * that stand on what was there before keep the old data key: they are named at
 * the end.
 */
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <sealdisk/ioctl.h>
#include <sealdisk/kms.h>
#include <sealdisk/log.h>

#include "copy.h"
#include "disk.h"

#define POLL_MS 100

struct reencrypt {
	struct cmd_env env;
	struct descriptor d;
	const char *key; /* --key, or NULL */
	uint64_t rate;
	bool background, status;
	struct progress *bar;
	uint64_t done, total;
	int told;            /* the error that was told last */
	bool running;        /* it is going on */
	enum desc_type type; /* while holders are listed */
	struct uuid old[DESC_KEYS_MAX];
	size_t n_old;
	json_t *holders;
};

static void
reencrypt_done(struct reencrypt *re)
{
	progress_free(re->bar);
	json_decref(re->holders);
	cmd_close(&re->env);
}

static int
fail(const struct reencrypt *re, int err)
{
	const char *why = NULL, *hint = NULL;

	if (err == -E2BIG) {
		why = "it has as many data keys as can be";
		hint = "its snapshots' ones among them: remove some";
	} else if (err == -EROFS) {
		why = "it is read-only, or writing to it has failed";
	} else if (err == -ENOTTY) {
		why = "its daemon is an older program";
		hint = "mount the store anew, and try again";
	} else if (err == -EPERM) {
		why = "a new data key is for root and the daemon's user";
	}
	return cmd_fail(err, why, hint, "reencrypt %s", re->d.name);
}

/* ---- the old data keys ---- */

/* Of a disk that is being reencrypted, all but the new one. */
static void
note_old(struct reencrypt *re)
{
	for (size_t i = 0; i < re->d.n_keys; i++)
		if (!re->d.reencrypting ||
		    !uuid_equal(&re->d.keys[i].uuid, &re->d.key))
			re->old[re->n_old++] = re->d.keys[i].uuid;
}

static int
add_holder(const char *name, void *arg)
{
	struct reencrypt *re = arg;
	struct descriptor d;
	struct cmd_target t;
	bool has = false;

	if (catalog_load(re->env.catalog, re->type, name, &d, NULL, NULL) < 0 ||
	    uuid_equal(&d.uuid, &re->d.uuid))
		return 0;
	for (size_t i = 0; i < re->n_old; i++)
		has |= descriptor_key(&d, &re->old[i]) != NULL;
	if (!has)
		return 0;
	cmd_target_of(re->type, name, &t);
	return json_array_append_new(re->holders, json_string(t.text)) < 0
		   ? -ENOMEM
		   : 0;
}

static int
report(struct reencrypt *re)
{
	const char *state = re->running  ? "running"
			    : re->status ? "idle"
					 : "done";
	json_t *item;
	size_t i;
	int r = 0;

	progress_free(TAKE(re->bar));
	re->holders = json_array();
	for (re->type = DESC_DISK; r == 0 && re->type <= DESC_IMAGE; re->type++)
		r = catalog_list(re->env.catalog, re->type, add_holder, re);
	if (r < 0)
		return fail(re, r);
	if (cmd_globals.json)
		return cmd_print_json(
		    json_pack("{ss ss sI sI sO}", "name", re->d.name, "state",
			      state, "done", (json_int_t)re->done, "total",
			      (json_int_t)re->total, "holders", re->holders));
	if (re->status)
		printf("%s\n", state);
	else if (re->running)
		return 0; /* --background: nothing is known yet */
	json_array_foreach(re->holders, i, item)
	    printf("%s has the old data key\n", json_string_value(item));
	return 0;
}

/* ---- how far it is ---- */

static void
show(struct reencrypt *re, uint64_t done, uint64_t total, int err)
{
	if (!re->bar || re->total != total) {
		progress_free(re->bar);
		re->bar =
		    progress_new(cmd_globals.progress, "reencrypt", total, "B");
	}
	re->done = done;
	re->total = total;
	progress_update(re->bar, done);
	if (err && err != re->told)
		cmd_note("reencrypt %s: %s; it is tried again", re->d.name,
			 err_text(err));
	re->told = err;
}

static int
interrupted(const struct reencrypt *re, const char *hint)
{
	return cmd_fail(-ECANCELED, "interrupted", hint, "reencrypt %s",
			re->d.name);
}

/* ---- by the daemon ---- */

static int
ask(int fd, struct sd_ioc_reencrypt *arg)
{
	return ioctl(fd, SD_IOC_REENCRYPT, arg) < 0 ? -errno : 0;
}

static int
look_in_mount(struct reencrypt *re, int fd)
{
	struct sd_ioc_reencrypt arg = { .start = 0 };
	int r = ask(fd, &arg);

	if (r < 0)
		return fail(re, r);
	re->running = arg.running;
	if (arg.running)
		show(re, arg.done, arg.total, -(int)arg.error);
	return 0;
}

static int
wait_in_mount(struct reencrypt *re, int fd)
{
	int r = look_in_mount(re, fd);

	while (r == 0 && re->running && !re->background &&
	       !copy_interrupted()) {
		usleep(POLL_MS * 1000);
		r = look_in_mount(re, fd);
		if (r == 0 && re->told == -EROFS)
			return fail(re, -EROFS);
	}
	if (r == 0 && re->running && !re->background)
		return interrupted(re, "it goes on in the background");
	return r;
}

/* To open the disk attaches it. */
static int
in_mount(struct reencrypt *re, const char *path)
{
	struct sd_ioc_reencrypt arg = { .start = 1, .rate = re->rate };
	CLEANUP(close_fdp) int disk = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP(close_fdp) int fd = -1;
	char info[PATH_MAX];
	int r;

	if (disk < 0)
		return fail(re, -errno);
	r = cmd_info_path(path, info);
	if (r == 0)
		fd = open(info, O_RDONLY | O_CLOEXEC);
	if (r == 0 && fd < 0)
		r = -errno;
	(void)snprintf(arg.key, sizeof(arg.key), "%s", re->key ? re->key : "");
	if (r == 0)
		r = ask(fd, &arg);
	return r < 0 ? fail(re, r) : wait_in_mount(re, fd);
}

/* ---- by this command ---- */

static int
wait_here(struct reencrypt *re, struct disk *disk)
{
	struct reencrypt_state st;

	while ((re->running = disk_reencrypting(disk, &st)) &&
	       !copy_interrupted()) {
		show(re, st.done, st.total, st.error);
		if (st.error == -EROFS)
			return -EROFS;
		usleep(POLL_MS * 1000);
	}
	return re->running ? -ECANCELED : 0;
}

static int
with_disk(struct reencrypt *re, struct disk *disk)
{
	CLEANUP(scratch_freep) struct scratch *scratch = NULL;
	int r = scratch_new(&scratch);

	if (r == 0)
		r = disk_reencrypt(disk, scratch, re->key, re->rate);
	if (r == -EALREADY)
		r = 0;
	return r == 0 ? wait_here(re, disk) : r;
}

static int
in_store(struct reencrypt *re)
{
	const struct engine_options opt = { .mount_point = "" };
	CLEANUP(engine_closep) struct engine *eng = NULL;
	struct disk *disk;
	int r, r2;

	r = engine_open(re->env.store, re->env.kms, &opt, &eng);
	if (r == 0)
		r = disk_attach(eng, DESC_DISK, re->d.name, 0, &disk);
	if (r < 0)
		return fail(re, r);
	r = with_disk(re, disk);
	r2 = disk_detach(disk);
	if (r == 0)
		r = r2;
	if (r == -ECANCELED)
		return interrupted(re, "it goes on when the disk is attached");
	return r < 0 ? fail(re, r) : cmd_sweep(&re->env, re->d.name);
}

/* ---- where ---- */

/* The disk in the mount of the store; "": there is none.  Who else has it is
 * named. */
static int
find_path(struct reencrypt *re, char path[static PATH_MAX])
{
	CLEANUP(store_unlockp) struct store_lock *lock = NULL;
	char mnt[PATH_MAX];
	struct cmd_target t;
	int r = cmd_lock(&re->env, &re->d, &lock, path);

	if (r || !lock)
		return r;
	path[0] = '\0';
	if (cmd_find_mount(re->env.path, mnt) < 0)
		return 0;
	cmd_target_of(DESC_DISK, re->d.name, &t);
	r = cmd_path_in(mnt, false, &t, path);
	return r < 0 ? fail(re, r) : 0;
}

static int
run(struct reencrypt *re)
{
	char path[PATH_MAX];
	int r;

	note_old(re);
	r = find_path(re, path);
	if (r)
		return r;
	if (!path[0] && re->background)
		return cmd_fail(-ENODEV, "the store is not mounted",
				"without --background the command does it "
				"itself",
				"reencrypt %s", re->d.name);
	copy_catch_signals();
	if (!path[0] && !re->env.kms)
		r = cmd_open_kms(&re->env.settings, &re->env.kms);
	if (r == 0)
		r = path[0] ? in_mount(re, path) : in_store(re);
	return r ? r : report(re);
}

/* What is known of it, whoever has it. */
static int
tell(struct reencrypt *re)
{
	struct sd_ioc_reencrypt arg = { .start = 0 };
	CLEANUP(close_fdp) int fd = -1;
	char mnt[PATH_MAX], info[PATH_MAX];
	struct cmd_target t;

	re->running = re->d.reencrypting;
	if (re->running)
		note_old(re);
	cmd_target_of(DESC_DISK, re->d.name, &t);
	if (cmd_find_mount(re->env.path, mnt) == 0 &&
	    cmd_path_in(mnt, true, &t, info) == 0)
		fd = open(info, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && ask(fd, &arg) == 0 && arg.running) {
		re->done = arg.done;
		re->total = arg.total;
	}
	return report(re);
}

/* Before anything is done. */
static int
check_key(struct reencrypt *re)
{
	struct kms_key_info k;
	int r;

	if (!re->key)
		return 0;
	r = kms_describe_key(re->env.kms, re->key, &k);
	return r < 0 ? cmd_fail(r, NULL, NULL, "reencrypt %s: key %s",
				re->d.name, re->key)
		     : 0;
}

int
cmd_reencrypt(int argc, char **argv)
{
	CLEANUP(reencrypt_done) struct reencrypt re = { .key = NULL };
	const char *rate = NULL;
	const struct cmd_option own[] = {
		{ "key", &re.key, NULL },
		{ "rate", &rate, NULL },
		{ "background", NULL, &re.background },
		{ "status", NULL, &re.status },
		{ NULL, NULL, NULL },
	};
	struct cmd_target t;
	int r;

	r = cmd_parse(&argc, &argv, own);
	if (r == 0 && re.status && (re.key || rate || re.background))
		r = cmd_usage("--status alone");
	if (r == 0 && rate && parse_size(rate, &re.rate) < 0)
		r = cmd_usage("rate %s: bytes a second, or with K, M, G or T",
			      rate);
	if (r == 0 && re.key)
		r = cmd_check_key(re.key);
	if (r == 0)
		r = cmd_parse_name(argv[0], CMD_TYPE(DESC_DISK), &t);
	if (r == 0)
		r = cmd_open(&re.env, re.key      ? CMD_KMS | CMD_CHANGE
				      : re.status ? 0
						  : CMD_CHANGE);
	if (r == 0)
		r = cmd_load_target(&re.env, &t, &re.d);
	if (r == 0)
		r = check_key(&re);
	if (r)
		return r;
	return re.status ? tell(&re) : run(&re);
}
