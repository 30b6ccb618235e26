#!/bin/bash
# root_worker_crash.sh - a worker that dies of itself: at chosen points of a
# commit, a snapshot and a merge; of one request; of too little that it may have;
# again and again.
#
# tests/sealdisk_planted is the program with those points in it.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_fuse
require jq

# shellcheck disable=SC2154 # make check-root sets it
SEALDISK=$top_builddir/tests/sealdisk_planted
export SEALDISK_POINT=$T/point
: >"$SEALDISK_POINT"

make_store
start_daemon
sd create db --size 64M

# die_at NAME [AT [COUNT]]: the next time.
die_at() {
	printf '%s %s %s\n' "$1" "${2:--}" "${3:-1}" >"$SEALDISK_POINT"
}

# died: whether it has, as often as it was to.
died() {
	grep -q ' 0$' "$SEALDISK_POINT"
}

restarts() {
	sd info --json | jq .daemon.restarts
}

head -c 1M /dev/zero | tr '\0' E >"$T/e"

# write_at MIB BYTE: one MiB of it.
write_at() {
	head -c 1M /dev/zero | tr '\0' "$2" |
		dd of="$MNT/disks/db" bs=64K seek=$(($1 * 16)) conv=notrunc,fsync \
			iflag=fullblock status=none
}

# is_at MIB BYTE
is_at() {
	[ "$(dd if="$MNT/disks/db" bs=1M skip="$1" count=1 iflag=direct \
		status=none | tr -d "$2" | wc -c)" -eq 0 ]
}

exec 8<"$MNT/disks/db" # open all the while

note 'in a commit'
i=0
for point in commit-begun commit-synced commit-maps; do
	die_at "$point"
	check "$point: the write is done" write_at "$i" A
	check "$point: the worker has died of it" died
	check "$point: what was written is there" is_at "$i" A
	i=$((i + 1))
done
check 'which is counted' test "$(restarts)" -eq 3

note 'in a snapshot'
i=5
for point in snapshot-prepared snapshot-frozen snapshot-named; do
	write_at 0 B
	write_at $((i * 4)) F # a chunk that this layer alone has
	i=$((i + 1))
	die_at "$point"
	check "$point: it is made" ln "$MNT/disks/db" \
		"$MNT/snapshots/db/$point"
	check "$point: the worker has died of it" died
	write_at 0 C
	check "$point: the disk goes on" is_at 0 C
	check "$point: it has what there was" test "$(head -c 1M \
		"$MNT/snapshots/db/$point" | tr -d B | wc -c)" -eq 0
done
check 'each was made once' test "$(sd ls snapshots --names | wc -l)" -eq 3

note 'in a merge'
die_at merge-passed
check 'a snapshot goes' rm "$MNT/snapshots/db/snapshot-frozen"
check 'the worker has died of what follows' wait_for 20 died
check 'the disk has what it had' is_at 0 C
check 'and what passes from layer to layer' is_at 24 F
check 'and so have the others' test "$(head -c 1M \
	"$MNT/snapshots/db/snapshot-named" | tr -d B | wc -c)" -eq 0

note 'what is said of it'
check 'the signal' grep -q 'signal 11' "$LOG"
check 'where it was' grep -qE '#[0-9]+ .*\+0x[0-9a-f]+' "$LOG"
check 'at which request' grep -qE 'it was doing: request [0-9]+' "$LOG"

note 'a request that is the end of each worker'
before=$(restarts)
die_at write $((8 * 1048576)) 99
check_not 'it fails' write_at 8 D
check 'after three of them' test "$(restarts)" -ge $((before + 3))
: >"$SEALDISK_POINT"
check 'and is told' grep -q 'is answered with an I/O error' "$LOG"
check 'the disk goes on' write_at 9 D
check 'whole' is_at 9 D
check 'and with what it had' is_at 0 C

note 'workers that cannot have the descriptors to go on with a disk'
# others PID...: the processes of the mount but these; there is one.
others() {
	processes_of "$daemon" | grep -vxF "${@/#/-e}"
}
for more in 4 5 6; do
	wait_for 10 quiet others "$daemon" "$(worker)"
	spare=$(others "$daemon" "$(worker)")
	check 'what is not flushed' dd if="$T/e" of="$MNT/disks/db" bs=64K \
		seek=$((640 + 16 * more)) conv=notrunc oflag=direct status=none
	prlimit --pid "$spare" \
		--nofile="$(($(find "/proc/$spare/fd" -type l | wc -l) + more))"
	before=$(restarts)
	kill -KILL "$(worker)"
	check "is there" is_at $((40 + more)) E
	check 'since the one after it could' \
		test "$(restarts)" -ge $((before + 2))
done
check 'which is told' grep -q 'the next process tries again' "$LOG"
check_not 'nothing is given up' grep -q 'a disk that was attached cannot' "$LOG"

note 'workers that die again and again'
die_at commit-begun - 99
timeout 60 dd if=/dev/zero of="$MNT/disks/db" bs=4K count=1 conv=notrunc,fsync \
	status=none 2>"$T/err" && r=0 || r=$?
check 'somebody is told' test "$r" -eq 1
check 'that it is an I/O error' grep -q 'Input/output' "$T/err"
check 'the administrator is told' \
	wait_for 30 grep -q 'die again and again' "$LOG"
check_not 'nobody waits' timeout 10 cat "$MNT/info/store"
: >"$SEALDISK_POINT"
check 'and acts' sd upgrade "$MNT"
check 'it serves' write_at 1 E
check 'with what there was' is_at 9 D
exec 8<&-
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
check 'the disk is clean' test "$(field db .clean)" = true
check 'and whole' quiet sd check db

note 'a kernel that does not send requests again'
export SEALDISK_NO_RESEND=1
start_daemon
exec 8<"$MNT/disks/db"
die_at write $((12 * 1048576))
check_not 'what was under way fails' timeout 20 dd if=/dev/zero \
	of="$MNT/disks/db" bs=4K seek=3072 count=1 conv=notrunc oflag=direct \
	status=none
check 'and is told why' grep -q 'does not send requests again' "$LOG"
check 'the next one is done' write_at 12 G
check 'whole' is_at 12 G
check 'and what there was is there' is_at 9 D
exec 8<&-
stop_daemon
check 'the daemon ended well, too' test "$daemon_status" -eq 0
