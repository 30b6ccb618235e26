/*
 * scrub.c - `sealdisk scrub NAME`: every bit of a disk, snapshot or image
 * looked at.
 *
 * The daemon of the store's mount does it, in the background; where there is
 * none, one of a mount of the command's own.  What is told here is what stands
 * in its info file.
 */
#include "cmd_scrub.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <sealdisk/codec.h>
#include <sealdisk/io.h>
#include <sealdisk/ioctl.h>
#include <sealdisk/log.h>
#include <sealdisk/progress.h>

#include "cmd.h"
#include "copy.h"
#include "damage.h"
#include "each.h"
#include "place.h"

#define INFO_MAX 131072 /* bytes of an info file */
#define POLL_MS 200     /* at most; less while it may be short */

struct scrubbing {
	struct cmd_env e;
	struct cmd_target t;
	struct sd_ioc_scrub arg;
	struct place place;
	json_t *result; /* what [scrub] and [faults] say */
};

static void
scrubbing_done(struct scrubbing *s)
{
	json_decref(s->result);
	cmd_close(&s->e);
}

/* Then what could be made anew has been. */
static bool
is_repairing(const struct scrubbing *s)
{
	return strcmp(cmd_name(), "check") == 0 &&
	       (s->arg.flags & SD_SCRUB_REPAIR);
}

static int
fail(struct scrubbing *s, int err)
{
	const char *why = NULL, *hint = NULL;

	if (err == -EALREADY) {
		why = "a scrub of it is under way";
		hint = "`sealdisk scrub --stop` ends it";
	} else if (err == -ENOTTY) {
		why = "the daemon that has it attached is an older program";
		hint = "detach it, and try again";
	} else if (err == -EBUSY) {
		why = "somebody else has it attached";
	} else if (err == -EBADMSG || err == -EUCLEAN) {
		why = "it cannot be attached: its descriptor, a layer.ini or "
		      "a map is damaged";
		hint = is_repairing(s) ? "" : CMD_REPAIR_HINT;
	}
	return cmd_fail(err, why, hint, "%s %s", cmd_name(), s->t.text);
}

/* ---- what the info file says ---- */

static int
put_number_or_text(json_t *j, const char *key, const char *value)
{
	uint64_t n;
	json_t *v;

	v = parse_u64(value, &n) == 0 && n <= INT64_MAX
		? json_integer((json_int_t)n)
		: json_string(value);
	return json_object_set_new(j, key, v) == 0 ? 0 : -ENOMEM;
}

/* N = WHAT,OFFSET,LENGTH,repaired or nothing,FILE */
static int
put_fault(json_t *list, char *value)
{
	char *part[5], *save = value;
	uint64_t off, len;
	json_t *j;

	for (size_t i = 0; i < 5; i++)
		part[i] = i < 4 ? strsep(&save, ",") : save;
	if (!part[4] || parse_u64(part[1], &off) < 0 ||
	    parse_u64(part[2], &len) < 0)
		return -EPROTO;
	j = json_pack("{ss sI sI ss? sb}", "what", part[0], "offset",
		      (json_int_t)off, "length", (json_int_t)len, "file",
		      part[4][0] ? part[4] : NULL, "repaired",
		      part[3][0] != '\0');
	return json_array_append_new(list, j) == 0 ? 0 : -ENOMEM;
}

static int
parse_info(char *text, json_t *j, json_t *faults)
{
	char *line, *save = NULL, *eq, section = 0;
	int r = 0;

	for (line = strtok_r(text, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == '[') {
			section = strcmp(line, "[scrub]") == 0    ? 's'
				  : strcmp(line, "[faults]") == 0 ? 'f'
								  : 0;
			continue;
		}
		eq = strstr(line, " = ");
		if (!section || !eq)
			continue;
		*eq = '\0';
		r = section == 's' ? put_number_or_text(j, line, eq + 3)
				   : put_fault(faults, eq + 3);
	}
	return r;
}

