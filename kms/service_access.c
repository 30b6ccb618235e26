/*
 * service_access.c - who asks, and whether he may.
 *
 * Root, and the user whose keystore this is, may do everything; nobody else may
 * do anything.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "service_private.h"

int
call_authenticate(struct action_call *c)
{
	if (!c->q->access_key_id)
		return 0;
	c->code = CODE_NO_ACCESS_KEY;
	return -EPERM;
}

static bool
is_owner(const struct service_peer *p)
{
	return (p->via == SERVICE_EMBEDDED || p->via == SERVICE_UNIX) &&
	       (p->uid == 0 || p->uid == geteuid());
}

int
call_authorize(struct action_call *c)
{
	if (is_owner(&c->q->peer))
		return 0;
	c->code = CODE_NO_PERMISSION;
	return -EPERM;
}

int
service_secret(struct service *s, const char *access_key_id,
	       char ret[static SERVICE_SECRET_LEN])
{
	(void)s;
	(void)access_key_id;
	(void)ret;
	return -ENOKEY;
}
