/*
 * program.h - another program, run without a shell, with nothing on its
 * standard input and no environment but LC_ALL=C.  It ends when this one does.
 */
#ifndef SEALDISK_PROGRAM_H
#define SEALDISK_PROGRAM_H

#include <stddef.h>

#include <sealdisk/cleanup.h>

#define PROGRAM_SAID_MAX 512

/**
 * program_run(path, argv, fn, arg, ret_said):
 * Run ${path} to its end; ${fn} is called with what it prints, as it comes.
 * argv[0] is its name, and NULL its end.
 *
 * -ECHILD     it failed; ${ret_said} is its first line on standard error
 * -ECANCELED  a signal of copy_catch_signals(), which has ended it
 */
int program_run(const char *path, const char *const *argv,
		void (*fn)(const char *text, size_t len, void *arg), void *arg,
		char ret_said[static PROGRAM_SAID_MAX])
    __attribute__((__nonnull__(1, 2, 3))) CHECKED;

#endif
