/*
 * authorize.c - see authorize.h.
 *
 * Documents are read from the keystore for each request, so that what was
 * changed holds with the next one, whoever changed it; but they are understood
 * once: a small cache has them by their text.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sealdisk/log.h>

#include "authorize.h"
#include "keys_private.h"

#define NCACHED 64
#define RAM_ARN "acs:ram::" KEYS_ACCOUNT ":"

struct policy_ref {
	struct policy *policy;
	enum policy_kind kind;
	atomic_uint users; /* the cache is one */
	uint64_t used;     /* when, by a count; under the lock */
	char *text;
};

struct authorizer {
	struct keys *keys;
	struct policy *role;         /* of the disk service */
	struct policy *role_service; /* the same, with the service key */
	pthread_mutex_t lock;
	uint64_t clock;
	struct policy_ref *cache[NCACHED];
};

/* What AliyunECSDiskEncryptDefaultRole is, but for the tags. */
#define ROLE_ACTIONS                                                           \
	"[\"kms:Encrypt\",\"kms:Decrypt\",\"kms:GenerateDataKey*\","           \
	"\"kms:ReEncrypt*\",\"kms:GetAnchor\",\"kms:SetAnchor\"]"
#define ROLE_ALLOW                                                             \
	"{\"Effect\":\"Allow\",\"Action\":[\"kms:List*\","                     \
	"\"kms:DescribeKey*\"],\"Resource\":\"*\"},"                           \
	"{\"Effect\":\"Allow\",\"Action\":" ROLE_ACTIONS ","                   \
	"\"Resource\":\"acs:kms:*:*:key/*\""
#define ROLE_START "{\"Version\":\"1\",\"Statement\":[" ROLE_ALLOW
static const char role_text[] = ROLE_START
    ",\"Condition\":{\"StringEqualsIgnoreCase\":{"
    "\"kms:tag/" AUTHORIZE_DISK_TAG "\":\"true\"}}}]}";
static const char role_service_text[] = ROLE_START "}]}";

/* The cache. */

static void
ref_drop(struct policy_ref *p)
{
	if (!p || atomic_fetch_sub(&p->users, 1) > 1)
		return;
	policy_free(p->policy);
	free(p->text);
	free(p);
}

static int
ref_new(const char *text, enum policy_kind kind, struct policy_ref **ret)
{
	struct policy_ref *p = calloc(1, sizeof(*p));
	char why[POLICY_WHY_LEN];
	int r;

	if (!p)
		return -ENOMEM;
	atomic_init(&p->users, 1);
	p->kind = kind;
	p->text = strdup(text);
	r = p->text ? policy_parse(text, strlen(text), kind, &p->policy, why)
		    : -ENOMEM;
	if (r == 0) {
		*ret = p;
		return 0;
	}
	/* It was understood when it was set. */
	if (r == -EINVAL)
		log_error("a policy in the keystore is none: %s", why);
	ref_drop(p);
	return r == -EINVAL ? -EUCLEAN : r;
}

/* Where ${text} is, or the place that was not used for longest. */
static struct policy_ref **
find_slot(struct authorizer *z, const char *text, enum policy_kind kind)
{
	struct policy_ref **oldest = &z->cache[0], *p;
	size_t i;

	for (i = 0; i < NCACHED; i++) {
		p = z->cache[i];
		if (!p)
			return &z->cache[i];
		if (p->kind == kind && strcmp(p->text, text) == 0)
			return &z->cache[i];
		if (p->used < (*oldest)->used)
			oldest = &z->cache[i];
	}
	return oldest;
}

static int
get_policy(struct authorizer *z, const char *text, enum policy_kind kind,
	   struct policy_ref **ret)
{
	struct policy_ref **slot, *p;
	int r = 0;

	(void)pthread_mutex_lock(&z->lock);
	slot = find_slot(z, text, kind);
	p = *slot;
	if (!p || p->kind != kind || strcmp(p->text, text) != 0) {
		r = ref_new(text, kind, &p);
		if (r == 0) {
			ref_drop(*slot);
			*slot = p;
		}
	}
	if (r == 0) {
		p->used = ++z->clock;
		(void)atomic_fetch_add(&p->users, 1);
		*ret = p;
	}
	(void)pthread_mutex_unlock(&z->lock);
	return r;
}

/* Opening. */

