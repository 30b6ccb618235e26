#!/bin/bash
# threads_mount.sh - the daemon under ThreadSanitizer, while people use it: fio
# through the mount and through a loop device, and beside it all that can be done
# to disks, snapshots, images and keys; and another worker goes on with it.
#
# It is run by make check-threads.  SEALDISK_SECONDS=N: for so long.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
# shellcheck source=tests/lib_threads.sh
. "${0%/*}/lib_threads.sh"
require_loop
require_fuse
require jq fio blkdiscard blockdev
watch_threads

make_store
printf '[kms]\nkey = alias/app\n' >>"$SEALDISK_CONFIG"
sd key create --alias alias/app >/dev/null
# Hardly any cache: pages are written, dropped and read again.  More threads than
# a small machine would have.
sed -i 's/^linger/cache_size = 4M\nthreads = 6\n&/' "$SEALDISK_CONFIG"
mixed=512/10:1k/5:3584/5:4k/40:8k/10:12k/10:64k/20
D=$MNT/disks
S=$MNT/snapshots

# job NAME FILE I OPTIONS...: random writes, all of which are verified, many while
# others are being done; other ones for each I.
job() {
	printf '[%s]\n' "$1"
	printf '%s\n' "filename=$2" "randseed=$3" rw=randwrite verify=crc32c \
		verify_fatal=1 verify_state_save=0 "bssplit=$mixed" \
		allow_file_create=0 overwrite=1 fallocate=none "${@:4}"
}

# verified NAME [OPTIONS]
verified() {
	timeout 600 fio "${@:2}" "$T/$1.fio" >"$T/$1.fio.out" 2>&1 &&
		! grep -q 'verify:' "$T/$1.fio.out" && return
	cat "$T/$1.fio.out"
	return 1
}

note 'a race that was put there'
product=$SEALDISK
# shellcheck disable=SC2154 # make sets it
SEALDISK=$top_builddir/tests/sealdisk_planted
export SEALDISK_RACE=1
start_daemon
sd create raced --size 16M --sector-size 512
serving=$(worker)
job raced "$D/raced" 0 ioengine=psync direct=1 numjobs=4 thread \
	group_reporting size=4M offset_increment=4M >"$T/raced.fio"
check 'it was worked with' quiet verified raced
stop_daemon
sd rm raced --yes
check 'is found, in the process that serves' \
	grep -q on_race "$T/tsan.$serving"
rm -f "$T"/tsan.*
SEALDISK=$product
unset SEALDISK_RACE

start_daemon
check 'the process that serves is watched' is_watched "$(worker)"
for disk in direct cached looped attached sized hollow; do
	sd create "$disk" --size 24M --sector-size 512
done
dev=$(sd attach looped)

#
# What is done all the while.  Each has things of its own, so that nothing of it
# may fail.
#

# Only the first half of a disk is for fio.
direct() {
	job direct "$D/direct" "$1" direct=1 ioengine=libaio iodepth=8 \
		size=12M fdatasync=32 verify_backlog=64 >"$T/direct.fio"
	verified direct
}

cached() {
	job cached "$D/cached" "$1" direct=0 ioengine=psync size=12M \
		fsync=50 verify_backlog=64 >"$T/cached.fio"
	verified cached
}

looped() {
	job looped "$dev" "$1" direct=1 ioengine=libaio iodepth=16 size=6M \
		fdatasync=64 verify_backlog=32 >"$T/looped.fio"
	job beside "$dev" "$1" direct=1 ioengine=libaio iodepth=4 size=6M \
		offset=6M >>"$T/looped.fio"
	verified looped
}

# What a clone has is what its snapshot has, and nobody changes either.
snapshots() {
	local s=s$1 c=c$1

	ln "$D/direct" "$S/direct/$s" &&
		sd snapshot "direct@both$1" "looped@both$1" "cached@both$1" &&
		ln "$S/direct/$s" "$D/$c" &&
		cmp "$S/direct/$s" "$D/$c" &&
		dd if=/dev/urandom of="$D/$c" bs=64k count=32 conv=notrunc,fsync &&
		cp --sparse=always "$D/$c" "$T/copy" && cmp "$T/copy" "$D/$c" &&
		ln "$S/cached/both$1" "$MNT/images/i$1" && ln "$D/$c" "$D/$c.2" &&
		sd image "$c" "j$1" && sd clone "image:j$1" "$c.3" --own-key &&
		cmp "$T/copy" "$D/$c.2" && cmp "$T/copy" "$D/$c.3" &&
		rm "$S/direct/$s" "$MNT/images/i$1" "$S/looped/both$1" &&
		cmp "$T/copy" "$D/$c" &&
		rm "$D/$c" "$S/direct/both$1" "$D/$c.2" "$D/$c.3" \
			"$S/cached/both$1" "$MNT/images/j$1"
}

