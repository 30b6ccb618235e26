#!/bin/bash
# root_check.sh - a store and its disks looked at, repaired where something else
# says what was there, and what can be read of a damaged disk saved.
# shellcheck source=tests/lib.sh
# shellcheck disable=SC2119 # start_daemon takes arguments, or none
. "${0%/*}/lib.sh"
require_root
require_fuse
require jq

# look STATUS ARGS...: `check` with its JSON in $T/check.
look() {
	local want=$1 status=0

	shift
	sd check "$@" --json >"$T/check" 2>"$T/check.err" || status=$?
	check "check $*: exit status $want" test "$status" -eq "$want"
	check 'its JSON is that of the manual' valid check <"$T/check"
}

said() {
	jq -e "$1" "$T/check" >/dev/null
}

map_of() {
	echo "$STORE/$(sed -n \
		's|^layer = \(.*\)/\(.*\)|lineages/\1/layers/\2/map|p' \
		"$STORE/disks/$1.ini")"
}

chunk_of() {
	find "$STORE/lineages/$(sed -n 's/^lineage = //p' \
		"$STORE/disks/$1.ini" | head -n 1)" -name "$2-*.chunk"
}

make_store
head -c 20M /dev/urandom >"$T/raw"
sd import "$T/raw" a
sd create b --size 8M
sd snapshot b@s

note 'a whole store'
look 0
check 'each disk and snapshot' said '[.disks[].name] == ["a","b","b@s"]'
check 'and nothing else' said '.findings == []'
expect 0 'a: complete: 5 chunks, 49 pages, 0 blocks' sd check

note 'what nobody needs'
orphan=$(chunk_of a 0000001)
cp "$orphan" "${orphan%-*}-00112233.chunk"
look 0
check 'a chunk that no map names' said '.findings[0].what == "chunk" and
	(.findings[0].removed | not)'
look 0 --repair
check 'goes' said '.findings[0].removed'
look 0
check 'and is gone' said '.findings == []'

note 'a map'
dd if=/dev/zero of="$(map_of a)" bs=1M count=1 conv=notrunc status=none
look 6 a
refuse 6 '' sd export a "$T/out"
look 0 a --repair
check 'it was made anew' grep -q '9 map pages were made anew, of 5 chunks' \
	"$T/check.err"
expect 0 '^$' sd export a "$T/out"
check 'and all is there' cmp "$T/raw" "$T/out"
rm "$(map_of a)" "$T/out"
look 0 a --repair
expect 0 '^$' sd export a "$T/out"
check 'also where it had gone' cmp "$T/raw" "$T/out"

note 'of a disk with an anchor'
sd import "$T/raw" k
sd set k anchor=kms
sd snapshot k@one
rm "$(map_of k)"
look 0 k --repair
expect 0 '^$' sd snapshot k@two
rm "$T/out"
expect 0 '^$' sd export k "$T/out"
check 'it is not taken for put back' cmp "$T/raw" "$T/out"
sd rm --yes k@one
sd rm --yes k@two
sd rm --yes k

note 'a layer.ini'
ini=$(map_of a)
ini=${ini%map}layer.ini
cp "$ini" "$T/layer.ini"
sed -i 's/^created = ./created = 9/' "$ini"
refuse 6 'a layer.ini or a map is damaged .*check --repair' sd check a
look 0 a --repair
check 'it was made anew' grep -q '1 layer.ini were made anew' "$T/check.err"
rm "$T/out"
expect 0 '^$' sd export a "$T/out"
check 'and all is there' cmp "$T/raw" "$T/out"
rm "$ini" "${ini%ini}spare"
refuse 6 "${ini#"$STORE/"}: it is damaged, and nothing else says the same" \
	sd check a --repair
refuse 6 'attach it: .*check --repair' sd check a --salvage d
cp "$T/layer.ini" "$ini"
look 0 a --repair
check 'its spare copy is there again' cmp "$ini" "${ini%ini}spare"

note 'a list of digests, a spare copy'
spare=$STORE/$(sed -n \
	's|^layer = \(.*\)/\(.*\)|lineages/\1/layers/\2/layer.spare|p' \
	"$STORE/snapshots/b/s.ini")
rm "$spare"
look 0 b
check 'that is told' said '.disks[0].spare == 1 and
	.disks[0].faults[0].what == "spare copy"'
look 0 b --repair
check 'and made anew' test -f "$spare"
rm "${ini%layer.ini}digests"
look 6 a
check 'and so is this' said '.disks[0].faults[0].what == "put back"'
look 0 a --repair
check 'is made anew of its map' grep -q '1 lists of digests were made anew' \
	"$T/check.err"
rm "$T/out"
expect 0 '^$' sd export a "$T/out"
check 'and all is there' cmp "$T/raw" "$T/out"

note 'what is lost'
rm "$(chunk_of a 0000003)"
file=$(chunk_of a 0000004)
rm "$file"
mkdir "$file"
look 6 a
check 'two chunks, of which one is a folder now, in one piece' said '
	.disks[0].lost == 8388608 and .disks[0].state == "complete" and
	[.disks[0].faults[] | select(.what == "lost") | .length] == [8388608]'
