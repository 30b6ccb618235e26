/*
 * frozen.h - the names of what a stream is made of, or becomes: DISK@SNAPSHOT
 * and image:NAME.
 */
#ifndef SEALDISK_FROZEN_H
#define SEALDISK_FROZEN_H

#include "cmd.h"
#include "stream.h"

/* What is wrong with it is told, and CMD_USAGE returned.  ${ret} points into
 * ${t}. */
static inline int
frozen_name(const char *text, struct cmd_target *t, struct stream_name *ret)
{
	int r = cmd_parse_name(
	    text, CMD_TYPE(DESC_SNAPSHOT) | CMD_TYPE(DESC_IMAGE), t);

	if (r == 0)
		*ret = (struct stream_name){ t->type, t->name };
	return r;
}

#endif
