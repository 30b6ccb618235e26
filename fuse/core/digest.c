/*
 * digest.c - see digest.h.
 *
 *    0  magic "SDDG", version u16, zero u16, map pages u32, zero u32
 *   16  session u64: that of the checkpoint; 0 of a layer that is sealed
 *   24  layer uuid
 *   40  8 root pages: 16 bytes each
 *  168  map pages that there are, in order: number u32, 16 bytes
 *       MAC 32, HMAC-SHA256 under the layer's map key over all before it
 *
 * Roots and map pages are known by the first 16 bytes of their own MACs.
 */
#include "digest.h"

#include <errno.h>
#include <pthread.h>

#include <sealdisk/grow.h>

#include "catalog.h"
#include "engine_private.h"

#define MAGIC 0x47444453u /* "SDDG" */
#define LIST_VERSION 1
#define HEAD_LEN 40
#define ROOTS_LEN (ROOTS * DIGEST_LEN)
#define ENTRY_LEN (4 + DIGEST_LEN)
#define PAGES_MAX (ROOTS * ROOT_BITS)
#define FIXED_LEN (HEAD_LEN + ROOTS_LEN + MAC_LEN)
#define FILE_MAX (FIXED_LEN + (size_t)PAGES_MAX * ENTRY_LEN)

struct map_digest {
	uint32_t index;
	uint8_t digest[DIGEST_LEN];
};

struct digests {
	pthread_mutex_t mutex;
	uint64_t session;
	uint8_t sum[SHA256_LEN];
	uint8_t root[ROOTS][DIGEST_LEN];
	bool root_known[ROOTS];
	bool lacking;         /* something could not be kept */
	struct map_digest *v; /* by index */
	size_t n, cap;
};

int
digests_new(struct digests **ret)
{
	struct digests *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	pthread_mutex_init(&g->mutex, NULL);
	*ret = g;
	return 0;
}

void
digests_free(struct digests *g)
{
	if (!g)
		return;
	pthread_mutex_destroy(&g->mutex);
	free(g->v);
	free(g);
}

uint64_t
digests_session(const struct digests *g)
{
	return g->session;
}

void
digests_sum(const struct digests *g, uint8_t ret[static SHA256_LEN])
{
	memcpy(ret, g->sum, SHA256_LEN);
}

/* ---- the list ---- */

