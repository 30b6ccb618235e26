#!/bin/bash
# cli.sh - the command line: its table, exit statuses, messages, JSON.  Needs
# neither root nor a mount.
# shellcheck disable=SC2016 # backquotes stand in messages
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

: "${top_srcdir:=${0%/*}/..}"
make_config

# All that is printed from here on; no key may stand in it.
transcript=$T/transcript

# keep COMMAND ARGS...: run, with what it prints in the transcript too.
keep() {
	run "$@"
	printf '%s\n' "$out" >>"$transcript"
}

# json FILTER COMMAND ARGS...: what it prints is JSON, for which FILTER holds.
json() {
	local filter=$1

	shift
	keep "$@"
	if jq -e "$filter" <<<"$out" >/dev/null; then
		passed "$*: $filter"
	else
		failed "$*: $filter does not hold for: $out"
	fi
}

note 'the table of commands'
sd --list-commands >"$T/commands"
check 'the commands are sorted' sort -c -u "$T/commands"
for group in key kms; do
	sd --list-commands "$group" >"$T/sub"
	check "those of $group are sorted" sort -c -u "$T/sub"
	sed "s/^/$group /" "$T/sub" >>"$T/commands"
done
while read -r c; do
	# shellcheck disable=SC2086 # "key ls" is two words
	expect 0 "^usage: sealdisk $c" sd help $c
	case $c in
	key | kms) continue ;;
	esac
	first=${c% ls}
	check "the manual has $c" grep -qE "^\.It Cm (.*\| )?${first% *}" \
		"$top_srcdir/man/sealdisk.1"
done <"$T/commands"
expect 0 'usage: sealdisk' sd help
expect 0 'usage: sealdisk' sd --help
expect 0 '^usage: sealdisk create' sd create --help
expect 0 '^usage: sealdisk key ls' sd key ls --help
expect 0 '^usage: sealdisk mount' sd mount --help
expect 0 '^sealdisk [0-9]+\.[0-9]+' sd --version
expect 0 'key_check_interval = 300' sd help config

note 'each setting is in the manual and in the sample'
sd help config | sed -n 's/^  \([a-z_]*\) =.*/\1/p' >"$T/settings"
while read -r s; do
	check "sealdisk.ini(5) has $s" grep -qE "^\.It Cm (.*, )?$s( |$)" \
		"$top_srcdir/man/sealdisk.ini.5"
	check "the sample has $s" grep -qE "^#$s =" \
		"$top_srcdir/conf/sealdisk.ini"
done <"$T/settings"
sed 's/^#\([a-z_]* = [^ ]\)/\1/' "$top_srcdir/conf/sealdisk.ini" >"$T/all.ini"
refuse 3 'store /srv/store' sd --config "$T/all.ini" ls

note 'completion asks the binary'
complete_words() {
	COMP_WORDS=("$SEALDISK" "$@") COMP_CWORD=$# COMPREPLY=()
	_sealdisk
	printf '%s ' "${COMPREPLY[@]}"
}
# shellcheck source=conf/sealdisk-completion.bash
. "$top_srcdir/conf/sealdisk-completion.bash"
expect 0 '^create $' complete_words cr
expect 0 '^audit backup change-root restore status usage $' complete_words kms ''
expect 0 '^--sector-size $' complete_words create --se
expect 0 'config' complete_words help ''
expect 0 '^all $' complete_words ls a

note 'used wrongly'
refuse 2 'which command' sd
refuse 2 'no command `nonsense`' sd nonsense
refuse 2 'no option --nonsense' sd --nonsense ls
refuse 2 'no option --nonsense' sd ls --nonsense
refuse 2 'no option -x' sd ls -x
refuse 2 'needs a value' sd create a --size
refuse 2 'takes no value' sd ls --json=yes
refuse 2 'given twice' sd create a --size 1G --size 2G
refuse 2 '--store names nothing' sd -s '' ls
refuse 2 '--store names nothing' sd rm db --yes --store=
refuse 2 '--config names nothing' sd --config '' ls
refuse 2 'too few' sd rename a
refuse 2 'too many' sd ls all a
refuse 2 'which command' sd key
refuse 2 '--json: options stand before `key` or behind' sd key --json ls
refuse 2 'auto, none, json or bar' sd ls --progress=often
refuse 2 'help nonsense|no command `nonsense`' sd help nonsense
# The shell has no store of its own.
sed -i '/^store/d' "$SEALDISK_CONFIG"
refuse 2 'which store' sd ls
sed -i "s|^\[sealdisk\]|&\nstore = $STORE|" "$SEALDISK_CONFIG"