/* -ENOENT: nothing is said of a scrub. */
static int
look(struct scrubbing *s)
{
	CLEANUP(free_memp) char *info = NULL;
	CLEANUP(cmd_json_freep) json_t *j = json_object();
	json_t *faults = json_array();
	size_t len;
	int r;

	if (json_object_set_new(j, "name", json_string(s->t.text)) < 0 ||
	    json_object_set_new(j, "faults", faults) < 0)
		return -ENOMEM;
	r = io_load(AT_FDCWD, s->place.info, INFO_MAX, &info, &len);
	if (r == 0)
		r = parse_info(info, j, faults);
	if (r == 0 && !json_object_get(j, "state"))
		r = -ENOENT;
	if (r < 0)
		return r;
	json_decref(s->result);
	s->result = json_incref(j);
	return 0;
}

static uint64_t
number(const json_t *j, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(j, key));
}

static const char *
text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

/* ---- doing it ---- */

static int
order(struct scrubbing *s, uint32_t flags)
{
	CLEANUP(close_fdp)
	int fd = open(s->place.info, O_RDONLY | O_CLOEXEC);
	struct sd_ioc_scrub arg = s->arg;

	struct sd_ioc_stats stats = { .version = 0 };
	int r;

	arg.flags = flags;
	if (fd < 0)
		return -errno;
	r = ioctl(fd, SD_IOC_SCRUB, &arg) < 0 ? -errno : 0;
	/* What is damaged so that it cannot be attached is not told apart by
	 * the errno of a file operation. */
	if (r == -EIO && ioctl(fd, SD_IOC_STATS, &stats) == 0 &&
	    stats.attach_error > 0 && stats.attach_error < 4096)
		r = -(int)stats.attach_error;
	return r;
}

static int
follow(struct scrubbing *s)
{
	CLEANUP(progress_freep) struct progress *p = NULL;
	unsigned wait_ms = 1;
	bool told = false;
	int r;

	copy_catch_signals();
	while ((r = look(s)) == 0 &&
	       strcmp(text(s->result, "state"), "running") == 0) {
		if (!p && number(s->result, "of") > 0)
			p = progress_new(cmd_globals.progress, cmd_name(),
					 number(s->result, "of"), "chunks");
		if (p)
			progress_update(p, number(s->result, "chunks"));
		if (copy_interrupted() && !told) {
			told = true;
			r = order(s, SD_SCRUB_STOP);
			if (r < 0)
				return r;
		}
		(void)usleep(wait_ms * 1000);
		wait_ms = wait_ms < POLL_MS / 2 ? wait_ms * 2 : POLL_MS;
	}
	return r;
}

static void
print_fault(const json_t *f)
{
	const char *file = text(f, "file");
	json_t *name;
	size_t i;

	printf(
	    "%s at %" PRIu64 ", %" PRIu64 " bytes%s%s%s\n", text(f, "what"),
	    number(f, "offset"), number(f, "length"), file[0] ? ": " : "", file,
	    json_is_true(json_object_get(f, "repaired")) ? " (repaired)" : "");
	json_array_foreach(json_object_get(f, "files"), i, name)
	    printf("    %s\n", json_string_value(name));
}

/* ---- the end ---- */

/* For people. */
static void
scrub_print(const json_t *result)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_object_get(result, "faults"), i, f)
	    print_fault(f);
	if (number(result, "untold") > 0)
		printf("and %" PRIu64 " more, which are in the log\n",
		       number(result, "untold"));
	printf("%s: %s: %" PRIu64 " chunks, %" PRIu64 " pages, %" PRIu64
	       " blocks; damaged %" PRIu64 ", lost %" PRIu64
	       " bytes, spare %" PRIu64 ", repaired %" PRIu64 "\n",
	       text(result, "name"), text(result, "state"),
	       number(result, "chunks"), number(result, "pages"),
	       number(result, "blocks"), number(result, "damaged"),
	       number(result, "lost"), number(result, "spare"),
	       number(result, "repaired"));
}

static bool
has_fault(const json_t *result, const char *what)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_object_get(result, "faults"), i, f)
	{
		if (strcmp(text(f, "what"), what) == 0)
			return true;
	}
	return false;
}

