#!/bin/bash
# root_worker.sh - the worker is killed at random moments, and nobody notices:
# fio with verification on a loop device, and on ext4 upon one, meanwhile names
# that come, change and go; the same with the key service away.
#
# SEALDISK_TEST_SLOW=1: 100 deaths each.  SEALDISK_SEED=N: the same pauses between them.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require fio
require jq

deaths=25 rounds=20
[ -z "${SEALDISK_TEST_SLOW:-}" ] || deaths=100 rounds=100
seed=${SEALDISK_SEED:-$((SRANDOM % 32768))}
note "the moments are those of SEALDISK_SEED=$seed"

make_store
start_daemon
sd create db --size 192M
sd create other --size 32M
dev=$(sd attach db)

restarts() {
	sd info --json | jq .daemon.restarts
}

# reaper: kills until it is told to stop.
reaper() {
	local i pid killed=0

	RANDOM=$seed # a subshell has a seed of its own else
	for ((i = 0; i < deaths; i++)); do
		sleep "$(printf '0.%03d' $((RANDOM % 350 + 50)))"
		[ ! -e "$T/enough" ] || break
		pid=$(worker)
		! kill -KILL "$pid" || killed=$((killed + 1))
	done
	echo "$killed" >"$T/killed"
}

# under_fire COMMAND...: while the worker is killed; its status.  Before it there
# were $before restarts.
under_fire() {
	local r=0 at=$EPOCHREALTIME pid

	before=$(restarts)
	rm -f "$T/enough" "$T/killed"
	reaper &
	pid=$!
	"$@" || r=$?
	: >"$T/enough"
	wait "$pid"
	note "$(cat "$T/killed") deaths in $(echo "$at $EPOCHREALTIME" |
		awk '{ printf "%.1f", $2 - $1 }') s"
	return "$r"
}

# was_killed: as often as the reaper says; it may have met one twice.
was_killed() {
	local killed

	killed=$(cat "$T/killed")
	[ "$killed" -ge 5 ] && [ "$(($(restarts) - before))" -ge $((killed - 2)) ]
}

# verify FILE SIZE [OPTIONS...]: written at random at queue depth 32, as long as
# there are deaths, and verified at the end.
verify() {
	local file=$1 size=$2

	shift 2
	fio --name=v --filename="$file" --size="$size" --rw=randwrite --bs=4k \
		--iodepth=32 --ioengine=libaio --direct=1 --verify=crc32c \
		--do_verify=1 --verify_fatal=1 --rate_iops=$((163840 / deaths)) \
		--output-format=json "$@" >"$T/fio.json" 2>"$T/fio.err" || {
		cat "$T/fio.err"
		return 1
	}
	note "longest write $(sed -n '/^{/,$p' "$T/fio.json" |
		jq '.jobs[0].write.clat_ns.max / 1e6 | round') ms"
	[ "$(sed -n '/^{/,$p' "$T/fio.json" | jq '.jobs[0].error')" -eq 0 ]
}

note 'fio on a loop device'
check 'no error, no mismatch' under_fire verify "$dev" 160M
check 'another worker came each time' was_killed

# names ROUNDS: what comes, changes and goes, each once; says what failed.
names() {
	local i

	for ((i = 0; i < $1; i++)); do
		set -C
		: >"$MNT/disks/new$i" || return 1
		set +C
		truncate -s 8M "$MNT/disks/new$i" || return 1
		printf 'content %s' "$i" |
			dd of="$MNT/disks/new$i" conv=notrunc status=none || return 1
		ln "$MNT/disks/other" "$MNT/snapshots/other/s$i" || return 1
		ln "$MNT/snapshots/other/s$i" "$MNT/disks/clone$i" || return 1
		mv "$MNT/disks/new$i" "$MNT/disks/named$i" || return 1
		sd snapshot "named$i@both$i" "other@both$i" >/dev/null ||
			return 1
		rm "$MNT/disks/clone$i" || return 1
		[ $((i % 2)) -eq 0 ] || rm "$MNT/snapshots/other/s$i" || return 1
	done
}

# expected ROUNDS: the names that must be there then.
expected() {
	local i

	printf '%s\n' db other
	for ((i = 0; i < $1; i++)); do
		printf '%s\n' "named$i" "named$i@both$i" "other@both$i"
		[ $((i % 2)) -ne 0 ] || printf '%s\n' "other@s$i"
	done
}

note 'ext4, and names'
FS=$T/fs
mkdir "$FS"
quiet mkfs.ext4 -q -F "$dev"
mount "$dev" "$FS"
names_meanwhile() {
	local r=0

	names "$rounds" &
	verify "$FS/file" 128M || r=$?
	wait $! && [ "$r" -eq 0 ]
}
check 'no error, each thing once' under_fire names_meanwhile
sync -f "$FS"
check 'another worker came each time' was_killed
sd ls all --names | sort >"$T/names"
expected "$rounds" | sort >"$T/expected"
check 'the names are those that must be' cmp "$T/names" "$T/expected"
for i in 0 4 $((rounds - 1)); do
	check "named$i has what it was given" grep -qa \
		"^content $i\$" <(head -c 12 "$MNT/disks/named$i" | tr '\0' '\n')
done
umount "$FS"
check 'the file system is whole' quiet e2fsck -fn "$dev"

note 'the key service is away'
keystore=$(sed -n 's/^path = //p' "$SEALDISK_CONFIG")
mv "$keystore" "$keystore.away"
check 'no error' under_fire verify "$dev" 96M
check 'another worker came each time' was_killed
expect 1 'Required key not available' head -c 1 "$MNT/disks/other"
mv "$keystore.away" "$keystore"
check 'it is back' wait_for 10 quiet head -c 1 "$MNT/disks/other"

sd detach db
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
check 'the disk is clean' test "$(field db .clean)" = true
check 'the store is whole' quiet sd check