resizes() {
	# Whoever rotates keys has it for a moment.
	truncate -s 48M "$D/sized" && wait_for 20 sd resize sized 36M --yes &&
		dd if=/dev/urandom of="$D/sized" bs=1M seek=20 count=8 \
			conv=notrunc,fsync && truncate -s 22M "$D/sized" &&
		blockdev --getsize64 "$dev" && truncate -s 24M "$D/sized" &&
		dd if=/dev/zero of="$D/new$1" bs=1M count=3 && rm "$D/new$1"
}

# The second half of what fio is at.
discards() {
	dd if=/dev/urandom of="$D/hollow" bs=1M count=24 conv=notrunc &&
		fallocate -p -o 3M -l 17M "$D/hollow" &&
		fallocate -z -o 21M -l 1M "$D/hollow" &&
		cmp -n 17825792 -i 3M:0 "$D/hollow" /dev/zero &&
		dd if=/dev/urandom of="$dev" bs=1M seek=13 count=8 oflag=direct &&
		blkdiscard -o 13M -l 6M "$dev" && blkdiscard -z -o 20M -l 1M "$dev" &&
		cmp -n 6291456 -i 13M:0 "$dev" /dev/zero &&
		dd if=/dev/urandom of="$D/direct" bs=64k seek=256 count=64 \
			conv=notrunc,fdatasync &&
		fallocate -p -o 16M -l 4M "$D/direct"
}

attaches() {
	local loop

	head -c 8M /dev/urandom >"$T/piece"
	loop=$(sd attach attached) &&
		dd if="$T/piece" of="$loop" bs=256k oflag=direct conv=fsync &&
		sd detach attached && cmp -n 8388608 "$T/piece" "$D/attached" &&
		sd ls && sd snapshot "attached@a$1" && sd rollback "attached@a$1" --yes &&
		cmp -n 8388608 "$T/piece" "$D/attached" && rm "$S/attached/a$1"
}

names() {
	: >"$D/n$1" && truncate -s 1M "$D/n$1" && chmod 640 "$D/n$1" &&
		mv "$D/n$1" "$D/m$1" && chown 1:1 "$D/m$1" &&
		sd rename "m$1" "o$1" && du "$D/o$1" && rm "$D/o$1" || return
	# Others remove what it comes to.
	ls -lR "$MNT" || :
	find "$MNT/info" -type f -exec cat {} + || :
}

looks() {
	cat "$MNT/info/store" && sd info && sd info direct --count && sd tree &&
		sd ls all --json && timeout 2 "$SEALDISK" top --json
	dd if="$D/direct" of=/dev/null bs=256k iflag=direct &&
		dd if="$D/cached" of=/dev/null bs=4k && sd doctor
	[ $? -le 1 ]
}

# Of a disk that nobody has at the moment the command itself has the lock, and
# who comes for it then is told that it is busy: so it is one that is attached.
keys() {
	sd scrub hollow && sd set looped kind=system &&
		sd key rotate alias/app && sd rotate looped &&
		sd reencrypt hollow && sd scrub direct --background &&
		sd reencrypt cached --background && sd check looped &&
		wait_for 300 done_with cached && sd scrub cached --background &&
		sd scrub cached --stop && sd check
}

# done_with DISK: no copy of it is being made.
done_with() {
	[ "$(field "$1" .reencrypting)" = null ]
}

# What is being merged cannot be sent.
streams() {
	ln "$D/cached" "$S/cached/t$1" &&
		wait_for 60 sent "cached@t$1" && received "$1" &&
		rm "$S/cached/t$1"
}

# A layer that was sent can have been merged since: then it is refused.
received() {
	local said

	if said=$(sd receive "image:r$1" <"$T/stream" 2>&1); then
		cmp "$S/cached/t$1" "$MNT/images/r$1" && rm "$MNT/images/r$1"
	else
		printf '%s\n' "$said"
		[[ $said = *'one of the two has been merged'* ]]
	fi
}

sent() {
	sd send "$1" >"$T/stream"
}

workers() {
	local pid

	sleep $((seconds / 5 + 1))
	pid=$(worker) && is_watched "$pid" || return
	case $(($1 % 2)) in
	0) kill -KILL "$pid" ;;
	1) sd upgrade "$MNT" ;;
	esac
}

note "for $seconds seconds"
begin direct cached looped snapshots resizes discards attaches names looks \
	keys streams workers
sleep "$seconds"
end_all

note 'what there is then'
sd detach looped
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
check 'the store is whole' quiet sd check
start_daemon
dev=$(sd attach looped)
for disk in direct cached looped; do
	sed -i "s|/dev/loop[0-9]*|$dev|" "$T/$disk.fio"
	check "$disk has what was written last" \
		quiet verified "$disk" --verify_only
done
sd detach looped
stop_daemon
check 'no thread got into the way of another' found_nothing