/* Where it is, or would be. */
static size_t
place_of(const struct digests *g, uint64_t index)
{
	size_t lo = 0, hi = g->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (g->v[mid].index < index)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool
digests_get(struct digests *g, enum page_kind kind, uint64_t index,
	    uint8_t ret[static DIGEST_LEN])
{
	bool known;
	size_t at;

	pthread_mutex_lock(&g->mutex);
	if (kind == PAGE_ROOT) {
		known = g->root_known[index];
		memcpy(ret, g->root[index], DIGEST_LEN);
	} else {
		at = place_of(g, index);
		known = at < g->n && g->v[at].index == index;
		if (known)
			memcpy(ret, g->v[at].digest, DIGEST_LEN);
	}
	pthread_mutex_unlock(&g->mutex);
	return known;
}

static int
make_room(struct digests *g)
{
	struct map_digest *v = grow(g->v, g->n, &g->cap, sizeof(*v));

	if (!v)
		return -ENOMEM;
	g->v = v;
	return 0;
}

static void
set_map(struct digests *g, uint64_t index,
	const uint8_t digest[static DIGEST_LEN])
{
	size_t at = place_of(g, index);

	if (at == g->n || g->v[at].index != index) {
		if (make_room(g) < 0) {
			g->lacking = true;
			return;
		}
		memmove(g->v + at + 1, g->v + at, (g->n - at) * sizeof(*g->v));
		g->v[at].index = (uint32_t)index;
		g->n++;
	}
	memcpy(g->v[at].digest, digest, DIGEST_LEN);
}

void
digests_set(struct digests *g, enum page_kind kind, uint64_t index,
	    const uint8_t digest[static DIGEST_LEN])
{
	pthread_mutex_lock(&g->mutex);
	if (kind == PAGE_ROOT) {
		memcpy(g->root[index], digest, DIGEST_LEN);
		g->root_known[index] = true;
	} else {
		set_map(g, index, digest);
	}
	pthread_mutex_unlock(&g->mutex);
}

/* ---- the file ---- */

static int
list_mac(const uint8_t *text, size_t len, const struct key *map_key,
	 uint8_t ret[static MAC_LEN])
{
	struct iovec iov = { (void *)(uintptr_t)text, len };

	return hmac_sha256(map_key->bytes, &iov, 1, ret);
}

/* With the mutex held. */
static int
encode(const struct digests *g, const struct layer_ref *ref,
       const struct key *map_key, uint64_t session, uint8_t *out, size_t len)
{
	struct writer w = writer_over(out, len);
	uint8_t mac[MAC_LEN];
	int r;

	put_u32(&w, MAGIC);
	put_u16(&w, LIST_VERSION);
	put_u16(&w, 0);
	put_u32(&w, (uint32_t)g->n);
	put_u32(&w, 0);
	put_u64(&w, session);
	put_bytes(&w, ref->layer.bytes, sizeof(ref->layer.bytes));
	put_bytes(&w, g->root, sizeof(g->root));
	for (size_t i = 0; i < g->n; i++) {
		put_u32(&w, g->v[i].index);
		put_bytes(&w, g->v[i].digest, DIGEST_LEN);
	}
	r = list_mac(out, len - MAC_LEN, map_key, mac);
	put_bytes(&w, mac, sizeof(mac));
	return r < 0 ? r : w.bad ? -EINVAL : 0;
}

static bool
complete(const struct digests *g)
{
	bool all = true;

	for (unsigned i = 0; i < ROOTS; i++)
		all &= g->root_known[i];
	return all;
}

static int
save(struct digests *g, struct store *st, const struct layer_ref *ref,
     const struct key *map_key, uint64_t session, const uint8_t *sum)
{
	CLEANUP(free_memp) uint8_t *text = NULL;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	pthread_mutex_lock(&g->mutex);
	len = FIXED_LEN + g->n * ENTRY_LEN;
	text = malloc(len);
	r = !text || g->lacking ? -ENOMEM : !complete(g) ? -EINVAL : 0;
	if (r == 0)
		r = encode(g, ref, map_key, session, text, len);
	if (r == 0)
		r = sha256(text, len, g->sum);
	if (r == 0 && sum && memcmp(sum, g->sum, sizeof(g->sum)) != 0)
		r = -EBADMSG;
	g->session = session;
	pthread_mutex_unlock(&g->mutex);
	path_layer(ref, "digests", path);
	return r < 0 ? r : store_put(st, path, text, len);
}

int
digests_save(struct digests *g, struct store *st, const struct layer_ref *ref,
	     const struct key *map_key, uint64_t session)
{
	return save(g, st, ref, map_key, session, NULL);
}

int
digests_save_as(struct digests *g, struct store *st,
		const struct layer_ref *ref, const struct key *map_key,
		uint64_t session, const uint8_t sum[static SHA256_LEN])
{
	return save(g, st, ref, map_key, session, sum);
}

static int
decode(const uint8_t *text, size_t len, const struct uuid *layer,
       struct digests *g)
{
	struct reader r = reader_over(text, len - MAC_LEN);
	struct uuid uuid;
	uint32_t n;

	if (get_u32(&r) != MAGIC || get_u16(&r) != LIST_VERSION ||
	    get_u16(&r) != 0)
		return -EUCLEAN;
	n = get_u32(&r);
	if (get_u32(&r) != 0 || n > PAGES_MAX ||
	    len != FIXED_LEN + (size_t)n * ENTRY_LEN)
		return -EUCLEAN;
	g->session = get_u64(&r);
	get_bytes(&r, uuid.bytes, sizeof(uuid.bytes));
	get_bytes(&r, g->root, sizeof(g->root));
	memset(g->root_known, true, sizeof(g->root_known));
	g->v = calloc(n + 1, sizeof(*g->v));
	if (!g->v)
		return -ENOMEM;
	g->cap = n + 1;
	for (; g->n < n; g->n++) {
		g->v[g->n].index = get_u32(&r);
		get_bytes(&r, g->v[g->n].digest, DIGEST_LEN);
		if (g->v[g->n].index >= PAGES_MAX ||
		    (g->n > 0 && g->v[g->n].index <= g->v[g->n - 1].index))
			return -EUCLEAN;
	}
	return r.bad || !uuid_equal(&uuid, layer) ? -EUCLEAN : 0;
}

int
digests_load(struct store *st, const struct layer_ref *ref,
	     const struct key *map_key, struct digests **ret)
{
	CLEANUP(digests_freep) struct digests *g = NULL;
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	uint8_t mac[MAC_LEN];
	size_t len;
	int r;

	path_layer(ref, "digests", path);
	r = st->ops->load(st, path, FILE_MAX, &text, &len);
	if (r == -EFBIG || (r == 0 && len < FIXED_LEN))
		return -EUCLEAN;
	if (r == 0)
		r = list_mac((uint8_t *)text, len - MAC_LEN, map_key, mac);
	if (r == 0 && !crypto_equal(mac, text + len - MAC_LEN, MAC_LEN))
		r = -EBADMSG;
	if (r == 0)
		r = digests_new(&g);
	if (r == 0)
		r = sha256(text, len, g->sum);
	if (r == 0)
		r = decode((uint8_t *)text, len, &ref->layer, g);
	if (r == 0)
		*ret = TAKE(g);
	return r;
}

/* ---- chunks ---- */

/* Over the MACs of eight pages; ${pages} has where each lies. */
static int
sum_macs(const uint8_t *const pages[static CHUNK_GROUPS],
	 uint8_t ret[static DIGEST_LEN])
{
	static const char label[] = "sealdisk/1 chunk digest";
	uint8_t in[sizeof(label) - 1 + CHUNK_GROUPS * MAC_LEN];
	uint8_t *at = in + sizeof(label) - 1, sum[SHA256_LEN];
	int r;

	memcpy(in, label, sizeof(label) - 1);
	for (unsigned g = 0; g < CHUNK_GROUPS; g++, at += MAC_LEN)
		memcpy(at, pages[g] + PAGE_MAC, MAC_LEN);
	r = sha256(in, sizeof(in), sum);
	if (r == 0)
		memcpy(ret, sum, DIGEST_LEN);
	return r;
}

bool
chunk_is(const uint8_t *pages, const uint8_t digest[static DIGEST_LEN])
{
	const uint8_t *at[CHUNK_GROUPS];
	uint8_t sum[DIGEST_LEN];

	if (memcmp(pages, pages + CHUNK_GROUPS * PAGE_LEN,
		   CHUNK_GROUPS * PAGE_LEN) != 0)
		return false;
	for (unsigned g = 0; g < CHUNK_GROUPS; g++)
		at[g] = pages + page_offset(g, 0);
	return sum_macs(at, sum) == 0 && memcmp(sum, digest, DIGEST_LEN) == 0;
}

static unsigned
count_blocks(const union page_body *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < GROUP_BLOCKS; i++)
		n += b->entry[i].state == ENTRY_DATA;
	return n;
}

