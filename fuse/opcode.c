/*
 * opcode.c - names of FUSE's requests.
 */
#include "opcode.h"

#include <linux/fuse.h>
#include <stddef.h>

static const char *const names[] = {
	[FUSE_LOOKUP] = "lookup",       [FUSE_FORGET] = "forget",
	[FUSE_GETATTR] = "getattr",     [FUSE_SETATTR] = "setattr",
	[FUSE_SYMLINK] = "symlink",     [FUSE_MKNOD] = "mknod",
	[FUSE_MKDIR] = "mkdir",         [FUSE_UNLINK] = "unlink",
	[FUSE_RMDIR] = "rmdir",         [FUSE_RENAME] = "rename",
	[FUSE_LINK] = "link",           [FUSE_OPEN] = "open",
	[FUSE_READ] = "read",           [FUSE_WRITE] = "write",
	[FUSE_STATFS] = "statfs",       [FUSE_RELEASE] = "release",
	[FUSE_FSYNC] = "fsync",         [FUSE_FLUSH] = "flush",
	[FUSE_INIT] = "init",           [FUSE_OPENDIR] = "opendir",
	[FUSE_READDIR] = "readdir",     [FUSE_RELEASEDIR] = "releasedir",
	[FUSE_CREATE] = "create",       [FUSE_INTERRUPT] = "interrupt",
	[FUSE_IOCTL] = "ioctl",         [FUSE_BATCH_FORGET] = "batch forget",
	[FUSE_FALLOCATE] = "fallocate", [FUSE_READDIRPLUS] = "readdirplus",
	[FUSE_RENAME2] = "rename2",     [FUSE_LSEEK] = "lseek",
};

const char *
opcode_name(uint32_t opcode)
{
	if (opcode >= sizeof(names) / sizeof(names[0]) || !names[opcode])
		return "?";
	return names[opcode];
}
