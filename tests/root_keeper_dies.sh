#!/bin/bash
# root_keeper_dies.sh - the process that keeps a mount is killed, which nobody
# follows: whoever has something open, or is at it, is told so at once; and what
# was flushed is there at the next mount, as after a kill of all processes.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require fio

FS=$T/fs
mkdir "$FS"

# at_once REGEX COMMAND...: it fails in less than 5 s, and says why.
at_once() {
	local regex=$1 status=0

	shift
	timeout -s KILL 5 "$@" >"$T/said" 2>&1 || status=$?
	if [ "$status" -eq 0 ] || [ "$status" -ge 124 ] ||
		! grep -qE "$regex" "$T/said"; then
		echo "status $status: $(cat "$T/said")"
		return 1
	fi
}

# load FILE: writes until it is told that it cannot.
load() {
	fio --name=l --filename="$1" --size=32M --rw=randwrite --bs=4k \
		--iodepth=32 --ioengine=libaio --direct=1 --time_based \
		--runtime=60 >"$T/fio" 2>&1
}

has_no_loop() {
	[ -z "$(loops_below)" ]
}

make_store
for round in idle load; do
	note "$round"
	start_daemon
	for disk in "raw-$round" "fs-$round" "file-$round"; do
		sd create "$disk" --size 64M
	done
	raw=$(sd attach "raw-$round")
	dev=$(sd attach "fs-$round")
	quiet mkfs.ext4 -q -F "$dev"
	mount "$dev" "$FS"
	head -c 1M /dev/urandom >"$T/data"
	dd if="$T/data" of="$raw" bs=64K oflag=direct seek=512 conv=fsync \
		status=none
	cp "$T/data" "$FS/kept"
	sync "$FS/kept" "$FS"
	dd if="$T/data" of="$MNT/disks/file-$round" conv=notrunc,fsync \
		status=none
	ln "$MNT/disks/file-$round" "$MNT/snapshots/file-$round/s"
	mv "$MNT/disks/file-$round" "$MNT/disks/renamed-$round"
	exec 5<>"$MNT/disks/renamed-$round"
	if [ "$round" = load ]; then
		load "$raw" &
		loader=$!
		sleep 0.7
	fi
	mapfile -t all < <(processes_of "$daemon")
	at=$EPOCHREALTIME
	kill -KILL "$daemon"
	wait "$daemon" 2>/dev/null || :
	daemon=''
	check 'a read of the loop device is told' at_once 'Input/output error' \
		dd if="$raw" of=/dev/null bs=4K count=1 iflag=direct
	note "$(echo "$at $EPOCHREALTIME" |
		awk '{ printf "%.0f", ($2 - $1) * 1000 }') ms after the death"
	check 'its children end with it' wait_for 5 ended "${all[@]}"
	if [ "$round" = load ]; then
		wait_for 10 ended "$loader" || kill -KILL "$loader"
		check_not 'what was under way has failed' wait "$loader"
		check 'by an I/O error' grep -q 'Input/output error' "$T/fio"
	fi
	check 'a write is' at_once 'Input/output error' \
		dd if="$T/data" of="$raw" bs=4K count=1 oflag=direct
	check 'who has a file open is' at_once 'not connected|Input/output' \
		dd of=/proc/self/fd/5 if="$T/data" bs=4K count=1 conv=fsync
	check 'who opens one is' at_once 'not connected' \
		cat "$MNT/disks/raw-$round"
	check 'who lists a folder is' at_once 'not connected' ls "$MNT/disks"
	check 'the command line says so' at_once 'sealdisk: ' \
		"$SEALDISK" detach "raw-$round"
	exec 5>&-
	umount -l "$FS"
	losetup -d "$raw"
	losetup -d "$dev"
	umount -l "$MNT"
	wait_for 10 has_no_loop

	start_daemon
	check 'a new mount has what was flushed' cmp \
		<(tail -c +$((32 * 1024 * 1024 + 1)) \
			"$MNT/disks/raw-$round" | head -c 1M) "$T/data"
	check 'and names as they were' cmp -n 1M \
		"$MNT/disks/renamed-$round" "$T/data"
	check 'and snapshots' cmp -n 1M \
		"$MNT/snapshots/renamed-$round/s" "$T/data"
	dev=$(sd attach "fs-$round")
	mount "$dev" "$FS"
	check 'and what was synced in a file system' cmp "$FS/kept" "$T/data"
	umount "$FS"
	check 'which is whole' quiet e2fsck -fn "$dev"
	sd detach "fs-$round"
	stop_daemon
	check 'it ends well' test "$daemon_status" -eq 0
	check 'the store is whole' quiet sd check
done
