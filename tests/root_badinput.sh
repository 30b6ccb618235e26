#!/bin/bash
# root_badinput.sh - what is wrong from outside gets the errno that says it, one
# clear line, and costs nothing else.  test_damage and test_chunk do the same to
# the engine alone, file by file.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4

make_store
start_daemon
disks=$MNT/disks

# read_all DISK: all of it, through the mount.
read_all() {
	dd if="$disks/$1" of=/dev/null bs=1M
}

# settled: nothing is attached, so that the store may be touched.
settled() {
	[ -z "$(sd ls --json | jq -r '.disks[]? | select(.state != "detached") | .name' 2>/dev/null)" ]
}

for d in a b; do
	sd create "$d" --size 16M
	dd if=/dev/urandom of="$disks/$d" bs=1M count=9 conv=notrunc,fsync \
		status=none
done
wait_for 10 settled || :
stop_daemon
cp -a "$STORE" "$T/good"
cp "$T/root.key" "$T/good.key"

# again: the store as it was, and a daemon on it.
again() {
	[ -z "$daemon" ] || stop_daemon
	rm -rf "$STORE"
	cp -a "$T/good" "$STORE"
	cp "$T/good.key" "$T/root.key"
}

# chunk DISK INDEX: the path of that chunk's file.
chunk() {
	local lineage

	lineage=$(sed -n 's/^lineage = //p' "$STORE/disks/$1.ini" | head -n 1)
	find "$STORE/lineages/$lineage/chunks" -name "$(printf '%07x' "$2")-*"
}

# bad_read WHAT: disk a cannot be read, disk b can.
bad_read() {
	start_daemon
	expect 1 'Input/output error' read_all a
	check "$1: the other disk is as it was" quiet read_all b
}

note 'damage'
again && truncate -s 100000 "$(chunk a 1)" && bad_read 'a truncated chunk'
again && rm "$(chunk a 1)" && bad_read 'a removed chunk'
again && rm "$STORE"/lineages/"$(sed -n 's/^lineage = //p' \
	"$STORE/disks/a.ini" | head -n 1)"/layers/*/map &&
	bad_read 'a removed map'
again
x=$(chunk a 0) y=$(chunk a 1)
mv "$x" "$T/x" && mv "$y" "$x" && mv "$T/x" "$y"
bad_read 'two chunks swapped'
again
mv "$STORE/disks/a.ini" "$T/x" && cp "$STORE/disks/b.ini" "$STORE/disks/a.ini"
start_daemon
expect 1 'Input/output error|No such file' read_all a
check 'a descriptor of another disk: that one is as it was' quiet read_all b

note 'keys'
again
head -c 32 /dev/urandom >"$T/root.key"
refuse 5 'root|key' sd mount "$STORE" "$MNT"
again
sd key create --alias alias/own >/dev/null
sd create own --size 8M --key alias/own
sd key disable alias/own --yes >/dev/null 2>&1
start_daemon
expect 1 'Key has been revoked' read_all own
check 'a disabled key: other disks are as they were' quiet read_all a

note 'a newer store'
again
sed -i 's/^format = 1$/format = 2/' "$STORE/store.ini"
refuse 1 'newer|format|version' sd mount "$STORE" "$MNT"

note 'a second daemon'
again
start_daemon
exec 9<"$disks/a"
mkdir "$T/mnt2"
sd mount "$STORE" "$T/mnt2"
expect 1 'Device or resource busy' dd if="$T/mnt2/disks/a" of=/dev/null count=1
check 'other disks can be read there' quiet dd if="$T/mnt2/disks/b" \
	of=/dev/null bs=1M
sd umount "$T/mnt2"
exec 9<&-

note 'names and sizes'
expect 1 'Invalid argument' touch "$disks/a:b"
expect 1 'Invalid argument' touch "$disks/-x"
expect 1 'File name too long|Invalid argument' touch \
	"$disks/$(printf '%0300d' 0)"
expect 1 'Invalid' touch "$disks/$(printf 'bad\377')"
expect 1 'Invalid argument' truncate -s 1000 "$disks/b"
expect 1 'File too large' truncate -s 121T "$disks/b"
check 'it has the size it had' test "$(stat -c %s "$disks/b")" = 16777216

note 'no space'
stop_daemon
truncate -s 64M "$T/small"
mkfs.ext4 -q -m 0 "$T/small"
mkdir "$T/smallfs"
mount -o loop "$T/small" "$T/smallfs"
STORE=$T/smallfs/store
sd init "$STORE" >/dev/null
start_daemon
sd -s "$STORE" create s --size 256M
head -c 16M /dev/urandom >"$T/flushed"
dd if="$T/flushed" of="$disks/s" bs=1M conv=notrunc,fsync status=none
expect 1 'No space left' dd if=/dev/urandom of="$disks/s" bs=1M seek=16 \
	count=200 conv=notrunc,fsync
check 'what was flushed is there' cmp -n 16777216 "$T/flushed" "$disks/s"
fallocate -p -o 33554432 -l 100M "$disks/s"
dd if="$disks/s" of=/dev/null bs=1M count=1 status=none
space_again() {
	dd if="$T/flushed" of="$disks/s" bs=1M seek=16 count=8 \
		conv=notrunc,fsync status=none 2>/dev/null
}
check 'after space is made writing goes on' wait_for 20 space_again
check 'and what was flushed still is' cmp -n 16777216 "$T/flushed" "$disks/s"
stop_daemon
