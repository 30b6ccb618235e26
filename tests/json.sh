#!/bin/bash
# json.sh - what each command prints with --json is what tests/schema.json
# says, no field more or less; and the manual and the help say the same.  What
# needs a mount is in root_json.sh.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

here=${0%/*}
: "${top_srcdir:=$here/..}"
make_config
man=$top_srcdir/man/sealdisk.1

note 'a checker that takes all is none'
good='{"name":"a","device":"/dev/loop0","read_only":false}'
check 'what is right is taken' valid attach <<<"$good"
for filter in 'del(.name)' '.more = 1' '.name = ""' '.name = 1' \
	'.device = "loop0"' '.read_only = null' '.read_only = "no"' '[.]'; do
	check_not "$filter is not" valid attach < <(jq "$filter" <<<"$good")
done
check_not 'nor nothing' valid attach </dev/null
check_not 'nor what is there twice' valid attach <<<"$good$good"
check_not 'nor what is no JSON' valid attach <<<'{"name":'
check_not 'nor a command that is not there' valid none <<<"$good"
for list in '[{"name":"a","state":"attached"}]' '[{"name":"a"}]' '[1]' '{}'; do
	check_not "nor $list" valid ls <<<"$list"
done
check 'a disk that is malformed has two fields' \
	valid ls <<<'[{"name":"a","state":"malformed"}]'

note 'the commands'
conforms 0 init sd init "$STORE" --json
conforms 0 init sd --json init "$T/second" --cipher aes-256-ocb
conforms 0 ls sd ls --json
conforms 0 'ls --names' sd ls --names --json
conforms 0 'key ls' sd key ls --json
conforms 0 'key alias' sd key alias --json
conforms 0 create sd create a --size 1M --json
conforms 0 'key create' sd key create --json
conforms 0 'key create' sd key create --alias app --description 'ä "x"' --json
conforms 0 create sd create b --size 2M --key alias/app --json
conforms 0 create sd create c --size 2M --key alias/app --kind system --json
conforms 0 'key rotate' sd key rotate alias/app --json
conforms 0 'key users' sd key users alias/app --json
conforms 0 rotate sd rotate b --json
conforms 0 'key users' sd key users alias/app --json
sd key disable alias/app --yes 2>/dev/null
conforms 5 rotate sd rotate --all --json
sd key enable alias/app
conforms 0 'key schedule-deletion' \
	sd key schedule-deletion alias/app --yes --json
conforms 0 'key ls' sd key ls --json
sd key cancel-deletion alias/app
conforms 0 rotate sd rotate -n --all --key alias/app --json
conforms 0 ls sd ls --json
conforms 0 'ls --names' sd ls --json --names
conforms 0 info sd info a --json
conforms 0 info sd info c --json
conforms 0 reencrypt sd reencrypt c --status --json
conforms 0 reencrypt sd reencrypt c --json
conforms 0 info sd info --json
conforms 0 'kms status' sd kms status --json
conforms 0 'kms audit' sd kms audit --json
conforms 0 'kms audit verify' sd kms audit verify --json
conforms 0 'kms usage' sd kms usage --json
conforms 0 'kms change-root' sd kms change-root --json
printf 'correct horse battery\n' >"$T/words"
conforms 0 'kms change-root' sd kms change-root --to passphrase \
	--new-passphrase-fd 3 --json 3<"$T/words"
sed -i 's/^\[keystore\]/&\nroot = passphrase/' "$SEALDISK_CONFIG"
conforms 0 'kms status' sd kms status --json --passphrase-fd 3 3<"$T/words"
head -c 3M /dev/urandom >"$T/raw"
conforms 0 import sd import "$T/raw" d --json --passphrase-fd 3 3<"$T/words"
conforms 0 export sd export d "$T/out" --json --passphrase-fd 3 3<"$T/words"
conforms 0 unlock sd unlock a --json
status=0
sd doctor --json >"$T/doctor" 2>/dev/null || status=$?
check 'doctor' valid doctor <"$T/doctor"
check 'doctor: its status is 0 or 1' test "$status" -le 1

note 'what is frozen'
for c in 'snapshot a c' 'snapshot a@x' 'image a@x i' 'clone a@x e' 'tree' \
	'ls all' 'ls snapshots' 'ls images' 'info a@x' 'info image:i' 'info e'; do
	# shellcheck disable=SC2086 # words
	conforms 0 "${c%% *}" sd $c --json --passphrase-fd 3 3<"$T/words"
done

sd send a@x >"$T/stream"
conforms 0 receive sd receive c@y --json --passphrase-fd 3 \
	3<"$T/words" <"$T/stream"

note 'progress'
sd export d "$T/out2" --progress=json --passphrase-fd 3 3<"$T/words" \
	2>"$T/progress"
check 'lines are printed' test -s "$T/progress"
while read -r line; do
	check "$line" valid --progress=json <<<"$line"
done <"$T/progress"
sd export d "$T/out3" --passphrase-fd 3 3<"$T/words" 2>"$T/progress"
check_not 'none where there is no terminal' test -s "$T/progress"

note 'what is malformed'
sed -i 's/^size = .*/size = many/' "$STORE/disks/b.ini"
conforms 6 ls sd ls --json
conforms 6 'key users' sd key users alias/app --json
conforms 6 tree sd tree --json

note 'an error leaves standard output empty'
for c in 'info none' 'create a --size 1M' 'attach a' 'key rotate alias/none' \
	'rotate none' 'export none x' 'unlock none' 'top' 'import none x'; do
	# shellcheck disable=SC2086 # words
	sd $c --json >"$T/printed" 2>/dev/null </dev/null && status=0 || status=$?
	check "$c fails" test "$status" -ne 0
	check_not "$c prints nothing" test -s "$T/printed"
done

note 'the manual'
# What it says of JSON: "COMMAND<TAB>words".
sed -n '/^\.Sh JSON/,/^\.Sh ENVIRONMENT/p' "$man" >"$T/json.man"
awk '/^\.It Cm / { sub(/^\.It Cm /, ""); name = $0; next }
	name && /^\.El/ { exit }
	name { print name "\t" $0 }' "$T/json.man" >"$T/told"
jq -r '.commands | keys[]' "$here/schema.json" >"$T/entries"
# Fields of the schema, with those that are in another's place.
jq -r '.definitions as $d |
	def fields($o): if ($o | type) == "object" then
		((($o.properties // {}) + ($o.optional // {}) +
			([$o.extends // [] | .[] | $d[.]] | add // {})) |
			to_entries[] | .key, fields(.value)),
		fields($o.items)
	elif ($o | type) == "string" and $o != "null" then fields($d[$o])
	elif ($o | type) == "array" then fields($o[])
	else empty end;
	.commands | to_entries[] | .key as $k | fields(.value) |
	"\($k)\t\(.)"' "$here/schema.json" | sort -u >"$T/fields"
while IFS=$'\t' read -r entry field; do
	check "sealdisk(1) has $field of $entry" \
		grep -qE "(^|[ .])$field([ ,]|\$)" "$T/json.man"
done <"$T/fields"
while read -r entry; do
	case $entry in
	*--*) continue ;;
	esac
	check "sealdisk(1) has the JSON of $entry" \
		grep -qF ".It Cm $entry" "$T/json.man"
done <"$T/entries"
cut -f1 "$T/told" | sort -u >"$T/man.entries"
while read -r entry; do
	check "the schema has $entry" grep -qxF "$entry" "$T/entries"
done <"$T/man.entries"
# What stands in the manual as a field is one.
grep -oE '\.Cm [a-z_ ,]+' "$T/json.man" | tr -s ' ,' '\n' |
	grep -E '_' | sort -u >"$T/words.man"
cut -f2 "$T/fields" | sort -u >"$T/words.schema"
check 'no field of the manual is none' \
	test -z "$(comm -23 "$T/words.man" "$T/words.schema")"
