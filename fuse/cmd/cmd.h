/*
 * cmd.h - what the commands of `sealdisk` share.
 *
 * One file a command, each of which exports cmd_NAME(argc, argv); argv[0] is
 * the command's name.  A command returns 0, or CMD_USAGE or a negative errno
 * after it has told the user in one line on standard error what was tried, on
 * what, why it failed and, where that is known, what to do (cmd_usage,
 * cmd_fail).  fuse/main.c makes the exit status of it.
 *
 * Results go to standard output, as a table for people or with --json.
 * All of this is for the one thread of a command.
 */
#ifndef SEALDISK_CMD_H
#define SEALDISK_CMD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/progress.h>
#include <sealdisk/settings.h>

#include "catalog.h"
#include "loop.h"

/* The command line was wrong, which has been said: exit status 2. */
#define CMD_USAGE 1

/* The options that every command takes, before or after its name. */
struct cmd_globals {
	const char *config;        /* --config, or NULL */
	const char *store;         /* -s, or NULL */
	const char *passphrase_fd; /* --passphrase-fd, or NULL */
	bool json, yes;
	enum progress_mode progress;
};
extern struct cmd_globals cmd_globals;

/* A table of commands ends with an entry without a name. */
struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	int min_args, max_args;    /* positional ones; -1: any number */
	const char *synopsis;      /* what follows the name */
	const char *summary;       /* one line, lower case, no full stop */
	const char *more;          /* lines about its options, or NULL */
	const struct command *sub; /* in place of run, or NULL */
};

/* In fuse/main.c. */
extern const struct command commands[];
int exit_status(int err);

