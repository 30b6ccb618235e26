/*
 * service_json.c - JSON of the service: allocators that wipe, and answers.
 */
#include <errno.h>
#include <stdlib.h>

#include "service_private.h"
#include "wiped.h"

void
service_json_init(void)
{
	wiped_json();
}

int
put_json(json_t *to, const char *name, json_t *v)
{
	return v && json_object_set_new(to, name, v) == 0 ? 0 : -ENOMEM;
}

int
put_text(json_t *to, const char *name, const char *text)
{
	return put_json(to, name, json_string(text));
}

int
put_number(json_t *to, const char *name, int64_t v)
{
	return put_json(to, name, json_integer(v));
}

int
put_time(json_t *to, const char *name, int64_t t)
{
	char text[TIME_STR_LEN] = "";

	if (t)
		format_time(t, text);
	return put_text(to, name, text);
}

int
put_data(json_t *to, const char *name, const void *p, size_t len)
{
	char *text = secret_alloc(BASE64_LEN(len));
	int r;

	if (!text)
		return -ENOMEM;
	base64_encode(p, len, text);
	r = put_text(to, name, text);
	secret_free(text, BASE64_LEN(len));
	return r;
}

json_t *
put_list(json_t *to, const char *outer, const char *inner)
{
	json_t *o = json_object(), *list = json_array();
	int r;

	r = o ? put_json(o, inner, list) : -ENOMEM;
	if (!o)
		json_decref(list);
	if (r == 0)
		r = put_json(to, outer, json_incref(o));
	json_decref(o);
	return r < 0 ? NULL : list;
}

/* Pages. */

#define PAGE_SIZE 10

struct page
page_of(const struct action_call *c)
{
	return (struct page){ .number = call_number(c, "PageNumber", 1),
			      .size = call_number(c, "PageSize", PAGE_SIZE) };
}

bool
page_takes(struct page *p)
{
	int64_t i = p->total++;

	return p->size && i / p->size == p->number - 1;
}

int
page_put(const struct page *p, json_t *to)
{
	int r;

	r = put_number(to, "TotalCount", p->total);
	if (r == 0)
		r = put_number(to, "PageNumber", p->number);
	return r < 0 ? r : put_number(to, "PageSize", p->size);
}