void
authorizer_free(struct authorizer *z)
{
	size_t i;

	if (!z)
		return;
	for (i = 0; i < NCACHED; i++)
		ref_drop(z->cache[i]);
	policy_free(z->role);
	policy_free(z->role_service);
	(void)pthread_mutex_destroy(&z->lock);
	free(z);
}

int
authorizer_new(struct keys *k, struct authorizer **ret)
{
	CLEANUP(authorizer_freep) struct authorizer *z = calloc(1, sizeof(*z));
	char why[POLICY_WHY_LEN];
	int r;

	if (!z)
		return -ENOMEM;
	(void)pthread_mutex_init(&z->lock, NULL);
	z->keys = k;
	r = policy_parse(role_text, sizeof(role_text) - 1, POLICY_OF_PRINCIPAL,
			 &z->role, why);
	if (r == 0)
		r = policy_parse(role_service_text,
				 sizeof(role_service_text) - 1,
				 POLICY_OF_PRINCIPAL, &z->role_service, why);
	if (r == 0)
		*ret = TAKE(z);
	return r;
}

/* Principals. */

void
principal_done(struct principal *p)
{
	ref_drop(p->policy);
	p->policy = NULL;
}

static bool
is_user_name(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "abcdefghijklmnopqrstuvwxyz0123456789._@-");

	return n > 0 && n <= 64 && s[n] == '\0';
}

static bool
is_uid(const char *s)
{
	uint64_t n;

	/* As it is printed, or it would be another name of the same. */
	return parse_u64(s, &n) == 0 && n < UINT32_MAX &&
	       (s[0] != '0' || s[1] == '\0');
}

int
principal_parse(const char *text, char ret[static KMS_PRINCIPAL_LEN])
{
	if (strncmp(text, RAM_ARN, strlen(RAM_ARN)) == 0)
		text += strlen(RAM_ARN);
	if (strcmp(text, "disks") == 0 ||
	    strcmp(text, AUTHORIZE_DISK_SERVICE) == 0) {
		strcpy(ret, AUTHORIZE_DISK_SERVICE);
		return 0;
	}
	if (strncmp(text, "uid", 3) == 0 &&
	    (text[3] == ':' || text[3] == '/')) {
		if (!is_uid(text + 4))
			return -EINVAL;
		(void)snprintf(ret, KMS_PRINCIPAL_LEN, "uid/%s", text + 4);
		return 0;
	}
	if (strncmp(text, "user/", 5) == 0)
		text += 5;
	if (!is_user_name(text))
		return -EINVAL;
	(void)snprintf(ret, KMS_PRINCIPAL_LEN, "user/%s", text);
	return 0;
}

/* Within a transaction: his own policy, if he has one. */
static int
load_policy(struct authorizer *z, struct principal *p)
{
	CLEANUP(free_memp) char *text = malloc(POLICY_TEXT_MAX + 1);
	int r;

	if (!text)
		return -ENOMEM;
	r = keystore_get_policy(z->keys->ks, p->name, text);
	if (r == -ENOKEY)
		return 0;
	return r < 0 ? r : get_policy(z, text, POLICY_OF_PRINCIPAL, &p->policy);
}

int
authorize_access_key(struct authorizer *z, const char *id,
		     struct principal *ret)
{
	CLEANUP(principal_done) struct principal p = { 0 };
	CLEANUP(keys_end) struct call c = { .k = NULL };
	struct keystore_access_key row;
	int r;

	r = keys_begin(&c, z->keys, false);
	if (r == 0)
		r = keystore_get_access_key(z->keys->ks, id, &row);
	if (r == 0 && !row.enabled)
		r = -EKEYREVOKED;
	if (r < 0)
		return r;
	memcpy(p.name, row.principal, sizeof(p.name));
	p.service = strcmp(p.name, AUTHORIZE_DISK_SERVICE) == 0;
	r = load_policy(z, &p);
	if (r == 0)
		r = keys_commit(&c);
	if (r == 0) {
		*ret = p;
		p.policy = NULL;
	}
	return r;
}

