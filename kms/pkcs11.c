/*
 * pkcs11.c - see pkcs11.h.
 *
 * One session serves all calls, under a lock: a token works on one thing at a
 * time, or says that it has many sessions and works on one thing at a time all
 * the same.  A key is looked up in every call, so that one that was removed, by
 * whomever, does no more.
 *
 * Nothing that a token answers is believed: not how many slots or objects it
 * has, not how long a result is, not that a key which shall stay in it does.
 */
#include "pkcs11.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>

#include <sealdisk/log.h>

#define SLOTS_MAX 256
/* For every result, whatever its length: some tokens want room for the tag that
 * they take off. */
#define ROOM (PKCS11_MAX + TAG_LEN)
#define NAME_MAX_LEN 64 /* of a token; its label has 32 bytes */

struct pkcs11 {
	pthread_mutex_t lock;
	CK_FUNCTION_LIST *f; /* NULL: not loaded */
	bool started;
	char token[NAME_MAX_LEN];
	CK_FLAGS flags;
	bool has_session;
	CK_SESSION_HANDLE session;
	struct passphrase *pin;
};

/* Errors. */

static int
from_rv(CK_RV rv)
{
	switch (rv) {
	case CKR_OK:
		return 0;
	case CKR_PIN_INCORRECT:
	case CKR_PIN_INVALID:
	case CKR_PIN_LEN_RANGE:
	case CKR_PIN_LOCKED:
	case CKR_PIN_EXPIRED:
	case CKR_USER_PIN_NOT_INITIALIZED:
		return -EKEYREJECTED;
	case CKR_KEY_HANDLE_INVALID:
	case CKR_SLOT_ID_INVALID:
		return -ENOKEY;
	case CKR_MECHANISM_INVALID:
	case CKR_MECHANISM_PARAM_INVALID:
		return -EOPNOTSUPP;
	case CKR_TOKEN_NOT_PRESENT:
	case CKR_DEVICE_REMOVED:
	case CKR_SESSION_CLOSED:
	case CKR_SESSION_HANDLE_INVALID:
		return -EHOSTDOWN;
	case CKR_HOST_MEMORY:
		return -ENOMEM;
	case CKR_DEVICE_MEMORY:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

static int
failed(const struct pkcs11 *p, const char *what, CK_RV rv)
{
	if (rv != CKR_OK)
		log_debug("PKCS#11 token %s: %s: %s", p->token, what,
			  p11_kit_strerror(rv));
	return from_rv(rv);
}

/* Another session may do better. */
static bool
is_stale(CK_RV rv)
{
	return rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED ||
	       rv == CKR_USER_NOT_LOGGED_IN || rv == CKR_DEVICE_REMOVED ||
	       rv == CKR_TOKEN_NOT_PRESENT || rv == CKR_OBJECT_HANDLE_INVALID;
}

/* Tokens. */

/* A name that is filled up with blanks, as PKCS#11 has them. */
static bool
is_name(const unsigned char *field, size_t len, const char *name)
{
	while (len && (field[len - 1] == ' ' || field[len - 1] == '\0'))
		len--;
	return strlen(name) == len && memcmp(field, name, len) == 0;
}

static CK_RV
find_slot(struct pkcs11 *p, CK_SLOT_ID *ret)
{
	CK_SLOT_ID slots[SLOTS_MAX];
	CK_ULONG n = SLOTS_MAX;
	CK_TOKEN_INFO info;
	unsigned found = 0;
	CK_RV rv;

	rv = p->f->C_GetSlotList(CK_TRUE, slots, &n);
	if (rv == CKR_OK && n > SLOTS_MAX)
		rv = CKR_GENERAL_ERROR;
	if (rv != CKR_OK)
		return rv;
	for (CK_ULONG i = 0; i < n; i++) {
		if (p->f->C_GetTokenInfo(slots[i], &info) != CKR_OK)
			continue;
		if (!(info.flags & CKF_TOKEN_INITIALIZED))
			continue;
		if (!is_name(info.label, sizeof(info.label), p->token) &&
		    !is_name(info.serialNumber, sizeof(info.serialNumber),
			     p->token))
			continue;
		*ret = slots[i];
		p->flags = info.flags;
		found++;
	}
	if (found > 1)
		log_debug("PKCS#11: %u tokens have the name %s: give the "
			  "serial number of one",
			  found, p->token);
	return found == 1 ? CKR_OK : CKR_SLOT_ID_INVALID;
}

/* Sessions. */

static void
session_drop(struct pkcs11 *p)
{
	if (p->has_session)
		(void)p->f->C_CloseSession(p->session);
	p->has_session = false;
}

static CK_RV
log_in(struct pkcs11 *p)
{
	CK_RV rv;

	if (!(p->flags & CKF_LOGIN_REQUIRED))
		return CKR_OK;
	if (p->pin)
		rv = p->f->C_Login(p->session, CKU_USER,
				   (unsigned char *)p->pin->text, p->pin->len);
	else
		rv = p->f->C_Login(p->session, CKU_USER, NULL, 0);
	/* By somebody else in this process. */
	return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

static CK_RV
session_open(struct pkcs11 *p)
{
	CK_SLOT_ID slot;
	CK_RV rv;

	rv = find_slot(p, &slot);
	if (rv == CKR_OK)
		rv = p->f->C_OpenSession(slot,
					 CKF_SERIAL_SESSION | CKF_RW_SESSION,
					 NULL, NULL, &p->session);
	if (rv != CKR_OK)
		return rv;
	p->has_session = true;
	rv = log_in(p);
	if (rv != CKR_OK)
		session_drop(p);
	return rv;
}

/* What is done to one key, in a session. */
struct job {
	CK_RV (*run)(struct pkcs11 *p, struct job *j);
	const char *what; /* for messages */
	const struct uuid *id;
	const char *label;
	CK_GCM_PARAMS gcm;
	unsigned char *in, *out;
	CK_ULONG in_len;
	CK_ULONG out_len; /* what there must be in ${out} then */
};

static int
run(struct pkcs11 *p, struct job *j)
{
	CK_RV rv = CKR_OK;
	int i;

	(void)pthread_mutex_lock(&p->lock);
	for (i = 0; i < 2; i++) {
		rv = p->has_session ? CKR_OK : session_open(p);
		if (rv == CKR_OK)
			rv = j->run(p, j);
		if (rv == CKR_OK || rv == CKR_KEY_HANDLE_INVALID)
			break;
		/* An operation that failed may be going on, for the token. */
		session_drop(p);
		if (!is_stale(rv))
			break;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return failed(p, j->what, rv);
}

/* Opening. */

int
pkcs11_open(const char *module, const char *token, struct pkcs11 **ret)
{
	CLEANUP(pkcs11_closep) struct pkcs11 *p = calloc(1, sizeof(*p));
	CK_SLOT_ID slot;
	CK_RV rv;

	if (!p)
		return -ENOMEM;
	(void)pthread_mutex_init(&p->lock, NULL);
	if (snprintf(p->token, sizeof(p->token), "%s", token) >=
	    (int)sizeof(p->token))
		return -ENOKEY;
	p->f = p11_kit_module_load(module, P11_KIT_MODULE_CRITICAL);
	if (!p->f) {
		log_debug("PKCS#11 module %s: %s", module,
			  p11_kit_message() ? p11_kit_message()
					    : "it cannot be loaded");
		return -ENOKEY;
	}
	rv = p11_kit_module_initialize(p->f);
	p->started = rv == CKR_OK;
	if (rv == CKR_OK)
		rv = find_slot(p, &slot);
	if (rv != CKR_OK)
		return failed(p, "cannot be found", rv);
	*ret = TAKE(p);
	return 0;
}

bool
pkcs11_wants_pin(const struct pkcs11 *p)
{
	return (p->flags & CKF_LOGIN_REQUIRED) &&
	       !(p->flags & CKF_PROTECTED_AUTHENTICATION_PATH);
}

static CK_RV
run_nothing(struct pkcs11 *p, struct job *j)
{
	(void)p;
	(void)j;
	return CKR_OK;
}

int
pkcs11_login(struct pkcs11 *p, struct passphrase *pin)
{
	struct job j = { .run = run_nothing, .what = "login" };

	passphrase_free(p->pin);
	p->pin = pin;
	return run(p, &j);
}

void
pkcs11_close(struct pkcs11 *p)
{
	if (!p)
		return;
	session_drop(p);
	if (p->started)
		(void)p11_kit_module_finalize(p->f);
	if (p->f)
		p11_kit_module_release(p->f);
	passphrase_free(p->pin);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

/* Keys. */

#define ATTRIBUTE(type, v)                                                     \
	{                                                                      \
		(type), &(v), sizeof(v)                                        \
	}

/* One AES key of that id: none, or more, is CKR_KEY_HANDLE_INVALID. */
static CK_RV
find_key(struct pkcs11 *p, const struct uuid *id, CK_OBJECT_HANDLE *ret)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	struct uuid wanted = *id;
	CK_ATTRIBUTE t[] = {
		ATTRIBUTE(CKA_CLASS, class),
		ATTRIBUTE(CKA_KEY_TYPE, type),
		ATTRIBUTE(CKA_ID, wanted.bytes),
	};
	CK_OBJECT_HANDLE found[2];
	CK_ULONG n = 0;
	CK_RV rv;

	rv = p->f->C_FindObjectsInit(p->session, t, sizeof(t) / sizeof(t[0]));
	if (rv != CKR_OK)
		return rv;
	rv = p->f->C_FindObjects(p->session, found, 2, &n);
	(void)p->f->C_FindObjectsFinal(p->session);
	if (rv == CKR_OK && n != 1)
		rv = CKR_KEY_HANDLE_INVALID;
	if (rv == CKR_OK)
		*ret = found[0];
	return rv;
}

/* Has the token made what it was told to make? */
static bool
stays_inside(struct pkcs11 *p, CK_OBJECT_HANDLE key)
{
	CK_BBOOL sensitive = CK_FALSE, extractable = CK_TRUE;
	CK_ATTRIBUTE t[] = {
		ATTRIBUTE(CKA_SENSITIVE, sensitive),
		ATTRIBUTE(CKA_EXTRACTABLE, extractable),
	};

	return p->f->C_GetAttributeValue(p->session, key, t, 2) == CKR_OK &&
	       sensitive == CK_TRUE && extractable == CK_FALSE;
}

static CK_RV
run_make(struct pkcs11 *p, struct job *j)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_MECHANISM how = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_KEY_TYPE type = CKK_AES;
	CK_ULONG len = KEY_LEN;
	struct uuid id = *j->id;
	CK_ATTRIBUTE t[] = {
		ATTRIBUTE(CKA_CLASS, class),
		ATTRIBUTE(CKA_KEY_TYPE, type),
		ATTRIBUTE(CKA_VALUE_LEN, len),
		ATTRIBUTE(CKA_TOKEN, yes),
		ATTRIBUTE(CKA_PRIVATE, yes),
		ATTRIBUTE(CKA_SENSITIVE, yes),
		ATTRIBUTE(CKA_EXTRACTABLE, no),
		ATTRIBUTE(CKA_ENCRYPT, yes),
		ATTRIBUTE(CKA_DECRYPT, yes),
		ATTRIBUTE(CKA_WRAP, no),
		ATTRIBUTE(CKA_UNWRAP, no),
		ATTRIBUTE(CKA_ID, id.bytes),
		{ CKA_LABEL, (void *)(uintptr_t)j->label, strlen(j->label) },
	};
	CK_OBJECT_HANDLE key;
	CK_RV rv;

	rv = p->f->C_GenerateKey(p->session, &how, t, sizeof(t) / sizeof(t[0]),
				 &key);
	if (rv != CKR_OK || stays_inside(p, key))
		return rv;
	log_debug("PKCS#11 token %s makes keys that can be taken out of it",
		  p->token);
	(void)p->f->C_DestroyObject(p->session, key);
	return CKR_MECHANISM_INVALID;
}

int
pkcs11_make_key(struct pkcs11 *p, const struct uuid *id, const char *label)
{
	struct job j = {
		.run = run_make, .what = "make a key", .id = id, .label = label
	};

	return run(p, &j);
}

static CK_RV
run_remove(struct pkcs11 *p, struct job *j)
{
	CK_OBJECT_HANDLE key;
	CK_RV rv;

	rv = find_key(p, j->id, &key);
	return rv == CKR_OK ? p->f->C_DestroyObject(p->session, key) : rv;
}

int
pkcs11_remove_key(struct pkcs11 *p, const struct uuid *id)
{
	struct job j = { .run = run_remove, .what = "remove a key", .id = id };

	return run(p, &j);
}

/* Sealing. */

static CK_RV
run_seal(struct pkcs11 *p, struct job *j)
{
	CK_MECHANISM gcm = { CKM_AES_GCM, &j->gcm, sizeof(j->gcm) };
	CK_ULONG len = ROOM;
	CK_OBJECT_HANDLE key;
	CK_RV rv;

	rv = find_key(p, j->id, &key);
	if (rv == CKR_OK)
		rv = p->f->C_EncryptInit(p->session, &gcm, key);
	if (rv == CKR_OK)
		rv =
		    p->f->C_Encrypt(p->session, j->in, j->in_len, j->out, &len);
	return rv == CKR_OK && len != j->out_len ? CKR_GENERAL_ERROR : rv;
}

static CK_RV
run_unseal(struct pkcs11 *p, struct job *j)
{
	CK_MECHANISM gcm = { CKM_AES_GCM, &j->gcm, sizeof(j->gcm) };
	CK_ULONG len = ROOM;
	CK_OBJECT_HANDLE key;
	CK_RV rv;

	rv = find_key(p, j->id, &key);
	if (rv == CKR_OK)
		rv = p->f->C_DecryptInit(p->session, &gcm, key);
	if (rv == CKR_OK)
		rv =
		    p->f->C_Decrypt(p->session, j->in, j->in_len, j->out, &len);
	return rv == CKR_OK && len != j->out_len ? CKR_GENERAL_ERROR : rv;
}

static CK_GCM_PARAMS
gcm_params(const uint8_t *nonce, const void *ad, size_t ad_len)
{
	/* PKCS#11 has no const, but these are read only. */
	return (CK_GCM_PARAMS){ .pIv = (unsigned char *)(uintptr_t)nonce,
				.ulIvLen = NONCE_LEN,
				.ulIvBits = NONCE_LEN * 8,
				.pAAD = (unsigned char *)(uintptr_t)ad,
				.ulAADLen = ad_len,
				.ulTagBits = TAG_LEN * 8 };
}

int
pkcs11_seal(struct pkcs11 *p, const struct uuid *id, const void *ad,
	    size_t ad_len, const void *in, size_t len, uint8_t *out)
{
	uint8_t sealed[ROOM];
	struct job j = { .run = run_seal,
			 .what = "encrypt",
			 .id = id,
			 .gcm = gcm_params(out, ad, ad_len),
			 .in = (unsigned char *)(uintptr_t)in,
			 .in_len = len,
			 .out = sealed,
			 .out_len = len + TAG_LEN };
	int r;

	if (len > PKCS11_MAX)
		return -EINVAL;
	r = crypto_random(out, NONCE_LEN);
	if (r == 0)
		r = run(p, &j);
	if (r == 0)
		memcpy(out + NONCE_LEN, sealed, len + TAG_LEN);
	return r;
}

static int
unseal(struct pkcs11 *p, const struct uuid *id, const void *ad, size_t ad_len,
       const uint8_t *in, size_t len, void *out)
{
	uint8_t opened[ROOM];
	struct job j = { .run = run_unseal,
			 .what = "decrypt",
			 .id = id,
			 .gcm = gcm_params(in, ad, ad_len),
			 .in = (unsigned char *)(uintptr_t)in + NONCE_LEN,
			 .in_len = len + TAG_LEN,
			 .out = opened,
			 .out_len = len };
	int r;

	r = run(p, &j);
	if (r == 0)
		memcpy(out, opened, len);
	secret_wipe(opened, sizeof(opened));
	return r;
}

/*
 * Tokens differ in how they say that something does not authenticate, and some
 * say no more than that it failed.  Whether it was the token that failed is
 * seen by something that must open.
 */
static bool
works(struct pkcs11 *p, const struct uuid *id)
{
	static const uint8_t text[16];
	uint8_t sealed[NONCE_LEN + sizeof(text) + TAG_LEN];
	uint8_t opened[sizeof(text)];

	return pkcs11_seal(p, id, "probe", 5, text, sizeof(text), sealed) ==
		   0 &&
	       unseal(p, id, "probe", 5, sealed, sizeof(text), opened) == 0 &&
	       memcmp(opened, text, sizeof(text)) == 0;
}

int
pkcs11_unseal(struct pkcs11 *p, const struct uuid *id, const void *ad,
	      size_t ad_len, const uint8_t *in, size_t len, void *out)
{
	int r;

	if (len < NONCE_LEN + TAG_LEN || len > NONCE_LEN + PKCS11_MAX + TAG_LEN)
		return -EBADMSG;
	r = unseal(p, id, ad, ad_len, in, len - NONCE_LEN - TAG_LEN, out);
	return r == -EIO && works(p, id) ? -EBADMSG : r;
}
