/*
 * main.c - the program `sealdisk`: the table of its commands, and what their
 * errors are as an exit status.
 *
 * The table is read by dispatch, help, completion and tests/cli.sh.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <sealdisk/crypto.h>
#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#include "cmd/cmd.h"

/* Sorted by name; tests/cli.sh checks it. */
const struct command commands[] = {
	{ "attach", cmd_attach, 1, 1, "NAME [--ro] [--accept-rollback]",
	  "set up a loop device over a disk and print its path",
	  "  --ro                read only, as snapshots and images always are\n"
	  "  --accept-rollback   what the disk is now is right, though it was\n"
	  "                      put back to an older state\n\n"
	  "The store must be mounted.\n",
	  NULL },
	{ "check", cmd_check, 0, 1, "[NAME] [--repair | --salvage NEW]",
	  "look at the structure of a disk, or of all and of the store",
	  "  --repair        what there is a second copy of, or another "
	  "witness; and remove\n"
	  "                  what nothing needs\n"
	  "  --salvage NEW   what can be read, into a new disk\n",
	  NULL },
	{ "clone", cmd_clone, 2, 2,
	  "SOURCE NAME [--size N] [--kind K] [--category C] "
	  "[--sector-size N] [--key K] [--own-key]",
	  "make a disk of a snapshot, an image or another disk",
	  "  --size N          not smaller\n"
	  "  --kind K          system or data\n"
	  "  --category C      of cloud disk\n"
	  "  --sector-size N   512 or 4096\n"
	  "  --key K           a data key of its own, under another master key\n"
	  "  --own-key         a data key of its own, whatever the master key\n\n"
	  "What is not said is as it is in SOURCE, which is a DISK, a\n"
	  "DISK@SNAPSHOT or an image:NAME.  No block is copied.\n",
	  NULL },
	{ "create", cmd_create, 1, 1,
	  "NAME --size N [--key K] [--kind K] [--category C] "
	  "[--sector-size N] [--from SOURCE] [--own-key]",
	  "make an empty disk",
	  "  --size N          bytes, or with K, M, G or T\n"
	  "  --key K           the master key: id or alias\n"
	  "  --kind K          system or data\n"
	  "  --category C      of cloud disk; cloud_essd\n"
	  "  --sector-size N   512 or 4096; 4096\n"
	  "  --from SOURCE     a clone instead (see `sealdisk help clone`)\n"
	  "  --own-key         with --from: a data key of its own\n",
	  NULL },
	{ "detach", cmd_detach, 1, 1, "NAME",
	  "remove a disk's loop devices, and wait for its last commit",
	  "Also of a snapshot or image.\n", NULL },
	{ "doctor", cmd_doctor, 0, 0, "",
	  "say what costs speed or safety on this machine",
	  "Ends with 1 where something is serious.\n", NULL },
	{ "export", cmd_export, 2, 2, "NAME FILE [--format F] [--live]",
	  "write a disk's content into a new image file",
	  "  --format F   raw, qcow2, vpc (VHD) or vmdk; raw\n"
	  "  --live       also while the disk is in use\n\n"
	  "NAME is a DISK, a DISK@SNAPSHOT or an image:NAME.\n"
	  "What is written is in the clear.\n",
	  NULL },
	{ "help", cmd_help, 0, -1, "[COMMAND | config]", "say more", NULL,
	  NULL },
	{ "image", cmd_image, 2, 2, "SOURCE NAME",
	  "make an image of a disk or snapshot",
	  "SOURCE is a DISK or a DISK@SNAPSHOT.\n", NULL },
	{ "import", cmd_import, 2, 2,
	  "FILE NAME [--size N] [--format F] [--key K] [--kind K] "
	  "[--category C] [--sector-size N]",
	  "make a disk with the content of an image",
	  "  --size N          larger than the image\n"
	  "  --format F        raw, qcow2, vpc (VHD), vmdk, vhdx or vdi;\n"
	  "                    else what the file looks like\n"
	  "  --key K           the master key: id or alias\n"
	  "  --kind K          system or data\n"
	  "  --category C      of cloud disk; cloud_essd\n"
	  "  --sector-size N   512 or 4096; 512\n",
	  NULL },
	{ "info", cmd_info, 0, 1, "[NAME] [--count]",
	  "show all about a disk, snapshot or image",
	  "  --count   would_free also where that takes long\n\n"
	  "Without NAME, about the store, and what of that which was removed "
	  "still takes\nspace.\n",
	  NULL },
	{ "init", cmd_init, 1, 1,
	  "STORE [--kms embedded|URL] [--region R] [--cipher C]",
	  "make a store, and keystore and root key where there are none",
	  "  --kms K      embedded, or the URL of a key service\n"
	  "  --region R   of the keys\n"
	  "  --cipher C   aes-256-gcm or aes-256-ocb\n",
	  NULL },
	{ "key", NULL, 1, -1, "COMMAND ...", "manage master keys", NULL,
	  key_commands },
	{ "kms", NULL, 1, -1, "COMMAND ...",
	  "save, put back or look at the key service", NULL, kms_commands },
	{ "ls", cmd_ls, 0, 1, "[disks | snapshots | images | all] [--names]",
	  "list the disks", "  --names   nothing but the names\n", NULL },
	{ "mount", cmd_mount, 2, -1, "STORE MOUNTPOINT [-f] [-o OPTION,...]",
	  "mount a store", "Mount options: see mount.sealdisk(8).\n", NULL },
	{ "receive", cmd_receive, 1, 1,
	  "DISK@NAME | image:NAME [--resume | --abort]",
	  "make a snapshot or an image of a stream on standard input",
	  "  --resume   print where `send` is to go on after a stream was cut\n"
	  "  --abort    give up what was received until then\n",
	  NULL },
	{ "reencrypt", cmd_reencrypt, 1, 1,
	  "NAME [--key K] [--rate N] [--background] | --status",
	  "give a disk a new data key and copy all that it holds",
	  "  --key K        under another master key: id or alias\n"
	  "  --rate N       bytes a second at most, or with K, M, G or T\n"
	  "  --background   leave it to the mount's daemon\n"
	  "  --status       how far it is, and who has the old data key\n\n"
	  "The disk may be in use.  What is cut off goes on when the disk is\n"
	  "attached again.\n",
	  NULL },
	{ "rename", cmd_rename, 2, 2, "NAME NEW",
	  "give a disk, snapshot or image another name",
	  "NEW is the name alone: without DISK@ and without image:.\n", NULL },
	{ "resize", cmd_resize, 2, 2, "NAME SIZE",
	  "make a disk larger or smaller", NULL, NULL },
	{ "rm", cmd_rm, 1, 1, "NAME",
	  "delete a disk and all that is on it, a snapshot or an image", NULL,
	  NULL },
	{ "rollback", cmd_rollback, 1, 1, "DISK@SNAPSHOT",
	  "let a disk become what a snapshot of it is",
	  "What was written since is lost.\n", NULL },
	{ "rotate", cmd_rotate, 0, -1, "NAME ... | --all [--key K] [-n]",
	  "wrap data keys under the newest version of their master key",
	  "  --all           all disks, snapshots and images\n"
	  "  --key K         under another master key: id or alias\n"
	  "  -n, --dry-run   only say what would be done\n\n"
	  "Also for disks that are in use.\n",
	  NULL },
	{ "scrub", cmd_scrub, 0, 1,
	  "NAME | --all [--rate BYTES] [--background] [--files] "
	  "[--no-repair] [--stop]",
	  "look at every bit of a disk, snapshot or image",
	  "  --all          one after another, each layer once or more\n"
	  "  --rate BYTES   that are read a second, at most\n"
	  "  --background   return at once; `sealdisk info` tells how far it "
	  "is\n"
	  "  --files        which files have what is lost\n"
	  "  --no-repair    leave the second copy of a page as it is\n"
	  "  --stop         end the one that is under way\n",
	  NULL },
	{ "send", cmd_send, 1, 1,
	  "DISK@NAME | image:NAME [--from NAME0] [--resume TOKEN]",
	  "write a snapshot or an image, encrypted, to standard output",
	  "  --from NAME0     only what is not in this earlier one\n"
	  "  --resume TOKEN   go on where `receive --resume` says\n\n"
	  "No key is needed.\n",
	  NULL },
	{ "set", cmd_set, 2, -1, "NAME KEY=VALUE ...",
	  "change properties of a disk",
	  "  kind=system|data\n  category=C\n  on_key_revoked=keep|stop\n"
	  "  anchor=none\n",
	  NULL },
	{ "snapshot", cmd_snapshot, 1, -1, "DISK[@NAME] ...",
	  "keep what disks hold at this moment",
	  "Of several disks at one instant; one NAME for all.  Without it, a "
	  "name by the\ntime, which is printed.\n",
	  NULL },
	{ "top", cmd_top, 0, 0, "[--once]", "show what goes on on the disks",
	  "  --once   totals since each was attached, and no more\n", NULL },
	{ "tree", cmd_tree, 0, 0, "",
	  "show which disks, snapshots and images come of which", NULL, NULL },
	{ "umount", cmd_umount, 1, 1, "MOUNTPOINT", "unmount a store", NULL,
	  NULL },
	{ "unlock", cmd_unlock, 1, 1, "NAME",
	  "break the lock that another host, now off, has left on a disk", NULL,
	  NULL },
	{ "upgrade", cmd_upgrade, 1, 1, "MOUNTPOINT",
	  "let the program that is installed now serve a mount",
	  "All disks stay attached and open.  Where the new program cannot go "
	  "on with what\nthere is, the old one does.\n",
	  NULL },
	{ NULL, NULL, 0, 0, NULL, NULL, NULL, NULL },
};

