/*
 * kms.h - the key management service as its users see it.
 *
 * One interface, whoever serves it: the keystore embedded in this process
 * (kms/keystore.c and its neighbours), later a kmsd or the cloud's own KMS.
 * A user gives an *endpoint* and never learns which it is.
 *
 * Customer master keys (CMKs) never pass this interface.  A data key (DK) comes
 * out in secret memory (struct key) and is kept by the caller only wrapped.
 *
 * Errors, negative: -ENOKEY no such key or alias; -EKEYREVOKED disabled, or its
 * material is not imported; -EKEYEXPIRED scheduled for deletion or destroyed;
 * -EKEYREJECTED not authorized, or the blob does not open under this context;
 * -EDQUOT over a quota; -EEXIST the alias is taken; -EINVAL malformed argument;
 * -EPERM a service key, or one that was imported, refuses this, or the alias is
 * reserved; -EALREADY the key is not scheduled for deletion; -EPROTO the KMS
 * talks nonsense; -EHOSTDOWN it does not answer, or others keep its store
 * locked; -EUCLEAN its store is damaged; -EIO, -ENOSPC, -EROFS, -EACCES its
 * store failed; -EOPNOTSUPP not built in; -EPROTONOSUPPORT a keystore of a
 * newer program; -ESHUTDOWN the audit log cannot be written, and so nothing is
 * done; -ENOMEM. Where the errno cannot say what is to be done, a line was
 * logged that does.
 *
 * A struct kms may be used from any thread, and is not carried over a fork.
 */
#ifndef SEALDISK_KMS_H
#define SEALDISK_KMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sealdisk/cleanup.h>
#include <sealdisk/codec.h>
#include <sealdisk/crypto.h>
#include <sealdisk/rsa.h>
#include <sealdisk/secret.h>
#include <sealdisk/settings.h>

#define KMS_ID_LEN 64     /* key and key version ids, with the NUL */
#define KMS_ARN_LEN 256   /* acs:kms:REGION:ACCOUNT:key/ID */
#define KMS_ALIAS_LEN 256 /* "alias/..." of 1 to 255 characters */
#define KMS_BLOB_MAX 512  /* bytes of a wrapped DK: 700 as Base64 */
#define KMS_SERVICE_ALIAS "alias/acs/ecs"

struct kms;

/* A DK as it is kept: everything needed to ask for it again. */
struct wrapped_dk {
	char kms[32]; /* which service: "default" */
	char key_id[KMS_ID_LEN];
	char key_version_id[KMS_ID_LEN];
	struct uuid lineage; /* encryption context {"lineage": UUID} */
	uint8_t blob[KMS_BLOB_MAX];
	size_t blob_len;
};

enum kms_key_state {
	KMS_ENABLED,
	KMS_DISABLED,
	KMS_PENDING_DELETION,
	KMS_PENDING_IMPORT,
};

struct kms_key_info {
	char id[KMS_ID_LEN];
	char arn[KMS_ARN_LEN];
	char description[512]; /* its beginning, if it is longer */
	char creator[32];      /* the account, or "Ecs" for the service key */
	char origin[16];       /* Aliyun_KMS, EXTERNAL */
	char primary_version[KMS_ID_LEN];
	enum kms_key_state state;
	int64_t created;
	int64_t rotated;   /* when its newest version was made */
	int64_t delete_at; /* PendingDeletion: when; else 0 */
	unsigned versions;
	int64_t rotate_every; /* seconds; 0: not by itself */
	int64_t rotate_at;    /* when next; 0: not as things are */
	int64_t expires_at;   /* its imported material; 0: never */
	bool is_protected;    /* from deletion */
	char instance[64];    /* whose HSM keeps it; "": the keystore does */
};

/* Between ScheduleKeyDeletion and the end of a key. */
#define KMS_DELETION_DAYS_MIN 7
#define KMS_DELETION_DAYS_MAX 366

/* "Enabled", "Disabled", "PendingDeletion", "PendingImport". */
const char *kms_state_name(enum kms_key_state s);

/**
 * kms_open(s, ret):
 * Connect to the service that ${s} names.  Embedded: the keystore must exist
 * (kms_init) and its root must open, for which a passphrase may be asked on the
 * terminal; each call is one transaction, any number of processes may use it.
 *
 * -ENOENT        no keystore (run `sealdisk init`)
 * -ENOKEY        the root key file or credential is missing, or there is no
 *                terminal to ask on
 * -EPERM         others can read the root
 * -EKEYREJECTED  the root does not open this keystore
 * -ECANCELED     who was asked for a passphrase gave none
 * -EBADF         it cannot be read from keystore.passphrase_fd
 */
int kms_open(const struct settings *s, struct kms **ret) NONNULL CHECKED;
/* The same, with the root left for the first call that needs it, which fails as
 * above.  None does that only lists, describes, switches, names or schedules
 * keys. */
