#!/bin/bash
# rotate.sh - roots, versions of keys, disks moved to them, and the end of a
# key, from the command line.  Needs neither root nor a mount.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

# json FILTER COMMAND ARGS...: what it prints is JSON, for which FILTER holds.
json() {
	local filter=$1

	shift
	run "$@"
	if jq -e "$filter" <<<"$out" >/dev/null; then
		passed "$*: $filter"
	else
		failed "$*: $filter does not hold for: $out"
	fi
}

# holds FILTER: for $out, but for a line that is not JSON before it.
holds() {
	jq -e "$1" <<<"${out#sealdisk:*$'\n'}" >/dev/null
}

# with PASSPHRASE ARGS...: the program with that on descriptor 3.
with() {
	local passphrase=$1

	shift
	sd --passphrase-fd 3 "$@" 3<<<"$passphrase"
}

# with_two OLD NEW ARGS...: and the new one on descriptor 4.
with_two() {
	local old=$1 new=$2

	shift 2
	sd --passphrase-fd 3 "$@" --new-passphrase-fd 4 3<<<"$old" 4<<<"$new"
}

# with_both TEXT ARGS...: both on descriptor 3, a line each.
with_both() {
	local text=$1

	shift
	with "$text" "$@" --new-passphrase-fd 3
}

# root_is KIND [FILE]: what sealdisk.ini says of the root.
root_is() {
	sed -i '/^root/d' "$SEALDISK_CONFIG"
	sed -i "s|^\[keystore\]|&\nroot = $1\nroot_file = ${2:-$T/root.key}|" \
		"$SEALDISK_CONFIG"
}

# new_version ALIAS: a version more, which the disks are not under.
new_version() {
	sd key rotate "$1" >/dev/null
}

make_config
sd init "$STORE" >/dev/null
key=$(sd key create --alias app)
other=$(sd key create --alias other)
for name in a b c; do
	sd create "$name" --size 1M --key alias/app
done
sd create plain --size 1M

note 'key rotate'
json '.key_id == "'"$key"'" and .versions == 2 and
	(.key_version_id | length) == 36' sd key rotate alias/app --json
expect 0 '^[0-9a-f-]{36}$' sd key rotate "$key"
json 'map(select(.key_id == "'"$key"'"))[0] | .versions == 3 and
	.delete_at == null and (.rotated | fromdate) >= (.created | fromdate)' \
	sd key ls --json
refuse 1 'not one to rotate' sd key rotate alias/acs/ecs
refuse 5 'no such key' sd key rotate alias/none
refuse 2 'too few' sd key rotate

note 'key users'
json 'map(.name) == ["a", "b", "c"] and all(.type == "disk" and
	.data_keys == 1 and .version == "older")' sd key users alias/app --json
expect 0 'NAME.*VERSION.*plain +disk +1 +newest' sd key users alias/acs/ecs
json '. == []' sd key users "$other" --json
json '. == []' sd key users 00000000-0000-4000-8000-000000000000 --json
refuse 5 'no such key' sd key users alias/none
cp "$STORE/disks/a.ini" "$T/a.ini"
echo >>"$STORE/disks/a.ini"
expect 6 '1 descriptors.*cannot be read' sd key users alias/app
cp "$T/a.ini" "$STORE/disks/a.ini"