/* The newer one of the copies of a group that verify, and NULL if none does:
 * the one that is taken when the page is loaded.  ${blocks}: of it. */
static const uint8_t *
newer_copy(const uint8_t *pages, const uint8_t mac_key[static KEY_LEN],
	   uint64_t group, bool same, struct page_head *ret, unsigned *blocks)
{
	const uint8_t *at[2], *found = NULL;
	struct page_head h;
	union page_body b;

	for (unsigned i = 0; i < (same ? 1 : 2); i++) {
		at[i] = pages + page_offset(group % CHUNK_GROUPS, i);
		if (page_decode(at[i], mac_key, PAGE_GROUP, group, &h, &b) < 0)
			continue;
		if (!found || !page_newer(ret, &h)) {
			found = at[i];
			*ret = h;
			*blocks = count_blocks(&b);
		}
	}
	return found;
}

int
chunk_look(const uint8_t *pages, const uint8_t mac_key[static KEY_LEN],
	   uint64_t index, struct chunk_look *ret)
{
	const uint8_t *at[CHUNK_GROUPS];
	struct page_head h;

	memset(ret, 0, sizeof(*ret));
	for (unsigned g = 0; g < CHUNK_GROUPS; g++) {
		const uint8_t *a = pages + page_offset(g, 0);
		bool same = memcmp(a, pages + page_offset(g, 1), PAGE_LEN) == 0;
		unsigned blocks = 0;

		at[g] = newer_copy(pages, mac_key, index * CHUNK_GROUPS + g,
				   same, &h, &blocks);
		ret->blocks += blocks;
		if (!same)
			ret->differ |= (uint8_t)(1u << g);
		if (!at[g])
			ret->bad |= (uint8_t)(1u << g);
		else if (h.session > ret->session)
			ret->session = h.session;
	}
	ret->at_rest = ret->differ == 0;
	return ret->bad ? 0 : sum_macs(at, ret->digest);
}
