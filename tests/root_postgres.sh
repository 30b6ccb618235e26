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

PG=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V |
	tail -n 1)
for tool in initdb pg_ctl psql pgbench pg_amcheck pg_checksums; do
	[ -x "$PG/$tool" ] || skip "needs $tool (Debian: postgresql)"
done
id postgres >/dev/null 2>&1 || skip 'needs the user postgres'
rounds=${POSTGRES_ROUNDS:-3}
bench=''

# It runs as another user, which has to get to its folders.
chmod 711 "$T"
RUN=$T/run DB=$T/db WAL=$T/wal CLONE=$T/clone CLONE_WAL=$T/clone-wal
mkdir "$RUN" "$DB" "$WAL" "$CLONE" "$CLONE_WAL"
chown postgres: "$RUN"
cd "$RUN"

# pg TOOL ARGS...
pg() (
	tool=$1
	shift
	exec setpriv --reuid postgres --regid postgres --init-groups \
		"$PG/$tool" "$@"
)

# sql QUERY [DATABASE]
sql() {
	pg psql -h "$RUN" -X -A -t -q -v ON_ERROR_STOP=1 -c "$1" "${2:-bench}"
}

# start_pg DIR: and its log is $RUN/log from its beginning.
start_pg() {
	rm -f "$RUN/log"
	quiet pg pg_ctl -D "$1/data" -l "$RUN/log" -w -t 30 start && return
	tail -n 20 "$RUN/log"
	return 1
}

stop_pg() {
	quiet pg pg_ctl -D "$1/data" -m fast -w -t 30 stop
}

# make_disk NAME DIR: a disk with an ext4, mounted there.
make_disk() {
	local dev

	sd create "$1" --size 1G
	dev=$(sd attach "$1")
	mkfs.ext4 -q "$dev"
	mount "$dev" "$2"
	mkdir "$2/data"
	chown postgres: "$2/data"
	chmod 700 "$2/data"
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

# pgbench moves an amount in three tables at once, and notes it in a fourth.
sums_are_one() {
	local got

	got=$(sql 'SELECT (SELECT sum(abalance) FROM pgbench_accounts),
		(SELECT sum(bbalance) FROM pgbench_branches),
		(SELECT sum(tbalance) FROM pgbench_tellers),
		(SELECT sum(delta) FROM pgbench_history)')
	[[ $got =~ ^(-?[0-9]+)\|(-?[0-9]+)\|(-?[0-9]+)\|(-?[0-9]+)$ ]] &&
		[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[2]}" ] &&
		[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[3]}" ] &&
		[ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[4]}" ]
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
check 'it is made' quiet pg initdb -k -A trust -U postgres -D "$DB/data"
cat >>"$DB/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$RUN'
shared_buffers = 16MB
max_wal_size = 64MB
checkpoint_timeout = 30s
END
# What initdb has written is synced by itself.
sync "$DB/data/postgresql.conf"
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