note 'rotate'
sum=$(sha256sum "$STORE"/disks/*)
json 'map([.name, .data_keys, .rewrapped]) == [["a", 1, false],
	["b", 1, false], ["c", 1, false], ["plain", 0, false]]' \
	sd rotate --all -n --json
check 'a dry run changes nothing' \
	test "$sum" = "$(sha256sum "$STORE"/disks/*)"
json 'length == 2 and all(.rewrapped and .error == null and
	.exit_status == 0 and .type == "disk")' sd rotate a b --json
json 'map(.version) == ["newest", "newest", "older"]' \
	sd key users alias/app --json
expect 0 'a +disk +0 +current.*c +disk +1 +rewrapped' sd rotate --all
json 'all(.rewrapped == false)' sd rotate --all --json
run sd rotate --all --progress=json
check 'it tells how far it is' grep -q '"op":"rotate","done":4' <<<"$out"
json '.[0].rewrapped' sd rotate a --key alias/other --json
json 'map(.name) == ["a"]' sd key users alias/other --json
check 'a rewrapped disk opens' sd set a kind=system
refuse 3 'no such disk' sd rotate a none
refuse 3 'no such snapshot' sd rotate a@none
refuse 3 'no such image' sd rotate image:none
refuse 2 'NAME ..., or --all' sd rotate
refuse 2 'NAME ..., or --all' sd rotate a --all
refuse 5 'no such key' sd rotate a --key alias/none
refuse 2 'no option -n' sd ls -n
new_version alias/app
cp "$STORE/disks/b.ini" "$T/b.ini"
sed -i 's/^wrapped_dk = .../&x/' "$STORE/disks/b.ini"
run sd rotate --all --json
check 'one that cannot be does not stop the others' \
	test "$status" -ne 0
check 'and is told' holds 'map([.name, .rewrapped]) == [["a", false],
	["b", false], ["c", true], ["plain", false]] and
	(.[1].error | length) > 0'
cp "$T/b.ini" "$STORE/disks/b.ini"

note 'what hangs on a key is said before it goes'
refuse 2 'disks hang on key .*: b, c\..*Say --yes' sd key disable alias/app
expect 0 'disks hang on key .*: b, c\.' sd key disable alias/app --yes
refuse 5 'disabled' sd rotate b
refuse 5 'disabled' sd rotate plain --key alias/app
expect 0 '^$' sd key disable alias/app
expect 0 '^$' sd key enable alias/app
expect 0 '^$' sd -s "$T/none" key enable alias/app
sed -i 's/^\[keystore\]/[kms]\nkey_in_use = refuse\n&/' "$SEALDISK_CONFIG"
refuse 4 'disks hang on key .*: b, c\..*key_in_use = refuse' \
	sd key disable alias/app --yes
refuse 4 'key_in_use = refuse' sd key schedule-deletion alias/app --yes
sed -i '/^key_in_use/d' "$SEALDISK_CONFIG"
refuse 2 'is not known .*Say --yes' sd -s "$T/none" key disable alias/app
sd create lonely --size 1M --key alias/other
sd rotate a --key alias/app >/dev/null
expect 0 '1 disk hangs on key .*: lonely\.' sd key disable alias/other --yes
sd key enable alias/other

note 'who may use a key'
expect 0 '^$' sd key grant alias/app backup
expect 0 '^$' sd key grant alias/app backup
expect 0 '^$' sd key grant alias/app disks
expect 0 '^$' sd key revoke alias/app uid:7
refuse 2 'principal' sd key grant alias/app 'user/*'
refuse 5 'no such key' sd key grant alias/none backup
refuse 1 'not yours' sd key grant alias/acs/ecs backup
json 'map(select(.action == "GrantKey" and .result == "ok")) | length == 2' \
	sd kms audit --json

note 'the end of a key'
refuse 2 'lonely.*Say --yes' sd key schedule-deletion alias/other
for days in 6 367 0 -1 x 7d ''; do
	refuse 2 'from 7 to 366' \
		sd key schedule-deletion alias/other --yes --days="$days"
done
run sd key schedule-deletion alias/other --yes --days 7 --json
check 'it says when' holds '.key_id == "'"$other"'" and
	(.delete_at | fromdate) > now + 6 * 86400'
json 'map(select(.key_id == "'"$other"'"))[0] |
	.state == "PendingDeletion" and .delete_at != null' sd key ls --json
expect 0 "$other +PendingDeletion at 20[0-9-]+T" sd key ls
refuse 5 'scheduled for deletion|expired' sd set lonely kind=data
refuse 5 'scheduled for deletion|expired' sd rotate lonely --key alias/app
refuse 5 'scheduled for deletion|expired' sd rotate a --key alias/other
refuse 5 '' sd key schedule-deletion alias/other --yes
refuse 5 '' sd key enable alias/other
expect 0 '^$' sd key cancel-deletion alias/other
refuse 1 'not scheduled' sd key cancel-deletion alias/other
expect 0 '^$' sd set lonely kind=data
refuse 1 'not yours' sd key schedule-deletion alias/acs/ecs --yes
sd key schedule-deletion alias/other --yes 2>/dev/null >&2
if command -v sqlite3 >/dev/null; then
	sqlite3 "$T/keystore.db" \
		'UPDATE keys SET delete_at = 1 WHERE delete_at IS NOT NULL'
	json 'map(.key_id) | index("'"$other"'") == null' sd key ls --json
	refuse 5 '' sd set lonely kind=data
	refuse 5 '' sd key cancel-deletion "$other"
	json '.[0] | .name == "lonely" and .version == null' \
		sd key users "$other" --json
fi

note 'another key file'
cp "$T/root.key" "$T/old.key"
sd kms backup "$T/saved"
json '.root == "keyfile" and .root_file == "'"$T/root.key"'"' \
	sd kms change-root --json
check_not 'it is another one' cmp -s "$T/root.key" "$T/old.key"
check 'the old one is kept' cmp -s "$T"/root.key.before-change-* "$T/old.key"
expect 0 '^$' sd set a kind=data
root_is keyfile "$T/old.key"
refuse 5 'does not open it' sd set a kind=data
root_is keyfile
refuse 5 'the root of the day' sd kms restore "$T/saved" --yes
run sd kms change-root --root-file "$T/new.key"
check 'what sealdisk.ini must say is said' \
	grep -q "root_file = $T/new.key" <<<"$out"
refuse 5 'does not open it' sd set a kind=data
root_is keyfile "$T/new.key"
expect 0 '^$' sd set a kind=data
refuse 1 'already' sd kms change-root --root-file "$T/root.key"

note 'a passphrase'
expect 0 'root = passphrase' with_two '' 'correct horse' kms change-root \
	--to passphrase
refuse 5 'root = passphrase in sealdisk.ini' sd set a kind=data
root_is passphrase
refuse 5 'no terminal' setsid -w "$SEALDISK" set a kind=data
refuse 5 'does not open it' with 'correct hors' set a kind=data
refuse 5 'does not open it' with '' set a kind=data
refuse 1 'descriptor' sd --passphrase-fd 99 set a kind=data
refuse 2 'descriptor' sd --passphrase-fd x set a kind=data
expect 0 '^$' with 'correct horse' set a kind=data
expect 0 'lonely' sd ls
expect 0 'alias/app' setsid -w "$SEALDISK" key ls
check 'what needs no root asks for none' \
	setsid -w "$SEALDISK" kms backup "$T/saved2"
json '.root == "passphrase"' with 'correct horse' kms status --json
refuse 1 '8 to 1024 bytes' with_two 'correct horse' short kms change-root
expect 0 'new passphrase' with_both $'correct horse\nbattery staple' \
	kms change-root
refuse 5 'does not open it' with 'correct horse' set a kind=data
expect 0 '^$' with 'battery staple' set a kind=data
refuse 2 'too' sd kms change-root keyfile
refuse 2 '--root-file is for' sd kms change-root --root-file "$T/x"
refuse 2 'keyfile|passphrase' sd kms change-root --to nonsense

note 'a credential'
mkdir "$T/credentials"
export CREDENTIALS_DIRECTORY=$T/credentials
refuse 5 'no such credential' with 'battery staple' kms change-root \
	--to credential
(umask 077 && head -c 20 /dev/urandom >"$T/credentials/sealdisk.root")
refuse 5 '32 to 4096 bytes' with 'battery staple' kms change-root \
	--to credential
head -c 48 /dev/urandom >"$T/credentials/sealdisk.root"
expect 0 'credential sealdisk.root' with 'battery staple' kms change-root \
	--to credential
root_is credential
expect 0 '^$' sd set a kind=data
refuse 2 'another one than sealdisk.root' sd kms change-root
unset CREDENTIALS_DIRECTORY
refuse 5 'no such credential' sd set a kind=data

note 'a store whose keystore hangs on a passphrase from the start'
rm -rf "$T/keystore.db"* "$STORE"
root_is passphrase
refuse 1 '8 to 1024 bytes' with 'short' init "$STORE"
check_not 'nothing is made' test -e "$T/keystore.db"
run with 'correct horse' init "$STORE"
check 'it is said what to keep' grep -q 'and its passphrase' <<<"$out"
expect 0 '^$' with 'correct horse' create a --size 1M
refuse 5 'does not open it' with 'wrong horse' create b --size 1M
