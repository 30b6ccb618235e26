/*
 * settings_places.c - where settings and state lie: root's own folders, or the
 * user's (XDG base directories).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "settings_private.h"

/* An XDG base directory; a relative one is to be ignored, says the standard. */
static int
xdg_dir(const char *variable, const char *below_home, const char *rest,
	char out[static SETTING_MAX])
{
	const char *dir = getenv(variable), *home = getenv("HOME");
	int n;

	if (dir && *dir == '/')
		n = snprintf(out, SETTING_MAX, "%s/sealdisk%s", dir, rest);
	else if (home && *home == '/')
		n = snprintf(out, SETTING_MAX, "%s/%s/sealdisk%s", home,
			     below_home, rest);
	else
		return -ENOENT;
	return n < 0 || n >= SETTING_MAX ? -ENAMETOOLONG : 0;
}

int
settings_config_path(const char *rest, char out[static SETTING_MAX])
{
	int n;

	if (geteuid() != 0)
		return xdg_dir("XDG_CONFIG_HOME", ".config", rest, out);
	n = snprintf(out, SETTING_MAX, SYSCONFDIR "/sealdisk%s", rest);
	return n < 0 || n >= SETTING_MAX ? -ENAMETOOLONG : 0;
}

int
settings_state_path(const char *rest, char out[static SETTING_MAX])
{
	int n;

	if (geteuid() != 0)
		return xdg_dir("XDG_STATE_HOME", ".local/state", rest, out);
	n = snprintf(out, SETTING_MAX, LOCALSTATEDIR "/lib/sealdisk%s", rest);
	return n < 0 || n >= SETTING_MAX ? -ENAMETOOLONG : 0;
}
