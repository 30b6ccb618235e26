/*
 * kmsd_serve.c - `kmsd serve`: from the settings to the last reply.
 *
 * What needs privileges comes first: sockets, the certificate's key, the
 * keystore and its root.  Then they are given up, and only then is anything
 * answered.
 */
#include "kmsd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include <sealdisk/log.h>
#include <sealdisk/secret.h>

#include "front.h"
#include "ledger.h"

#define DRAIN_SECONDS 10

struct serve {
	struct kmsd_settings c;
	struct server_options options;
	struct server *server;
	struct service *service;
	struct front *front;
	struct listen_address addresses[SERVER_LISTEN_MAX];
	size_t n;
	uid_t uid; /* who to become; -1: nobody else */
	gid_t gid;
};

static void
notify(const char *state)
{
#ifdef HAVE_LIBSYSTEMD
	(void)sd_notify(0, state);
#else
	(void)state;
#endif
}

/* Names to numbers. */
static int
find_people(struct serve *v)
{
	const struct passwd *pw = NULL;
	const struct group *gr = NULL;

	v->uid = (uid_t)-1;
	v->options.socket_gid = (gid_t)-1;
	if (v->c.user[0]) {
		pw = getpwnam(v->c.user);
		if (!pw)
			return kmsd_usage("there is no user %s", v->c.user);
		v->uid = pw->pw_uid;
		v->gid = pw->pw_gid;
	}
	if (v->c.socket_group[0]) {
		gr = getgrnam(v->c.socket_group);
		if (!gr)
			return kmsd_usage("there is no group %s",
					  v->c.socket_group);
		v->options.socket_gid = gr->gr_gid;
	}
	return 0;
}

static int
prepare(struct serve *v, const char *listen)
{
	int r = kmsd_load(&v->c);

	if (r == 0)
		r = kmsd_addresses(listen ? listen : v->c.listen, v->addresses,
				   &v->n);
	if (r == 0)
		r = find_people(v);
	if (r)
		return r;
	v->options.threads = (unsigned)v->c.threads;
	v->options.connections = (unsigned)v->c.connections;
	v->options.per_address = (unsigned)v->c.connections_per_address;
	v->options.timeout = (unsigned)v->c.timeout;
	v->options.socket_mode = (mode_t)v->c.socket_mode;
	v->options.tls_cert = v->c.tls_cert;
	v->options.tls_key = v->c.tls_key;
	return 0;
}

/* The signals are taken by the main thread, when it waits for them. */
static void
block_signals(sigset_t *ret)
{
	(void)sigemptyset(ret);
	(void)sigaddset(ret, SIGTERM);
	(void)sigaddset(ret, SIGINT);
	(void)sigaddset(ret, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, ret, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
}

/* One file, if it is there. */
static int
give(const struct serve *v, int dirfd, const char *path)
{
	if (fchownat(dirfd, path, v->uid, v->gid, AT_SYMLINK_NOFOLLOW) < 0 &&
	    errno != ENOENT)
		return kmsd_fail(-errno, NULL, "%s cannot be given to %s", path,
				 v->c.user);
	return 0;
}

static int
give_folder(const struct serve *v, const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while (r == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, "..") != 0)
			r = give(v, dirfd(d), e->d_name);
	(void)closedir(d);
	return r;
}

/* What was made or opened with privileges has to be of use without. */
static int
hand_over(const struct serve *v)
{
	static const char *const parts[] = { "", "-wal", "-shm" };
	char path[PATH_MAX];
	int r = 0;

	for (size_t i = 0; i < 3 && r == 0; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", v->c.s.keystore_path,
			       parts[i]);
		r = give(v, AT_FDCWD, path);
	}
	if (r == 0)
		r = ledger_audit_dir(&v->c.s, path);
	return r || !path[0] ? r : give_folder(v, path);
}

/* For good; undumpable is said again, for a change of user takes it back. */
static int
drop_privileges(const struct serve *v)
{
	int r;

	if (v->uid == (uid_t)-1 || v->uid == geteuid())
		return 0;
	r = hand_over(v);
	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(v->gid, v->gid, v->gid) < 0 ||
	    setresuid(v->uid, v->uid, v->uid) < 0)
		return kmsd_fail(-errno, NULL, "cannot become %s", v->c.user);
	return secret_harden();
}

static int
open_all(struct serve *v)
{
	int r = service_open(&v->c.s, true, &v->service);

	if (r == -EHOSTDOWN)
		return kmsd_fail(-EBUSY, "is it served?", "keystore %s",
				 v->c.s.keystore_path);
	if (r < 0)
		return kmsd_fail(r,
				 r == -ENOENT ? "run `kmsd init` first" : NULL,
				 "keystore %s", v->c.s.keystore_path);
	r = server_open(&v->options, v->addresses, v->n, &v->server);
	if (r < 0)
		return r; /* it has said why */
	return front_new(v->service, v->c.nonces, &v->front);
}

static int
start(struct serve *v)
{
	int r = open_all(v);

	if (r == 0)
		r = drop_privileges(v);
	if (r == 0)
		r = server_start(v->server, v->front);
	if (r)
		return r;
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!secret_locked())
		log_warn("keys are not locked in memory: raise "
			 "RLIMIT_MEMLOCK");
	notify("READY=1");
	return 0;
}

/* Until SIGTERM or SIGINT. */
static void
wait_for_end(struct serve *v, const sigset_t *signals)
{
	int sig;

	while (sigwait(signals, &sig) == 0 && sig == SIGHUP) {
		notify("RELOADING=1");
		if (server_reload(v->server) == 0)
			log_note("the certificate was read again");
		else
			log_error("the certificate of before stays");
		notify("READY=1");
	}
	notify("STOPPING=1");
	log_note("ending");
	server_drain(v->server, DRAIN_SECONDS);
}

static void
serve_done(struct serve *v)
{
	server_close(v->server);
	front_free(v->front);
	service_close(v->service);
}

static int
join(const char *const *listen, size_t n, char out[static SETTING_MAX])
{
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		int add =
		    snprintf(out + len, SETTING_MAX - len, "%s ", listen[i]);

		if (add < 0 || len + (size_t)add >= SETTING_MAX)
			return kmsd_usage("too many addresses to listen on");
		len += (size_t)add;
	}
	return 0;
}

int
kmsd_serve(int argc, char **argv)
{
	CLEANUP(serve_done) struct serve v = { 0 };
	const char *given[SERVER_LISTEN_MAX];
	size_t n = 0;
	const struct kmsd_option own[] = {
		{ .name = "listen", .value = given, .n = &n },
		{ .name = NULL },
	};
	char listen[SETTING_MAX];
	sigset_t signals;
	int r;

	r = kmsd_parse(&argc, &argv, own);
	if (r == 0)
		r = join(given, n, listen);
	if (r == 0)
		r = prepare(&v, n > 0 ? listen : NULL);
	if (r)
		return r;
	block_signals(&signals);
	r = start(&v);
	if (r == 0)
		wait_for_end(&v, &signals);
	return r;
}
