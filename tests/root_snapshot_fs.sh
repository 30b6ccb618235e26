#!/bin/bash
# root_snapshot_fs.sh - ext4 on a loop device is written to while a snapshot is
# taken every second by `ln`.  A clone of each mounts, is whole, and holds all
# that was synced before, none in part; its parent stays as it was.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4 e2fsck losetup

records=${top_builddir:-.}/tests/helper_records
[ -x "$records" ] || skip "needs $records: make check-root builds it"
rounds=${SNAPSHOT_ROUNDS:-6}
FS=$T/fs CLONE=$T/clone ACKED=$T/acked
mkdir "$FS" "$CLONE"
touch "$ACKED"
make_store
DISKS=$MNT/disks SNAPS=$MNT/snapshots

last_acked() {
	tail -n 1 "$ACKED" | grep . || echo 0
}

has_written() {
	[ "$(last_acked)" -ge "$1" ]
}

# A second writer, so that there is always something under way.
make_noise() {
	while [ ! -e "$T/stop" ]; do
		dd if=/dev/urandom of="$FS/noise" bs=64k count=64 conv=fsync \
			status=none
		rm "$FS/noise"
	done
}

# verify DIR FIRST LAST: all records up to some number between the two, and
# nothing of the one after the next.
verify() {
	local last

	for ((last = $2; last <= $3; last++)); do
		if "$records" verify "$1" "$last" >"$T/verified" 2>&1; then
			found=$last
			return 0
		fi
	done
	cat "$T/verified"
	return 1
}

fsck() {
	if ! e2fsck -fy "$1" >"$T/e2fsck" 2>&1; then
		cat "$T/e2fsck"
		return 1
	fi
}

no_lineages() {
	[ -z "$(ls "$STORE/lineages")" ]
}

start_daemon
sd create db --size 256M
dev=$(sd attach db)
mkfs.ext4 -q -E lazy_itable_init=0 "$dev"
mount "$dev" "$FS"
"$records" write "$FS" 1 >>"$ACKED" 2>"$T/writer" &
writer=$!
make_noise &
noise=$!

note 'snapshots of a file system in use'
declare -a before after
for ((i = 1; i <= rounds; i++)); do
	if ! wait_for 10 has_written $(($(last_acked) + 3)); then
		failed "round $i: nothing gets written"
		cat "$T/writer"
	fi
	before[i]=$(last_acked)
	start=${EPOCHREALTIME/./}
	check "snapshot $i is taken" ln "$DISKS/db" "$SNAPS/db/$i"
	note "it took $(((${EPOCHREALTIME/./} - start) / 1000)) ms"
	after[i]=$(last_acked)
	sleep 1
done
touch "$T/stop"
wait "$noise"
kill "$writer"
wait "$writer" 2>/dev/null || :
umount "$FS"
sd detach db
sum=$(sha256sum <"$SNAPS/db/1")

note 'a clone of each'
for ((i = 1; i <= rounds; i++)); do
	check "$i is cloned" ln "$SNAPS/db/$i" "$DISKS/c$i"
	dev=$(sd attach "c$i")
	found=
	check "clone $i mounts" mount "$dev" "$CLONE"
	# One more than was told: it may have been synced and not told yet.
	check "clone $i holds what was synced, and is of one instant" \
		verify "$CLONE" "${before[i]}" $((after[i] + 1))
	note "record $found, of ${before[i]} to ${after[i]}"
	check "clone $i is written to" dd if=/dev/urandom of="$CLONE/log" \
		bs=64k count=64 conv=fsync status=none
	umount "$CLONE"
	check "clone $i is whole" fsck "$dev"
	sd detach "c$i"
done

note 'their parent'
check 'the first snapshot is what it was' \
	test "$(sha256sum <"$SNAPS/db/1")" = "$sum"
dev=$(losetup -f --show -r "$SNAPS/db/1")
check 'it is a read-only device' test "$(blockdev --getro "$dev")" = 1
check 'that can be mounted without its journal' \
	mount -o ro,noload "$dev" "$CLONE"
umount "$CLONE"
losetup -d "$dev"
dev=$(sd attach db)
check 'the disk is whole' fsck "$dev"
mount "$dev" "$FS"
check 'with all that was written' \
	verify "$FS" "$(last_acked)" $(($(last_acked) + 1))
check 'no fault' test "$(field db .counters.faults)" = 0
umount "$FS"
sd detach db

note 'the end of all of them'
rm "$SNAPS/db/2" "$DISKS/db" "$DISKS"/c*
check 'the others are as they were' \
	test "$(sha256sum <"$SNAPS/db/1")" = "$sum"
wait_for 5 rm "$SNAPS"/db/* 2>/dev/null
check 'nothing is left of them' wait_for 20 no_lineages
stop_daemon
check 'the daemon has ended well' test "$daemon_status" -eq 0
check_not 'no fault in the log' grep -i integrity "$LOG"