printf '\377\376\375' | dd of="$(chunk_of a 0000002)" bs=1 seek=70000 \
	conv=notrunc status=none
look 6 a --repair
status=0
sd check a --salvage c --json >"$T/out.json" 2>"$T/err" || status=$?
check 'not all could be saved' test "$status" -eq 6
check 'which is said' grep -q 'not all of it could be read' "$T/err"
check 'and what: a chunk, and of a damaged block that block' jq -e '
	.lost == 8392704 and .ranges[0].length == 4096 and
	.ranges[1:] == [{"offset":12582912,"length":8388608}]' "$T/out.json"
check 'its JSON is that of the manual' valid 'check salvage' <"$T/out.json"
expect 0 '^$' sd export c "$T/c"
dd if=/dev/zero of="$T/raw" bs=4M seek=3 count=2 conv=notrunc status=none
dd if=/dev/zero of="$T/raw" bs=4096 count=1 conv=notrunc status=none \
	seek="$(jq '.ranges[0].offset / 4096' "$T/out.json")"
check 'the rest is there' cmp "$T/raw" "$T/c"
refuse 1 'File exists' sd check a --salvage c
refuse 2 'for one disk' sd check --salvage d

note 'a descriptor'
sd rm --yes a
cp "$STORE/disks/b.ini" "$T/b.ini"
echo nonsense >"$STORE/disks/b.ini"
look 6
check 'that cannot be read' said '.findings[0].what == "descriptor"'
check 'the others are looked at' said '[.disks[].name] == ["c","b@s"]'
look 0 --repair
check 'it is made anew of its spare copy' said '.findings[0].what == "lost" and
	.findings[0].made and .findings[0].path == "disks/b.ini"'
look 0
check 'and is looked at again' said '[.disks[].name] == ["b","c","b@s"]'
sd info b --json >"$T/info"
check 'which info says' jq -e '.rebuilt | type == "string"' "$T/info"
check 'as in the manual' valid info <"$T/info"
rm "$STORE/disks/b.ini" "$STORE/snapshots/b/s.ini"
look 6
check 'one that is gone is told' said '[.findings[].what] == ["lost","lost"]'
refuse 3 'there is no such disk' sd info b
expect 0 'disks/b.ini: it is lost.*(made anew)' sd check b --repair
check 'no other' test ! -e "$STORE/snapshots/b/s.ini"
look 0 --repair
check 'a snapshot, too' said '.findings[0].path == "snapshots/b/s.ini"'
rm -r "$STORE/spares"
look 0
check 'a spare copy that is missing' said '[.findings[] |
	select(.what == "spare")] | length == 3'
look 0 --repair
check 'is made, by an attach or so' said '[.findings[] |
	select(.what == "spare" and .made)] | length == 1'
sd rm --yes b@s
sd create e --size 1M
sd rm --yes e
look 0
check 'what was removed is not lost' said '.findings == []'
look 0 --repair
check 'and does not come back' said '[.disks[].name] == ["b","c"]'
sd snapshot b@s

note 'a folder in place of a spare copy'
sd create f --size 8M
spare=$STORE/spares/$(sed -n 's/^uuid = //p' "$STORE/disks/f.ini").ini
rm "$spare"
mkdir -p "$spare/folder"
expect 0 '^$' sd export f "$T/f"
expect 0 '^$' sd rename f g
look 0 g --repair
check 'is told' said '.findings[0].what == "spare" and
	(.findings[0].made | not)'
rmdir "$spare/folder"
look 0 g --repair
check 'and gives way if it is empty' test -f "$spare"
rm "$spare"
mkdir -p "$spare/folder"
expect 0 '' sd rm --yes g
rm -r "$spare"

note 'store.ini'
cp "$STORE/store.ini" "$T/store.ini"
rm "$STORE/store.ini"
refuse 3 'check --repair' sd ls
look 0 --repair
check 'it is made anew' cmp "$T/store.ini" "$STORE/store.ini"
check 'which is said' grep -q 'store.ini was lost' "$T/check.err"

note 'in use'
start_daemon
exec 5<>"$MNT/disks/c"
look 0 c
look 0 c --repair
check 'its maps are left alone' grep -q 'in use' "$T/check.err"
exec 5>&-

note 'many that have little'
for i in {1..30}; do
	truncate -s 1M "$MNT/disks/n$i"
done
# Each takes some ms, and nothing is waited for beside that.
status=0
timeout 20 "$SEALDISK" -s "$STORE" check &>"$T/check" || status=$?
check 'are looked at soon' test "$status" -ne 124
"$SEALDISK" -s "$STORE" check >"$T/check" 2>"$T/check.err" &
pid=$!
rm "$MNT"/disks/n*
status=0
wait "$pid" || status=$?
check 'those that are removed meanwhile are no fault' test "$status" -eq 0
[ "$status" -eq 0 ] || cat "$T/check" "$T/check.err"
stop_daemon