/* The commands, in the order of the table. */
int cmd_attach(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_clone(int argc, char **argv);
int cmd_create(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_help(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_init(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_mount(int argc, char **argv); /* parses its options by itself */
int cmd_receive(int argc, char **argv);
int cmd_reencrypt(int argc, char **argv);
int cmd_rename(int argc, char **argv);
int cmd_resize(int argc, char **argv);
int cmd_rm(int argc, char **argv);
int cmd_rollback(int argc, char **argv);
int cmd_rotate(int argc, char **argv);
int cmd_scrub(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_tree(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_unlock(int argc, char **argv);
int cmd_upgrade(int argc, char **argv);
extern const struct command key_commands[]; /* key.c */
extern const struct command kms_commands[]; /* kms.c */

/* create.c: values that others take, too. */
int cmd_check_kind(const char *kind) NONNULL CHECKED;
int cmd_check_category(const char *category) NONNULL CHECKED;
int cmd_parse_sector_size(const char *text, uint32_t *ret) NONNULL CHECKED;
/* With --json, what has been made. */
int cmd_print_made(const struct descriptor *d) NONNULL CHECKED;

/* clone.c: `clone`, and `create --from`.  ${key}: CMK that was asked for, or
 * NULL; ${own_key}: also under the same one a DK of its own. */
int cmd_clone_from(const char *source, const char *key, bool own_key,
		   const struct clone_params *p)
    __attribute__((__nonnull__(1, 4))) CHECKED;

/*
 * options.c: the command line.
 */

/* An option of one command: with a value, or a switch. */
struct cmd_option {
	const char *name; /* the long form, without its dashes; NULL: the end */
	const char **value;
	bool *flag;
};

/* Find argv[0] in a table and run it; --help among its arguments instead
 * prints what cmd_print_help() does: synopsis, summary, options. */
int cmd_dispatch(const struct command *table, int argc, char **argv) CHECKED;
const struct command *cmd_find(const struct command *table, const char *name);
/* --list-commands [COMMAND...]: names for the completion. */
int cmd_list(int argc, char **argv) CHECKED;
void cmd_print_help(const char *name, const struct command *c) NONNULL;

/**
 * cmd_parse(argc, argv, own):
 * Take the global options and those of ${own} (NULL: none) out of *${argv},
 * leaving its positional arguments, in order, as (*${argv})[0], [1], ..., of
 * which the command's table entry says how many there must be.  An option that
 * is given twice is refused.
 */
int cmd_parse(int *argc, char ***argv, const struct cmd_option *own)
    __attribute__((__nonnull__(1, 2))) CHECKED;

/* Parse the global options before the command's name; *${argv} then starts
 * there.  *ret_what: 'v' --version, 'h' --help, 'l' --list-commands, or 0. */
int cmd_parse_globals(int *argc, char ***argv, int *ret_what) NONNULL CHECKED;

/* "create", "key alias": the command that runs. */
const char *cmd_name(void);

/* "sealdisk: NAME: MESSAGE (see `sealdisk help NAME`)"; returns CMD_USAGE. */
int cmd_usage(const char *fmt, ...)
    __attribute__((__format__(__printf__, 1, 2))) CHECKED;

/* A size argument: what is wrong with it is told, and CMD_USAGE returned. */
int cmd_parse_disk_size(const char *text, uint64_t *ret) NONNULL CHECKED;
int cmd_check_name(const char *name) NONNULL CHECKED;
int cmd_check_key(const char *key) NONNULL CHECKED; /* id, ARN or alias */
int cmd_check_fd(const char *name, const char *arg) NONNULL CHECKED;

/*
 * output.c: what people and programs read.
 */

#define CMD_REPAIR_HINT                                                        \
	"`sealdisk check --repair` makes a map or a layer.ini anew"

/**
 * cmd_fail(err, why, hint, fmt, ...):
 * "sealdisk: WHAT: WHY (HINT)" in one line on standard error, whatever stands
 * in the arguments.  ${why} NULL: err_text(err).  ${hint} NULL: what is good
 * against ${err} in general, if anything; "": none.  Returns ${err}.
 */
int cmd_fail(int err, const char *why, const char *hint, const char *fmt, ...)
    __attribute__((__format__(__printf__, 4, 5), __nonnull__(4))) CHECKED;
/* "sealdisk: MESSAGE" in one line on standard error: a warning or a hint. */
void cmd_note(const char *fmt, ...)
    __attribute__((__format__(__printf__, 1, 2)));

/* Print ${j} with a line feed, and release it.  NULL is -ENOMEM. */
int cmd_print_json(json_t *j) CHECKED;
/* json_decref() as a CLEANUP handler. */
void cmd_json_freep(json_t **j) NONNULL;

/* Rows of text in columns under a heading; a NULL cell is "-". */
struct cmd_table;
struct cmd_table *cmd_table_new(size_t n_columns, const char *const *heading)
    NONNULL CHECKED;
int cmd_table_add(struct cmd_table *t, const char *const *cells)
    NONNULL CHECKED;
void cmd_table_print(const struct cmd_table *t) NONNULL;
void cmd_table_free(struct cmd_table *t);
DEFINE_CLEANUP(struct cmd_table, cmd_table_free)

/**
 * cmd_confirm(fmt, ...):
 * Ask "MESSAGE  Go on? [y/N]" on the terminal.  0: yes, or --yes was given;
 * -ECANCELED: no; CMD_USAGE: there is no terminal to ask.
 */
int cmd_confirm(const char *fmt, ...)
    __attribute__((__format__(__printf__, 1, 2))) CHECKED;

/*
 * common.c: settings, store, keys.
 */

struct cmd_env {
	struct settings settings;
	char path[PATH_MAX]; /* of the store, absolute */
	struct store *store;
	struct catalog *catalog;
	struct kms *kms;
};

/* --config or the usual places; what is wrong is told. */
int cmd_settings(struct settings *ret) NONNULL CHECKED;

/* -s, $SEALDISK_STORE, sealdisk.ini; absolute, without symbolic links. */
int cmd_store_path(const struct settings *s, char ret[static PATH_MAX])
    NONNULL CHECKED;

/**
 * cmd_open(e, want):
 * Settings, store, catalog, and as ${want} says the KMS and what
 * catalog_recover() puts right.  Failures are told.
 */
enum {
	CMD_KMS = 1,     /* must open */
	CMD_TRY_KMS = 2, /* kms stays NULL where it does not; for names of keys
			  * only, for which no root is opened */
	CMD_CHANGE = 4,  /* the command will change the store */
	CMD_RESTORE = 8, /* a store.ini that is lost is made anew, and told */
};
int cmd_open(struct cmd_env *e, int want) NONNULL CHECKED;
void cmd_close(struct cmd_env *e) NONNULL; /* also as a CLEANUP handler */

/* Tell what kms_open() or kms_init() said; returns ${err}. */
int cmd_fail_kms(const struct settings *s, int err) NONNULL CHECKED;
int cmd_open_kms(const struct settings *s, struct kms **ret) NONNULL CHECKED;

/*
 * names.c: what a name on the command line stands for.
 */

#define CMD_NAME_LEN (2 * DISK_NAME_MAX + 2) /* of DISK@SNAPSHOT */

/* A disk, snapshot or image. */
struct cmd_target {
	enum desc_type type;
	char name[CMD_NAME_LEN];     /* as the catalog has it */
	char text[CMD_NAME_LEN + 6]; /* as people have it: with "image:" */
};

#define CMD_TYPE(type) (1U << (type))
#define CMD_ANY_TYPE 7U
#define CMD_FROZEN_TYPE 6U /* snapshots and images */

/**
 * cmd_parse_name(text, types, ret):
 * DISK, DISK@SNAPSHOT or image:NAME, if it is one of ${types}, which are
 * CMD_TYPE()s.  Else that is told, and CMD_USAGE returned.
 */
int cmd_parse_name(const char *text, unsigned types, struct cmd_target *ret)
    NONNULL CHECKED;
void cmd_target_of(enum desc_type type, const char *name,
		   struct cmd_target *ret) NONNULL;
void cmd_target_of_descriptor(const struct descriptor *d,
			      struct cmd_target *ret) NONNULL;
/* "disk", "snapshot", "image". */
const char *cmd_type_word(enum desc_type type);

/* catalog_load(), told as "COMMAND NAME: ...". */
int cmd_load_target(struct cmd_env *e, const struct cmd_target *t,
		    struct descriptor *ret) NONNULL CHECKED;
/* Of a disk, with its name checked. */
int cmd_load(struct cmd_env *e, const char *name, struct descriptor *ret)
    NONNULL CHECKED;

/* The path in a mount, or of the info file there.  -ENAMETOOLONG. */
int cmd_path_in(const char *mnt, bool info, const struct cmd_target *t,
		char ret[static PATH_MAX]) NONNULL CHECKED;

/*
 * rm.c: what a name that is gone had takes no more space when it returns.
 * Failures are told, as of ${what}, which is gone all the same.
 */
int cmd_sweep(struct cmd_env *e, const char *what) NONNULL CHECKED;

/*
 * mounts.c: the mount of a store, and who has a disk.
 */

/* "\\040" and the like, as mountinfo writes blanks: in place. */
void cmd_unescape(char *s) NONNULL;
/* Whether two paths in mounts of ours are one file; neither is touched. */
bool cmd_same_file(const char *a, const char *b) NONNULL;
/* The mount point of the store in ${store}, newest first.  -ENOENT. */
int cmd_find_mount(const char *store, char ret[static PATH_MAX])
    NONNULL CHECKED;
/* The store that is mounted on ${mnt}.  -ENOENT. */
int cmd_mounted_store(const char *mnt, char ret[static PATH_MAX])
    NONNULL CHECKED;

/**
 * cmd_lock(e, d, ret_lock, ret_path):
 * Get at disk ${d}: its lock, or, where a daemon of this host holds that,
 * *${ret_lock} is NULL and ${ret_path} is the disk's path in the mount.  Where
 * neither can be had, the owner is named and -EBUSY returned.
 */
int cmd_lock(struct cmd_env *e, const struct descriptor *d,
	     struct store_lock **ret_lock, char ret_path[static PATH_MAX])
    NONNULL CHECKED;
/* "attached on /mnt/sd by process 12 of this host since ..." */
void cmd_owner_text(const struct lock_owner *o, char *ret, size_t cap) NONNULL;
/* The owner of the lock of ${d}: 0, or -ENOENT: nobody. */
int cmd_owner(struct cmd_env *e, const struct uuid *uuid,
	      struct lock_owner *ret) NONNULL CHECKED;

/* unlock.c: where another host has left its lock on the disk, say so and return
 * -EBUSY; else 0. */
int cmd_fail_left(struct cmd_env *e, const struct descriptor *d)
    NONNULL CHECKED;

/* MNT/disks/NAME to MNT/info/disks/NAME.  -ENAMETOOLONG. */
int cmd_info_path(const char *path, char ret[static PATH_MAX]) NONNULL CHECKED;

/*
 * state.c: what there is to say of a disk, snapshot or image; JSON and text
 * alike come of it.
 */

struct cmd_state {
	const char *word; /* attached, detached, unclean */
	/* Somebody has the disk's lock.  What is frozen many may have, and who
	 * they are is nowhere said. */
	bool owned;
	struct lock_owner owner;
	/* In the mount of this host, or ""; the info file's name there. */
	char path[PATH_MAX], info[PATH_MAX];
	struct loop_list loops;
	/* Bytes, as of now where the disk is attached here, else as of the last
	 * detach. */
	uint64_t size, allocated;
};

void cmd_disk_state(struct cmd_env *e, const struct descriptor *d,
		    struct cmd_state *ret) NONNULL;

/* {KEY ID: [ALIAS, ...]}; empty where the KMS cannot be asked. */
json_t *cmd_aliases(struct kms *kms);
/* The first alias of a key in that, or NULL. */
const char *cmd_alias_of(const json_t *aliases, const char *key_id);
/* The CMK that the top layer's DK is wrapped under. */
const char *cmd_key_id(const struct descriptor *d) NONNULL;

/* What `ls` says, and `info` begins with. */
json_t *cmd_disk_json(const struct descriptor *d, const struct cmd_state *s,
		      const json_t *aliases) NONNULL;
/* "attached /dev/loop0", "detached". */
void cmd_state_text(const struct cmd_state *s, char *ret, size_t cap) NONNULL;

#endif