/* A map, or what goes with it. */
static bool
has_what_is_made_anew(const json_t *result)
{
	return has_fault(result, "layer") || has_fault(result, "map page");
}

/* 0, or told: -EBADMSG something is damaged, -ECANCELED it was stopped, -EIO it
 * came to no end. */
static int
scrub_verdict(const json_t *result, bool repaired)
{
	if (strcmp(text(result, "state"), "stopped") == 0)
		return cmd_fail(-ECANCELED, "it was stopped", "", "%s %s",
				cmd_name(), text(result, "name"));
	if (strcmp(text(result, "state"), "failed") == 0)
		return cmd_fail(-EIO, text(result, "error"), "", "%s %s",
				cmd_name(), text(result, "name"));
	if (number(result, "damaged") == 0 && number(result, "lost") == 0)
		return 0;
	if (has_fault(result, "put back"))
		return cmd_fail(-EBADMSG, "it was put back to an older state",
				repaired ? "`sealdisk attach` says what can be "
					   "done"
					 : "`sealdisk check --repair` makes a "
					   "lost list of digests anew; else "
					   "`sealdisk attach` says what can be "
					   "done",
				"%s %s", cmd_name(), text(result, "name"));
	return cmd_fail(-EBADMSG, "it is damaged",
			!repaired && has_what_is_made_anew(result)
			    ? CMD_REPAIR_HINT
			    : "`sealdisk check --salvage` saves what can be "
			      "read",
			"%s %s", cmd_name(), text(result, "name"));
}

int
scrub_tell(json_t *list, json_t *result, bool repaired, bool last)
{
	int verdict = scrub_verdict(result, repaired);

	if (verdict == -ECANCELED && !last)
		return verdict;
	if (json_array_append(list, result) < 0)
		return -ENOMEM;
	if (!cmd_globals.json)
		scrub_print(result);
	return verdict;
}

/* Of what is lost, while the disk is still to be had as a file. */
static void
name_files(struct scrubbing *s, uint32_t sector)
{
	json_t *f, *names;
	size_t i;

	json_array_foreach(json_object_get(s->result, "faults"), i, f)
	{
		if (strcmp(text(f, "what"), "lost") != 0)
			continue;
		names = json_array();
		if (names && json_object_set_new(f, "files", names) == 0)
			damage_files(s->place.path, sector, number(f, "offset"),
				     number(f, "length"), names);
	}
}

