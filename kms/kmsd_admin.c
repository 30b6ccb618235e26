/*
 * kmsd_admin.c - what is done to the service itself: access keys, policies,
 * usage, the audit log, backups.
 *
 * These are private actions of the service.  While kmsd serves, it has the
 * keystore alone, and they are sent to its Unix socket, where root and its own
 * user may do everything; else the keystore is opened here.
 */
#include "kmsd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "remote.h"

#define TIMEOUT_SECONDS 600 /* an audit log may be long */
#define POLICY_FILE_MAX 65536

/* Whether somebody listens on a Unix socket. */
static bool
is_served(const char *path)
{
	CLEANUP(close_fdp)
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const void *sa = &un;

	if (fd < 0 || strlen(path) >= sizeof(un.sun_path))
		return false;
	strcpy(un.sun_path, path);
	return connect(fd, sa, sizeof(un)) == 0;
}

/* The Unix socket of a kmsd that serves; false: there is none. */
static bool
find_socket(const struct kmsd_settings *c, char *out, size_t cap)
{
	struct listen_address a[SERVER_LISTEN_MAX];
	size_t n;

	if (kmsd_addresses(c->listen, a, &n))
		return false;
	for (size_t i = 0; i < n; i++)
		if (a[i].via == SERVICE_UNIX && is_served(a[i].host)) {
			(void)snprintf(out, cap, "unix:%s", a[i].host);
			return true;
		}
	return false;
}

static int
ask_server(const struct settings *s, const char *action,
	   const struct service_param *params, size_t n, json_t **ret)
{
	CLEANUP(remote_closep) struct remote *r = NULL;
	struct request_param p[4];
	int e = remote_open(s, &r);

	for (size_t i = 0; i < n; i++)
		p[i] = (struct request_param){ params[i].name, params[i].value,
					       false };
	return e < 0 ? e : remote_call(r, action, p, n, false, ret);
}

/* The keystore is not served: it is opened here. */
static int
ask_keystore(const struct settings *s, const char *action,
	     const struct service_param *params, size_t n, json_t **ret)
{
	CLEANUP(service_closep) struct service *service = NULL;
	CLEANUP(service_reply_done) struct service_reply reply = { 0 };
	const struct service_request q = {
		.action = action,
		.params = params,
		.n_params = n,
		.peer = { .via = SERVICE_EMBEDDED,
			  .address = "kmsd",
			  .uid = geteuid() },
	};
	const char *message;
	int r = service_open(s, true, &service);

	if (r == 0)
		r = service_call(service, &q, &reply);
	if (r < 0)
		return r;
	if (reply.status == 200) {
		*ret = TAKE(reply.body);
		return 0;
	}
	message = json_string_value(json_object_get(reply.body, "Message"));
	log_error("%s: %s", action, message ? message : "refused");
	return reply.status == 404 ? -ENOENT : -EINVAL;
}

/* Up to four ${params}; what is wrong was said. */
static int
ask(const char *action, const struct service_param *params, size_t n,
    json_t **ret)
{
	struct kmsd_settings c;
	int r = kmsd_load(&c);

	if (r)
		return r;
	if (find_socket(&c, c.s.kms_endpoint, sizeof(c.s.kms_endpoint))) {
		c.s.kms_timeout = TIMEOUT_SECONDS;
		c.s.kms_access_key_file[0] = '\0';
		r = ask_server(&c.s, action, params, n, ret);
	} else {
		r = ask_keystore(&c.s, action, params, n, ret);
	}
	return r < 0 ? kmsd_fail(r, NULL, "%s", action) : 0;
}

/* With --json, all that was answered; false: the caller prints. */
static bool
print_json(const json_t *o)
{
	if (kmsd_globals.json) {
		(void)json_dumpf(o, stdout, JSON_COMPACT);
		(void)putchar('\n');
	}
	return kmsd_globals.json;
}

static const char *
text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

static int
strange(const char *action)
{
	return kmsd_fail(-EPROTO, NULL, "%s", action);
}

