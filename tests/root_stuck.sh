#!/bin/bash
# root_stuck.sh - a store whose file system does not answer for a while, or is
# suddenly read-only: frozen under writers, and failed by the kernel.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require mkfs.ext4 fsfreeze jq fio

FS=$T/fs
# Each with a disk of its own: of one file the kernel lets but one write at a
# time.
# More than there are threads at first; and fewer than the requests of which
# the kernel waits for one to end before it sends another (namespace.md).
WRITERS=$(($(nproc) * 4 + 8))
[ "$WRITERS" -le 96 ] || WRITERS=96

# Whatever happens, it does not stay so: nothing else could end who waits.
freeze() {
	fsfreeze -f "$FS"
	(
		trap - EXIT
		# No disk is open here: what sleeps outlives the kill.
		for fd in /proc/"$BASHPID"/fd/*; do
			fd=${fd##*/}
			[ "$fd" -le 2 ] || [ "$fd" -ge 255 ] ||
				eval "exec $fd>&-"
		done
		sleep 60
		fsfreeze -u "$FS"
	) >/dev/null 2>&1 &
	guard=$!
}
guard=''
thaw() {
	fsfreeze -u "$FS" 2>/dev/null || :
	[ -z "$guard" ] || kill "$guard" 2>/dev/null || :
	guard=''
}
trap 'r=$?; set +e; thaw; (exit "$r"); finish' EXIT

# store_on_ext4 OPTIONS...: a new one.
store_on_ext4() {
	mkdir -p "$FS"
	truncate -s 512M "$T/img"
	mkfs.ext4 -q -F "$T/img"
	mount -o "loop,$1" "$T/img" "$FS"
	make_config
	STORE=$FS/store
	sed -i "s|^store = .*|store = $STORE|" "$SEALDISK_CONFIG"
	sd init "$STORE" >/dev/null
	start_daemon
	sd create a --size 64M
	sd create b --size 64M
	for name in a b; do
		head -c 8M /dev/urandom >"$T/$name"
		dd if="$T/$name" of="$MNT/disks/$name" bs=1M conv=notrunc,fsync \
			status=none
	done
}

# in_time COMMAND...: it does not wait for the store.
in_time() {
	timeout 10 "$@"
}

has_b() {
	dd if="$MNT/disks/b" bs=1M count=8 iflag=direct status=none |
		cmp - "$T/b"
}
export MNT T
export -f has_b

# Both are open all the time, and so stay attached.
hold() {
	exec 7<>"$MNT/disks/a" 8<>"$MNT/disks/b"
}
let_go() {
	exec 7>&- 8>&-
}

note 'frozen'
store_on_ext4 defaults
hold
for ((i = 0; i < WRITERS; i++)); do
	sd create "w$i" --size 8M
	eval "exec $((i + 20))<>\"\$MNT/disks/w$i\""
	dd if="$T/b" of="$MNT/disks/w$i" bs=64k count=1 oflag=direct \
		conv=notrunc,fsync status=none
done
dd if="$T/b" of="$MNT/disks/a" bs=64k count=1 seek=300 oflag=direct \
	conv=notrunc status=none # not committed yet
freeze
pids=()
for ((i = 0; i < WRITERS; i++)); do
	dd if="$T/a" of="$MNT/disks/w$i" bs=64k skip="$i" count=1 \
		oflag=direct conv=notrunc,fsync status=none &
	pids+=($!)
done
check 'the log tells that requests wait' wait_for 20 \
	grep -q 'requests wait for the store' "$LOG"
check 'none of them is done' kill -0 "${pids[@]}"
check 'another disk is read' in_time bash -c has_b
check 'names are listed' in_time ls -l "$MNT/disks"
check 'what is attached is told of' in_time cat "$MNT/info/disks/w0" >"$T/out"
check 'and the store' in_time cat "$MNT/info/store"
# waits: it says for how long its commit has.
waits() {
	in_time cat "$MNT/info/disks/a" | grep -q '^commit_ms = [1-9]'
}
check 'and for how long it waits' wait_for 20 waits
thaw
n=0
for p in "${pids[@]}"; do
	wait "$p" || n=$((n + 1))
done
check 'all of them end well' test "$n" -eq 0
for ((i = 0; i < WRITERS; i++)); do
	dd if="$MNT/disks/w$i" bs=64k count=1 iflag=direct status=none
	eval "exec $((i + 20))>&-"
done >"$T/back"
check 'and have written' cmp -n $((WRITERS * 65536)) "$T/back" "$T/a"
over() {
	! waits
}
check 'nothing waits any more' wait_for 10 over
check 'no disk has failed' \
	test "$(field a .counters.failed)$(field b .counters.failed)" = 00

note 'unmounted while frozen'
dd if="$T/b" of="$MNT/disks/a" bs=64k count=4 conv=notrunc status=none
freeze # before the disks are closed, and so detached
let_go
umount_store >/dev/null 2>&1 &
unmounts=$!
sleep 2
check 'the daemon waits for the store' kill -0 "$daemon"
thaw
wait "$unmounts" || umount_store # it was busy still
daemon_status=0
wait "$daemon" || daemon_status=$?
daemon=''
check 'and ends well' test "$daemon_status" -eq 0
check 'clean' test "$(field a .clean)" = true
start_daemon
check 'with all that was written' cmp -n 262144 "$MNT/disks/a" "$T/b"

note 'full under fio'
hold
dd if=/dev/zero of="$FS/ballast" bs=1M status=none 2>/dev/null || :
expect 1 'No space left on device|error=' fio --name=full \
	--filename="$MNT/disks/a" --rw=randwrite --bs=64k --size=64M --direct=1 \
	--end_fsync=1 --output-format=normal
check 'no disk has failed for want of space' \
	test "$(field a .counters.failed)$(field b .counters.failed)" = 00
check 'another disk is read in a full store' in_time bash -c has_b
rm "$FS/ballast"
expect 0 'err= 0' fio --name=again --filename="$MNT/disks/a" --rw=randwrite \
	--bs=64k --size=32M --direct=1 --end_fsync=1 --verify=crc32c \
	--verify_state_save=0 --output-format=normal
let_go
stop_daemon
check 'a store that was full is detached well' test "$daemon_status" -eq 0
expect 0 '' sd check a
umount "$FS"

note 'read-only'
store_on_ext4 errors=remount-ro
dev=$(findmnt -no SOURCE "$FS")
if [ -w "/sys/fs/ext4/${dev#/dev/}/trigger_fs_error" ]; then
	hold
	echo 1 >"/sys/fs/ext4/${dev#/dev/}/trigger_fs_error"
	check 'the file system is read-only' wait_for 5 \
		sh -c "! touch $FS/x 2>/dev/null"
	run dd if="$T/b" of="$MNT/disks/a" bs=64k count=4 seek=400 \
		conv=notrunc,fsync status=none
	check 'a writer is told' test "$status" -ne 0
	check 'what is there is read' in_time bash -c has_b
	let_go
	stop_daemon
	umount "$FS"
	e2fsck -fy "$T/img" >/dev/null 2>&1 || :
	mount -o loop "$T/img" "$FS"
	start_daemon
	check 'what was flushed is there' cmp -n 8388608 "$MNT/disks/a" "$T/a"
	check 'of the other, too' has_b
	stop_daemon
	expect 0 '' sd check a
fi
umount "$FS"