note 'settings'
printf '[mount]\nnonsense = 1\n' >"$T/bad.ini"
refuse 1 'bad.ini:2.*nonsense' sd --config "$T/bad.ini" ls
printf '[mount]\nlinger = soon\n' >"$T/bad.ini"
refuse 1 'bad.ini:2.*linger.*soon' sd --config "$T/bad.ini" ls
refuse 3 'none.ini' sd --config "$T/none.ini" ls
sed "s|^\[keystore|[kms]\nendpoint = unix:$T/none\ntimeout = 1\n&|" \
	"$SEALDISK_CONFIG" >"$T/remote.ini"
for c in 'key ls' 'key create' 'kms status'; do
	# shellcheck disable=SC2086 # words
	refuse 5 'the key service does not answer' \
		sd --config "$T/remote.ini" $c
done
for c in "kms backup $T/x" 'kms change-root' "kms restore $T/bad.ini"; do
	# shellcheck disable=SC2086 # words
	refuse 1 'who runs the service' sd --config "$T/remote.ini" $c --yes
done

note 'init'
refuse 3 'store .*No such file' sd ls
expect 0 'endpoint = unix:/none' sd init "$T/remote" --kms unix:/none
check_not 'no keystore was made for another service' test -e "$T/keystore.db"
refuse 2 'kms.endpoint' sd init "$T/other" --kms http://kms.example.com
refuse 2 'cipher' sd init "$T/other" --cipher rot13
keep sd init "$STORE"
check 'it says how to save the keys' grep -q 'kms backup FILE' <<<"$out"
check 'the root key is for its owner alone' \
	test "$(stat -c %a "$T/root.key")" = 600
sums=$(sha256sum "$T/root.key" "$STORE/store.ini")
refuse 1 'a store already' sd init "$STORE"
json '.keystore_made == false and (.uuid | length) == 36' \
	sd init "$T/second" --json --cipher aes-256-ocb
check 'nothing is ever overwritten' \
	test "$sums" = "$(sha256sum "$T/root.key" "$STORE/store.ini")"
mkdir "$T/full"
touch "$T/full/file"
refuse 1 'holds something else' sd init "$T/full"
refuse 3 'not a store' sd -s "$T/full" ls

note 'create'
expect 0 '^$' sd ls
json '. == []' sd ls --json
keep sd create db --size 100M
json '.name == "small" and .size == 512 and (.key_id | length) == 36' \
	sd create small --size 512 --sector-size 512 --kind system --json
refuse 1 'a disk of that name' sd create db --size 1G
refuse 2 'size is missing' sd create a
for size in 0 1 511 513 -1 1X 1.5G '' 0x200 ' 512' 1GiB; do
	refuse 2 "size ${size:-}" sd create a "--size=$size"
done
for size in 121T 99999999T 99999999999999999999999; do
	refuse 2 'at most 120T' sd create a --size "$size"
done
long=$(printf 'x%.0s' {1..300})
for name in '' . .. .hidden a/b / a@b a:b $'a\nb' $'a\x7fb' $'\xff\xfe' \
	$'\xc0\xaf' $'\xed\xa0\x80' $'\xc2\x85' "$long" "${long:0:201}"; do
	refuse 2 'create: name' sd create "$name" --size 1M
done
refuse 2 'create: name' sd create --size 1M -- -dash
keep sd create "${long:0:200}" --size 1M
check 'a name of 200 bytes is a name' test "$status" -eq 0
keep sd rm --yes "${long:0:200}"
refuse 2 'sector size 1024' sd create a --size 1M --sector-size 1024
refuse 2 'kind other' sd create a --size 1M --kind other
refuse 2 'local disks cannot be encrypted' \
	sd create a --size 1M --category local_ssd_pro
refuse 5 'no such key' sd create a --size 1M --key alias/none
refuse 5 'no such key' \
	sd create a --size 1M --key 00000000-0000-4000-8000-000000000000
json 'map(.name) == ["db", "small"]' sd ls --json
expect 0 $'^db\nsmall$' sd ls --names

note 'ls and info'
keep sd ls
check 'ls says it all in a line' grep -qE \
	'^db +100\.0M +0 +alias/acs/ecs +detached +20[0-9-]+T' <<<"$out"
json '.[0] | .name == "db" and .size == 104857600 and .allocated == 0 and
	.key_alias == "alias/acs/ecs" and .state == "detached" and
	.attached_by == null and (.created | fromdate) > 0' sd ls --json
