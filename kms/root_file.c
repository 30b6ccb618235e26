/*
 * root_file.c - roots that are files: key files, and systemd's credentials.
 *
 * A key file is 32 random bytes.  A credential is whatever systemd was given,
 * and always goes through HKDF-SHA256, be it 32 bytes or more: who made it is
 * not known, and bytes that are not uniform, such as hex, become a key so.  No
 * function makes up for a secret that can be guessed: less than 32 bytes are
 * refused, and what people remember is `root = passphrase`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sealdisk/io.h>
#include <sealdisk/log.h>

#include "files.h"
#include "root_private.h"

#define KEYFILE_NAME "root key file "
#define CREDENTIAL_NAME "credential "
#define CREDENTIAL_MAX 4096
#define CREDENTIAL_INFO "sealdisk root credential"

/* Key files. */

static int
name_keyfile(const char *path, struct root *root)
{
	if (strlen(path) >= sizeof(root->path))
		return -ENAMETOOLONG;
	(void)snprintf(root->name, sizeof(root->name), KEYFILE_NAME "%s", path);
	strcpy(root->path, path);
	return 0;
}

/*
 * Is the file one that only we could have written and only we can read?
 * Judged by the descriptor, so that nobody can put another in its place.
 */
static int
check_owner(const struct root *root, const struct stat *st)
{
	if (!S_ISREG(st->st_mode)) {
		log_debug("%s is not a regular file", root->name);
		return -EKEYREJECTED;
	}
	if (st->st_uid != 0 && st->st_uid != geteuid()) {
		log_debug("%s belongs to user %lu, who is neither root nor "
			  "this user",
			  root->name, (unsigned long)st->st_uid);
		return -EPERM;
	}
	return 0;
}

static int
check_keyfile(const struct root *root, int fd)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	r = check_owner(root, &st);
	if (r < 0)
		return r;
	if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		log_debug("%s can be read or written by others: chmod 600 it",
			  root->name);
		return -EPERM;
	}
	if (st.st_size != KEY_LEN) {
		log_debug("%s is %lld bytes long, a root key is %d", root->name,
			  (long long)st.st_size, KEY_LEN);
		return -EKEYREJECTED;
	}
	return 0;
}

/* ${hint}: what to do where there is none. */
static int
open_file(const struct root *root, const char *hint, int *ret_fd)
{
	int r;

	/* Nonblocking: it could be a FIFO. */
	*ret_fd =
	    open(root->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (*ret_fd >= 0)
		return 0;
	r = errno == ENOENT || errno == ENOTDIR ? -ENOKEY : -errno;
	log_debug("%s %s", root->name,
		  r == -ENOKEY ? hint : "cannot be opened");
	return r;
}

int
keyfile_open(const char *path, struct root *root)
{
	CLEANUP(close_fdp) int fd = -1;
	int r;

	r = name_keyfile(path, root);
	if (r == 0)
		r = open_file(root, "is missing: put its copy back", &fd);
	if (r == 0)
		r = check_keyfile(root, fd);
	if (r < 0)
		return r;
	return io_read_all(fd, root->key->bytes, sizeof(root->key->bytes));
}

int
keyfile_create(const char *path, struct root *root)
{
	CLEANUP(files_temp_drop) struct files_temp t = { { 0 } };
	CLEANUP(close_fdp) int fd = -1;
	int r;

	r = name_keyfile(path, root);
	if (r < 0)
		return r;
	r = crypto_random(root->key->bytes, sizeof(root->key->bytes));
	if (r < 0)
		return r;
	r = files_temp_make(path, &t, &fd);
	if (r < 0)
		return r;
	r = io_write_all(fd, root->key->bytes, sizeof(root->key->bytes));
	if (r < 0)
		return r;
	return files_temp_publish(&t, path);
}

int
keyfile_next(const struct settings *s, char ret[static PATH_MAX],
	     bool *ret_exists)
{
	int r;

	r = files_join(ret, s->keystore_root_file, ".next");
	if (r < 0)
		return r;
	r = files_exist(ret, ret_exists);
	/* A folder that nobody may look into: then there is no key either. */
	if (r == -EACCES || r == -ENOTDIR) {
		*ret_exists = false;
		return 0;
	}
	return r;
}

int
keyfile_settle(const struct settings *s, const char *next)
{
	const char *path = s->keystore_root_file;
	char kept[PATH_MAX];
	bool is_there;
	int r;

	r = files_exist(path, &is_there);
	if (r < 0)
		return r;
	/* Between the two there is no file of that name, and FILE.next does. */
	if (is_there) {
		r = files_name_kept(path, "before-change", kept);
		if (r < 0)
			return r;
		if (rename(path, kept) < 0)
			return -errno;
		log_note("the root key that was replaced is kept as %s", kept);
	}
	if (rename(next, path) < 0)
		return -errno;
	return io_sync_parent(AT_FDCWD, path);
}

/* Credentials. */

static int
name_credential(const struct settings *s, struct root *root)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	const char *name = s->keystore_credential;
	int n;

	(void)snprintf(root->name, sizeof(root->name), CREDENTIAL_NAME "%s",
		       name);
	if (!dir || dir[0] != '/') {
		log_debug("%s is missing: systemd has given this process none "
			  "(LoadCredential=, LoadCredentialEncrypted=)",
			  root->name);
		return -ENOKEY;
	}
	if (strchr(name, '/') || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0) {
		log_debug("%s: that is no name of a credential", root->name);
		return -ENOKEY;
	}
	n = snprintf(root->path, sizeof(root->path), "%s/%s", dir, name);
	return n < 0 || (size_t)n >= sizeof(root->path) ? -ENAMETOOLONG : 0;
}

