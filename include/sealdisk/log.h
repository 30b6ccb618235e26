/*
 * log.h - what a program tells its administrator.
 *
 * Lines go to standard error, or, once log_to_syslog() was called (a daemon in
 * the background), to syslog; with JOURNAL_STREAM set they carry the level as
 * systemd reads it ("<3>").  Format arguments are plain text and numbers; there
 * is no conversion for a key, and the type checks of printf refuse a struct.
 * Any thread.  Identical call sites are limited to 10 lines in 5 seconds; how
 * many were left out is said after.
 */
#ifndef SEALDISK_LOG_H
#define SEALDISK_LOG_H

#include <stdbool.h>

#include <sealdisk/cleanup.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTE, LOG_DEBUG_ };

void log_init(const char *ident) NONNULL;
void log_set_level(enum log_level max);
void log_to_syslog(void);

void log_at(enum log_level level, const char *file, int line, const char *fmt,
	    ...) __attribute__((__format__(__printf__, 4, 5)));

#define log_error(...) log_at(LOG_ERROR, __FILE__, __LINE__, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __FILE__, __LINE__, __VA_ARGS__)
#define log_note(...) log_at(LOG_NOTE, __FILE__, __LINE__, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG_, __FILE__, __LINE__, __VA_ARGS__)

/*
 * err_text(err): what a (negative or positive) errno means in Sealdisk's own
 * words: -EKEYREVOKED is "the key is disabled", -EBADMSG "does not verify: it
 * was changed or damaged", -ESTALE "rolled back"; else strerror's.  The result
 * is static or per thread.
 */
const char *err_text(int err);

/* Whether ${err}, as err_text() takes it, says nothing of what was to be read
 * or written, but that this process cannot have memory or open files for it. */
bool err_is_shortage(int err);

#endif
