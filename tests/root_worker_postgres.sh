#!/bin/bash
# root_worker_postgres.sh - PostgreSQL under pgbench on a disk whose worker is
# killed, and exchanged for another program, all the while: it has no error in its
# log, and no transaction is lost.  Then the keeper dies.
#
# SEALDISK_TEST_SLOW=1: 50 deaths and 5 upgrades.  SEALDISK_SEED=N: the same pauses
# between them.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq
# shellcheck source=tests/lib_postgres.sh
. "${0%/*}/lib_postgres.sh"
has_postgres || skip 'PostgreSQL and its user are needed'

deaths=10 upgrades=2
[ -z "${SEALDISK_TEST_SLOW:-}" ] || deaths=50 upgrades=5
RANDOM=${SEALDISK_SEED:=$((SRANDOM % 32768))}
note "the pauses are those of SEALDISK_SEED=$SEALDISK_SEED"
FS=$T/fs
mkdir "$FS"

make_store
start_daemon
sd create db --size 512M
dev=$(sd attach db)
quiet mkfs.ext4 -q "$dev"
mount "$dev" "$FS"
make_run
make_data "$FS"
check 'a cluster is made' make_cluster "$FS" 'restart_after_crash = off'
check 'it runs' start_pg "$FS"
sql 'CREATE DATABASE bench' postgres
check 'a database is filled' quiet pg pgbench -h "$RUN" -i -q -s 1 bench

note "$deaths deaths and $upgrades upgrades"
pg pgbench -h "$RUN" -n -c 4 -T $((deaths / 2 + upgrades)) bench \
	>"$T/bench" 2>"$T/bench.err" &
bench=$!
ok=yes
for ((i = 1; i <= deaths; i++)); do
	sleep "0.$((RANDOM % 300 + 100))"
	kill -KILL "$(worker)"
	if [ $((i % (deaths / upgrades))) -eq 0 ]; then
		sleep 0.2
		sd upgrade "$MNT" >/dev/null || ok=no
	fi
done
check 'the program was exchanged each time' test "$ok" = yes
check 'pgbench has no error' wait "$bench"
check 'none failed' grep -qE 'failed transactions: 0' "$T/bench"
check 'the worker died so often' test \
	"$(sd info --json | jq .daemon.restarts)" -ge $((deaths - 2))
done=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' \
	"$T/bench")
note "$done transactions"
check 'no transaction is lost' test \
	"$(sql 'SELECT count(*) FROM pgbench_history')" -eq "$done"
check 'each was done whole' sums_are_one
check_not 'its log has no error' grep -E 'ERROR|FATAL|PANIC' "$RUN/log"
check 'it ends' stop_pg "$FS"
umount "$FS"
check 'the file system is whole' quiet e2fsck -fn "$dev"

note 'the keeper dies'
head -c 1M /dev/urandom >"$T/data"
dd if="$T/data" of="$dev" bs=64K oflag=direct conv=fsync status=none
kill_daemon KILL
check 'whoever asks is told at once' test "$(timeout 10 \
	dd if="$dev" of=/dev/null bs=4K count=1 iflag=direct 2>&1 |
	grep -c 'Input/output error')" -eq 1
losetup -d "$dev"
umount -l "$MNT"
start_daemon
check 'a new mount recovers' cmp -n 1M "$MNT/disks/db" "$T/data"
stop_daemon
check 'and ends well' test "$daemon_status" -eq 0
check 'the disk is whole' quiet sd check db
