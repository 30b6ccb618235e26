/*
 * actions_service.c - the service itself: its keystore saved, its calls
 * counted, its audit log looked over.  Actions of this service alone.
 */
#include <errno.h>
#include <string.h>

#include "admin.h"
#include "service_private.h"

#define FLAWS_TOLD 100 /* of those that are counted */

/* It is written by us, to wherever is said: only whose process this is may say
 * that, whatever policies allow. */
int
action_backup_keystore(struct action_call *c)
{
	const char *path = call_arg(c, "Path")->text;
	int r;

	if (!c->who.owner) {
		c->code = CODE_NO_PERMISSION;
		return -EPERM;
	}
	if (path[0] != '/')
		return call_refuse(c, "Path");
	r = admin_backup_open(c->k, path);
	return r == -EEXIST || r == -ENOENT || r == -EACCES || r == -EROFS
		   ? call_refuse(c, "Path")
		   : r;
}

/* Usage. */

struct usage_list {
	struct page page;
	json_t *list;
};

static int
add_usage(const struct kms_usage *u, void *arg)
{
	struct usage_list *l = arg;
	char month[8];

	if (!page_takes(&l->page))
		return 0;
	kms_format_month(u->month, month);
	return json_array_append_new(
		   l->list,
		   json_pack("{ss ss ss ss sb sI}", "Month", month, "Principal",
			     u->principal, "KeyId", u->key, "Action", u->action,
			     "Billable", u->billable, "Calls",
			     (json_int_t)u->calls)) < 0
		   ? -ENOMEM
		   : 0;
}

int
action_get_usage(struct action_call *c)
{
	struct usage_list l = { page_of(c),
				put_list(c->body, "Usage", "Call") };
	const char *month = call_arg(c, "Month")->text;
	unsigned n = 0;
	int r;

	if (!l.list)
		return -ENOMEM;
	if (month && kms_parse_month(month, &n) < 0)
		return call_refuse(c, "Month");
	r = ledger_each_usage(c->s->ledger, n, add_usage, &l);
	return r < 0 ? r : page_put(&l.page, c->body);
}

/* The audit log. */

struct flaw_list {
	json_t *list;
	bool failed;
};

static void
add_flaw(const struct kms_audit_flaw *f, void *arg)
{
	struct flaw_list *l = arg;

	if (json_array_size(l->list) < FLAWS_TOLD &&
	    json_array_append_new(
		l->list,
		json_pack("{sI sI ss}", "File", (json_int_t)f->file, "Line",
			  (json_int_t)f->line, "What", f->what)) < 0)
		l->failed = true;
}

int
action_verify_audit(struct action_call *c)
{
	struct flaw_list l = { put_list(c->body, "Flaws", "Flaw"), false };
	struct kms_audit_report report;
	int r = l.list ? 0 : -ENOMEM;

	if (r == 0)
		r = ledger_verify(c->s->ledger, 1, add_flaw, &l, &report);
	if (r == -ENOENT) /* none is kept */
		r = -EPERM;
	if (r == 0 && l.failed)
		r = -ENOMEM;
	if (r == 0)
		r = put_number(c->body, "Lines", (int64_t)report.lines);
	if (r == 0)
		r = put_number(c->body, "FlawCount", (int64_t)report.flaws);
	if (r == 0)
		r = put_number(c->body, "Seals", report.seals);
	return r;
}
