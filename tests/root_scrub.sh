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

note 'the last result, where nothing is mounted'
sd info other --json >"$T/info.json"
check 'info tells it' jq -e '.scrub.state == "complete" and
	.scrub.damaged == 0' "$T/info.json"
check 'its JSON is that of the manual' valid info <"$T/info.json"

note 'which files'

# make_fs FS: $T/img, with a large file that has two names and many small ones.
make_fs() {
	rm -f "$T/img"
	truncate -s 320M "$T/img"
	"mkfs.$1" -q "$T/img"
	mkdir -p "$T/fs"
	mount -o loop "$T/img" "$T/fs"
	mkdir "$T/fs/dir"
	head -c 100M /dev/urandom >"$T/fs/dir/a file"
	ln "$T/fs/dir/a file" "$T/fs/link"
	for i in {1..200}; do
		head -c 64K /dev/urandom >"$T/fs/dir/$i"
	done
	umount "$T/fs"
}

# full_chunks NAME: those of a disk that hold nothing but data, in order.
full_chunks() {
	local lineage

	lineage=$(sed -n 's/^lineage = //p' "$STORE/disks/$1.ini" |
		head -n 1)
	find "$STORE/lineages/$lineage" -size +4095k -name '*.chunk' | sort
}

# files_are NAME FILTER: of what a scrub says is lost.
files_are() {
	scrub 6 "$1" --files
	check "$1: the files are named" scrubbed "[.faults[] |
		select(.what == \"lost\") | .files[]] | unique | $2"
}

for fs in ext4 xfs; do
	command -v "mkfs.$fs" >/dev/null || continue
	make_fs "$fs"
	expect 0 '^$' sd import "$T/img" "$fs"
	# Somewhere in the middle of the file: most chunks hold nothing else.
	for c in $(full_chunks "$fs" | sed -n '5p;9p'); do
		flip "$c" 70000
	done
	if [ "$fs" = ext4 ]; then
		files_are ext4 '. == ["/dir/a file", "/link"]'
	else
		files_are xfs 'length == 2 and any(test("has 2 names")) and
			any(. == "/dir/a file" or . == "/link")'
	fi
	# All of one: some 60 small files lie side by side.
	found=no
	for c in $(full_chunks "$fs" | tac); do
		mv "$c" "$c.away"
		scrub 6 "$fs" --files
		mv "$c.away" "$c"
		if scrubbed '[.faults[].files // [] | .[]] | unique |
			map(select(test("^/dir/[0-9]+$"))) | length > 40'
		then
			found=yes
			break
		fi
	done
	check "$fs: also those at the end of a range" test $found = yes
	# le32 NUMBER: as printf writes it.
	le32() {
		printf '\\%03o\\%03o\\%03o\\%03o' $(($1 & 255)) \
			$(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24))
	}
	for sector in 512 4096; do
		name=$fs-$sector
		truncate -s 330M "$T/parted"
		dd if="$T/img" of="$T/parted" bs=1M seek=4 conv=sparse \
			status=none
		# shellcheck disable=SC2059
		printf '\0\0\0\0\203\0\0\0'"$(le32 $((4194304 / sector)))$(
			le32 $((335544320 / sector)))" |
			dd of="$T/parted" bs=1 seek=446 conv=notrunc status=none
		printf '\125\252' |
			dd of="$T/parted" bs=1 seek=510 conv=notrunc status=none
		expect 0 '^$' sd import "$T/parted" "$name"
		flip "$(full_chunks "$name" | sed -n 9p)" 70000
		files_are "$name" 'any(. == "/dir/a file" or . == "/link")'
		rm -f "$T/parted"
		sd rm --yes "$name"
	done
done
if sd ls | grep -q '^ext4 '; then
	for c in $(full_chunks ext4); do
		rm "$c"
	done
	rm "$(find "$STORE/lineages/$(sed -n 's/^lineage = //p' \
		"$STORE/disks/ext4.ini" | head -n 1)" -name '0000000-*.chunk')"
	files_are ext4 'any(test("cannot be read|no file system"))'
fi
check 'no device is left' test -z "$(losetup -j "$T/img")"