/* The exit status is an interface: cli.md, sealdisk(1), tests/cli.sh. */
int
exit_status(int err)
{
	switch (err) {
	case 0:
		return 0;
	case CMD_USAGE:
		return 2;
	case -ENOENT:
		return 3;
	case -EBUSY:
		return 4;
	case -ENOKEY:
	case -EKEYREVOKED:
	case -EKEYEXPIRED:
	case -EKEYREJECTED:
	case -EHOSTDOWN:
	case -ESHUTDOWN:
	case -EDQUOT:
		return 5;
	case -EBADMSG: /* does not verify */
	case -EUCLEAN: /* malformed */
	case -ESTALE:  /* rolled back */
		return 6;
	default:
		return 1;
	}
}

/* mount(8) calls us by one of these names. */
static bool
is_mount_helper(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');
	const char *name = slash ? slash + 1 : argv0;

	return strcmp(name, "mount.sealdisk") == 0 ||
	       strcmp(name, "mount.fuse.sealdisk") == 0;
}

static int
run_mount(int argc, char **argv)
{
	static char name[] = "mount";

	argv[0] = name;
	return cmd_dispatch(commands, argc, argv);
}

static int
run(int argc, char **argv)
{
	static char help_name[] = "help";
	char *help[] = { help_name, NULL };
	int what, r;

	if (argc > 0 && is_mount_helper(argv[0]))
		return run_mount(argc, argv);
	/* mount.fuse3, for want of our own helper, runs `sealdisk SOURCE
	 * MOUNTPOINT -o ...`: no command has a slash in its name. */
	if (argc > 1 && argv[1][0] != '-' && strchr(argv[1], '/'))
		return run_mount(argc, argv);
	r = cmd_parse_globals(&argc, &argv, &what);
	if (r)
		return r;
	switch (what) {
	case 'v':
		printf("sealdisk %s\n", PACKAGE_VERSION);
		return 0;
	case 'l':
		return cmd_list(argc, argv);
	case 'h':
		return cmd_help(1, help);
	default:
		break;
	}
	/* A command tells of its failure in one line.  What the engine and the
	 * key service have to say besides is for the system's log; a mount
	 * decides that by itself. */
	if (argc > 0 && strcmp(argv[0], "mount") != 0)
		log_to_syslog();
	return cmd_dispatch(commands, argc, argv);
}

/* Output that could not be written was not given. */
static int
close_output(int r)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return r;
	return cmd_fail(r ? r : -errno, "cannot be written", "",
			"standard output");
}

/*
 * Where a standard descriptor was closed, the next file that is opened would
 * get its number: a message would then be written into a disk's store, and the
 * daemon's pipe be taken for its standard input.  What holds its place cannot
 * be read (0) or written (1, 2), so that whoever uses it is still told.
 */
static int
hold_standard_fds(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
			return -errno;
	return 0;
}

int
main(int argc, char **argv)
{
	int r = hold_standard_fds();

	log_init("sealdisk");
	if (r == 0)
		r = secret_harden();
	if (r == 0)
		r = crypto_init();
	if (r < 0)
		r = cmd_fail(r, NULL, NULL, "start");
	else
		r = run(argc, argv);
	return exit_status(close_output(r));
}
