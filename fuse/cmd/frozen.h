/*
 * frozen.h - the names of what a stream is made of, or becomes: DISK@SNAPSHOT
 * and image:NAME.
 */
#ifndef SEALDISK_FROZEN_H
#define SEALDISK_FROZEN_H

#include <string.h>

#include "cmd.h"
#include "stream.h"

/* What is wrong with it is told, and CMD_USAGE returned. */
static inline int
frozen_name(const char *text, struct stream_name *ret)
{
	static const char image[] = "image:";
	const char *at = strchr(text, '@');
	char disk[DISK_NAME_MAX + 1];
	bool ok;

	if (strncmp(text, image, sizeof(image) - 1) == 0) {
		ret->type = DESC_IMAGE;
		ret->name = text + sizeof(image) - 1;
		ok = name_check(ret->name) == 0;
	} else {
		ret->type = DESC_SNAPSHOT;
		ret->name = text;
		(void)snprintf(disk, sizeof(disk), "%.*s",
			       at ? (int)(at - text) : 0, text);
		ok = at && (size_t)(at - text) <= DISK_NAME_MAX &&
		     name_check(disk) == 0 && name_check(at + 1) == 0;
	}
	return ok ? 0
		  : cmd_usage("%s: name a snapshot (DISK@NAME) or an image "
			      "(image:NAME)",
			      text);
}

#endif
