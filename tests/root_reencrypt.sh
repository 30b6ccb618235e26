#!/bin/bash
# root_reencrypt.sh - a disk gets a new data key while a loop device upon it is
# written to, its daemon is killed at it, and snapshots are taken.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq

make_store
start_daemon
sd create db --size 128M
sd create idle --size 16M
lineage=$(field db .lineage)

# n_keys NAME, key_of NAME: what the store says.
n_keys() {
	field "$1" '.data_keys | length'
}

is_running() {
	grep -q '^reencrypt = ' "$STORE/disks/$1.ini"
}

# is_done NAME: it has one data key, and nothing is going on.
is_done() {
	! is_running "$1" && [ "$(n_keys "$1")" -eq 1 ]
}

same() {
	cmp -n 67108864 "$dev" "$T/data"
}

# put MEGABYTE: one of another content, on the device and beside it.
put() {
	head -c 1M /dev/urandom >"$T/piece"
	dd if="$T/piece" of="$dev" bs=1M seek="$1" oflag=direct conv=fsync \
		status=none
	dd if="$T/piece" of="$T/data" bs=1M seek="$1" conv=notrunc status=none
}

is_detached() {
	[ "$(field "$1" .state)" = detached ]
}

progress() {
	field db '.reencrypting // "0/0"' | cut -d/ -f1
}

has_begun() {
	[ "$(progress)" -gt "$1" ]
}

head -c 64M /dev/urandom >"$T/data"
dev=$(sd attach db)
dd if="$T/data" of="$dev" bs=1M oflag=direct conv=fsync status=none
sd snapshot db@before

note 'in use'
# Slow, until all has been seen that is to be seen meanwhile.
expect 0 '^$' sd reencrypt db --rate 1M --background
check 'it goes on' is_running db
check 'the daemon tells how far it is' wait_for 10 has_begun 0
expect 0 'running
db@before has the old data key' sd reencrypt db --status
for i in 0 1 40 63; do
	put "$i"
done
blkdiscard -z -o 20M -l 1M "$dev"
dd if=/dev/zero of="$T/data" bs=1M seek=20 count=1 conv=notrunc status=none
check 'it reads as what was written' same
sd snapshot db@meanwhile
put 2
check 'also after a snapshot' same
check 'it has two keys' test "$(n_keys db@meanwhile)" = 2

note 'the daemon is killed'
cp "$T/data" "$T/flushed"
kill_daemon KILL
losetup -d "$dev"
umount -l "$MNT"
check 'it was not done' is_running db
start_daemon
dev=$(sd attach db)
check 'what was flushed is there' cmp -n 64M "$dev" "$T/flushed"
check 'it goes on by itself' wait_for 10 has_begun 0
put 5
timeout -s INT 3 "$SEALDISK" reencrypt db --rate 1M 2>"$T/said" || :
check 'a command may be interrupted' grep -q 'goes on in the back' "$T/said"
check 'and it goes on' is_running db
expect 0 'db@before has the old data key' timeout 60 "$SEALDISK" reencrypt db
check 'it is done' is_done db
check 'it reads as before' same
check 'a snapshot of before has the old key' \
	test "$(field db@before .lineage)" = "$lineage"
check 'that of meanwhile has the new one alone' \
	test "$(n_keys db@meanwhile)" = 1
losetup -d "$dev"
dev=$(sd attach db@meanwhile --ro)
check 'which reads' dd if="$dev" of=/dev/null bs=1M status=none
losetup -d "$dev"
sd rm --yes db@before
check 'then the old lineage goes' \
	wait_for 20 test ! -e "$STORE/lineages/$lineage"
dev=$(sd attach db)
check 'nothing of it is needed' same
losetup -d "$dev"

note 'a disk that nobody has attached'
dd if="$T/data" of="$MNT/disks/idle" bs=1M count=8 conv=notrunc,fsync \
	status=none
check 'it is detached' wait_for 10 is_detached idle
expect 0 '^$' sd reencrypt idle --background
check 'its daemon does it, and detaches it then' wait_for 20 is_done idle
check 'it reads as before' cmp -n 8M "$MNT/disks/idle" "$T/data"
stop_daemon
check 'the daemon ends well' test "$daemon_status" = 0
check_not 'and found nothing wrong' grep -i integrity "$LOG"