/* An action with up to one parameter, and no answer of interest. */
static int
do_simple(int argc, char **argv, const char *action, const char *name,
	  const char *status)
{
	CLEANUP(json_done) json_t *o = NULL;
	int r = kmsd_parse(&argc, &argv, NULL);
	struct service_param params[2] = { { name, r == 0 ? argv[0] : "" },
					   { "Status", status } };

	return r ? r : ask(action, params, status ? 2 : 1, &o);
}

/* Access keys. */

int
kmsd_access_create(int argc, char **argv)
{
	static const char action[] = "CreateAccessKey";
	CLEANUP(json_done) json_t *o = NULL;
	struct service_param params[1] = { { "Principal", NULL } };
	const json_t *k;
	int r = kmsd_parse(&argc, &argv, NULL);

	if (r)
		return r;
	params[0].value = argv[0];
	r = ask(action, params, 1, &o);
	if (r || print_json(o))
		return r;
	k = json_object_get(o, "AccessKey");
	if (!text_of(k, "AccessKeyId")[0] || !text_of(k, "AccessKeySecret")[0])
		return strange(action);
	printf("%s\n%s\n", text_of(k, "AccessKeyId"),
	       text_of(k, "AccessKeySecret"));
	return 0;
}

int
kmsd_access_disable(int argc, char **argv)
{
	return do_simple(argc, argv, "UpdateAccessKey", "UserAccessKeyId",
			 "Inactive");
}

int
kmsd_access_enable(int argc, char **argv)
{
	return do_simple(argc, argv, "UpdateAccessKey", "UserAccessKeyId",
			 "Active");
}

int
kmsd_access_rm(int argc, char **argv)
{
	return do_simple(argc, argv, "DeleteAccessKey", "UserAccessKeyId",
			 NULL);
}

/* The items of {OUTER: {INNER: [...]}}. */
static const json_t *
items_of(const json_t *o, const char *outer, const char *inner)
{
	return json_object_get(json_object_get(o, outer), inner);
}

int
kmsd_access_ls(int argc, char **argv)
{
	CLEANUP(json_done) json_t *o = NULL;
	const json_t *keys, *k;
	size_t i;
	int r = kmsd_parse(&argc, &argv, NULL);

	if (r == 0)
		r = ask("ListAccessKeys", NULL, 0, &o);
	if (r || print_json(o))
		return r;
	keys = items_of(o, "AccessKeys", "AccessKey");
	json_array_foreach(keys, i, k)
	    printf("%-26s %-9s %-20s %s\n", text_of(k, "AccessKeyId"),
		   text_of(k, "Status"), text_of(k, "CreateDate"),
		   text_of(k, "Principal"));
	return 0;
}

/* Policies. */

int
kmsd_policy_get(int argc, char **argv)
{
	CLEANUP(json_done) json_t *o = NULL;
	struct service_param params[1] = { { "Principal", NULL } };
	int r = kmsd_parse(&argc, &argv, NULL);

	if (r)
		return r;
	params[0].value = argv[0];
	r = ask("GetPolicy", params, 1, &o);
	if (r || print_json(o))
		return r;
	printf("%s\n", text_of(o, "PolicyDocument"));
	return 0;
}

int
kmsd_policy_ls(int argc, char **argv)
{
	CLEANUP(json_done) json_t *o = NULL;
	const json_t *policies, *p;
	size_t i;
	int r = kmsd_parse(&argc, &argv, NULL);

	if (r == 0)
		r = ask("ListPolicies", NULL, 0, &o);
	if (r || print_json(o))
		return r;
	policies = items_of(o, "Policies", "Policy");
	json_array_foreach(policies, i, p)
	    printf("%s\n", text_of(p, "Principal"));
	return 0;
}

int
kmsd_policy_rm(int argc, char **argv)
{
	return do_simple(argc, argv, "DeletePolicy", "Principal", NULL);
}

