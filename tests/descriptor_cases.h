/*
 * descriptor_cases.h - a descriptor, as text and as a struct, and texts that
 * are none.
 */
#ifndef SEALDISK_DESCRIPTOR_CASES_H
#define SEALDISK_DESCRIPTOR_CASES_H

#include "meta_env.h"

static const char descriptor_text[] =
    "[disk]\n"
    "format = 1\n"
    "incompat = 0\n"
    "ro_compat = 0\n"
    "compat = 0\n"
    "type = disk\n"
    "name = B\xc3\xbcro%203%3B\n"
    "store = 00000000-0000-4000-8000-000000000001\n"
    "uuid = 00000000-0000-4000-8000-000000000002\n"
    "of = -\n"
    "set = -\n"
    "members = 0\n"
    "size = 10737418240\n"
    "sector_size = 4096\n"
    "kind = data\n"
    "category = cloud_essd\n"
    "created = 2026-11-24T05:06:07Z\n"
    "layer = 00000000-0000-4000-8000-000000000003/"
    "00000000-0000-4000-8000-000000000004\n"
    "lineage = 00000000-0000-4000-8000-000000000003\n"
    "key = 00000000-0000-4000-8000-000000000005\n"
    "keys = 00000000-0000-4000-8000-000000000005 "
    "00000000-0000-4000-8000-000000000006\n"
    "session = 12\n"
    "clean = no\n"
    "digest = 000102030405060708090a0b0c0d0e0f"
    "101112131415161718191a1b1c1d1e1f\n"
    "digest_session = 11\n"
    "anchor = none\n"
    "on_key_revoked = keep\n"
    "allocated = 4096\n"
    "uid = 1000\n"
    "gid = 100\n"
    "mode = 0640\n"
    "\n"
    "[seal]\n"
    "mac = 8624354935875257a3a4f29860eaa8db"
    "7857efe2853e47644c35c2777ae17e08\n"
    "\n"
    "[key 00000000-0000-4000-8000-000000000005]\n"
    "kms = default\n"
    "key_id = 11111111-2222-4333-8444-555555555555\n"
    "key_version_id = v%2A1\n"
    "lineage = 00000000-0000-4000-8000-000000000003\n"
    "wrapped_dk = AAECAwQF\n"
    "\n"
    "[key 00000000-0000-4000-8000-000000000006]\n"
    "kms = default\n"
    "key_id = acs:kms:local:1/key/x+y\n"
    "key_version_id = v1\n"
    "lineage = 00000000-0000-4000-8000-000000000007\n"
    "wrapped_dk = Bg==\n";

static inline void
fill_descriptor(struct descriptor *d)
{
	memset(d, 0, sizeof(*d));
	strcpy(d->name, "B\xc3\xbcro 3;");
	d->store = u("00000000-0000-4000-8000-000000000001");
	d->uuid = u("00000000-0000-4000-8000-000000000002");
	d->size = 10ULL << 30;
	d->sector_size = 4096;
	strcpy(d->kind, "data");
	strcpy(d->category, "cloud_essd");
	assert_ok(parse_time("2026-11-24T05:06:07Z", &d->created));
	d->lineage = u("00000000-0000-4000-8000-000000000003");
	d->layer.lineage = d->lineage;
	d->layer.layer = u("00000000-0000-4000-8000-000000000004");
	d->key = u("00000000-0000-4000-8000-000000000005");
	d->session = 12;
	for (uint8_t i = 0; i < SHA256_LEN; i++)
		d->digest[i] = i;
	d->digest_session = 11;
	strcpy(d->anchor, "none");
	strcpy(d->on_key_revoked, "keep");
	d->allocated = 4096;
	d->uid = 1000;
	d->gid = 100;
	d->mode = 0640;
	d->n_keys = 2;
	d->keys[0].uuid = d->key;
	strcpy(d->keys[0].dk.kms, "default");
	strcpy(d->keys[0].dk.key_id, "11111111-2222-4333-8444-555555555555");
	strcpy(d->keys[0].dk.key_version_id, "v*1");
	d->keys[0].dk.lineage = d->lineage;
	memcpy(d->keys[0].dk.blob, "\0\1\2\3\4\5", 6);
	d->keys[0].dk.blob_len = 6;
	d->keys[1].uuid = u("00000000-0000-4000-8000-000000000006");
	strcpy(d->keys[1].dk.kms, "default");
	strcpy(d->keys[1].dk.key_id, "acs:kms:local:1/key/x+y");
	strcpy(d->keys[1].dk.key_version_id, "v1");
	d->keys[1].dk.lineage = u("00000000-0000-4000-8000-000000000007");
	memcpy(d->keys[1].dk.blob, "\6", 1);
	d->keys[1].dk.blob_len = 1;
}