int kms_open_locked(const struct settings *s, struct kms **ret) NONNULL CHECKED;

/* One that need not be there yet: calls fail with the errors of kms_open()
 * until it is.  For a daemon: data keys, anchors and kms_describe_key() alone.
 * -ENOMEM. */
int kms_open_later(const struct settings *s, struct kms **ret) NONNULL CHECKED;
void kms_close(struct kms *k);
DEFINE_CLEANUP(struct kms, kms_close)

/**
 * kms_init(s, ret_made):
 * Embedded: make keystore and root key file where there is none, and never
 * overwrite one.  A passphrase is asked for twice; a credential must be there.
 * A keystore without its root, or a root file beside no keystore that another
 * keystore may need, is an error that says so.
 * *${ret_made} tells whether anything was made; if not, the keystore that is
 * there opens.
 *
 * -ENOKEY  there is a keystore, but no root
 * -EEXIST  there is a root key file, but no keystore
 * -EINVAL  a passphrase that is too short or too long, or not twice the same
 */
int kms_init(const struct settings *s, bool *ret_made) NONNULL CHECKED;

/**
 * kms_generate_data_key(k, key, lineage, ret, ret_dk):
 * A new DK under CMK ${key} (an id, ARN or alias; the service key is made the
 * first time its alias is used, here or below).  ${ret_dk} may be NULL: wrapped
 * only.
 */
int kms_generate_data_key(struct kms *k, const char *key,
			  const struct uuid *lineage, struct wrapped_dk *ret,
			  struct key *ret_dk)
    __attribute__((__nonnull__(1, 2, 3, 4))) CHECKED;

/* Open a wrapped DK under its own context; -ENOKEY if no key of this service
 * made it. */
int kms_decrypt(struct kms *k, const struct wrapped_dk *w, struct key *ret)
    NONNULL CHECKED;

/**
 * kms_reencrypt(k, w, key, lineage, ret):
 * Wrap the DK of ${w} under the newest version of ${key}, in the context of
 * ${lineage}; where these are NULL, of the key and lineage that it has.  It is
 * seen by nobody.  ${ret} may be ${w}.
 */
int kms_reencrypt(struct kms *k, const struct wrapped_dk *w, const char *key,
		  const struct uuid *lineage, struct wrapped_dk *ret)
    __attribute__((__nonnull__(1, 2, 5))) CHECKED;

/**
 * kms_set_anchor(k, disk, generation, digest, force):
 * Keep, for a disk, how far it has come: a number that grows, and what it was
 * then.  The store cannot be trusted with that.
 *
 * -ESTALE  there is a later one, and ${force} is false
 */
int kms_set_anchor(struct kms *k, const struct uuid *disk, uint64_t generation,
		   const uint8_t digest[static SHA256_LEN], bool force)
    NONNULL CHECKED;
/* -ENOENT  none was set */
int kms_get_anchor(struct kms *k, const struct uuid *disk,
		   uint64_t *ret_generation,
		   uint8_t ret_digest[static SHA256_LEN]) NONNULL CHECKED;

int kms_create_key(struct kms *k, const char *description,
		   struct kms_key_info *ret) NONNULL CHECKED;
/* One whose material is still to be imported. */
int kms_create_external_key(struct kms *k, const char *description,
			    struct kms_key_info *ret) NONNULL CHECKED;
/* ${key}: id, ARN or alias. */
int kms_describe_key(struct kms *k, const char *key, struct kms_key_info *ret)
    NONNULL CHECKED;
/* ${key}: id or ARN; for people's sake the client resolves an alias first. */
int kms_enable_key(struct kms *k, const char *key) NONNULL CHECKED;
int kms_disable_key(struct kms *k, const char *key) NONNULL CHECKED;
/* A new version, under which all is wrapped from now on; the older ones open
 * what they have wrapped.  ${key} may be an alias.  -EDQUOT: it has 50. */
int kms_create_key_version(struct kms *k, const char *key,
			   struct kms_key_info *ret) NONNULL CHECKED;
/**
 * kms_schedule_key_deletion(k, key, days, ret_at):
 * From now on ${key} does nothing, and at *${ret_at}, in ${days}, its material
 * is destroyed: what was wrapped under it never opens again.
 * kms_cancel_key_deletion() until then enables it again.
 *
 * -EINVAL  ${days} is not from 7 to 366
 */
int kms_schedule_key_deletion(struct kms *k, const char *key, unsigned days,
			      int64_t *ret_at) NONNULL CHECKED;
int kms_cancel_key_deletion(struct kms *k, const char *key) NONNULL CHECKED;
/* Between two rotations by itself; 0: never. */
#define KMS_ROTATION_DAYS_MIN 7
#define KMS_ROTATION_DAYS_MAX 730
int kms_set_rotation(struct kms *k, const char *key, unsigned days)
    NONNULL CHECKED;
