/*
 * doctor_store.c - checks of where data and keys lie.
 */
#include "doctor.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cmd.h"

/* Calls ${fn} for the store that is looked at, or those of all mounts. */
static void
each_store(struct doctor *d, void (*fn)(struct doctor *d, const char *store))
{
	if (d->store[0]) {
		fn(d, d->store);
		return;
	}
	for (size_t i = 0; i < d->n_fs; i++)
		if (doctor_is_ours(d, &d->fs[i]))
			fn(d, d->fs[i].source);
}

static bool
is_embedded(const struct doctor *d)
{
	return strcmp(d->settings.kms_endpoint, "embedded") == 0;
}

static bool
has_root_file(const struct doctor *d)
{
	return is_embedded(d) &&
	       strcmp(d->settings.keystore_root, "keyfile") == 0;
}

/*
 * The store.
 */

static void
look_network(struct doctor *d, const char *store)
{
	static const struct doctor_words w = {
		"store-network",
		"each flush waits for the network, and its locks are worth "
		"what the server's are",
		"let one host alone mount it, or put it on a disk of this "
		"machine",
	};
	const struct doctor_fs *fs = doctor_fs_of(d, store);

	if (fs && doctor_is_network(fs))
		doctor_add(d, WARNING, &w, "the store %s lies on %s of type %s",
			   store, fs->where, fs->type);
}

/* A file system on a loop device over a disk of this very store. */
static void
look_itself(struct doctor *d, const char *store)
{
	static const struct doctor_words w = {
		"store-on-itself",
		"its daemon waits for itself, for ever, as soon as memory is "
		"short",
		"move the store to another file system",
	};
	const struct doctor_fs *fs = doctor_fs_of(d, store), *mnt;
	char dev[64], file[PATH_MAX];

	if (!fs || strncmp(fs->source, "/dev/loop", 9) != 0)
		return;
	/* Without the partition's number. */
	(void)snprintf(dev, sizeof(dev), "%.*s",
		       (int)(4 + strspn(fs->source + 9, "0123456789")),
		       fs->source + 5);
	if (!doctor_read(d, file, sizeof(file),
			 "/sys/block/%s/loop/backing_file", dev))
		return;
	mnt = doctor_fs_of(d, file);
	if (mnt && doctor_is_ours(d, mnt) && strcmp(mnt->source, store) == 0)
		doctor_add(d, SERIOUS, &w,
			   "the store %s lies on /dev/%s, which is its own "
			   "disk %s",
			   store, dev, file);
}

static void
look_space(struct doctor *d, const char *store)
{
	static const struct doctor_words w = {
		"store-space",
		"what is written fails when there is none left; disks that "
		"were promised more than there is cannot have it",
		"make room: delete disks, or discard what they do not need "
		"(fstrim)",
	};
	char path[PATH_MAX];
	struct statvfs v;
	double part;

	if (!doctor_path(d, path, "%s", store) || statvfs(path, &v) < 0 ||
	    v.f_blocks == 0)
		return;
	part = 100.0 * (double)v.f_bavail / (double)v.f_blocks;
	if (part < 5)
		doctor_add(d, part < 1 ? SERIOUS : WARNING, &w,
			   "the store %s has %.1f %% of its space left", store,
			   part);
}

void
doctor_network(struct doctor *d)
{
	each_store(d, look_network);
}

void
doctor_itself(struct doctor *d)
{
	each_store(d, look_itself);
}

void
doctor_space(struct doctor *d)
{
	each_store(d, look_space);
}

/*
 * The keys.
 */

/* Who but its owner, or root, can do something with it. */
static const char *
exposed(const struct doctor *d, const char *path)
{
	struct stat st;

	if (!doctor_stat(d, path, &st))
		return NULL;
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return "it belongs to another user";
	if (st.st_mode & 022)
		return "others can write it";
	if (st.st_mode & 044)
		return "others can read it";
	return NULL;
}

/* Whoever can write to the folder can put another file there. */
static bool
folder_is_open(const struct doctor *d, const char *path)
{
	char folder[SETTING_MAX];
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (!slash)
		return false;
	(void)snprintf(folder, sizeof(folder), "%.*s",
		       slash == path ? 1 : (int)(slash - path), path);
	return doctor_stat(d, folder, &st) && (st.st_mode & 022) != 0;
}

/* Known not to be there, though a store is that needs it: what cannot be looked
 * at may well be there. */
