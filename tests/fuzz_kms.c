/*
 * fuzz_kms.c - a store in memory, and a key service with one data key.
 */
#include "fuzz_kms.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "mem_store.h"

int fuzz_kms;

static const char blob[] = "the only data key";

int
kms_decrypt(struct kms *k, const struct wrapped_dk *w, struct key *ret)
{
	(void)k;
	if (w->blob_len != sizeof(blob) ||
	    memcmp(w->blob, blob, sizeof(blob)) != 0)
		return -EKEYREJECTED;
	memset(ret, FUZZ_DK_BYTE, sizeof(*ret));
	return 0;
}

int
kms_generate_data_key(struct kms *k, const char *key,
		      const struct uuid *lineage, struct wrapped_dk *ret,
		      struct key *ret_dk)
{
	memset(ret, 0, sizeof(*ret));
	strcpy(ret->kms, "default");
	strcpy(ret->key_version_id, "1");
	(void)snprintf(ret->key_id, sizeof(ret->key_id), "%s", key);
	ret->lineage = *lineage;
	memcpy(ret->blob, blob, sizeof(blob));
	ret->blob_len = sizeof(blob);
	return kms_decrypt(k, ret, ret_dk);
}

int
kms_describe_key(struct kms *k, const char *key, struct kms_key_info *ret)
{
	(void)k;
	(void)key;
	(void)ret;
	return -ENOKEY;
}

int
kms_reencrypt(struct kms *k, const struct wrapped_dk *w, const char *key,
	      const struct uuid *lineage, struct wrapped_dk *ret)
{
	(void)k;
	(void)w;
	(void)key;
	(void)lineage;
	(void)ret;
	return -ENOKEY;
}

int
kms_get_anchor(struct kms *k, const struct uuid *disk, uint64_t *ret_generation,
	       uint8_t ret_digest[static SHA256_LEN])
{
	(void)k;
	(void)disk;
	(void)ret_generation;
	(void)ret_digest;
	return -ENOENT;
}

int
kms_set_anchor(struct kms *k, const struct uuid *disk, uint64_t generation,
	       const uint8_t digest[static SHA256_LEN], bool force)
{
	(void)k;
	(void)disk;
	(void)generation;
	(void)digest;
	(void)force;
	return 0;
}

struct catalog *
fuzz_store(void)
{
	struct store_meta m = { .created = 1, .cipher = CIPHER_AES256_GCM };
	struct catalog *c = NULL;
	struct store *st = NULL;

	must(mem_store_open(&st) == 0);
	must(uuid_new(&m.uuid) == 0);
	must(catalog_init(st, &m) == 0);
	must(catalog_open(st, &c) == 0);
	return c;
}

void
fuzz_store_free(struct catalog *c)
{
	struct store *st = catalog_store(c);

	catalog_close(c);
	store_free(st);
}
