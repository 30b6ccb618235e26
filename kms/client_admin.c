/*
 * client_admin.c - kms_record.h, of the keystore that is open here.
 */
#include <errno.h>

#include <sealdisk/kms_record.h>

#include "client_private.h"

/* -EOPNOTSUPP: what a service elsewhere writes down is its own. */
static int
open_record(struct kms *k)
{
	return k->keys ? record_open(k) : -EOPNOTSUPP;
}

int
kms_each_usage(struct kms *k, unsigned month,
	       int (*fn)(const struct kms_usage *u, void *arg), void *arg)
{
	int r = open_record(k);

	return r < 0 ? r : ledger_each_usage(k->ledger, month, fn, arg);
}

int
kms_each_audit_line(struct kms *k,
		    int (*fn)(const char *line, size_t len, void *arg),
		    void *arg)
{
	char dir[PATH_MAX];
	int r = k->keys ? 0 : -EOPNOTSUPP;

	if (r == 0)
		r = ledger_audit_dir(&k->settings, dir);
	if (r < 0)
		return r;
	return dir[0] ? audit_each(dir, fn, arg) : -ENOENT;
}

int
kms_verify_audit(struct kms *k, uint32_t from,
		 void (*fn)(const struct kms_audit_flaw *f, void *arg),
		 void *arg, struct kms_audit_report *ret)
{
	int r = open_record(k);

	return r < 0 ? r : ledger_verify(k->ledger, from, fn, arg, ret);
}
