/*
 * actions_anchors.c - how far disks have come: actions of this service alone.
 */
#include <errno.h>
#include <string.h>

#include "service_private.h"

static int
put_anchor(struct action_call *c, uint64_t generation, const char *hex)
{
	return json_object_set_new(c->body, "Generation",
				   json_integer((json_int_t)generation)) < 0 ||
		       json_object_set_new(c->body, "Digest",
					   json_string(hex)) < 0
		   ? -ENOMEM
		   : 0;
}

/* Where there is none, the digest is "". */
int
action_get_anchor(struct action_call *c)
{
	char hex[2 * SHA256_LEN + 1] = "";
	struct keystore_anchor a = { .generation = 0 };
	struct uuid disk;
	int r;

	if (uuid_parse(call_arg(c, "DiskId")->text, &disk) < 0)
		return call_refuse(c, "DiskId");
	r = keys_get_anchor(c->k, &disk, &a);
	if (r == 0)
		hex_encode(a.digest, sizeof(a.digest), hex);
	return r < 0 && r != -ENOENT ? r : put_anchor(c, a.generation, hex);
}

/* That it would go back is an answer, and no error. */
int
action_set_anchor(struct action_call *c)
{
	const char *hex = call_arg(c, "Digest")->text;
	struct keystore_anchor a;
	struct uuid disk;
	int r;

	if (uuid_parse(call_arg(c, "DiskId")->text, &disk) < 0)
		return call_refuse(c, "DiskId");
	if (strlen(hex) != 2 * SHA256_LEN ||
	    hex_decode(hex, a.digest, SHA256_LEN) < 0)
		return call_refuse(c, "Digest");
	a.generation = (uint64_t)call_number(c, "Generation", 0);
	r = keys_set_anchor(c->k, &disk, &a, call_number(c, "Force", 0) != 0);
	if (r < 0 && r != -ESTALE)
		return r;
	return json_object_set_new(c->body, "Accepted", json_boolean(r == 0)) <
		       0
		   ? -ENOMEM
		   : 0;
}