json '.kind == "system" and .category == "cloud_essd" and
	.sector_size == 512 and .mode == "0600" and .session == 0 and .clean and
	.on_key_revoked == "keep" and .anchor == "none" and .kms == "default" and
	has("uid") and has("gid") and has("layer") and has("lineage") and
	has("key_version_id")' sd info small --json
refuse 3 'no such disk' sd info none
refuse 2 'info: name' sd info a/b

note 'rename, resize, set, rm'
keep sd create other --size 1M
refuse 1 'a disk of that name' sd rename other db
refuse 3 'no such disk' sd rename none new
refuse 2 'name' sd rename other a/b
expect 0 '^$' sd rename other renamed
expect 0 '^$' sd resize renamed 3M
json '.size == 3145728' sd info renamed --json
refuse 2 '--yes' sd resize renamed 1M
json '.size == 3145728' sd info renamed --json
expect 0 '^$' sd resize renamed 1M --yes
json '.size == 1048576' sd info renamed --json
refuse 2 'multiple of 512' sd resize renamed 1000
refuse 3 'no such disk' sd resize none 1M
expect 0 '^$' sd set renamed kind=system category=cloud_ssd on_key_revoked=keep
json '.kind == "system" and .category == "cloud_ssd" and
	.on_key_revoked == "keep"' sd info renamed --json
refuse 2 'local disks' sd set renamed category=local
refuse 2 'system or data' sd set renamed kind=data kind=none
refuse 2 'no such property' sd set renamed size=5
refuse 2 'not KEY=VALUE' sd set renamed kind
expect 0 '^$' sd set renamed on_key_revoked=stop
refuse 2 'keep or stop' sd set renamed on_key_revoked=never
refuse 2 'none or kms' sd set renamed anchor=store
expect 0 '^$' sd set renamed anchor=kms
json '.anchor == "kms"' sd info renamed --json
expect 0 '^$' sd set renamed anchor=none
json '.kind == "system"' sd info renamed --json
refuse 2 '--yes' sd rm renamed
refuse 3 'no such disk' sd rm --yes none
expect 0 '^$' sd rm --yes renamed
refuse 3 'no such disk' sd info renamed
check 'its lineage is gone with it' \
	test "$(find "$STORE/lineages" -mindepth 1 -maxdepth 1 | wc -l)" -eq 2
refuse 3 'not mounted' sd attach db
refuse 1 'not attached' sd detach db

note 'keys'
keep sd key create --alias app --description 'for tests'
id=$out
check 'an id is printed' test "${#id}" -eq 36
json 'map(select(.key_id == "'"$id"'"))[0] | .state == "Enabled" and
	.aliases == ["alias/app"] and .description == "for tests" and
	.versions == 1 and .origin == "Aliyun_KMS" and has("arn") and
	has("creator") and has("primary_version_id") and has("created")' \
	sd key ls --json
json 'map(.alias) | index("alias/app") != null' sd key alias --json
n_keys=$(sd key ls | wc -l)
refuse 1 'alias/app: another key has this alias' sd key create --alias app
check 'no key was made' test "$(sd key ls | wc -l)" -eq "$n_keys"
keep sd key ls
keep sd create keyed --size 1M --key alias/app
json '.key_id == "'"$id"'" and .key_alias == "alias/app"' sd info keyed --json
refuse 2 '1 disk hangs on key .*: keyed.*--yes' sd key disable alias/app
expect 0 '1 disk hangs on key .*: keyed' sd key disable alias/app --yes
refuse 5 'disabled' sd create a --size 1M --key alias/app
refuse 5 'disabled' sd rename keyed a
expect 0 '^$' sd key enable "$id"
expect 0 '^$' sd rename keyed a
expect 0 '^$' sd key alias second alias/app
expect 0 '^$' sd key alias --rm alias/second
refuse 1 'not yours' sd key disable alias/acs/ecs
refuse 5 'no such key' sd key enable alias/none
refuse 5 'no such alias' sd key alias --rm none
json '.alias == "alias/three" and has("key_id") and has("arn")' \
	sd key create --alias three --json
refuse 1 'has this alias' sd key alias app alias/three
expect 0 '^$' sd key alias app alias/three --move
refuse 2 'NAME KEY' sd key alias just-one
refuse 2 'NAME KEY' sd key alias --move
refuse 2 'exclude' sd key alias --rm three --move
refuse 5 'key alias/none: .*no such key' sd key alias four alias/none
refuse 1 'service.s own' sd key alias acs/four alias/three
# A name is not an alias: who types it is told what is.
short=('create a --size 1M --key' "import $SEALDISK_CONFIG a --key"
	'rotate --all --key' 'key enable' 'key disable' 'key rotate'
	'key schedule-deletion --yes' 'key cancel-deletion' 'key users'
	'key alias four')
