/*
 * audit_line.c - lines of the audit log as text; see audit.h.
 *
 * Of what a request says, everything that is not printable ASCII is written as
 * a JSON escape, and a text longer than it may be is cut: a line is one line,
 * and has its bound, whoever wrote what is in it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "audit_private.h"

#define TEXT_MAX 512 /* bytes of what is quoted, but for contexts */

struct out {
	char *p, *end; /* room for a NUL is left */
	bool full;
};

__attribute__((__format__(__printf__, 2, 3))) static void
put(struct out *o, const char *fmt, ...)
{
	size_t room = (size_t)(o->end - o->p);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->p, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room)
		o->full = true;
	else
		o->p += n;
}

/* The character at ${s}, of ${n} bytes, or U+FFFD for what is none. */
static unsigned
get_char(const char *s, size_t n, size_t *ret_len)
{
	unsigned char c = (unsigned char)s[0];
	size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4, i;
	unsigned v;

	*ret_len = 1;
	if (len > n || !utf8_valid(s, len))
		return 0xfffd;
	v = len == 1 ? c : c & (0xffU >> (len + 1));
	for (i = 1; i < len; i++)
		v = v << 6 | ((unsigned char)s[i] & 0x3f);
	*ret_len = len;
	return v;
}

static void
put_char(struct out *o, unsigned c)
{
	if (c == '"' || c == '\\')
		put(o, "\\%c", (int)c);
	else if (c >= ' ' && c < 0x7f)
		put(o, "%c", (int)c);
	else if (c < 0x10000)
		put(o, "\\u%04x", c);
	else
		put(o, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
		    0xdc00 + ((c - 0x10000) & 0x3ff));
}

/* Most of what is written needs no escape. */
static size_t
plain_len(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && s[i] >= ' ' && s[i] < 0x7f && s[i] != '"' &&
	       s[i] != '\\')
		i++;
	return i;
}

static void
put_text(struct out *o, const char *s, size_t max)
{
	size_t n = strlen(s), len, shown = n < max ? n : max;
	bool cut = n > shown;

	put(o, "\"");
	while (shown > 0 && !o->full) {
		len = plain_len(s, shown);
		if (len > 0)
			put(o, "%.*s", (int)len, s);
		else
			put_char(o, get_char(s, shown, &len));
		s += len;
		shown -= len;
	}
	put(o, cut ? "...\"" : "\"");
}

static void
put_member(struct out *o, const char *name, const char *value)
{
	if (!value)
		return;
	put(o, ",\"%s\":", name);
	put_text(o, value, TEXT_MAX);
}

static void
put_pairs(struct out *o, const struct context *c)
{
	size_t i;

	put(o, ",\"context\":{");
	for (i = 0; i < c->n && !o->full; i++) {
		put(o, i ? "," : "");
		put_text(o, c->pairs[i].name, ENVELOPE_CONTEXT_MAX);
		put(o, ":");
		put_text(o, c->pairs[i].value, ENVELOPE_CONTEXT_MAX);
	}
	put(o, "}");
}

/* All of a context, or that it was too long. */
static void
put_context(struct out *o, const struct context *c)
{
	struct out before = *o;

	if (!c)
		return;
	put_pairs(o, c);
	if (!o->full)
		return;
	*o = before;
	put(o, ",\"context_too_long\":true");
}

static void
put_time(struct out *o)
{
	char text[TIME_STR_LEN];

	format_time(time(NULL), text);
	put(o, ",\"time\":\"%s\"", text);
}

size_t
audit_line_start(const struct audit_head *h, char out[static AUDIT_START_MAX])
{
	char hash[2 * SHA256_LEN + 1];
	int n;

	hex_encode(h->hash, sizeof(h->hash), hash);
	n = snprintf(out, AUDIT_START_MAX, "{\"n\":%llu,\"prev\":\"%s\",",
		     (unsigned long long)h->lines + 1, hash);
	return (size_t)n;
}

/* The end of a line is written into room that nothing else gets. */
#define END_LEN 256

static struct out
begin(const struct audit_head *h, const char *kind,
      char line[static AUDIT_LINE_MAX])
{
	struct out o = { line, line + AUDIT_LINE_MAX - END_LEN, false };

	o.p += audit_line_start(h, line);
	put(&o, "\"kind\":\"%s\"", kind);
	put_time(&o);
	return o;
}

