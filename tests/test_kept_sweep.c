/*
 * test_kept_sweep.c - of a disk that was just coming or going when its process
 * died, no key is left.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "kept_private.h"

static void
fill(struct kept_disk *s, uint32_t state)
{
	memset(s->dks[0].key, 0x5a, sizeof(s->dks[0].key));
	atomic_store(&s->dks[0].valid, 1);
	atomic_store(&s->state, state);
}

static void
test_sweep(void **state)
{
	static const uint8_t none[KEY_LEN];
	struct kept *k = calloc(1, kept_size());
	enum desc_type type;
	struct uuid uuid;

	(void)state;
	assert_non_null(k);
	kept_init(k);
	fill(&k->disks[0], KEPT_TAKEN);
	fill(&k->disks[1], KEPT_ATTACHED);
	kept_sweep(k);
	assert_memory_equal(k->disks[0].dks[0].key, none, sizeof(none));
	assert_int_equal(atomic_load(&k->disks[0].dks[0].valid), 0);
	assert_int_equal(atomic_load(&k->disks[0].state), KEPT_FREE);
	/* One that is attached stays as it is. */
	assert_int_equal(kept_next(k, 0, &type, &uuid), 1);
	assert_int_equal(atomic_load(&k->disks[1].dks[0].valid), 1);
	assert_int_equal(k->disks[1].dks[0].key[0], 0x5a);
	kept_forget(k, 1);
	free(k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