static bool
is_gone(const struct doctor *d, const char *path)
{
	char ini[PATH_MAX + 16];
	bool have_store = false;
	struct stat st;

	(void)snprintf(ini, sizeof(ini), "%s/store.ini", d->store);
	if (d->store[0])
		have_store = doctor_stat(d, ini, &st);
	for (size_t i = 0; !have_store && i < d->n_fs; i++)
		have_store = doctor_is_ours(d, &d->fs[i]);
	return have_store && !doctor_stat(d, path, &st) && errno == ENOENT;
}

static void
look_endpoint(struct doctor *d)
{
	static const struct doctor_words w = {
		"kms-endpoint",
		"this version has the embedded one only: no disk can be "
		"attached",
		"endpoint = embedded in sealdisk.ini",
	};

	doctor_add(d, WARNING, &w, "the settings name the key service %s",
		   d->settings.kms_endpoint);
}

void
doctor_keystore(struct doctor *d)
{
	static const struct doctor_words missing = {
		"keystore-missing",
		"no disk can be attached, and keys that no backup has are lost",
		"`sealdisk kms restore` puts a backup in its place; or let "
		"[keystore] path in sealdisk.ini say where it is",
	};
	static const struct doctor_words mode = {
		"keystore-mode",
		"who has it and the root key has every disk; who can write it "
		"can destroy every key",
		"chown it to who mounts the store, and chmod 600",
	};
	static const struct doctor_words folder = {
		"keystore-folder",
		"others can put another keystore in its place",
		"chmod 700 the folder",
	};
	static const struct doctor_words inside = {
		"keystore-in-store",
		"they are lost together, and whoever copies the store has both",
		"move it elsewhere, and let [keystore] path in sealdisk.ini "
		"say where",
	};
	const char *path = d->settings.keystore_path, *how;
	const struct doctor_fs *fs = doctor_fs_of(d, path);

	if (!is_embedded(d)) {
		look_endpoint(d);
		return;
	}
	if (is_gone(d, path))
		doctor_add(d, SERIOUS, &missing, "there is no keystore %s",
			   path);
	how = exposed(d, path);
	if (how)
		doctor_add(d, SERIOUS, &mode, "the keystore %s: %s", path, how);
	if (folder_is_open(d, path))
		doctor_add(d, SERIOUS, &folder,
			   "others can write to the folder of the keystore %s",
			   path);
	if ((d->store[0] && doctor_is_below(path, d->store)) ||
	    (fs && doctor_is_ours(d, fs)))
		doctor_add(d, SERIOUS, &inside,
			   "the keystore %s lies in the store", path);
}

void
doctor_root_key(struct doctor *d)
{
	static const struct doctor_words missing = {
		"root-key-missing",
		"nothing opens the keystore, nor any backup of it: what is "
		"mounted now is for the last time",
		"put its copy back; or let [keystore] in sealdisk.ini say what "
		"the root is",
	};
	static const struct doctor_words mode = {
		"root-key-mode",
		"who can read it and the keystore can read every disk",
		"chmod 600 it; if somebody may have read it, `sealdisk kms "
		"change-root`",
	};
	static const struct doctor_words inside = {
		"root-key-in-store",
		"whoever copies the store copies the key to it",
		"move it elsewhere, and let [keystore] root_file in "
		"sealdisk.ini say where",
	};
	const char *path = d->settings.keystore_root_file, *how;

	if (!has_root_file(d))
		return;
	if (is_gone(d, path))
		doctor_add(d, SERIOUS, &missing, "there is no root key %s",
			   path);
	how = exposed(d, path);
	if (how)
		doctor_add(d, SERIOUS, &mode, "the root key %s: %s", path, how);
	if (d->store[0] && doctor_is_below(path, d->store))
		doctor_add(d, SERIOUS, &inside,
			   "the root key %s lies in the store", path);
}

static void
look_together(struct doctor *d, const char *store)
{
	static const struct doctor_words w = {
		"root-key-beside-store",
		"whoever takes that medium away has what opens the store",
		"keep the root key on another medium, or use another root: "
		"passphrase, credential or pkcs11",
	};
	const char *path = d->settings.keystore_root_file;
	const struct doctor_fs *a = doctor_fs_of(d, store);
	const struct doctor_fs *b = doctor_fs_of(d, path);
	char dev[64];
	struct stat st;

	if (!a || !b || a->major != b->major || a->minor != b->minor ||
	    doctor_is_below(path, store) || !doctor_stat(d, path, &st))
		return;
	(void)snprintf(dev, sizeof(dev), "%u:%u", a->major, a->minor);
	if (!doctor_is_crypt(d, dev))
		doctor_add(d, WARNING, &w,
			   "the root key %s lies on the same file system as "
			   "the store %s",
			   path, store);
}

void
doctor_together(struct doctor *d)
{
	if (has_root_file(d))
		each_store(d, look_together);
}