static size_t
end(struct out *o, const char *line)
{
	o->end += END_LEN;
	o->full = false;
	put(o, "}\n");
	return (size_t)(o->p - line);
}

size_t
audit_line_request(const struct audit_head *h, const struct audit_event *e,
		   char out[static AUDIT_LINE_MAX])
{
	struct out o = begin(h, "request", out);

	/* All of these together are shorter than a line even if each character
	 * is an escape. */
	_Static_assert(10 * 6 * (TEXT_MAX + 16) < AUDIT_LINE_MAX, "room");
	put_member(&o, "request_id", e->request_id);
	put_member(&o, "principal", e->principal);
	put_member(&o, "access_key", e->access_key);
	put_member(&o, "peer", e->peer);
	put_member(&o, "action", e->action);
	put_member(&o, "key", e->key);
	put_member(&o, "version", e->version);
	put_member(&o, "alias", e->alias);
	put_member(&o, "result", e->result);
	put_member(&o, "reason", e->reason);
	put_context(&o, e->context);
	o.end += END_LEN / 2;
	put(&o, ",\"status\":%u,\"micros\":%llu", e->status,
	    (unsigned long long)e->micros);
	o.end -= END_LEN / 2;
	return end(&o, out);
}

size_t
audit_line_seal(const struct audit_head *h, const uint8_t mac[static MAC_LEN],
		char out[static AUDIT_LINE_MAX])
{
	struct out o = begin(h, "seal", out);
	char hex[2 * MAC_LEN + 1];

	hex_encode(mac, MAC_LEN, hex);
	put(&o, ",\"file\":%u,\"mac\":\"%s\"", h->file, hex);
	return end(&o, out);
}

size_t
audit_line_resumed(const struct audit_head *h, uint64_t unsealed, uint64_t torn,
		   char out[static AUDIT_LINE_MAX])
{
	struct out o = begin(h, "resumed", out);

	put(&o, ",\"unsealed\":%llu,\"torn\":%llu",
	    (unsigned long long)unsealed, (unsigned long long)torn);
	return end(&o, out);
}

size_t
audit_line_gap(const struct audit_head *h, const char *why,
	       char out[static AUDIT_LINE_MAX])
{
	struct out o = begin(h, "gap", out);

	put_member(&o, "reason", why);
	return end(&o, out);
}

/* Behind the start, whose length its number alone changes. */
bool
audit_line_is(const char *line, size_t len, const char *kind)
{
	const char *p = memchr(line, ',', len);
	char want[32];
	size_t n;

	n = (size_t)snprintf(want, sizeof(want), "\"kind\":\"%s\"", kind);
	if (p)
		p = memchr(p + 1, ',', (size_t)(line + len - p) - 1);
	return p && (size_t)(line + len - p) > n && memcmp(p + 1, want, n) == 0;
}

int
audit_seal_mac(const struct key *key, const struct audit_head *h,
	       uint8_t ret[static MAC_LEN])
{
	static const char label[] = "sealdisk audit file";
	uint8_t buf[sizeof(label) + 4 + 8 + SHA256_LEN];
	struct writer w = writer_over(buf, sizeof(buf));
	const struct iovec iov = { buf, sizeof(buf) };

	put_bytes(&w, label, sizeof(label));
	put_u32(&w, h->file);
	put_u64(&w, h->lines);
	put_bytes(&w, h->hash, sizeof(h->hash));
	return hmac_sha256(key->bytes, &iov, 1, ret);
}

int
audit_seal_read(const char *line, size_t len, uint8_t ret[static MAC_LEN])
{
	static const char before[] = "\"mac\":\"", after[] = "\"}";
	size_t tail = sizeof(before) - 1 + 2 * MAC_LEN + sizeof(after) - 1;
	char hex[2 * MAC_LEN + 1];
	const char *p;

	if (len < tail)
		return -EINVAL;
	p = line + len - tail;
	if (memcmp(p, before, sizeof(before) - 1) != 0)
		return -EINVAL;
	memcpy(hex, p + sizeof(before) - 1, 2 * MAC_LEN);
	hex[2 * MAC_LEN] = '\0';
	return hex_decode(hex, ret, MAC_LEN);
}

int
audit_key(const struct key *kek, struct key *ret)
{
	static const char info[] = "sealdisk audit";

	return hkdf_sha256(kek->bytes, sizeof(kek->bytes), NULL, 0, info,
			   sizeof(info) - 1, ret->bytes, sizeof(ret->bytes));
}
