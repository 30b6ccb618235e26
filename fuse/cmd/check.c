/*
 * check.c - `sealdisk check`: the structure of one disk, or of all and of the
 * store; and with --repair what can be put right.
 *
 * All pages and superblocks are looked at, and no block: that is `scrub`.
 */
#include <errno.h>
#include <string.h>

#include <sealdisk/ioctl.h>
#include <sealdisk/log.h>

#include "check.h"
#include "cmd_scrub.h"
#include "copy.h"
#include "rebuild.h"
#include "repair.h"
#include "salvage.h"

struct checking {
	struct cmd_env e;
	bool repair;
	enum desc_type type;        /* while they are listed */
	struct cmd_target *targets; /* all there are, or one */
	size_t n, cap;
	json_t *disks, *findings;
	int worst; /* exit by the first error */
};

static void
checking_done(struct checking *k)
{
	free(k->targets);
	json_decref(k->disks);
	json_decref(k->findings);
	cmd_close(&k->e);
}

/* ---- which ---- */

static int
add(struct checking *k, const struct cmd_target *t)
{
	size_t cap = k->cap ? 2 * k->cap : 16;
	struct cmd_target *v;

	if (k->n == k->cap) {
		v = reallocarray(k->targets, cap, sizeof(*v));
		if (!v)
			return -ENOMEM;
		k->targets = v;
		k->cap = cap;
	}
	k->targets[k->n++] = *t;
	return 0;
}

static int
add_name(const char *name, void *arg)
{
	struct checking *k = arg;
	struct descriptor d;
	struct cmd_target t;

	/* Of those that cannot be read catalog_check() tells. */
	if (catalog_load(k->e.catalog, k->type, name, &d, NULL, NULL) < 0)
		return 0;
	cmd_target_of(k->type, name, &t);
	return add(k, &t);
}

static int
add_all(struct checking *k)
{
	int r = 0;

	for (k->type = DESC_DISK; r == 0 && k->type <= DESC_IMAGE; k->type++)
		r = catalog_list(k->e.catalog, k->type, add_name, k);
	return r;
}

/* ---- the store ---- */

static void
on_found(const struct check_finding *f, void *arg)
{
	static const char *const said[CHECK_NWHAT] = {
		[CHECK_DESCRIPTOR] = "it cannot be read, and so of no lineage "
				     "is known what it needs",
		[CHECK_LINEAGE] = "nothing names this data: a descriptor was "
				  "lost",
		[CHECK_LAYER] = "layers that nothing reaches",
		[CHECK_CHUNK] = "no map names this chunk",
		[CHECK_MAP] = "it cannot be read, and so nothing is said of "
			      "the chunks of its lineage",
		[CHECK_BUSY] = "it is in use, and so nothing is said of its "
			       "chunks",
		[CHECK_LOST] = "it is lost, and there is a spare copy of it",
		[CHECK_SPARE] = "a spare copy that is missing, damaged or of "
				"nothing",
	};
	struct checking *k = arg;
	const char *more = f->removed ? " (removed)"
			   : f->made  ? " (made anew)"
				      : "";
	bool failed = f->err < 0 && f->what != CHECK_DESCRIPTOR;

	(void)!json_array_append_new(
	    k->findings,
	    json_pack("{ss ss sb sb}", "what", check_word(f->what), "path",
		      f->path, "removed", f->removed, "made", f->made));
	if (!cmd_globals.json)
		printf("%s: %s%s%s%s\n", f->path, said[f->what], more,
		       failed ? ": " : "", failed ? err_text(f->err) : "");
	if (f->what == CHECK_DESCRIPTOR || f->what == CHECK_LINEAGE ||
	    f->what == CHECK_MAP || (f->what == CHECK_LOST && !f->made))
		k->worst = -EUCLEAN;
}

/* Descriptors come first: what has none is not looked at. */
static int
rebuild(struct checking *k, const char *name)
{
	const struct check_options o = { k->repair, on_found, k };
	int r = 0;

	if (k->repair)
		r = cmd_open_kms(&k->e.settings, &k->e.kms);
	if (r)
		return r;
	r = catalog_rebuild(k->e.catalog, k->e.kms, name, &o);
	return r < 0 ? cmd_fail(r, NULL, NULL, "check: store %s", k->e.path)
		     : 0;
}

static int
check_store(struct checking *k)
{
	const struct check_options o = { k->repair, on_found, k };
	int r = catalog_check(k->e.catalog, &o);

	if (r < 0)
		return cmd_fail(r, NULL, NULL, "check: store %s", k->e.path);
	return k->repair ? cmd_sweep(&k->e, "check") : 0;
}

/* ---- one disk ---- */