/* For a user of its own a service's credentials have an ACL, whose mask stands
 * where the group's bits do. */
static int
check_access(const struct root *root, int fd, struct stat *ret)
{
	int r;

	if (fstat(fd, ret) < 0)
		return -errno;
	r = check_owner(root, ret);
	if (r < 0)
		return r;
	if (ret->st_mode & S_IRWXO) {
		log_debug("%s can be read or written by others", root->name);
		return -EPERM;
	}
	return 0;
}

static int
check_credential(const struct root *root, int fd, size_t *ret_len)
{
	struct stat st;
	int r;

	r = check_access(root, fd, &st);
	if (r < 0)
		return r;
	if (st.st_size < KEY_LEN || st.st_size > CREDENTIAL_MAX) {
		log_debug("%s is %lld bytes long, and must have from %d to %d",
			  root->name, (long long)st.st_size, KEY_LEN,
			  CREDENTIAL_MAX);
		return -EKEYREJECTED;
	}
	*ret_len = (size_t)st.st_size;
	return 0;
}

int
credential_pin(const struct settings *s, struct passphrase **ret)
{
	CLEANUP(free_memp) struct root *root = calloc(1, sizeof(*root));
	CLEANUP(passphrase_freep) struct passphrase *p = NULL;
	CLEANUP(close_fdp) int fd = -1;
	struct stat st;
	int r;

	r = root ? name_credential(s, root) : -ENOMEM;
	if (r == 0)
		r = open_file(root, "is missing in $CREDENTIALS_DIRECTORY",
			      &fd);
	if (r == 0)
		r = check_access(root, fd, &st);
	if (r == 0 && (st.st_size == 0 || st.st_size > PASSPHRASE_MAX))
		r = -EKEYREJECTED;
	if (r == 0)
		r = passphrase_new(&p);
	if (r == 0)
		r = io_read_all(fd, p->text, (size_t)st.st_size);
	if (r < 0)
		return r;
	/* An editor has left a line feed. */
	p->len = (size_t)st.st_size;
	p->len -= p->text[p->len - 1] == '\n';
	*ret = TAKE(p);
	return 0;
}

static int
stretch(int fd, size_t len, struct key *ret)
{
	uint8_t *text;
	int r;

	text = secret_alloc(CREDENTIAL_MAX);
	if (!text)
		return -ENOMEM;
	r = io_read_all(fd, text, len);
	if (r == 0)
		r = hkdf_sha256(text, len, NULL, 0, CREDENTIAL_INFO,
				strlen(CREDENTIAL_INFO), ret->bytes,
				sizeof(ret->bytes));
	secret_free(text, CREDENTIAL_MAX);
	return r;
}

int
credential_open(const struct settings *s, struct root *root)
{
	CLEANUP(close_fdp) int fd = -1;
	size_t len;
	int r;

	r = name_credential(s, root);
	if (r == 0)
		r = open_file(root, "is missing in $CREDENTIALS_DIRECTORY",
			      &fd);
	if (r == 0)
		r = check_credential(root, fd, &len);
	return r < 0 ? r : stretch(fd, len, root->key);
}
