/*
 * log.c - what a program tells its administrator.
 *
 * A line is made whole and written by one write(2), so that threads and
 * processes that share standard error do not mix theirs.  Control characters
 * are replaced: a line stays one line, whatever a name or a server's answer
 * holds, and cannot pretend to be another.
 *
 * A failing medium can make the same complaint thousands of times a second.
 * Each place in the source has 10 lines in 5 seconds; what is left out is
 * counted, and the count is said once the 5 seconds are over, at the next line
 * from anywhere or when the program ends.
 */
#include <sealdisk/log.h>

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

#include <sealdisk/codec.h>

#define LINE_LEN 4096
#define BURST 10
#define WINDOW_NS INT64_C(5000000000)
#define NSITES 64

/* One place in the source that has spoken lately. */
struct site {
	const char *file;
	int line;
	enum log_level level;
	int64_t since; /* when its window began */
	unsigned said, left_out;
};

static struct {
	pthread_mutex_t lock;
	const char *ident;
	enum log_level max;
	bool syslog, journal;
	struct site sites[NSITES];
} state = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.ident = "sealdisk",
	.max = LOG_NOTE,
};

static const struct {
	int priority; /* as syslog and systemd count */
	const char *word;
} levels[] = {
	[LOG_ERROR] = { LOG_ERR, "" },
	[LOG_WARN] = { LOG_WARNING, "warning: " },
	[LOG_NOTE] = { LOG_NOTICE, "" },
	[LOG_DEBUG_] = { LOG_DEBUG, "debug: " },
};

static int64_t
now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Whether standard error is the journal's, and not a pipe that came after. */
static bool
stderr_is_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return s && sscanf(s, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
	       st.st_ino == ino;
}

/* Write one line of which ${len} bytes of ${text} are the message. */
static void
emit(enum log_level level, const char *text)
{
	char line[LINE_LEN + 128];
	ssize_t ignored;
	int len;

	if (state.syslog) {
		syslog(levels[level].priority, "%s%s", levels[level].word,
		       text);
		return;
	}
	if (state.journal) /* it knows who we are */
		len = snprintf(line, sizeof(line), "<%d>%s\n",
			       levels[level].priority, text);
	else
		len = snprintf(line, sizeof(line), "%s: %s%s\n", state.ident,
			       levels[level].word, text);
	if (len < 0)
		return;
	if ((size_t)len >= sizeof(line)) {
		len = sizeof(line) - 1;
		line[len - 1] = '\n';
	}
	ignored = write(STDERR_FILENO, line, (size_t)len);
	(void)ignored; /* nobody is left to tell */
}

static void
say_left_out(struct site *s)
{
	char text[128];

	if (s->left_out == 0)
		return;
	(void)snprintf(text, sizeof(text),
		       "%u more lines like this one were left out (%s:%d)",
		       s->left_out, s->file, s->line);
	emit(s->level, text);
	s->left_out = 0;
}

/* Say what was left out by sites whose time is over, or by all. */
static void
sweep(int64_t now, bool all)
{
	for (size_t i = 0; i < NSITES; i++)
		if (all || now - state.sites[i].since >= WINDOW_NS)
			say_left_out(&state.sites[i]);
}

/* The entry for a call site: its own, or the one that has rested longest. */
static struct site *
site_find(enum log_level level, const char *file, int line, int64_t now)
{
	struct site *oldest = &state.sites[0];

	for (size_t i = 0; i < NSITES; i++) {
		struct site *s = &state.sites[i];

		if (s->file && s->line == line && strcmp(s->file, file) == 0)
			return s;
		if (!s->file || (oldest->file && s->since < oldest->since))
			oldest = s;
	}
	say_left_out(oldest);
	*oldest = (struct site){
		.file = file, .line = line, .level = level, .since = now
	};
	return oldest;
}