/* A file, or "-", as text; *${ret} is malloc'ed. */
static int
load_text(const char *path, char **ret)
{
	size_t len = 0;
	ssize_t n = 1;
	int r;

	if (strcmp(path, "-") != 0) {
		r = io_load(AT_FDCWD, path, POLICY_FILE_MAX, ret, &len);
		return r == 0 && strlen(*ret) != len ? -EINVAL : r;
	}
	*ret = calloc(1, POLICY_FILE_MAX + 1);
	if (!*ret)
		return -ENOMEM;
	while (n > 0 && len < POLICY_FILE_MAX) {
		n = read(STDIN_FILENO, *ret + len, POLICY_FILE_MAX - len);
		if (n < 0)
			return -errno;
		len += (size_t)n;
	}
	if (n > 0)
		return -EFBIG;
	return strlen(*ret) != len ? -EINVAL : 0;
}

int
kmsd_policy_set(int argc, char **argv)
{
	CLEANUP(json_done) json_t *o = NULL;
	CLEANUP(free_memp) char *text = NULL;
	struct service_param params[2] = { { "Principal", NULL },
					   { "PolicyDocument", NULL } };
	int r = kmsd_parse(&argc, &argv, NULL);

	if (r)
		return r;
	r = load_text(argv[1], &text);
	if (r < 0)
		return kmsd_fail(r, NULL, "%s", argv[1]);
	params[0].value = argv[0];
	params[1].value = text;
	return ask("SetPolicy", params, 2, &o);
}

/* What has been done. */

int
kmsd_usage_show(int argc, char **argv)
{
	CLEANUP(json_done) json_t *o = NULL;
	const char *month = NULL;
	const struct kmsd_option own[] = {
		{ .name = "month", .value = &month },
		{ .name = NULL },
	};
	struct service_param params[1] = { { "Month", NULL } };
	const json_t *rows, *u;
	size_t i;
	int r = kmsd_parse(&argc, &argv, own);

	if (r)
		return r;
	params[0].value = month;
	r = ask("GetUsage", params, month ? 1 : 0, &o);
	if (r || print_json(o))
		return r;
	rows = items_of(o, "Usage", "Call");
	json_array_foreach(rows, i, u) printf(
	    "%s %10" JSON_INTEGER_FORMAT " %-8s %-32s %-36s %s\n",
	    text_of(u, "Month"),
	    json_integer_value(json_object_get(u, "Calls")),
	    json_is_true(json_object_get(u, "Billable")) ? "billable" : "free",
	    text_of(u, "Action"), text_of(u, "KeyId"), text_of(u, "Principal"));
	return 0;
}

int
kmsd_audit_verify(int argc, char **argv)
{
	CLEANUP(json_done) json_t *o = NULL;
	const json_t *flaws, *f;
	size_t i;
	int r = kmsd_parse(&argc, &argv, NULL);

	if (r == 0)
		r = ask("VerifyAudit", NULL, 0, &o);
	if (r)
		return r;
	flaws = items_of(o, "Flaws", "Flaw");
	if (!print_json(o)) {
		json_array_foreach(flaws, i, f)
		    printf("file %" JSON_INTEGER_FORMAT
			   ", line %" JSON_INTEGER_FORMAT ": %s\n",
			   json_integer_value(json_object_get(f, "File")),
			   json_integer_value(json_object_get(f, "Line")),
			   text_of(f, "What"));
		printf("%" JSON_INTEGER_FORMAT " lines, %" JSON_INTEGER_FORMAT
		       " of them wrong or missing\n",
		       json_integer_value(json_object_get(o, "Lines")),
		       json_integer_value(json_object_get(o, "FlawCount")));
	}
	return json_array_size(flaws) ? -EBADMSG : 0;
}

/* Written by who has the keystore, so that a path has to be a whole one. */
int
kmsd_backup(int argc, char **argv)
{
	CLEANUP(json_done) json_t *o = NULL;
	CLEANUP(free_memp) char *dir = NULL;
	CLEANUP(free_memp) char *path = NULL;
	struct service_param params[1] = { { "Path", NULL } };
	int r = kmsd_parse(&argc, &argv, NULL);

	if (r)
		return r;
	dir = argv[0][0] == '/' ? strdup("") : getcwd(NULL, 0);
	if (!dir ||
	    asprintf(&path, "%s%s%s", dir, dir[0] ? "/" : "", argv[0]) < 0)
		return kmsd_fail(-ENOMEM, NULL, "backup %s", argv[0]);
	params[0].value = path;
	return ask("BackupKeystore", params, 1, &o);
}