/* A protected key cannot be scheduled for deletion: -EBUSY. */
int kms_set_protection(struct kms *k, const char *key, bool on) NONNULL CHECKED;

/* What key material is sent under, and with; for a day. */
#define KMS_TOKEN_LEN 4096 /* with the NUL */
struct kms_import {
	enum rsa_padding padding;
	uint8_t public[RSA_PUBLIC_LEN];
	char token[KMS_TOKEN_LEN];
};
/* Of ${ret}, ${padding} is what is asked for.  -EPERM: not made for that. */
int kms_prepare_import(struct kms *k, const char *key, struct kms_import *ret)
    NONNULL CHECKED;
/**
 * kms_import_material(k, key, i, material, expires):
 * Give ${key} its material, until ${expires}; 0: for good.  It is sealed here.
 *
 * -EBADMSG  it is not what was imported before
 * -EBADE    ${i} is not of this key, or newer ones have taken its place
 * -ETIME    the day is over
 */
int kms_import_material(struct kms *k, const char *key,
			const struct kms_import *i, const struct key *material,
			int64_t expires) NONNULL CHECKED;
/* Until it is imported again, ${key} does nothing. */
int kms_delete_material(struct kms *k, const char *key) NONNULL CHECKED;

/**
 * kms_grant_key(k, key, principal, grant):
 * Let ${principal} use ${key}, or, if not ${grant}, no longer: "NAME" is the
 * owner of an access key, "uid:N" a user of the server's host, "disks" the disk
 * service.  It is for a service that others use, too: whoever has an embedded
 * keystore has its keys.
 *
 * -EINVAL    ${principal} is none
 * -EALREADY  embedded: nothing changed
 */
int kms_grant_key(struct kms *k, const char *key, const char *principal,
		  bool grant) NONNULL CHECKED;
/* Aliases: "alias/NAME"; "alias/acs..." is reserved.  Whether ${alias} can be
 * one of a customer's: -EINVAL, no alias has this form; -EPERM, reserved. */
int kms_check_alias(const char *alias) NONNULL CHECKED;
int kms_create_alias(struct kms *k, const char *alias, const char *key)
    NONNULL CHECKED;
int kms_update_alias(struct kms *k, const char *alias, const char *key)
    NONNULL CHECKED;
int kms_delete_alias(struct kms *k, const char *alias) NONNULL CHECKED;

/* Lists, oldest first; destroyed keys are not in them.  ${fn} returns 0 to go
 * on; else its value is returned at once. */
int kms_list_keys(struct kms *k,
		  int (*fn)(const struct kms_key_info *info, void *arg),
		  void *arg) __attribute__((__nonnull__(1, 2))) CHECKED;
int kms_list_aliases(struct kms *k,
		     int (*fn)(const char *alias, const char *key_id,
			       void *arg),
		     void *arg) __attribute__((__nonnull__(1, 2))) CHECKED;

/**
 * kms_backup(k, path):
 * Write a consistent copy of the keystore (still wrapped by its root) to a new
 * file ${path}, mode 0600, durable, while others use it.
 *
 * -EEXIST      ${path} exists
 * -EOPNOTSUPP  not embedded
 */
int kms_backup(struct kms *k, const char *path) NONNULL CHECKED;

/**
 * kms_restore(s, path, force):
 * Put a backup in the place of the keystore that ${s} names, after checking
 * that it is whole and that the present root opens it.  Who has the keystore
 * open goes on with what was put there.  What was there before is kept in
 * KEYSTORE.before-restore-TIME.N.
 *
 * -EEXIST        there is a keystore and ${force} is false
 * -EUCLEAN       ${path} is not a whole keystore
 * -EKEYREJECTED  the root does not open it
 */
int kms_restore(const struct settings *s, const char *path, bool force)
    NONNULL CHECKED;

/* "keyfile", "passphrase", "credential": what the keystore hangs on, whatever
 * ${s} says.  It is not opened. */
int kms_root_kind(const struct settings *s, const char **ret) NONNULL CHECKED;

/**
 * kms_change_root(s, to, ret_new):
 * Let the keystore, which the root of ${s} opens, hang on the root that ${to}
 * names, and on that alone; no other key changes.  A new key file is made; that
 * of ${s}, if it lies at the same place, is kept as FILE.before-change-TIME.N.
 * Who has the keystore open goes on.  At every instant one of the two roots
 * opens it, also after a crash.
 *
 * The errors of kms_open() about either root, where *${ret_new}, which is
 * always written, says whether it is the new one; and: -EEXIST  there is
 * another file where the new key file should be -EINVAL  a passphrase that is
 * too short or too long, or not twice the same -EBUSY   somebody else has
 * changed it meanwhile
 */
int kms_change_root(const struct settings *s, const struct settings *to,
		    bool *ret_new) NONNULL CHECKED;

#endif
