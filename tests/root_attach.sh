#!/bin/bash
# root_attach.sh - a disk as a block device: attach and detach, and the
# commands that change a disk in use through its mount.
# shellcheck disable=SC2119 # mount_store's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4 e2fsck resize2fs blockdev

FS=$T/fs
mkdir "$FS"
make_store
mount_store
sd create db --size 64M

# sys FILE: of the loop device.
sys() {
	cat "/sys/block/${dev#/dev/}/$1"
}

# info FILTER: what `info` says of the disk.
info() {
	sd info "${disk:-db}" --json | jq -r "$1"
}

is_unclean() {
	[ "$(info .state)" = unclean ]
}

# To a file of ours: others may have taken the device meanwhile.
is_bound() {
	loops_below | grep -qx "$dev"
}

note 'attach'
dev=$(sd attach db)
check 'a path is printed' test -b "$dev"
check 'with direct I/O' test "$(sys loop/dio)" = 1
check 'not autoclear' test "$(sys loop/autoclear)" = 0
check 'with partitions' test "$(sys loop/partscan)" = 1
check 'with the sectors of the disk' \
	test "$(sys queue/logical_block_size)" = 4096
check 'with a readahead of 1 MiB' test "$(sys queue/read_ahead_kb)" = 1024
check 'of its size' test "$(blockdev --getsize64 "$dev")" -eq 67108864
refuse 4 "is $dev already" sd attach db
check 'info names it' test "$(info '.attached_by.loop_devices[0]')" = "$dev"
check 'and the mount' test "$(info .attached_by.mount_point)" = "$MNT"
check 'and the state' test "$(info .state)" = attached
expect 0 "attached $dev" sd ls

note 'in use'
mkfs.ext4 -q "$dev"
mount "$dev" "$FS"
printf 'hello\n' >"$FS/file"
refuse 4 "$dev is mounted on $FS" sd detach db
check 'it is still there' is_bound
refuse 4 "attached as $dev" sd rm --yes db
expect 0 '^$' sd resize db 128M
check 'the device has grown' \
	test "$(blockdev --getsize64 "$dev")" -eq 134217728
expect 0 '^$' sd set db kind=system category=cloud_ssd
check 'properties change' \
	test "$(info '.kind + " " + .category')" = 'system cloud_ssd'
sd create other --size 1M
refuse 1 'a disk of that name' sd rename db other
expect 0 '^$' sd rename db moved
disk=moved
check 'a disk in use is renamed' test "$(info .state)" = attached
check 'and its device is known' \
	test "$(info '.attached_by.loop_devices[0]')" = "$dev"
expect 0 '^$' sd rename moved db
disk=db
umount "$FS"
check 'the file system is whole' e2fsck -fp "$dev"
check 'and grows' resize2fs "$dev"
exec 9<"$dev"
refuse 4 "$dev is open in process $$" sd detach db
exec 9<&-

note 'detach'
expect 0 '^$' sd detach db
check_not 'the device is free' is_bound
check 'the disk is detached' test "$(info .state)" = detached
check 'and clean' test "$(info .clean)" = true
refuse 1 'not attached' sd detach db

note 'read only'
dev=$(sd attach db --ro --json | jq -r .device)
check 'the device is read only' test "$(blockdev --getro "$dev")" = 1
mount -o ro,noload "$dev" "$FS"
check 'what was written is there' grep -qx hello "$FS/file"
umount "$FS"
expect 0 '^$' sd detach db

note 'partitions'
dev=$(sd attach db)
# One partition of 8 MiB at 1 MiB, in sectors of 4096.
{
	head -c 446 /dev/zero
	printf '\0\0\0\0\x83\0\0\0\0\1\0\0\0\x08\0\0'
	head -c 48 /dev/zero
	printf '\x55\xaa'
	head -c 3584 /dev/zero
} >"$dev"
blockdev --rereadpt "$dev"
if wait_for 3 test -b "${dev}p1"; then
	mkfs.ext4 -q "${dev}p1"
	mount "${dev}p1" "$FS"
	refuse 4 "${dev}p1 is mounted on $FS" sd detach db
	umount "$FS"
else
	note 'this kernel knows no partition tables'
fi
expect 0 '^$' sd detach db

note 'by another way to the same disk'
mkdir "$T/bind"
mount --bind "$MNT/disks" "$T/bind"
dev=$(losetup -f --show "$T/bind/db")
refuse 4 "is $dev already" sd attach db
check 'a part of the mount is not taken for it' \
	test "$(info .attached_by.mount_point)" = "$MNT"
expect 0 '^$' sd detach db
umount "$T/bind"

note 'a daemon of another store that hangs'
sd init "$T/store2" >/dev/null
sd -s "$T/store2" create db --size 1M
mkdir "$T/mnt2"
sd mount "$T/store2" "$T/mnt2"
sd -s "$T/store2" attach db >/dev/null
hung=$(sd -s "$T/store2" info db --json | jq .attached_by.pid)
kill -STOP "$hung"
run timeout 20 "$SEALDISK" attach db
dev=$out
check 'a disk is attached all the same' test -b "$dev"
expect 0 "attached $dev" timeout 20 "$SEALDISK" ls
refuse 4 'is open in process' timeout 20 bash -c "
	exec 9<$dev
	'$SEALDISK' detach db"
expect 0 '^$' timeout 20 "$SEALDISK" detach db
kill -CONT "$hung"
expect 0 '^$' sd -s "$T/store2" detach db
sd umount "$T/mnt2"

note 'a process that has the disk itself open'
exec 9<"$MNT/disks/other"
refuse 4 'attached on|open in a process' sd detach other
refuse 4 "attached on $MNT by process" sd rm --yes other
exec 9<&-
expect 0 '^$' sd rm --yes other

note 'a daemon that was killed'
dev=$(sd attach db)
kill -9 "$(info .attached_by.pid)"
check 'its disk is not attached then' wait_for 5 is_unclean
expect 0 '^$' sd detach db
check_not 'the device is free' is_bound
umount "$MNT"
mount_store
dev=$(sd attach db)
expect 0 '^$' sd detach db

# a_moment NAME: attached, and detached again.
a_moment() {
	local dev

	dev=$(sd attach "$1") && [ -b "$dev" ] && sd detach "$1"
}

note 'a name that was another disk a moment ago'
sd create first --size 8M
ln "$MNT/disks/first" "$MNT/snapshots/first/s"
for i in 1 2 3 4; do
	sd clone first@s again
	check "attached, time $i" a_moment again
	sd rm --yes again
done

umount_store
refuse 3 'not mounted' sd attach db
