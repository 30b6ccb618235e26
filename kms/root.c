/*
 * root.c - see root.h.
 *
 * A wrapped keystore key is `kind u8 | what that kind makes of it`.  The only
 * kind so far is the key file: 32 random bytes, readable by its owner alone,
 * and what it makes is a wrapped key (envelope.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "envelope.h"
#include "files.h"
#include "root.h"

#define KIND_KEYFILE 1

struct root {
	char name[SETTING_MAX + 32];
	const char *path; /* within name */
	struct key *key;  /* secret memory */
};

#define KEYFILE_NAME "root key file "

static int
check_kind(const struct settings *s)
{
	if (strcmp(s->keystore_root, "keyfile") == 0)
		return 0;
	log_error("keystore root \"%s\": only \"keyfile\" is built in",
		  s->keystore_root);
	return -EOPNOTSUPP;
}

static int
root_new(const struct settings *s, struct root **ret)
{
	CLEANUP(root_closep) struct root *root = NULL;
	int r;

	r = check_kind(s);
	if (r < 0)
		return r;
	root = calloc(1, sizeof(*root));
	if (!root)
		return -ENOMEM;
	(void)snprintf(root->name, sizeof(root->name), KEYFILE_NAME "%s",
		       s->keystore_root_file);
	root->path = root->name + strlen(KEYFILE_NAME);
	root->key = secret_alloc(sizeof(*root->key));
	if (!root->key)
		return -ENOMEM;
	*ret = TAKE(root);
	return 0;
}

void
root_close(struct root *root)
{
	if (!root)
		return;
	secret_free(root->key, sizeof(*root->key));
	free(root);
}

const char *
root_name(const struct root *root)
{
	return root->name;
}

/*
 * Is the file one that only we could have written and only we can read?
 * Judged by the descriptor, so that nobody can put another in its place.
 */
static int
check_file(const struct root *root, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		log_error("%s is not a regular file", root->name);
		return -EKEYREJECTED;
	}
	if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		log_error("%s can be read or written by others: chmod 600 it",
			  root->name);
		return -EPERM;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		log_error("%s belongs to user %lu, who is neither root nor "
			  "this user",
			  root->name, (unsigned long)st.st_uid);
		return -EPERM;
	}
	if (st.st_size != KEY_LEN) {
		log_error("%s is %lld bytes long, a root key is %d", root->name,
			  (long long)st.st_size, KEY_LEN);
		return -EKEYREJECTED;
	}
	return 0;
}

int
root_open(const struct settings *s, struct root **ret)
{
	CLEANUP(root_closep) struct root *root = NULL;
	CLEANUP(close_fdp) int fd = -1;
	int r;

	r = root_new(s, &root);
	if (r < 0)
		return r;
	/* Nonblocking: it could be a FIFO. */
	fd = open(root->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		r = errno == ENOENT ? -ENOKEY : -errno;
		log_error("%s %s", root->name,
			  r == -ENOKEY ? "is missing: put its copy back"
				       : "cannot be opened");
		return r;
	}
	r = check_file(root, fd);
	if (r < 0)
		return r;
	r = io_read_all(fd, root->key->bytes, sizeof(root->key->bytes));
	if (r < 0)
		return r;
	*ret = TAKE(root);
	return 0;
}

int
root_create(const struct settings *s, struct root **ret)
{
	CLEANUP(files_temp_drop) struct files_temp t = { { 0 } };
	CLEANUP(root_closep) struct root *root = NULL;
	CLEANUP(close_fdp) int fd = -1;
	int r;

	r = root_new(s, &root);
	if (r < 0)
		return r;
	r = crypto_random(root->key->bytes, sizeof(root->key->bytes));
	if (r < 0)
		return r;
	r = files_temp_make(root->path, &t, &fd);
	if (r < 0)
		return r;
	r = io_write_all(fd, root->key->bytes, sizeof(root->key->bytes));
	if (r < 0)
		return r;
	r = files_temp_publish(&t, root->path);
	if (r < 0)
		return r;
	*ret = TAKE(root);
	return 0;
}

void
root_remove(struct root *root)
{
	(void)unlink(root->path);
}

int
root_exists(const struct settings *s, bool *ret)
{
	int r = check_kind(s);

	return r < 0 ? r : files_exist(s->keystore_root_file, ret);
}

#define AD_LABEL "sealdisk keystore key"
#define AD_LEN (sizeof(AD_LABEL) + 1 + sizeof(struct uuid))

static void
wrap_ad(const struct uuid *keystore, uint8_t out[static AD_LEN])
{
	struct writer w = writer_over(out, AD_LEN);

	put_bytes(&w, AD_LABEL, sizeof(AD_LABEL));
	put_u8(&w, KIND_KEYFILE);
	put_bytes(&w, keystore->bytes, sizeof(keystore->bytes));
}

int
root_wrap(const struct root *root, struct aead *a, const struct uuid *keystore,
	  const struct key *k, uint8_t out[static ROOT_WRAPPED_MAX],
	  size_t *ret_len)
{
	uint8_t ad[AD_LEN];
	int r;

	wrap_ad(keystore, ad);
	out[0] = KIND_KEYFILE;
	r = envelope_wrap(a, root->key, ad, sizeof(ad), k, out + 1);
	if (r < 0)
		return r;
	*ret_len = 1 + ENVELOPE_WRAPPED_LEN;
	return 0;
}

int
root_unwrap(const struct root *root, struct aead *a,
	    const struct uuid *keystore, const void *in, size_t len,
	    struct key *ret)
{
	const uint8_t *wrapped = in;
	uint8_t ad[AD_LEN];
	int r;

	if (len < 1 || wrapped[0] != KIND_KEYFILE)
		return -EKEYREJECTED;
	wrap_ad(keystore, ad);
	r = envelope_unwrap(a, root->key, ad, sizeof(ad), wrapped + 1, len - 1,
			    ret);
	return r == -EBADMSG ? -EKEYREJECTED : r;
}
