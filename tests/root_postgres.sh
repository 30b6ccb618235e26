#!/bin/bash
# root_postgres.sh - a PostgreSQL cluster on encrypted disks, and pgbench on it
# while snapshots are taken: first all of it on one disk, then with its log on
# another, of both at one instant.  A clone of each snapshot starts as after a
# crash, has every transaction that was committed before, and is consistent.
#
# The cluster is the test's own, below $T, and listens on a socket there alone.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4 e2fsck losetup setpriv

# shellcheck source=tests/lib_postgres.sh
. "${0%/*}/lib_postgres.sh"
has_postgres || skip 'needs PostgreSQL and its user (Debian: postgresql)'
rounds=${POSTGRES_ROUNDS:-3}
bench=''

DB=$T/db WAL=$T/wal CLONE=$T/clone CLONE_WAL=$T/clone-wal
mkdir "$DB" "$WAL" "$CLONE" "$CLONE_WAL"
make_run

# make_disk NAME DIR: a disk with an ext4, mounted there.
make_disk() {
	local dev

	sd create "$1" --size 1G
	dev=$(sd attach "$1")
	mkfs.ext4 -q "$dev"
	mount "$dev" "$2"
	make_data "$2"
}

start_bench() {
	pg pgbench -h "$RUN" -n -c 4 -T 600 bench >"$T/bench" 2>&1 &
	bench=$!
}

stop_bench() {
	kill "$bench"
	wait "$bench" 2>/dev/null || :
}

committed() {
	sql 'SELECT count(*) FROM pgbench_history'
}

has_committed() {
	[ "$(committed)" -ge "$1" ]
}

# mount_clone DISK@SNAPSHOT NAME DIR
mount_clone() {
	local dev

	sd clone "$1" "$2" && dev=$(sd attach "$2") && mount "$dev" "$3"
}

drop_clone() {
	local dev

	dev=$(findmnt -n -o SOURCE "$2")
	umount "$2"
	check "$1: its file system is whole" quiet e2fsck -fn "$dev"
	sd detach "$1"
	sd rm --yes "$1"
}

# look_into WHAT BEFORE: the cluster on $CLONE.
look_into() {
	rm -f "$CLONE/data/postmaster.pid"
	check "$1: it starts" start_pg "$CLONE"
	check "$1: as after a crash" grep -q 'not properly shut down' "$RUN/log"
	check "$1: with what was committed" has_committed "$2"
	note "$(committed) transactions, of at least $2"
	check "$1: its sums agree" sums_are_one
	check "$1: its tables and indices are whole" quiet pg pg_amcheck \
		-h "$RUN" --install-missing --heapallindexed bench
	check "$1: it is written to" quiet pg pgbench -h "$RUN" -n -c 2 -t 20 \
		bench
	check "$1: its sums agree then" sums_are_one
	check "$1: it stops" stop_pg "$CLONE"
	check "$1: its pages have their checksums" \
		quiet pg pg_checksums --check -D "$CLONE/data"
}

# take DISK@SNAPSHOT...: one of each at one instant, with the load on.
take() {
	local start

	sleep 1
	check 'pgbench is under way' kill -0 "$bench"
	before=$(committed)
	start=${EPOCHREALTIME/./}
	check "snapshot $*" sd snapshot "$@"
	note "it took $(((${EPOCHREALTIME/./} - start) / 1000)) ms"
}

note 'a cluster on one disk'
make_store
start_daemon
make_disk db "$DB"
check 'it is made' make_cluster "$DB"
check 'it starts' start_pg "$DB"
sql 'CREATE DATABASE bench' postgres
check 'pgbench fills it' quiet pg pgbench -h "$RUN" -i -q -s 2 bench
declare -a acked
start_bench
for ((i = 1; i <= rounds; i++)); do
	take "db@one$i"
	acked[i]=$before
done
stop_bench
check 'its sums agree' sums_are_one
check 'it stops' stop_pg "$DB"
for ((i = 1; i <= rounds; i++)); do
	check "clone $i" mount_clone "db@one$i" "c$i" "$CLONE"
	look_into "clone $i" "${acked[i]}"
	drop_clone "c$i" "$CLONE"
done

note 'its log on another disk'
make_disk wal "$WAL"
cp -a "$DB/data/pg_wal/." "$WAL/data/"
rm -r "$DB/data/pg_wal"
ln -s "$WAL/data" "$DB/data/pg_wal"
check 'it starts' start_pg "$DB"
start_bench
for ((i = 1; i <= rounds; i++)); do
	take "db@two$i" "wal@two$i"
	acked[i]=$before
done
stop_bench
check 'it stops' stop_pg "$DB"
for ((i = 1; i <= rounds; i++)); do
	check "clone $i" mount_clone "db@two$i" "c$i" "$CLONE"
	check "clone $i of the log" mount_clone "wal@two$i" "w$i" "$CLONE_WAL"
	ln -sfn "$CLONE_WAL/data" "$CLONE/data/pg_wal"
	look_into "both clones $i" "${acked[i]}"
	drop_clone "c$i" "$CLONE"
	drop_clone "w$i" "$CLONE_WAL"
done

note 'the cluster itself'
check 'it starts' start_pg "$DB"
check_not 'there was no crash' grep -q 'not properly shut down' "$RUN/log"
check 'with what was committed' has_committed "${acked[rounds]}"
check 'its sums agree' sums_are_one
check 'it stops' stop_pg "$DB"
check 'its pages have their checksums' \
	quiet pg pg_checksums --check -D "$DB/data"
check 'no fault' test "$(field db .counters.faults)" = 0
umount "$DB" "$WAL"
sd detach db
sd detach wal
stop_daemon
check 'the daemon has ended well' test "$daemon_status" -eq 0
check_not 'no fault in the log' grep -i integrity "$LOG"
