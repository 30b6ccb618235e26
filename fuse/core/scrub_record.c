/*
 * scrub_record.c - lineages/UUID/scrubs/UUID.ini: what a scrub has found last.
 */
#include "scrub.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "catalog_private.h"
#include "meta_private.h"

#define AT(member) offsetof(struct scrub_record, member)

static const char *const ends[] = { "no", "yes", "failed", NULL };

static const struct field fields[] = {
	{ "format", FIELD_FORMAT, 0, 0, NULL },
	{ "uuid", FIELD_UUID, AT(uuid), 0, NULL },
	{ "started", FIELD_TIME, AT(started), 0, NULL },
	{ "ended", FIELD_TIME, AT(ended), 0, NULL },
	{ "complete", FIELD_ENUM, AT(end), 0, ends },
	{ "read_all", FIELD_BOOL, AT(read_all), 0, words_no_yes },
	{ "chunks", FIELD_U64, AT(chunks), INT64_MAX, NULL },
	{ "pages", FIELD_U64, AT(pages), INT64_MAX, NULL },
	{ "blocks", FIELD_U64, AT(blocks), INT64_MAX, NULL },
	{ "damaged", FIELD_U64, AT(damaged), INT64_MAX, NULL },
	{ "lost", FIELD_U64, AT(lost), INT64_MAX, NULL },
	{ "spare", FIELD_U64, AT(spare), INT64_MAX, NULL },
	{ "repaired", FIELD_U64, AT(repaired), INT64_MAX, NULL },
};
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

static void
record_path(const struct uuid *lineage, const struct uuid *uuid,
	    char out[static STORE_PATH_LEN])
{
	char file[64], text[UUID_STR_LEN];

	uuid_format(uuid, text);
	(void)snprintf(file, sizeof(file), "scrubs/%s.ini", text);
	path_lineage(lineage, file, out);
}

const char *
scrub_end_word(enum scrub_end end)
{
	static const char *const words[] = { "stopped", "complete", "failed" };

	return words[end];
}

void
scrub_sum(const struct scrub_totals *t, struct scrub_record *ret)
{
	ret->chunks = t->done;
	ret->pages = t->pages;
	ret->blocks = t->blocks;
	ret->lost = t->lost;
	ret->repaired = t->repaired;
	ret->damaged = 0;
	for (unsigned i = 0; i < SCRUB_LOST; i++)
		ret->damaged += t->faults[i];
	ret->spare = t->faults[SCRUB_COPY] + t->faults[SCRUB_SUPER] +
		     t->faults[SCRUB_SPARE];
}

int
scrub_record_save(struct store *st, const struct uuid *lineage,
		  const struct scrub_record *rec)
{
	CLEANUP(canon_text_done) struct canon_text t = { 0 };
	CLEANUP(free_memp) char *text = NULL;
	char path[STORE_PATH_LEN];
	int r;

	canon_section(&t, "scrub");
	r = fields_put(&t, fields, N_FIELDS, rec);
	if (r == 0)
		r = canon_finish(&t, &text);
	record_path(lineage, &rec->uuid, path);
	return r < 0 ? r : st->ops->replace(st, path, text, strlen(text));
}

int
scrub_record_load(struct store *st, const struct uuid *lineage,
		  const struct uuid *uuid, struct scrub_record *ret)
{
	CLEANUP(free_memp) char *text = NULL;
	CLEANUP(canon_freep) struct canon *c = NULL;
	struct scrub_record rec;
	char path[STORE_PATH_LEN];
	size_t len;
	int r;

	memset(&rec, 0, sizeof(rec));
	record_path(lineage, uuid, path);
	r = st->ops->load(st, path, META_MAX, &text, &len);
	if (r == 0)
		r = canon_parse(text, len, &c);
	if (r == 0)
		r = fields_get(c, "scrub", fields, N_FIELDS, &rec);
	if (r == 0 && !uuid_equal(&rec.uuid, uuid))
		r = -EUCLEAN;
	if (r == 0)
		*ret = rec;
	return r;
}
