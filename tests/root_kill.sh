#!/bin/bash
# root_kill.sh - the daemon is killed while fio writes to a file system upon a
# disk, again and again.  Each time the file system must recover, what was
# synced must be there, and nothing may fail to verify.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4 e2fsck fio

records=${top_builddir:-.}/tests/helper_records
[ -x "$records" ] || skip "needs $records: make check-root builds it"
rounds=${KILL_ROUNDS:-20}
FS=$T/fs
ACKED=$T/acked
mkdir "$FS"
make_store
# Hardly any cache: pages are written, dropped and read again.
sed -i 's/^linger/cache_size = 4M\n&/' "$SEALDISK_CONFIG"
touch "$ACKED"
n_verified=0

# The number of the last record that was synced.
last_acked() {
	tail -n 1 "$ACKED" | grep . || echo 0
}

start_writing() {
	fio --name=load --directory="$FS" --size=48M --rw=randrw --rwmixwrite=80 \
		--bssplit=4k/60:16k/20:60k/20 --direct=1 --ioengine=libaio \
		--iodepth=4 --fsync=100 --time_based --runtime=60 >"$T/fio" 2>&1 &
	fio=$!
	"$records" write "$FS" $(($(last_acked) + 1)) >>"$ACKED" \
		2>"$T/writer" &
	writer=$!
}

has_written() {
	[ "$(last_acked)" -ge "$1" ]
}

# The daemon's death is their end: all their writes fail.
await_writers() {
	wait "$writer" || :
	wait "$fio" 2>/dev/null || :
}

# What an administrator does with what is left of a daemon that died.
clear_away() {
	umount "$FS"
	losetup -d "$dev"
	umount -l "$MNT"
}

# A kill while a killed daemon's disk is being recovered.
kill_in_recovery() {
	start_daemon
	"$SEALDISK" attach db >/dev/null 2>&1 &
	sleep "0.0$((RANDOM % 9 + 1))"
	kill_daemon KILL
	wait $! 2>/dev/null || :
	for dev in $(loops_below); do
		losetup -d "$dev"
	done
	umount -l "$MNT"
}

fsck() {
	local r=0

	e2fsck -fy "$dev" >"$T/e2fsck" 2>&1 || r=$?
	# 1: it has corrected what the journal's replay leaves to it.
	if [ "$r" -le 1 ] && e2fsck -fn "$dev" >>"$T/e2fsck" 2>&1; then
		return 0
	fi
	cat "$T/e2fsck"
	return 1
}

verify() {
	"$records" verify "$FS" "$(last_acked)" >"$T/verified" || {
		cat "$T/verified"
		return 1
	}
}

# counter NAME VALUE
counter() {
	[ "$(field db ".counters.$1")" = "$2" ]
}

start_daemon
sd create db --size 512M
dev=$(sd attach db)
mkfs.ext4 -q "$dev"
sd detach db
dev=$(sd attach db)
mount "$dev" "$FS"

for ((round = 1; round <= rounds; round++)); do
	before=$(last_acked)
	start_writing
	if ! wait_for 20 has_written $((before + 5)); then
		failed "round $round: nothing gets written"
		cat "$T/writer" "$T/fio"
	fi
	# Also after the background committer has had its turn.
	case $round in
	10) sleep 5.5 ;;
	*) sleep "0.$((RANDOM % 10))" ;;
	esac
	kill_daemon KILL
	await_writers
	clear_away
	if [ $((round % 4)) -eq 0 ]; then
		kill_in_recovery
	fi

	start_daemon
	dev=$(sd attach db)
	check "round $round: e2fsck succeeds" fsck
	mount "$dev" "$FS"
	check "round $round: what was synced is there" verify
	check "round $round: it knows that it was killed" counter unclean 1
	check "round $round: no fault" counter faults 0
	check_not "round $round: and none in the log" grep integrity "$LOG"
	n_verified=$((n_verified + $(last_acked)))
	note "round $round: $(last_acked) records synced so far;" \
		"$(field db .counters.repairs) repairs"
	rm -f "$FS"/load.*
done

note 'an end without a kill'
umount "$FS"
sd detach db
check 'is clean' test "$(field db .clean)" = true
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
check_not 'no fault in the log' grep integrity "$LOG"
check 'records were synced' test "$(last_acked)" -ge $((rounds * 5))
note "$rounds kills, $(last_acked) flushed records, $n_verified times checked"
