/*
 * upgrade.c - `sealdisk upgrade MOUNTPOINT`: the program that is installed now
 * takes over a mount from the one that serves it, with all that is attached.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <sealdisk/ioctl.h>

static int
print(const char *mnt, const struct sd_ioc_daemon *d)
{
	if (cmd_globals.json)
		return cmd_print_json(json_pack(
		    "{ss sI sI}", "mount_point", mnt, "upgrades",
		    (json_int_t)d->upgrades, "pid", (json_int_t)d->worker));
	printf("%s is served by process %d now.\n", mnt, d->worker);
	return 0;
}

int
cmd_upgrade(int argc, char **argv)
{
	CLEANUP(close_fdp) int fd = -1;
	struct sd_ioc_upgrade u = { .error = 0 };
	char mnt[PATH_MAX], store[PATH_MAX];
	struct sd_ioc_daemon d;
	int r = cmd_parse(&argc, &argv, NULL);

	if (r)
		return r;
	if (!realpath(argv[0], mnt))
		return cmd_fail(-errno, NULL, NULL, "upgrade %s", argv[0]);
	r = cmd_mounted_store(mnt, store);
	if (r < 0)
		return cmd_fail(
		    r, r == -ENOENT ? "no store is mounted there" : NULL, "",
		    "upgrade %s", argv[0]);
	fd = open(mnt, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, SD_IOC_UPGRADE, &u) < 0)
		return cmd_fail(-errno, NULL, NULL, "upgrade %s", mnt);
	u.why[sizeof(u.why) - 1] = '\0';
	if (u.error)
		return cmd_fail(-(int)u.error, u.why[0] ? u.why : NULL,
				"the old program goes on", "upgrade %s", mnt);
	if (ioctl(fd, SD_IOC_DAEMON, &d) < 0)
		return cmd_fail(-errno, NULL, NULL, "upgrade %s", mnt);
	return print(mnt, &d);
}