int
authorize_uid(struct authorizer *z, uid_t uid, bool embedded,
	      struct principal *ret)
{
	CLEANUP(principal_done) struct principal p = { 0 };
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	(void)snprintf(p.name, sizeof(p.name), "uid/%llu",
		       (unsigned long long)uid);
	p.owner = embedded;
	if (!embedded) {
		r = keys_begin(&c, z->keys, false);
		if (r == 0)
			r = load_policy(z, &p);
		if (r == 0)
			r = keys_commit(&c);
		if (r < 0)
			return r;
		p.owner = !p.policy && (uid == 0 || uid == geteuid());
	}
	*ret = p;
	p.policy = NULL;
	return 0;
}

/* Deciding. */

static int
deny(char why[static POLICY_WHY_LEN], const char *what)
{
	(void)snprintf(why, POLICY_WHY_LEN, "%s", what);
	return -EKEYREJECTED;
}

static int
evaluate_key_policy(struct authorizer *z, const char *text,
		    const struct policy_request *q, enum policy_effect *ret)
{
	struct policy_ref *p;
	int r;

	r = get_policy(z, text, POLICY_OF_KEY, &p);
	if (r < 0)
		return r;
	*ret = policy_evaluate(p->policy, q);
	ref_drop(p);
	return 0;
}

static enum policy_effect
evaluate_own(struct authorizer *z, const struct principal *p, bool service_key,
	     const struct policy_request *q)
{
	enum policy_effect e = POLICY_SILENT;

	if (p->policy)
		e = policy_evaluate(p->policy->policy, q);
	if (p->service)
		e = policy_combine(
		    e, policy_evaluate(service_key ? z->role_service : z->role,
				       q));
	return e;
}

int
authorize(struct authorizer *z, const struct principal *p,
	  const struct authorize_question *q, char why[static POLICY_WHY_LEN])
{
	enum policy_effect own, keys = POLICY_SILENT;
	char action[KMS_ACTION_LEN + 8];
	const struct policy_request request = {
		.account = KEYS_ACCOUNT,
		.principal = p->name,
		.action = action,
		.resource = q->resource,
		.source_ip = q->source_ip,
		.secure_transport = q->secure_transport,
		.now = time(NULL),
		.tags = q->tags,
		.context = q->context,
		.n_tags = q->n_tags,
		.n_context = q->n_context,
	};
	int r;

	if (p->owner)
		return 0;
	(void)snprintf(action, sizeof(action), "%s:%s",
		       q->service ? q->service : "kms", q->action);
	own = evaluate_own(z, p, q->service_key, &request);
	if (own == POLICY_DENY)
		return deny(why, "a policy of the principal denies it");
	if (q->key_policy && q->key_policy[0]) {
		r = evaluate_key_policy(z, q->key_policy, &request, &keys);
		if (r < 0)
			return r;
	}
	if (keys == POLICY_DENY)
		return deny(why, "the policy of the key denies it");
	if (policy_combine(own, keys) == POLICY_SILENT)
		return deny(why, "no policy allows it");
	return 0;
}

/* Attached policies. */

int
authorize_set_policy(struct authorizer *z, const char *principal,
		     const char *document, char why[static POLICY_WHY_LEN])
{
	CLEANUP(policy_freep) struct policy *p = NULL;
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = policy_parse(document, strlen(document), POLICY_OF_PRINCIPAL, &p,
			 why);
	if (r == 0)
		r = keys_begin(&c, z->keys, true);
	if (r == 0)
		r = keystore_set_policy(z->keys->ks, principal, document,
					time(NULL));
	return r < 0 ? r : keys_commit(&c);
}

int
authorize_get_policy(struct authorizer *z, const char *principal,
		     char ret[static POLICY_TEXT_MAX + 1])
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_begin(&c, z->keys, false);
	if (r == 0)
		r = keystore_get_policy(z->keys->ks, principal, ret);
	return r < 0 ? r : keys_commit(&c);
}

int
authorize_remove_policy(struct authorizer *z, const char *principal)
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_begin(&c, z->keys, true);
	if (r == 0)
		r = keystore_remove_policy(z->keys->ks, principal);
	return r < 0 ? r : keys_commit(&c);
}

int
authorize_next_policy(struct authorizer *z, const char *after,
		      char ret[static KMS_PRINCIPAL_LEN])
{
	CLEANUP(keys_end) struct call c = { .k = NULL };
	int r;

	r = keys_begin(&c, z->keys, false);
	if (r == 0)
		r = keystore_next_policy(z->keys->ks, after, ret);
	return r < 0 ? r : keys_commit(&c);
}
