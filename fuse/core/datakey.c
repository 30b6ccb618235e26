/*
 * datakey.c - see datakey.h.
 */
#include "datakey.h"

#include <errno.h>
#include <string.h>

#include <sealdisk/log.h>

/* The key service opens ${w} to ${dk}. */
static int
prove(struct kms *kms, const struct wrapped_dk *w, const struct key *dk)
{
	CLEANUP(key_wipe) struct key opened = { { 0 } };
	int r = kms_decrypt(kms, w, &opened);

	if (r == 0 && !crypto_equal(opened.bytes, dk->bytes, sizeof(dk->bytes)))
		r = -EPROTO;
	if (r < 0)
		log_error("key service \"%s\": it does not open what it has "
			  "just wrapped under key %s, which is not used: %s",
			  w->kms, w->key_id, err_text(r));
	return r;
}

int
datakey_new(struct kms *kms, const char *key, const struct uuid *lineage,
	    struct wrapped_dk *ret, struct key *ret_dk)
{
	CLEANUP(key_wipe) struct key dk = { { 0 } };
	struct wrapped_dk w;
	int r = kms_generate_data_key(kms, key, lineage, &w, &dk);

	if (r == 0)
		r = prove(kms, &w, &dk);
	if (r < 0)
		return r;
	*ret = w;
	memcpy(ret_dk, &dk, sizeof(*ret_dk));
	return 0;
}

int
datakey_rewrap(struct kms *kms, struct wrapped_dk *w, const struct key *dk,
	       const char *key)
{
	struct wrapped_dk new;
	int r = kms_reencrypt(kms, w, key, NULL, &new);

	if (r == 0)
		r = prove(kms, &new, dk);
	if (r == 0)
		*w = new;
	return r;
}
