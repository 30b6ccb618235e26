#!/bin/bash
# root_fs.sh - ext4, XFS and btrfs upon a disk: made, filled, and after a
# detach found whole by their own checkers, and byte for byte as they were.
# shellcheck disable=SC2119 # mount_store's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4 e2fsck

: "${top_srcdir:=${0%/*}/..}"
FS=$T/fs
mkdir "$FS"
make_store
mount_store

# Small and large files, links of both kinds, holes, odd names and modes.
fill() {
	local i

	cp -a "$top_srcdir/fuse" "$top_srcdir/lib" "$top_srcdir/include" \
		"$top_srcdir/tests" "$FS/"
	mkdir "$FS/random"
	for i in {1..150}; do
		head -c $((RANDOM * 6)) /dev/urandom >"$FS/random/$i"
	done
	head -c 40M /dev/urandom >"$FS/large"
	truncate -s 30M "$FS/holes"
	for i in 1 9 17 29; do
		dd if=/dev/urandom of="$FS/holes" bs=4k count=3 \
			seek=$((i * 256)) conv=notrunc status=none
	done
	ln "$FS/large" "$FS/random/hard link"
	ln -s ../large "$FS/random/soft link"
	chmod 04711 "$FS/random/1"
	rm -r "$FS/random/2" "$FS/random/3"
	rm -r "${FS:?}/lib"
}

# fs_test NAME MKFS CHECK: each as the words of a command.
fs_test() {
	local name=$1 mkfs=$2 fsck=$3 dev left

	note "$name"
	if ! command -v "${mkfs%% *}" >/dev/null ||
		! command -v "${fsck%% *}" >/dev/null || ! knows_fs "$name"; then
		note "$name: this machine does not have it"
		return 0
	fi
	sd create "$name" --size 512M
	dev=$(sd attach "$name")
	# shellcheck disable=SC2086 # words
	check "$name is made" quiet $mkfs "$dev"
	mount -t "$name" "$dev" "$FS"
	fill
	sums "$FS" >"$T/before"
	umount "$FS"
	expect 0 '^$' sd detach "$name"
	check "$name: detached clean" test "$(field "$name" .clean)" = true

	dev=$(sd attach "$name")
	# shellcheck disable=SC2086
	check "$name is whole" quiet $fsck "$dev"
	mount -t "$name" "$dev" "$FS"
	sums "$FS" >"$T/after"
	check "$name holds what was written" cmp "$T/before" "$T/after"
	check "$name: that is something" \
		test "$(wc -l <"$T/after")" -gt 400

	# Once more with the file system in use: what it discards comes back.
	rm -r "$FS/large" "$FS/random"
	# XFS frees what was removed some time later, an unmount now.
	umount "$FS"
	mount -t "$name" "$dev" "$FS"
	check "$name: trimmed" fstrim "$FS"
	sums "$FS" >"$T/before"
	left=$(du -sm "$FS" | cut -f1)
	umount "$FS"
	expect 0 '^$' sd detach "$name"
	dev=$(sd attach "$name")
	# shellcheck disable=SC2086
	check "$name is whole after the trim" quiet $fsck "$dev"
	mount -t "$name" "$dev" "$FS"
	sums "$FS" >"$T/after"
	check "$name holds what was left" cmp "$T/before" "$T/after"
	umount "$FS"
	check "$name: no fault" test "$(field "$name" .counters.faults)" = 0
	expect 0 '^$' sd detach "$name"
	check "$name: the trimmed space is free" \
		test "$(field "$name" .allocated)" -lt $(((left + 30) << 20))
	expect 0 '^$' sd rm --yes "$name"
}

fs_test ext4 'mkfs.ext4 -q' 'e2fsck -fn'
fs_test xfs 'mkfs.xfs -q' 'xfs_repair -n'
fs_test btrfs 'mkfs.btrfs -q' 'btrfs check --readonly'
umount_store