static int
run(struct scrubbing *s, bool background)
{
	/* As long as the kernel knows the disk, its daemon keeps what was
	 * found; to open it would be to attach it. */
	CLEANUP(close_fdp) int fd = open(s->place.path, O_PATH | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = order(s, s->arg.flags);
	if (r == 0 && !background && !(s->arg.flags & SD_SCRUB_STOP))
		r = follow(s);
	return r;
}

int
scrub_run(const struct cmd_target *t, uint32_t flags, uint64_t rate,
	  bool background, bool files, json_t **ret)
{
	CLEANUP(scrubbing_done) struct scrubbing s = { .t = *t };
	bool waits = !background && !(flags & SD_SCRUB_STOP);
	struct descriptor d;
	int r, r2 = 0;

	s.arg.flags = flags;
	s.arg.rate = rate;
	r = cmd_open(&s.e, 0);
	if (r == 0)
		r = cmd_load_target(&s.e, &s.t, &d);
	if (r == 0)
		r = place_open(&s.e, &s.t, true, &s.place);
	if (r)
		return r;
	if (!waits && s.place.daemon > 0)
		r = -ENOTCONN; /* it would end with this command */
	else
		r = run(&s, background);
	if (r == 0 && waits && files)
		name_files(&s, d.sector_size);
	/* To detach it would end what goes on in the background. */
	if (waits || s.place.daemon > 0)
		r2 = place_close(&s.place);
	if (r == -ENOTCONN)
		return cmd_fail(-EINVAL, "the store is not mounted",
				"mount it, or leave the option out", "%s %s",
				cmd_name(), s.t.text);
	if (r == 0 && waits)
		r = r2 == -EBUSY ? 0 : r2;
	if (r < 0)
		return fail(&s, r);
	if (waits)
		*ret = json_incref(s.result);
	return 0;
}

/* ---- all there are ---- */

struct all {
	struct cmd_env e;
	struct survey *survey;
	struct each each;
	uint32_t flags;
	uint64_t rate;
	bool files;
	json_t *results;
};

static void
all_done(struct all *a)
{
	survey_free(a->survey);
	each_done(&a->each);
	json_decref(a->results);
	cmd_close(&a->e);
}

static int
scrub_next(const struct cmd_target *t, bool last, void *arg)
{
	CLEANUP(free_memp) struct descriptor *d = malloc(sizeof(*d));
	CLEANUP(cmd_json_freep) json_t *result = NULL;
	struct all *a = arg;
	int r;

	if (!d)
		return -ENOMEM;
	r = catalog_load(a->e.catalog, t->type, t->name, d, NULL, NULL);
	if (r == 0 && !survey_is_alone(a->survey, d))
		return 0;
	r = scrub_run(t, a->flags, a->rate, false, a->files, &result);
	return r ? r : scrub_tell(a->results, result, false, last);
}

/* What is wrong with one is no reason to leave out the others. */
static int
scrub_each(struct all *a)
{
	int r, worst = 0;

	for (size_t i = 0; i < a->each.n; i++) {
		r = each_do(a->e.catalog, &a->each.v[i], scrub_next, a);
		if (r != 0 && (worst == 0 || r == -EBADMSG))
			worst = r;
		if (r < 0 && (copy_interrupted() || err_is_shortage(r)))
			break;
	}
	return worst;
}

static int
scrub_all(uint32_t flags, uint64_t rate, bool files)
{
	CLEANUP(all_done)
	struct all a = { .flags = flags, .rate = rate, .files = files };
	int r, worst;

	a.results = json_array();
	r = cmd_open(&a.e, 0);
	if (r)
		return r;
	r = catalog_survey(a.e.catalog, &a.survey);
	if (r == 0)
		r = each_add_all(&a.each, a.e.catalog);
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "scrub: store %s", a.e.path);
	worst = scrub_each(&a);
	if (cmd_globals.json)
		r = cmd_print_json(json_incref(a.results));
	return worst ? worst : r;
}

static int
scrub_one(const char *name, uint32_t flags, uint64_t rate, bool background,
	  bool files)
{
	CLEANUP(cmd_json_freep) json_t *result = NULL;
	struct cmd_target t;
	int r;

	r = cmd_parse_name(name, CMD_ANY_TYPE, &t);
	if (r == 0)
		r = scrub_run(&t, flags, rate, background, files, &result);
	if (r || !result)
		return r;
	if (cmd_globals.json)
		r = cmd_print_json(json_incref(result));
	else
		scrub_print(result);
	return r ? r : scrub_verdict(result, false);
}

int
cmd_scrub(int argc, char **argv)
{
	bool background = false, stop = false, no_repair = false;
	bool files = false, all = false;
	const char *rate_text = NULL;
	const struct cmd_option options[] = {
		{ "all", NULL, &all },
		{ "background", NULL, &background },
		{ "files", NULL, &files },
		{ "no-repair", NULL, &no_repair },
		{ "rate", &rate_text, NULL },
		{ "stop", NULL, &stop },
		{ NULL, NULL, NULL },
	};
	uint32_t flags = SD_SCRUB_BLOCKS;
	uint64_t rate = 0;
	int r;

	r = cmd_parse(&argc, &argv, options);
	if (r == 0 && all != (argc == 0))
		r = cmd_usage("say which, or --all");
	if (r == 0 && all && (background || stop))
		r = cmd_usage("--all waits for each, one after another");
	if (r == 0 && rate_text &&
	    (parse_size(rate_text, &rate) < 0 || rate == 0))
		r = cmd_usage("%s: not a rate", rate_text);
	if (r)
		return r;
	flags |= no_repair ? 0 : SD_SCRUB_REPAIR;
	if (all)
		return scrub_all(flags, rate, files);
	return scrub_one(argv[0], stop ? SD_SCRUB_STOP : flags, rate,
			 background, files);
}
