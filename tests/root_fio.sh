#!/bin/bash
# root_fio.sh - fio writes at random offsets in pieces of all sizes, to the file
# and to a loop device upon it, and finds every one of them again: at once, and
# after the daemon that took them has ended.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq fio

seed=${FIO_SEED:-$((RANDOM * 32768 + RANDOM))}
note "FIO_SEED=$seed"
make_store
start_daemon

# One job: fio writes each place once, so that all of it can be verified later.
# job NAME FILE OPTIONS...
job() {
	local name=$1 file=$2

	shift 2
	printf '[%s]\n' "$name"
	printf '%s\n' "filename=$file" rw=randwrite verify=crc32c \
		verify_fatal=1 verify_state_save=0 "randseed=$seed" \
		allow_file_create=0 overwrite=1 fallocate=none "$@"
}

# fio_run LOG ARGS...: only what went wrong is of interest.
fio_run() {
	local log=$T/$1.out

	shift
	if fio "$@" >"$log" 2>&1 && ! grep -q 'verify:' "$log"; then
		return 0
	fi
	cat "$log"
	return 1
}

# write_and_verify NAME: the job of that name; fio verifies at its end.
write_and_verify() {
	check "$1: written and verified" fio_run "$1" "$T/$1.fio"
}

verify_again() {
	check "$1: verified again" fio_run "$1.again" --verify_only \
		"$T/$1.fio"
}

mixed=512/10:1k/5:3584/5:4k/40:8k/10:12k/10:64k/10:256k/10
sd create direct --size 64M --sector-size 512
sd create cached --size 24M
sd create loop512 --size 64M --sector-size 512
sd create loop4k --size 64M
file=$MNT/disks

note 'the file, past the cache, in sectors of 512 bytes'
job direct "$file/direct" direct=1 ioengine=libaio iodepth=16 \
	bssplit=$mixed fdatasync=64 >"$T/direct.fio"
write_and_verify direct

note 'the file, through the cache, at no boundary at all'
job cached "$file/cached" direct=0 ioengine=psync bsrange=600-70000 \
	bs_unaligned=1 fsync=200 >"$T/cached.fio"
write_and_verify cached

note 'loop devices of both sector sizes, with two writers each'
dev512=$(sd attach loop512)
dev4k=$(sd attach loop4k)
check 'sectors of 512 bytes' test "$(blockdev --getss "$dev512")" = 512
check 'sectors of 4096 bytes' test "$(blockdev --getss "$dev4k")" = 4096

# loop_jobs SECTOR DEVICE SPLIT
loop_jobs() {
	job "low$1" "$2" direct=1 ioengine=libaio iodepth=8 "bssplit=$3" \
		size=24M fdatasync=100
	job "high$1" "$2" direct=1 ioengine=libaio iodepth=8 "bssplit=$3" \
		offset=24M size=40M
}
loop_jobs 512 "$dev512" $mixed >"$T/loop512.fio"
loop_jobs 4k "$dev4k" 4k/60:8k/10:20k/10:128k/10:512k/10 >"$T/loop4k.fio"
write_and_verify loop512
write_and_verify loop4k

note 'after the end of the daemon'
whole() {
	local d

	for d in direct cached loop512 loop4k; do
		sha256sum <"$file/$d"
	done
}
sd detach loop512
sd detach loop4k
whole >"$T/before"
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
start_daemon
whole >"$T/after"
check 'the disks are what they were' cmp "$T/before" "$T/after"
check 'which is not nothing' test "$(sort -u "$T/after" | wc -l)" -eq 4
# The kernel may give them other numbers.
sed -i "s|$dev512$|/dev/sd512|" "$T/loop512.fio"
sed -i "s|$dev4k$|/dev/sd4k|" "$T/loop4k.fio"
dev512=$(sd attach loop512)
dev4k=$(sd attach loop4k)
sed -i "s|/dev/sd512$|$dev512|" "$T/loop512.fio"
sed -i "s|/dev/sd4k$|$dev4k|" "$T/loop4k.fio"
for d in direct cached loop512 loop4k; do
	verify_again "$d"
done

note 'written over, discarded and written'
job over "$dev4k" direct=1 ioengine=libaio iodepth=16 bssplit=4k/80:64k/20 \
	size=32M loops=2 >"$T/over.fio"
blkdiscard -o 8M -l 16M "$dev4k"
write_and_verify over

note 'one block that is another'
dd if=/dev/urandom of="$dev512" bs=512 seek=9999 count=1 conv=fsync,nocreat \
	status=none
check_not 'is found by fio' fio_run wrong --verify_only "$T/loop512.fio" \
	>"$T/wrong"
check 'as such' grep -q 'bad .*offset 5119488' "$T/wrong"
sd detach loop512
sd detach loop4k
check_not 'no fault' grep -q integrity "$LOG"
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