for c in "${short[@]}"; do
	# shellcheck disable=SC2086 # words
	refuse 2 'key `three`: .*alias/NAME' sd $c three
done
# A key that cannot have its alias is not made.
sd key ls >"$T/before"
refuse 1 'another key has this alias' sd key create --alias three
refuse 1 'service.s own' sd key create --alias alias/acs/ecs
for alias in '' 'a b' 'alias/' 'ä' "$long"; do
	refuse 2 'an alias has 1 to 249' sd key create --alias "$alias"
	refuse 2 'an alias has 1 to 249' sd key alias "$alias" alias/three
done
check 'no key was made' cmp -s "$T/before" <(sd key ls)
json '.keys == 3 and .keys_enabled == 3 and .endpoint == "embedded"' \
	sd kms status --json

note 'the keystore saved and put back'
expect 0 '' sd kms backup "$T/saved"
check 'a backup is for its owner alone' test "$(stat -c %a "$T/saved")" = 600
refuse 1 'never overwritten' sd kms backup "$T/saved"
keep sd key create --alias later
refuse 2 '--yes' sd kms restore "$T/saved"
expect 0 'kept beside it' sd kms restore "$T/saved" --yes
refuse 5 'no such key' sd key enable alias/later
rm "$T"/keystore.db*
refuse 3 'no keystore' sd create b --size 1M
refuse 1 'no keystore' sd init "$T/third"
expect 0 '^$' sd kms restore "$T/saved"
expect 0 '^$' sd rename a keyed
head -c 5000 /dev/urandom >"$T/junk"
refuse 6 'not a whole keystore' sd kms restore "$T/junk" --yes

note 'the root key'
mv "$T/root.key" "$T/kept.key"
refuse 5 'root key file is missing' sd create b --size 1M
expect 0 'db' sd ls
(umask 077 && head -c 32 /dev/urandom >"$T/root.key")
refuse 5 'does not open it' sd create b --size 1M
refuse 5 'does not open it' sd rename keyed b
mv "$T/kept.key" "$T/root.key"
chmod 640 "$T/root.key"
refuse 1 'others can read' sd create b --size 1M
chmod 600 "$T/root.key"

note 'what does not verify'
cp -a "$STORE" "$T/copy"
mv "$STORE/disks/db.ini" "$STORE/disks/x.ini"
mv "$STORE/disks/small.ini" "$STORE/disks/db.ini"
mv "$STORE/disks/x.ini" "$STORE/disks/small.ini"
refuse 6 'of another disk' sd info db
refuse 6 'of another disk' sd rename small b
expect 6 'malformed' sd ls
run sd ls --json
check 'two swapped descriptors are listed as malformed' \
	test "$(jq -r '.[].state' <<<"${out%%sealdisk:*}" | sort | uniq -c |
		awk '$2 == "malformed" { print $1 }')" -eq 2
rm -rf "$STORE"
cp -a "$T/copy" "$STORE"
sed -i 's/^kind = data/kind = system/' "$STORE/disks/db.ini"
refuse 6 'does not verify' sd rename db b
refuse 6 'does not verify' sd resize db 1G
refuse 6 'does not verify' sd set db kind=data
rm -rf "$STORE"
cp -a "$T/copy" "$STORE"
sed -i 's/^format = 1/format = 2/' "$STORE/store.ini"
refuse 1 'newer version' sd ls
rm -rf "$STORE"
cp -a "$T/copy" "$STORE"

note 'no key is printed'
hex=$(od -An -v -tx1 "$T/root.key" | tr -d ' \n')
check_not 'not the root key, in hex' grep -qiF "$hex" "$transcript"
check_not 'nor in Base64' \
	grep -qF "$(base64 -w 0 "$T/root.key")" "$transcript"
wrapped=$(sed -n 's/^wrapped_dk = //p' "$STORE/disks/db.ini")
check 'there is a wrapped data key' test -n "$wrapped"
sd info db >>"$transcript"
check_not 'nor a wrapped one' grep -qF "$wrapped" "$transcript"

note 'an output that cannot be written'
if [ -w /dev/full ]; then
	run bash -c '"$1" ls >/dev/full' - "$SEALDISK"
	check 'is an error' test "$status" -eq 1
fi
