/*
 * actions_admin.c - what the service has done, and its keystore saved: actions
 * of this service alone.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "files.h"
#include "service_private.h"

/* Usage. */

struct call_list {
	struct page page;
	json_t *list;
};

static int
add_call(const struct kms_usage *u, void *arg)
{
	struct call_list *l = arg;
	char month[8];

	if (!page_takes(&l->page))
		return 0;
	kms_format_month(u->month, month);
	return json_array_append_new(
		   l->list,
		   json_pack("{ss ss ss ss sI sb}", "Month", month, "Principal",
			     u->principal, "Action", u->action, "KeyId", u->key,
			     "Calls", (json_int_t)u->calls, "Billable",
			     u->billable)) < 0
		   ? -ENOMEM
		   : 0;
}

int
action_get_usage(struct action_call *c)
{
	struct call_list l = { page_of(c), put_list(c->body, "Usage", "Call") };
	const char *text = call_arg(c, "Month")->text;
	unsigned month = usage_month(time(NULL));
	int r;

	if (!l.list)
		return -ENOMEM;
	if (text && strcmp(text, "all") == 0)
		month = 0;
	else if (text && kms_parse_month(text, &month) < 0)
		return call_refuse(c, "Month");
	r = ledger_each_usage(c->s->ledger, month, add_call, &l);
	return r < 0 ? r : page_put(&l.page, c->body);
}

/* The audit log. */

#define FLAWS_TOLD 100

static void
add_flaw(const struct kms_audit_flaw *f, void *arg)
{
	json_t *list = arg;

	if (json_array_size(list) < FLAWS_TOLD)
		(void)json_array_append_new(
		    list,
		    json_pack("{sI sI ss}", "File", (json_int_t)f->file, "Line",
			      (json_int_t)f->line, "What", f->what));
}

int
action_verify_audit(struct action_call *c)
{
	json_t *list = put_list(c->body, "Flaws", "Flaw");
	struct kms_audit_report report = { 0 };
	int r = list ? 0 : -ENOMEM;

	if (r == 0)
		r = ledger_verify(c->s->ledger,
				  (uint32_t)call_number(c, "From", 1), add_flaw,
				  list, &report);
	if (r == -ENOENT)
		return call_refuse(c, "From");
	if (r == 0)
		r = put_number(c->body, "Lines", (int64_t)report.lines);
	if (r == 0)
		r = put_number(c->body, "Unsealed", (int64_t)report.unsealed);
	if (r == 0)
		r = put_number(c->body, "Seals", report.seals);
	return r < 0 ? r
		     : put_number(c->body, "FlawCount", (int64_t)report.flaws);
}

/* Backups.  They are written by this process: a policy that lets somebody use
 * all of the service does not let him write files. */

static int
save(struct keys *k, const char *path)
{
	CLEANUP(files_temp_drop) struct files_temp t = { { 0 } };
	int r;

	r = files_temp_make(path, &t, NULL);
	if (r < 0)
		return r;
	/* Whoever calls meanwhile waits: who has the keystore alone has it
	 * through one connection. */
	(void)pthread_mutex_lock(&k->lock);
	r = keystore_save(k->ks, t.path);
	(void)pthread_mutex_unlock(&k->lock);
	return r < 0 ? r : files_temp_publish(&t, path);
}

int
action_backup_keystore(struct action_call *c)
{
	const char *path = call_arg(c, "Path")->text;
	int r;

	if (!c->who.owner) {
		c->code = CODE_NO_PERMISSION;
		return -EKEYREJECTED;
	}
	if (path[0] != '/')
		return call_refuse(c, "Path");
	r = save(c->k, path);
	return r == -EEXIST || r == -ENOENT || r == -ENOTDIR
		   ? call_refuse(c, "Path")
		   : r;
}