/* Whether this call site may speak once more. */
static bool
site_may_speak(enum log_level level, const char *file, int line, int64_t now)
{
	struct site *s = site_find(level, file, line, now);

	if (now - s->since >= WINDOW_NS) {
		s->since = now;
		s->said = 0;
	}
	if (s->said >= BURST) {
		s->left_out++;
		return false;
	}
	s->said++;
	return true;
}

static void
at_exit(void)
{
	(void)pthread_mutex_lock(&state.lock);
	sweep(now_ns(), true);
	(void)pthread_mutex_unlock(&state.lock);
}

void
log_init(const char *ident)
{
	static bool registered;

	(void)pthread_mutex_lock(&state.lock);
	state.ident = ident;
	state.journal = stderr_is_journal();
	if (!registered)
		registered = atexit(at_exit) == 0;
	(void)pthread_mutex_unlock(&state.lock);
}

void
log_set_level(enum log_level max)
{
	(void)pthread_mutex_lock(&state.lock);
	state.max = max;
	(void)pthread_mutex_unlock(&state.lock);
}

void
log_to_syslog(void)
{
	(void)pthread_mutex_lock(&state.lock);
	openlog(state.ident, LOG_PID, LOG_DAEMON);
	state.syslog = true;
	(void)pthread_mutex_unlock(&state.lock);
}

/* Format a message; a debug line says where it comes from. */
__attribute__((__format__(__printf__, 5, 0))) static void
format_text(char text[static LINE_LEN], enum log_level level, const char *file,
	    int line, const char *fmt, va_list ap)
{
	const char *base = strrchr(file, '/');
	int at = 0;

	if (level == LOG_DEBUG_)
		at = snprintf(text, LINE_LEN, "%s:%d: ", base ? base + 1 : file,
			      line);
	if (at < 0 || at >= LINE_LEN)
		at = 0;
	text[at] = '\0';
	if (vsnprintf(text + at, LINE_LEN - (size_t)at, fmt, ap) >=
	    LINE_LEN - at)
		strcpy(text + LINE_LEN - 4, "...");
	text_mask_control(text);
}

void
log_at(enum log_level level, const char *file, int line, const char *fmt, ...)
{
	int saved = errno;
	char text[LINE_LEN];
	int64_t now = now_ns();
	va_list ap;

	(void)pthread_mutex_lock(&state.lock);
	if (level <= state.max) {
		sweep(now, false);
		if (site_may_speak(level, file, line, now)) {
			va_start(ap, fmt);
			errno = saved; /* for %m */
			format_text(text, level, file, line, fmt, ap);
			va_end(ap);
			emit(level, text);
		}
	}
	(void)pthread_mutex_unlock(&state.lock);
	errno = saved;
}

static const struct {
	int err;
	const char *text;
} own_words[] = {
	{ EBADMSG, "does not verify: it was changed or damaged" },
	{ EDQUOT, "over a quota" },
	{ EHOSTDOWN, "the key service does not answer" },
	{ EKEYEXPIRED, "the key is scheduled for deletion or destroyed" },
	{ EKEYREJECTED, "the key was refused or is not the right one" },
	{ EKEYREVOKED, "the key is disabled" },
	{ ENOKEY, "there is no such key" },
	{ EPROTO, "the key service gave an answer that makes no sense" },
	{ EPROTONOSUPPORT, "made by a newer version of Sealdisk" },
	{ ESHUTDOWN, "the key service cannot write its audit log" },
	{ ESTALE, "rolled back: an older state was put in its place" },
	{ EUCLEAN, "malformed: it was damaged or is not of Sealdisk" },
};

const char *
err_text(int err)
{
	err = err < 0 ? -err : err;
	for (size_t i = 0; i < sizeof(own_words) / sizeof(own_words[0]); i++)
		if (own_words[i].err == err)
			return own_words[i].text;
	return strerror(err); /* per thread, in glibc and musl alike */
}

bool
err_is_shortage(int err)
{
	err = err < 0 ? -err : err;
	return err == ENOMEM || err == EMFILE || err == ENFILE || err == EAGAIN;
}