/* Maps come first: without one a disk cannot be attached. */
static int
repair_maps(struct checking *k, const struct cmd_target *t)
{
	const struct engine_options opt = { .mount_point = "" };
	CLEANUP(engine_closep) struct engine *eng = NULL;
	struct repair_report rep = { .pages = 0 };
	int r;

	r = engine_open(k->e.store, k->e.kms, &opt, &eng);
	if (r == 0)
		r = engine_repair_maps(eng, t->type, t->name, &rep);
	if (r == -EBUSY) {
		cmd_note("check %s: it is in use: its maps are not repaired",
			 t->text);
		return 0;
	}
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "check %s: its maps", t->text);
	if (rep.pages > 0)
		cmd_note("check %s: %u map pages were made anew, of %llu "
			 "chunks, %llu of them doubtful, %llu unreadable",
			 t->text, rep.pages, (unsigned long long)rep.chunks,
			 (unsigned long long)rep.doubtful,
			 (unsigned long long)rep.unreadable);
	return 0;
}

static int
check_one(struct checking *k, const struct cmd_target *t)
{
	uint32_t flags = k->repair ? SD_SCRUB_REPAIR : 0;
	CLEANUP(cmd_json_freep) json_t *result = NULL;
	int r = 0;

	if (k->repair)
		r = repair_maps(k, t);
	if (r == 0)
		r = scrub_run(t, flags, 0, false, false, &result);
	if (r)
		return r;
	if (json_array_append(k->disks, result) < 0)
		return -ENOMEM;
	if (!cmd_globals.json)
		scrub_print(result);
	return scrub_verdict(result);
}

/* Removed since they were listed; what is lost otherwise check_store() tells.
 */
static bool
is_gone(struct checking *k, const struct cmd_target *t)
{
	struct descriptor d;

	return catalog_load(k->e.catalog, t->type, t->name, &d, NULL, NULL) ==
	       -ENOENT;
}

/* One that was detached meanwhile, or whose scrub somebody stopped. */
static bool
is_cut_off(int r)
{
	return r == -ECANCELED && !copy_interrupted();
}

/* One of all.  0: it is gone, too. */
static int
check_one_of(struct checking *k, const struct cmd_target *t)
{
	size_t n = json_array_size(k->disks);
	int r;

	if (is_gone(k, t))
		return 0;
	r = check_one(k, t);
	if (is_cut_off(r) && !is_gone(k, t)) {
		cmd_note("check %s: once more", t->text);
		(void)json_array_remove(k->disks, n);
		r = check_one(k, t);
	}
	if (r >= 0 || copy_interrupted() || !is_gone(k, t))
		return r;
	cmd_note("check %s: it was removed meanwhile", t->text);
	return 0;
}

/* What is wrong with one is no reason to leave out the others. */
static int
check_disks(struct checking *k, bool all)
{
	int r, worst = 0;

	for (size_t i = 0; i < k->n; i++) {
		const struct cmd_target *t = &k->targets[i];

		r = all ? check_one_of(k, t) : check_one(k, t);
		if ((r == -ECANCELED && !(all && is_cut_off(r))) ||
		    r == CMD_USAGE)
			return r;
		if (r < 0 && (worst == 0 || r == -EBADMSG))
			worst = r;
	}
	return worst;
}

static int
run(struct checking *k, bool all)
{
	int r;

	r = all ? add_all(k) : 0;
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "check: store %s", k->e.path);
	r = check_disks(k, all);
	if (all && (r != -ECANCELED || is_cut_off(r))) {
		int r2 = check_store(k);

		if (r == 0)
			r = r2 ? r2 : k->worst;
		if (r == -EUCLEAN && k->worst == r)
			r = cmd_fail(-EUCLEAN, "it is damaged", "",
				     "check: store %s", k->e.path);
	}
	if (cmd_globals.json &&
	    cmd_print_json(json_pack("{sO sO}", "disks", k->disks, "findings",
				     k->findings)) < 0)
		return -ENOMEM;
	return r;
}

int
cmd_check(int argc, char **argv)
{
	CLEANUP(checking_done) struct checking k = { .n = 0 };
	const char *salvage = NULL;
	const struct cmd_option options[] = {
		{ "repair", NULL, &k.repair },
		{ "salvage", &salvage, NULL },
		{ NULL, NULL, NULL },
	};
	struct cmd_target t;
	struct descriptor d;
	int r;

	r = cmd_parse(&argc, &argv, options);
	if (r == 0 && salvage && (argc == 0 || k.repair))
		r = cmd_usage("--salvage is for one disk, and alone");
	if (r == 0 && argc > 0)
		r = cmd_parse_name(argv[0], CMD_ANY_TYPE, &t);
	if (r == 0 && salvage)
		return salvage_disk(&t, salvage);
	if (r == 0)
		r = cmd_open(&k.e, k.repair ? CMD_CHANGE | CMD_RESTORE : 0);
	k.disks = json_array();
	k.findings = json_array();
	if (r == 0 && (k.repair || argc == 0))
		r = rebuild(&k, argc > 0 ? t.name : NULL);
	if (r == 0 && argc > 0)
		r = cmd_load_target(&k.e, &t, &d);
	if (r == 0 && argc > 0)
		r = add(&k, &t);
	return r ? r : run(&k, argc == 0);
}
