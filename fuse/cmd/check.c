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
#include "each.h"
#include "rebuild.h"
#include "repair.h"
#include "salvage.h"

struct checking {
	struct cmd_env e;
	bool repair, made_maps, older;
	struct each each; /* all there are, or one */
	json_t *disks, *findings;
	int worst; /* exit by the first error */
};

static void
checking_done(struct checking *k)
{
	each_done(&k->each);
	json_decref(k->disks);
	json_decref(k->findings);
	cmd_close(&k->e);
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
		[CHECK_OLDER] = "it is older than its spare copy: remove it, "
				"and --repair makes it anew of that, or remove "
				"that; nothing is removed until then",
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
	    f->what == CHECK_MAP || f->what == CHECK_OLDER ||
	    (f->what == CHECK_LOST && !f->made))
		k->worst = -EUCLEAN;
	k->older |= f->what == CHECK_OLDER;
}

/* Descriptors come first: what has none is not looked at. */
static int
rebuild(struct checking *k, const char *name)
{
	const struct check_options o = { k->repair, on_found, k, false };
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
	/* Layers that an older descriptor does not know are somebody's. */
	bool remove = k->repair && !k->older;
	const struct check_options o = { remove, on_found, k, k->made_maps };
	int r = catalog_check(k->e.catalog, &o);

	if (r < 0)
		return cmd_fail(r, NULL, NULL, "check: store %s", k->e.path);
	return remove ? cmd_sweep(&k->e, "check") : 0;
}

/* ---- one disk ---- */

/* Without a list of digests a disk is only not known to be the newest. */
static const char *
hint_for(const char *path)
{
	const char *name = strrchr(path, '/');

	return name && strcmp(name, "/digests") == 0
		   ? "`sealdisk attach --accept-rollback` goes on without it, "
		     "if what the disk is now is right"
		   : "";
}

/* Maps come first: without one a disk cannot be attached. */
static int
repair_maps(struct checking *k, const struct cmd_target *t, bool *ret_hopeless)
{
	const struct engine_options opt = { .mount_point = "" };
	CLEANUP(engine_closep) struct engine *eng = NULL;
	struct repair_report rep = { .pages = 0 };
	int r;

	r = engine_open(k->e.store, k->e.kms, &opt, &eng);
	if (r == 0)
		r = engine_repair_maps(eng, t->type, t->name, &rep);
	if (r == -EBUSY) {
		cmd_note("check %s: it, or a disk that shares its data key, is "
			 "in use: its maps are not repaired",
			 t->text);
		return 0;
	}
	if (rep.inis > 0)
		cmd_note("check %s: %u layer.ini were made anew, of their "
			 "spare copies",
			 t->text, rep.inis);
	if (rep.lists > 0)
		cmd_note("check %s: %u lists of digests were made anew, of "
			 "their maps",
			 t->text, rep.lists);
	k->made_maps |= rep.pages > 0;
	if (rep.pages > 0)
		cmd_note("check %s: %u map pages were made anew, of %llu "
			 "chunks, %llu of them doubtful, %llu unreadable",
			 t->text, rep.pages, (unsigned long long)rep.chunks,
			 (unsigned long long)rep.doubtful,
			 (unsigned long long)rep.unreadable);
	if (rep.groups > 0)
		cmd_note("check %s: of %llu groups one copy of their page "
			 "cannot be read, and the other, which may be older, "
			 "was taken: they are doubtful",
			 t->text, (unsigned long long)rep.groups);
	if (r == 0)
		return 0;
	*ret_hopeless = rep.top;
	if (rep.path[0])
		return cmd_fail(r,
				"it is damaged, and nothing else says the same",
				hint_for(rep.path), "check %s: %s", t->text,
				rep.path);
	return cmd_fail(r, NULL, NULL, "check %s: its maps", t->text);
}

static int
check_one(const struct cmd_target *t, bool last, void *arg)
{
	struct checking *k = arg;
	uint32_t flags = k->repair ? SD_SCRUB_REPAIR : 0;
	CLEANUP(cmd_json_freep) json_t *result = NULL;
	bool hopeless = false;
	int r, repaired = 0;

	if (k->repair)
		repaired = repair_maps(k, t, &hopeless);
	if (hopeless)
		return repaired;
	/* What is left of it is looked at all the same. */
	r = scrub_run(t, flags, 0, false, false, &result);
	if (r == 0)
		r = scrub_tell(k->disks, result, k->repair, last);
	return r ? r : repaired;
}

/* What is wrong with one is no reason to leave out the others. */
static int
check_disks(struct checking *k, bool all)
{
	int r, worst = 0;

	if (!all)
		return check_one(&k->each.v[0].t, true, k);
	for (size_t i = 0; i < k->each.n; i++) {
		r = each_do(k->e.catalog, &k->each.v[i], check_one, k);
		if ((r < 0 && copy_interrupted()) || r == CMD_USAGE)
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

	/* Of those that cannot be read catalog_check() tells. */
	r = all ? each_add_all(&k->each, k->e.catalog) : 0;
	if (r < 0)
		return cmd_fail(r, NULL, NULL, "check: store %s", k->e.path);
	r = check_disks(k, all);
	if (all && !copy_interrupted()) {
		int r2 = check_store(k);

		if (r == 0 || r == -ECANCELED)
			r = r2 ? r2 : k->worst ? k->worst : r;
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
	CLEANUP(checking_done) struct checking k = { .repair = false };
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
		r = each_add(&k.each, &t, &d.uuid);
	return r ? r : run(&k, argc == 0);
}
