#!/bin/bash
# root_snapshot_cli.sh - the commands for snapshots, images and clones where the
# store is mounted and its disks are in use.
# shellcheck disable=SC2119 # mount_store's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq blockdev

make_store
mount_store -o linger=60
[ -d "$MNT/snapshots" ] || skip 'this mount has no snapshots'
sd create db --size 8M --kind system
sd create log --size 8M
sd create idle --size 8M

head -c 8M /dev/urandom >"$T/a"
head -c 8M /dev/urandom >"$T/b"

# put FILE DISK: through the mount.
put() {
	dd if="$1" of="$MNT/disks/$2" bs=1M conv=notrunc,fsync status=none
}

# holds NAME FILE: what `export` says of it.
holds() {
	rm -f "$T/out"
	sd export "$1" "$T/out" && cmp "$T/out" "$2"
}

# is DISK STATE
is() {
	[ "$(field "$1" .state)" = "$2" ]
}

note 'a disk that is attached'
put "$T/a" db
check 'the daemon has it' is db attached
expect 0 '^$' sd snapshot db@a
check 'a snapshot is there in the mount' cmp "$MNT/snapshots/db/a" "$T/a"
put "$T/b" db
expect 0 '^db@20[^ ]*$' sd snapshot db
expect 0 '^$' sd image db now
expect 0 '^$' sd clone db copy
expect 0 '^$' sd create large --from db --size 9M --kind data \
	--category cloud_ssd --sector-size 4096
check 'size and all are its own' test "$(field large \
	'[.size, .kind, .category, .sector_size] | @csv')" = \
	'9437184,"data","cloud_ssd",4096'
check 'the daemon has the disk still' is db attached
refuse 1 'there is a snapshot of that name' sd snapshot db@a
refuse 1 'there is an image of that name' sd image db now
refuse 1 'there is a disk of that name' sd clone db copy
check 'the snapshot is as it was' holds db@a "$T/a"
check 'the image' holds image:now "$T/b"
check 'the copy' holds copy "$T/b"
put "$T/a" copy
check 'which is written to alone' cmp "$MNT/disks/db" "$T/b"

note 'several, of which one is not attached'
put "$T/a" log
expect 0 '^$' sd snapshot db@set log@set idle@set
check 'the first' cmp "$MNT/snapshots/db/set" "$T/b"
check 'the second' cmp "$MNT/snapshots/log/set" "$T/a"
check 'of one set' test "$(field db@set .set)" = "$(field idle@set .set)"
refuse 1 'snapshot idle@set: there is' sd snapshot idle@set log@set

note 'rollback'
exec 5<"$MNT/disks/db"
refuse 4 "attached on $MNT" sd rollback db@a --yes
exec 5<&-
expect 0 '^$' sd rollback db@a --yes
check 'the mount shows it' cmp "$MNT/disks/db" "$T/a"
dev=$(sd attach db)
refuse 4 "db is attached as $dev" sd rollback db@a --yes
refuse 4 "rm db: attached as $dev" sd rm --yes db
expect 0 '^$' sd detach db

note 'a snapshot as a block device'
for name in db@a image:now; do
	dev=$(sd attach "$name")
	check 'a path is printed' test -b "$dev"
	check 'read-only' test "$(blockdev --getro "$dev")" = 1
	check 'with direct I/O' test \
		"$(cat "/sys/block/${dev#/dev/}/loop/dio")" = 1
	refuse 4 "$name: it is $dev already" sd attach "$name"
	expect 0 "attached $dev" sd ls all
	check 'info names it' test "$(field "$name" '.loop_devices[0]')" = \
		"$dev"
	refuse 4 "rm $name: attached as $dev" sd rm --yes "$name"
	expect 0 '^$' sd export "$name" "$T/busy"
	rm "$T/busy"
	expect 0 '^$' sd detach "$name"
	check 'it is free again' is "$name" detached
	refuse 1 'not attached' sd detach "$name"
	expect 0 "\"read_only\": true" sd attach --json "$name"
	expect 0 '^$' sd detach "$name"
done
dev=$(sd attach db@a)
check 'it reads' cmp "$dev" "$T/a"
sd detach db@a

note 'names, while the daemon reads them'
cmp "$MNT/snapshots/db/a" "$T/a"
expect 0 '^$' sd rename db@a first
check 'a snapshot' cmp "$MNT/snapshots/db/first" "$T/a"
cmp "$MNT/images/now" "$T/b"
expect 0 '^$' sd rename image:now later
check 'an image' cmp "$MNT/images/later" "$T/b"
expect 0 '^$' sd clone image:later again
check 'a clone' cmp "$MNT/disks/again" "$T/b"
expect 0 '^$' sd rm --yes image:later
expect 0 '^$' sd rm --yes db@first
check_not 'they are gone' test -e "$MNT/snapshots/db/first"
check_not 'both' test -e "$MNT/images/later"
check 'the clone stays' cmp "$MNT/disks/again" "$T/b"
if command -v qemu-img >/dev/null; then
	expect 0 '' sd export db@set "$T/q" --format qcow2
	check 'in another format' qemu-img compare -q -f qcow2 -F raw "$T/q" \
		"$T/b"
	umount_store
	expect 0 '' sd export log@set "$T/q2" --format qcow2
	check 'without a mount, too' qemu-img compare -q -F raw -f qcow2 \
		"$T/q2" "$T/a"
fi
