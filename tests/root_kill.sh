#!/bin/bash
# root_kill.sh - the daemon is killed under a file system that is being written
# to, 20 times in a row: it mounts again, the file system recovers, what was
# synced is there, and the engine finds nothing that does not verify.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq e2fsck

rounds=${KILL_ROUNDS:-20}
records=$(readlink -f "${top_builddir:-.}/tests/helper_records")
fs=$T/fs
mkdir "$fs"
make_store
start_daemon
sd create db --size 512M
dev=$(sd attach db)
mkfs.ext4 -q "$dev"
mount "$dev" "$fs"
mkdir "$fs/r"
sync -f "$fs/r"

# The records that were synced, and not one of them is missing or torn.
last=0 checked=0

# kill_round: write, kill in the middle, and clear what is left of the mount.
kill_round() {
	local writer fio

	"$records" write "$fs/r" $((last + 1)) >"$T/written" 2>/dev/null &
	writer=$!
	fio --name=load --filename="$fs/load" --size=64M --rw=randwrite \
		--bsrange=4k-64k --fsync=16 --time_based --runtime=30 \
		>/dev/null 2>&1 &
	fio=$!
	sleep "1.$((RANDOM % 10))"
	kill_daemon KILL
	# Without the daemon every request fails, and so they end.
	umount -l "$MNT"
	wait "$writer" 2>/dev/null || :
	kill "$fio" 2>/dev/null || :
	wait "$fio" 2>/dev/null || :
	umount "$fs" 2>/dev/null || umount -l "$fs"
	losetup -d "$dev"
}

# The loop device goes when its last user has gone.
gone() {
	[ -z "$(loops_below)" ]
}

for ((i = 1; i <= rounds; i++)); do
	kill_round
	wait_for 10 gone || :
	n=$(tail -n 1 "$T/written")
	[ -n "$n" ] && last=$n
	start_daemon
	dev=$(sd attach db) || { failed "round $i: attach"; cat "$LOG"; exit 1; }
	r=0
	e2fsck -fy "$dev" >"$T/fsck" 2>&1 || r=$?
	[ "$r" -le 1 ] || { failed "round $i: e2fsck ($r)"; cat "$T/fsck"; }
	mount "$dev" "$fs"
	check "round $i: records 1 to $last" "$records" verify "$fs/r" "$last"
	checked=$((checked + last))
	expect 0 '^0$' field db .counters.faults
done
note "$checked records checked, $last of them written"
umount "$fs"
sd detach db
check 'the file system is whole' quiet e2fsck -fn "$(sd attach db)"
check_not 'an alarm of the engine' grep -q integrity "$LOG"
