#!/bin/bash
# root_scrub.sh - every bit of a disk looked at, in use and not, and what is
# damaged told as it is and as what it costs.
# shellcheck source=tests/lib.sh
# shellcheck disable=SC2119 # start_daemon takes arguments, or none
. "${0%/*}/lib.sh"
require_root
require_fuse
require jq

# scrubbed NAME FILTER: what the last scrub said holds.
scrubbed() {
	jq -e "$1" "$T/scrub" >/dev/null
}

# scrub STATUS NAME ARGS...: its JSON in $T/scrub.
scrub() {
	local want=$1 status=0

	shift
	sd scrub "$@" --json >"$T/scrub" 2>"$T/scrub.err" || status=$?
	check "scrub $*: exit status $want" test "$status" -eq "$want"
	check 'its JSON is that of the manual' valid scrub <"$T/scrub"
}

# A chunk of a disk, and a byte of a file changed.
chunk_of() {
	find "$STORE" -name "$1-*.chunk"
}

flip() {
	printf '\377\376\375' |
		dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

idle() {
	[ "$(sed -n '/^\[scrub\]/,$s/^state = //p' "$MNT/info/disks/a")" != \
		running ]
}

make_store
head -c 24M /dev/urandom >"$T/raw"
sd import "$T/raw" a

note 'not mounted'
scrub 0 a
check 'all of it' scrubbed '.state == "complete" and .chunks == 6 and
	.of == 6 and .blocks == 6144 and .damaged == 0 and .lost == 0'
check 'the result is kept' test -n "$(find "$STORE" -path '*/scrubs/*.ini')"
flip "$(chunk_of 0000002)" 70000
scrub 6 a
check 'one block' scrubbed '.damaged == 1 and .lost == 4096'
check 'which one' scrubbed '.faults[0].what == "block" and
	(.faults[0].file | test("0000002-")) and
	.faults[0].offset >= 8388608 and .faults[0].offset < 12582912'
check 'one line says what to do' \
	grep -q 'scrub a: it is damaged (.*--salvage' "$T/scrub.err"

note 'mounted, and in use'
start_daemon
check 'info has the last result' \
	grep -qx 'damaged = 1' "$MNT/info/disks/a"
exec 5<>"$MNT/disks/a"
check 'it can be read, but for that block' \
	cmp -n 8388608 "$T/raw" "$MNT/disks/a"
sd snapshot a@s
dd if=/dev/zero of="$MNT/disks/a" bs=1M seek=8 count=4 conv=notrunc,fsync \
	status=none
scrub 6 a
check 'what is covered now is not lost' scrubbed '.damaged == 1 and .lost == 0'
scrub 6 a@s
check 'the snapshot has lost it' scrubbed '.lost == 4096'
flip "$(chunk_of 0000004)" 4500
scrub 6 a@s
check 'a copy was restored' scrubbed '.spare == 1 and .repaired == 1'
scrub 6 a@s
check 'and is whole' scrubbed '.spare == 0'

note 'in the background'
expect 0 "" sd scrub a --rate 1M --background
refuse 1 'a scrub of it is under way' sd scrub a
check 'it goes on' grep -qx 'state = running' "$MNT/info/disks/a"
expect 0 "" sd scrub a --stop
check 'it has ended' idle
expect 0 "" sd scrub a --background
check 'it ends by itself' wait_for 20 idle
exec 5>&-
expect 0 "" sd scrub a --rate 1M --background
expect 0 "" sd detach a
check 'a detach ends it' test "$(field a .state)" = detached
check 'that is kept' grep -qx 'state = stopped' "$MNT/info/disks/a"
stop_daemon
refuse 1 'is not mounted' sd scrub a --background
refuse 2 'not a rate' sd scrub a --rate fast
refuse 3 'there is no such disk' sd scrub none

note 'all of them, as the timer does'
sd create other --size 8M
sd snapshot a@t
sd image a@s kept
status=0
sd scrub --all --rate 1G --json >"$T/scrub" 2>"$T/scrub.err" || status=$?
check 'what is damaged is told' test "$status" -eq 6
check 'their JSON is that of the manual' valid 'scrub all' <"$T/scrub"
check 'each layer is looked at once or more' scrubbed 'map(.name) ==
	["a","other"]'
sd rm --yes a
status=0
sd scrub --all --json >"$T/scrub" 2>/dev/null || status=$?
check 'what no disk has is looked at through one that has it' scrubbed \
	'map(.name) == ["other","a@t"]'
refuse 2 'say which' sd scrub
refuse 2 'say which' sd scrub a --all
refuse 2 'waits for each' sd scrub --all --background
sd rm --yes a@t
sd rm --yes a@s
sd rm --yes image:kept
check 'all that is left is well' sd scrub --all

note 'all, and what is done meanwhile'
# in_all WHAT...: that, while the first of them is looked at, for 4 seconds.
in_all() {
	local pid status=0

	"$SEALDISK" scrub --all --rate 2M >"$T/all" 2>"$T/all.err" &
	pid=$!
	sleep 1
	"$@" >"$T/in_all.out"
	wait "$pid" || status=$?
	[ "$status" -eq 6 ] && grep -q '^dd: complete: .* damaged 1,' "$T/all" &&
		return
	cat "$T/all" "$T/all.err"
	return 1
}
head -c 8M /dev/urandom >"$T/raw"
mount_store
sd import "$T/raw" aa
sd import "$T/raw" d
lineage=$(sed -n 's/^lineage = //p' "$STORE/disks/d.ini" | head -n 1)
rm "$(find "$STORE/lineages/$lineage" -name '0000000-*.chunk')"
sd attach aa >"$T/dev"
check 'what is renamed is found' in_all sd rename d dd
check 'what is stopped does not end it' in_all sd scrub aa --stop
check 'nor does what is detached' in_all sd detach aa
check 'nor what is removed' in_all sd rm aa --yes
check 'which is told' grep -q 'aa: it was removed meanwhile' "$T/all.err"
sd rm dd --yes
umount_store

note 'which files'
for fs in ext4 xfs; do
	command -v "mkfs.$fs" >/dev/null || continue
	rm -f "$T/img"
	truncate -s 320M "$T/img"
	"mkfs.$fs" -q "$T/img"
	mkdir -p "$T/fs"
	mount -o loop "$T/img" "$T/fs"
	mkdir "$T/fs/dir"
	head -c 100M /dev/urandom >"$T/fs/dir/a file"
	umount "$T/fs"
	expect 0 '^$' sd import "$T/img" "$fs"
	# Somewhere in the middle of the file: most chunks hold nothing else.
	lineage=$(sed -n 's/^lineage = //p' "$STORE/disks/$fs.ini" | head -n 1)
	for c in $(find "$STORE/lineages/$lineage" -size +4095k \
		-name '*.chunk' | sort | sed -n '5p;9p'); do
		flip "$c" 70000
	done
	scrub 6 "$fs" --files
	check "$fs: the file is named" scrubbed '[.faults[] |
		select(.what == "lost") | .files[]] | unique |
		map(ltrimstr("/")) == ["dir/a file"]'
done
check 'no device is left' test -z "$(losetup -j "$T/img")"
