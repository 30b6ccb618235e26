#!/bin/bash
# root_import.sh - images of other formats by way of a mount; what fails or is
# killed half-way; disks in use.
# shellcheck disable=SC2119 # mount_store's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq qemu-img

export TMPDIR=$T
make_store

# Whether nothing is left of mounts of the command's own.
tidy() {
	[ -z "$(mounts_below | grep -vxF "$MNT" || :)" ] &&
		! compgen -G "$T/sealdisk-*" >/dev/null
}

# The brackets keep grep from finding itself.
no_daemon() {
	! grep -qz "$T/[s]ealdisk-" /proc/[0-9]*/cmdline 2>/dev/null
}

lineages() {
	find "$STORE/lineages" -mindepth 1 -maxdepth 1 | wc -l
}

truncate -s 24M "$T/raw"
dd if=/dev/urandom of="$T/raw" bs=1k count=5 conv=notrunc status=none
dd if=/dev/urandom of="$T/raw" bs=1000 seek=9000 count=1777 conv=notrunc \
	status=none
dd if=/dev/urandom of="$T/raw" bs=1M seek=23 count=1 conv=notrunc status=none
qemu-img convert -f raw -O vhdx "$T/raw" "$T/in.vhdx"
qemu-img convert -f raw -O vdi "$T/raw" "$T/in.vdi"
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on \
	"$T/raw" "$T/in.fixed"

# formats WHERE: there and back again.
formats() {
	local f

	sd import "$T/raw" "$1"
	for f in qcow2 vpc vhd vmdk; do
		expect 0 '^$' sd export "$1" "$T/$1.$f" --format "$f"
		check 'the image is for its owner alone' \
			test "$(stat -c %a "$T/$1.$f")" = 600
		expect 0 '^$' sd import "$T/$1.$f" "$1-$f"
		sd export "$1-$f" "$T/$1.$f.raw"
		check "$f: it comes out as it went in" \
			cmp "$T/raw" "$T/$1.$f.raw"
		check 'and holes have stayed' \
			test "$(field "$1-$f" .allocated)" -lt 4000000
		rm "$T/$1.$f.raw"
	done
	for f in vhdx vdi fixed; do
		expect 0 '^$' sd import "$T/in.$f" "$1-$f"
		sd export "$1-$f" "$T/$1.$f.raw"
		check "$f: it comes in as it is" cmp "$T/raw" "$T/$1.$f.raw"
		rm "$T/$1.$f.raw"
	done
	check 'the format that was seen is told' test "$(
		sd import "$T/in.fixed" "$1-told" --json | jq -r .format
	)" = vpc
	check 'and nothing is left' tidy
	check 'all disks are detached clean' test "$(
		sd ls --json | jq -r '.[].state' | sort -u
	)" = detached
}

note 'formats, the store not mounted'
formats plain
run sd import "$T/plain.qcow2" progress --progress=json
check 'progress is lines of JSON' jq -es '.[-1].done == 25165824 and
	.[0].op == "import"' <<<"$out"

note 'the store mounted'
mount_store
formats mounted

note 'from a block device'
dev=$(losetup -f --show "$T/raw")
expect 0 '^$' sd import "$dev" device
sd export device "$T/device"
check 'it is whole' cmp "$T/raw" "$T/device"
losetup -d "$dev"

note 'a disk in use'
dev=$(sd attach mounted)
refuse 4 'in use' sd export mounted "$T/used"
check_not 'no file was made' test -e "$T/used"
expect 0 '^$' sd export mounted "$T/used" --live
check 'with --live it is copied' cmp "$T/raw" "$T/used"
expect 0 '^$' sd export mounted "$T/used.qcow2" --live --format qcow2
check 'to other formats, too' \
	qemu-img compare -q "$T/raw" "$T/used.qcow2"
refuse 4 "attached on $MNT" sd unlock mounted
printf changed >"$dev"
expect 0 '^$' sd detach mounted
expect 0 '^$' sd export mounted "$T/changed"
check 'what was written is in it' grep -q '^changed' \
	<<<"$(head -c 7 "$T/changed" | tr -d '\0')"

note 'a disk that lingers'
umount_store
mount_store -o linger=60
cat "$MNT/disks/plain" >/dev/null
check 'it is attached' test "$(field plain .state)" = attached
expect 0 '^$' sd export plain "$T/lingers"
check 'and exported all the same' cmp "$T/raw" "$T/lingers"
exec 9<"$MNT/disks/plain"
refuse 4 'in use' sd export plain "$T/open"
exec 9<&-
umount_store

note 'no space'
mkdir "$T/small"
mount -t tmpfs -o size=6m tmpfs "$T/small"
dd if=/dev/urandom of="$T/noise" bs=1M count=12 status=none
qemu-img convert -f raw -O qcow2 "$T/noise" "$T/noise.qcow2"
sd import "$T/noise" noise
for f in raw qcow2; do
	refuse 1 'space' sd export noise "$T/small/noise" --format $f
	check_not 'no half image is left' test -e "$T/small/noise"
done
before=$STORE
STORE=$T/small/store
sd init "$STORE" >/dev/null
export SEALDISK_STORE=$STORE
for f in noise noise.qcow2; do
	refuse 1 'space' sd import "$T/$f" noise
	check_not 'no half disk is left' test -e "$STORE/disks/noise.ini"
	check 'nor what was on it' test "$(lineages)" -eq 0
done
unset SEALDISK_STORE
STORE=$before
umount "$T/small"
check 'and nothing else' tidy

note 'interrupted and killed'
yes 'a line of text that is not zero' | head -c 300M >"$T/large" || :
qemu-img convert -f raw -O qcow2 "$T/large" "$T/large.qcow2"
for signal in TERM KILL; do
	"$SEALDISK" import "$T/large.qcow2" large >"$T/said" 2>&1 &
	job=$!
	wait_for 20 grep -qs '^clean = no' "$STORE/disks/large.ini"
	kill -$signal "$job"
	status=0
	wait "$job" 2>/dev/null || status=$?
	if [ "$signal" = TERM ]; then
		check 'it says so' grep -q 'interrupted' "$T/said"
		check 'the status is 1' test "$status" -eq 1
		check_not 'the disk is gone' test -e "$STORE/disks/large.ini"
		check 'so is the mount' tidy
	else
		check 'a command that was killed leaves no daemon' \
			wait_for 10 no_daemon
		check 'nor a mount' test -z "$(mounts_below)"
		check 'and the disk can be removed' sd rm --yes large
	fi
done
