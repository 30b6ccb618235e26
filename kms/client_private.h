/*
 * client_private.h - the kinds of service behind kms.h, and what the embedded
 * one writes down.
 *
 *     struct record c = { .action = "EnableKey", .key = id };
 *
 *     r = record_begin(k, &c);
 *     if (r == 0)
 *             r = record_end(k, &c, keys_enable(k->keys, id));
 *
 * Recorded is what uses keys or changes anything.  Whoever has the keystore can
 * read it without us: looks at keys are not.
 */
#ifndef SEALDISK_KMS_CLIENT_PRIVATE_H
#define SEALDISK_KMS_CLIENT_PRIVATE_H

#include <pthread.h>

#include <sealdisk/kms.h>

#include "keys.h"
#include "ledger.h"

struct remote;

/* What a kind of service does: as the functions of kms.h, which are in client.c
 * and call these.  Aliases need not be resolved before. */
struct kms_ops {
	int (*open)(struct kms *k, bool locked);
	void (*close)(struct kms *k); /* also what is half open */
	int (*generate_data_key)(struct kms *k, const char *key,
				 const struct uuid *lineage,
				 struct wrapped_dk *ret, struct key *ret_dk);
	int (*decrypt)(struct kms *k, const struct wrapped_dk *w,
		       struct key *ret);
	int (*reencrypt)(struct kms *k, const struct wrapped_dk *w,
			 const char *key, const struct uuid *lineage,
			 struct wrapped_dk *ret);
	int (*set_anchor)(struct kms *k, const struct uuid *disk,
			  uint64_t generation,
			  const uint8_t digest[static SHA256_LEN], bool force);
	int (*get_anchor)(struct kms *k, const struct uuid *disk,
			  uint64_t *ret_generation,
			  uint8_t ret_digest[static SHA256_LEN]);
	int (*create_key)(struct kms *k, const char *description, bool external,
			  struct kms_key_info *ret);
	int (*describe_key)(struct kms *k, const char *key,
			    struct kms_key_info *ret);
	int (*enable_key)(struct kms *k, const char *key);
	int (*disable_key)(struct kms *k, const char *key);
	int (*create_key_version)(struct kms *k, const char *key,
				  struct kms_key_info *ret);
	int (*schedule_key_deletion)(struct kms *k, const char *key,
				     unsigned days, int64_t *ret_at);
	int (*cancel_key_deletion)(struct kms *k, const char *key);
	int (*set_rotation)(struct kms *k, const char *key, unsigned days);
	int (*set_protection)(struct kms *k, const char *key, bool on);
	int (*prepare_import)(struct kms *k, const char *key,
			      struct kms_import *ret);
	int (*import_material)(struct kms *k, const char *key,
			       const char *token,
			       const uint8_t sealed[static RSA_SEALED_LEN],
			       int64_t expires);
	int (*delete_material)(struct kms *k, const char *key);
	int (*grant_key)(struct kms *k, const char *key, const char *principal,
			 bool grant);
	int (*create_alias)(struct kms *k, const char *alias, const char *key);
	int (*update_alias)(struct kms *k, const char *alias, const char *key);
	int (*delete_alias)(struct kms *k, const char *alias);
	int (*list_keys)(struct kms *k,
			 int (*fn)(const struct kms_key_info *info, void *arg),
			 void *arg);
	int (*list_aliases)(struct kms *k,
			    int (*fn)(const char *alias, const char *key_id,
				      void *arg),
			    void *arg);
	int (*backup)(struct kms *k, const char *path);
};
extern const struct kms_ops embedded_ops, remote_ops, later_ops;

/* embedded_keys.c and remote_keys.c: parts of these. */
int embedded_set_rotation(struct kms *k, const char *key, unsigned days);
int embedded_set_protection(struct kms *k, const char *key, bool on);
int embedded_prepare_import(struct kms *k, const char *key,
			    struct kms_import *ret);
int embedded_import_material(struct kms *k, const char *key, const char *token,
			     const uint8_t sealed[static RSA_SEALED_LEN],
			     int64_t expires);
int embedded_delete_material(struct kms *k, const char *key);
int remote_set_rotation(struct kms *k, const char *key, unsigned days);
int remote_set_protection(struct kms *k, const char *key, bool on);
int remote_prepare_import(struct kms *k, const char *key,
			  struct kms_import *ret);
int remote_import_material(struct kms *k, const char *key, const char *token,
			   const uint8_t sealed[static RSA_SEALED_LEN],
			   int64_t expires);
int remote_delete_material(struct kms *k, const char *key);
int remote_set_anchor(struct kms *k, const struct uuid *disk,
		      uint64_t generation,
		      const uint8_t digest[static SHA256_LEN], bool force);
int remote_get_anchor(struct kms *k, const struct uuid *disk,
		      uint64_t *ret_generation,
		      uint8_t ret_digest[static SHA256_LEN]);

struct kms {
	const struct kms_ops *ops;
	char name[32];            /* "default", or that of [kms NAME] */
	struct settings settings; /* [kms] is that of this service */
	pthread_mutex_t lock;     /* of ledger and further, until they are */
	struct kms *further[KMS_SERVICES_MAX]; /* opened when first used */
	/* later.c: what it is, and that again when it has been opened. */
	const struct kms_ops *later, *_Atomic opened;
	/* The embedded one. */
	struct keys *keys;
	struct ledger *ledger; /* opened by the first call that is recorded */
	/* The others. */
	struct remote *remote;
};

/* One call: what is known before it, and after. */
struct record {
	const char *action;
	const char *key, *version; /* ids; ${key} may be an alias, too */
	const char *alias;         /* that is made, moved or removed */
	const struct context *context;
	int64_t began; /* microseconds */
};

/* So that k->ledger is there. */
int record_open(struct kms *k) NONNULL CHECKED;
/* Whether it can be recorded, before it is done.  -ESHUTDOWN */
int record_begin(struct kms *k, struct record *c) NONNULL CHECKED;
/* ${r}, the call's result, or why it could not be recorded: then nobody is to
 * learn of a result. */
int record_end(struct kms *k, struct record *c, int r) NONNULL CHECKED;

#endif
