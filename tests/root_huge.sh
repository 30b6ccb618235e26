#!/bin/bash
# root_huge.sh - a disk of 16 TiB: what it costs is what is on it.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4 e2fsck

FS=$T/fs
mkdir "$FS"
make_store
start_daemon
size=$((16 << 40))

# within SECONDS COMMAND ARGS...: and no longer.  Bounds are loose: what is
# O(size of the disk) takes hours.
within() {
	timeout "$@"
}

attach() {
	dev=$(timeout 5 "$SEALDISK" attach huge)
}

store_mib() {
	du -sm "$STORE" | cut -f1
}

# Its first and its last 4 KiB, and those around the border of two map pages
# in the middle; each a piece of the same random file.
dd if=/dev/urandom of="$T/piece" bs=4k count=4 status=none
places="0 $((size / 4096 - 4)) $((size / 4096 / 2 - 2))"

write_pieces() {
	local at

	for at in $places; do
		dd if="$T/piece" of="$1" bs=4k count=4 seek="$at" \
			conv=fsync,notrunc,nocreat status=none || return
	done
}

has_pieces() {
	local at

	for at in $places; do
		dd if="$1" bs=4k count=4 skip="$at" status=none |
			cmp - "$T/piece" || return
	done
}

note 'made and attached'
check 'it is created' within 5 "$SEALDISK" create huge --size 16T
check 'it is attached' attach
check 'with its size' test "$(blockdev --getsize64 "$dev")" -eq "$size"
check 'the file is sparse' test "$(stat -c %b "$MNT/disks/huge")" -eq 0
check 'it takes no room' test "$(store_mib)" -lt 4

note 'its ends'
check 'written' write_pieces "$dev"
check 'read' has_pieces "$dev"
blockdev --flushbufs "$dev"
check 'read from the disk' has_pieces "$dev"
check 'the file has them as well' has_pieces "$MNT/disks/huge"
check 'a write past the end fails' \
	test "$(dd if="$T/piece" of="$dev" bs=4k seek=$((size / 4096)) \
		conv=notrunc,nocreat 2>&1 | grep -c 'No space left')" -eq 1
expect 0 '^$' within 10 "$SEALDISK" detach huge
check 'they take little room' test "$(store_mib)" -lt 8
check 'attached again' attach
check 'and still there' has_pieces "$dev"
map=$T/map
find_data() {
	timeout 5 qemu-img map -f raw --output=json "$MNT/disks/huge" >"$map"
}
if command -v qemu-img >/dev/null; then
	check 'data is found in it without a search' find_data
	check 'in three places' \
		test "$(jq 'map(select(.data)) | length' "$map")" -eq 3
fi
check 'discarded whole' within 20 blkdiscard "$dev"
check 'the first block is zeros' cmp -n 4096 "$dev" /dev/zero
check 'and the last' cmp -n 4096 "$dev" /dev/zero \
	-i $((size - 4096)):0

# fs_test NAME CHECK MKFS...: a file system over all of it.
fs_test() {
	local name=$1 fsck=$2

	shift 2
	note "$name"
	if ! command -v "$1" >/dev/null || ! knows_fs "$name"; then
		note "$name: this machine does not have it"
		return 0
	fi
	check "$name is made in less than a minute" within 60 "$@" "$dev"
	check "$name: it takes little room" test "$(store_mib)" -lt 2000
	mount -t "$name" "$dev" "$FS"
	check "$name: its size" \
		test "$(df --output=size -B1G "$FS" | tail -n 1)" -gt 16000
	cp "$T/piece" "$FS/first"
	# Files of new folders are spread over the whole disk.
	mkdir "$FS"/{1..60}
	for i in {1..60}; do
		cp "$T/piece" "$FS/$i/piece"
	done
	sums "$FS" >"$T/before"
	umount "$FS"
	expect 0 '^$' within 20 "$SEALDISK" detach huge
	check 'attached again' attach
	mount -t "$name" "$dev" "$FS"
	sums "$FS" >"$T/after"
	check "$name holds what was written" cmp "$T/before" "$T/after"
	umount "$FS"
	# shellcheck disable=SC2086 # words
	check "$name is whole" quiet timeout 60 $fsck "$dev"
}

fs_test xfs 'xfs_repair -n -o ag_stride=1' mkfs.xfs -q
# e2fsck would read all of the inode tables.
fs_test ext4 'dumpe2fs -h' mkfs.ext4 -q -F

note 'shrunk and deleted'
expect 0 '^$' within 10 "$SEALDISK" detach huge
expect 0 '^$' within 60 "$SEALDISK" resize huge 1G --yes
expect 0 '^$' within 20 "$SEALDISK" resize huge 120T
check 'attached with 120 TiB' attach
check 'with its size' \
	test "$(blockdev --getsize64 "$dev")" -eq $((120 << 40))
size=$((120 << 40))
places="$((size / 4096 - 4))"
check 'written at its end' write_pieces "$dev"
check 'and read' has_pieces "$dev"
expect 0 '^$' within 10 "$SEALDISK" detach huge
check_not 'no fault' grep -q integrity "$LOG"
expect 0 '^$' within 20 "$SEALDISK" rm --yes huge
check 'its room is given back' wait_for 20 \
	test -z "$(ls "$STORE/lineages")"
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