#define U5 "00000000-0000-4000-8000-000000000005"
#define U6 "00000000-0000-4000-8000-000000000006"
#define X40 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X200 X40 X40 X40 X40 X40

static const struct change descriptor_changes[] = {
	{ "format = 1", "format = 2", EPROTONOSUPPORT },
	{ "format = 1", "format = 0", EUCLEAN },
	{ "format = 1", "format = 01", EUCLEAN },
	{ "format = 1\n", "", EUCLEAN },
	{ "format = 1", "format = 2\nnews = x", EPROTONOSUPPORT },
	{ "\nincompat = 0", "\nincompat = 1", EPROTONOSUPPORT },
	{ "\nincompat = 0", "\nincompat = 18446744073709551615",
	  EPROTONOSUPPORT },
	{ "\nincompat = 0", "\nincompat = 18446744073709551616", EUCLEAN },
	{ "\nincompat = 0", "\nincompat = -1", EUCLEAN },
	{ "[disk]", "[layer]", EUCLEAN },
	{ "[disk]", "[Disk]", EUCLEAN },
	{ "type = disk", "type = layer", EUCLEAN },
	{ "type = disk", "type = snapshot", EUCLEAN }, /* of nothing */
	{ "type = disk", "type = ", EUCLEAN },
	{ "type = disk", "Type = disk", EUCLEAN },
	{ "type = disk", "type = disk ", EUCLEAN },
	{ "type = disk", "type  = disk", EUCLEAN },
	{ "type = disk", "type = \"disk\"", EUCLEAN },
	{ "type = disk", "type = disk ; x", EUCLEAN },
	{ "type = disk", "type = disk\ntype = disk", EUCLEAN },
	{ "type = disk", "type = disk\nmore = 1", EUCLEAN },
	{ "type = disk\nname", "name", EUCLEAN },
	{ "name = B", "name = .B", EUCLEAN },
	{ "name = B", "name = %42", EUCLEAN }, /* needless */
	/* shown, and without a MAC: it steered the terminal of `info` */
	{ "key_id = 1", "key_id = %1B%5B2J1", EUCLEAN },
	{ "key_id = 1", "key_id = 1%0A", EUCLEAN },
	{ "key_version_id = v", "key_version_id = %7F", EUCLEAN },
	{ "kms = default", "kms = \xc2\x9b", EUCLEAN },
	{ "%3B", "%3b", EUCLEAN }, /* lower case */
	{ "%3B", "%00", EUCLEAN }, /* cut off */
	{ "%3B", "%", EUCLEAN },
	{ "%3B", "%2F", EUCLEAN }, /* a slash */
	{ "%3B", "/", EUCLEAN },
	{ "%3B", "\xff", EUCLEAN }, /* bad UTF-8 */
	{ "%3B", X200, EUCLEAN },   /* 207 bytes */
	{ "%203%3B", "%0A", EUCLEAN },
	{ "store = 0", "store = A", EUCLEAN },
	{ "uuid = 00000000-0000-4000-8000-000000000002",
	  "uuid = 00000000-0000-0000-0000-000000000000", EUCLEAN },
	{ "of = -", "of = x", EUCLEAN },     /* of a disk */
	{ "set = -", "set = " U5, EUCLEAN }, /* of none */
	{ "members = 0", "members = 2", EUCLEAN },
	{ "members = 0", "members = 99999", EUCLEAN },
	{ "size = 10737418240", "size = 10737418241", EUCLEAN },
	{ "size = 10737418240", "size = 010737418240", EUCLEAN },
	{ "size = 10737418240", "size = +10737418240", EUCLEAN },
	{ "size = 10737418240", "size = 0x280000000", EUCLEAN },
	{ "size = 10737418240", "size = 131941395333632", EUCLEAN },
	{ "size = 10737418240", "size = 99999999999999999999999", EUCLEAN },
	{ "size = 10737418240", "size = 10G", EUCLEAN },
	{ "sector_size = 4096", "sector_size = 1024", EUCLEAN },
	{ "kind = data", "kind = other", EUCLEAN },
	{ "kind = data", "kind = systemd", EUCLEAN },
	{ "cloud_essd", "Cloud", EUCLEAN },
	{ "cloud_essd", X40, EUCLEAN },
	{ "cloud_essd", "-", EUCLEAN },
	{ "2026-11-24T", "2026-11-31T", EUCLEAN },
	{ "2026-11-24T", "2026-11-24 ", EUCLEAN },
	{ "layer = 00000000-0000-4000-8000-000000000003/",
	  "layer = 00000000-0000-4000-8000-000000000009/", EUCLEAN },
	{ "3/0000", "3-0000", EUCLEAN },
	{ "key = " U5, "key = " U6, EUCLEAN }, /* of another lineage */
	{ "key = " U5, "key = 00000000-0000-4000-8000-000000000009", EUCLEAN },
	{ "keys = " U5 " " U6, "keys = " U5, EUCLEAN },
	{ "keys = " U5 " " U6, "keys = " U6 " " U5, EUCLEAN },
	{ "keys = " U5 " " U6, "keys = " U5 " " U5, EUCLEAN },
	{ "keys = " U5 " " U6, "keys = " U5 U6, EUCLEAN },
	{ "keys = " U5 " " U6, "keys = " U5 "  " U6, EUCLEAN },
	{ "keys = " U5, "keys = -", EUCLEAN },
	{ "session = 12", "session = 10", EUCLEAN }, /* digest_session */
	{ "session = 12", "session = 4611686018427387904", EUCLEAN },
	{ "clean = no", "clean = maybe", EUCLEAN },
	{ "clean = no", "clean = 0", EUCLEAN },
	{ "digest = 00", "digest = 0", EUCLEAN },
	{ "0a0b", "0A0B", EUCLEAN },
	{ "anchor = none", "anchor = self", EUCLEAN },
	{ "on_key_revoked = keep", "on_key_revoked = nonsense", EUCLEAN },
	{ "uid = 1000", "uid = 4294967295", EUCLEAN },
	{ "uid = 1000", "uid = 4294968296", EUCLEAN },
	{ "mode = 0640", "mode = 640", EUCLEAN },
	{ "mode = 0640", "mode = 1640", EUCLEAN },
	{ "mode = 0640", "mode = 0680", EUCLEAN },
	{ "mode = 0640\n\n", "mode = 0640\n", EUCLEAN },
	{ "mode = 0640\n\n", "mode = 0640\n\n\n", EUCLEAN },
	{ "[seal]", "[Seal]", EUCLEAN },
	{ "mac = ", "mac = 00", EUCLEAN },
	{ "mac = ", "mac = -", EUCLEAN },
	{ "kms = default", "kms = ", EUCLEAN },
	{ "kms = default", "kms = " X40, EUCLEAN },
	{ "wrapped_dk = AAECAwQF", "wrapped_dk = -", EUCLEAN },
	{ "wrapped_dk = AAECAwQF", "wrapped_dk = AAECAwQ", EUCLEAN },
	{ "wrapped_dk = AAECAwQF", "wrapped_dk = AAEC AwQF", EUCLEAN },
	{ "wrapped_dk = AAECAwQF\n", "", EUCLEAN },
	{ "Bg==", "Bh==", EUCLEAN }, /* not the canonical end */
	{ "Bg==", "Bg==\nx = 1", EUCLEAN },
	{ "[key " U6 "]", "[key " U5 "]", EUCLEAN },
	{ "\nlineage = 00000000-0000-4000-8000-000000000007", "\nlineage = -",
	  EUCLEAN },
};

#endif
