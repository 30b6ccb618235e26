#!/bin/bash
# root_fstab.sh - mount(8) and its fstab: both lines of a store and of a file
# system upon a disk in it, mounted and unmounted as a system does it.
#
# mount(8) looks for its helpers in /sbin and nowhere else.  So the test runs in
# a mount namespace of its own, where a copy of /sbin with our links in it lies
# over the machine's: nothing of the machine is changed.
if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ] &&
	unshare --mount --propagation private true 2>/dev/null; then
	exec unshare --mount --propagation private "$BASH" "$0" inside
fi
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4 findmnt unshare
[ "${1:-}" = inside ] || skip 'needs a mount namespace'

# What others have mounted is not to be held by our copy of it.
findmnt -rn -o TARGET,SOURCE,FSTYPE | tac | while read -r target source type; do
	case $source/$type in
	/dev/loop* | */fuse.sealdisk) umount -l "$target" ;;
	esac
done

sbin=$(readlink -f /sbin)
cp -a "$sbin" "$T/sbin"
rm -f "$T"/sbin/mount.sealdisk "$T"/sbin/mount.fuse.sealdisk "$T/sbin/sealdisk"
mount --bind "$T/sbin" "$sbin"
SEALDISK=$(readlink -f "$SEALDISK")
FS=$T/fs
FSTAB=$T/fstab
mkdir "$FS"
make_store
sd create db --size 64M

# Where a helper links to another by its name alone, as `make install` does it.
install_helpers() {
	ln -s "$SEALDISK" "$sbin/mount.sealdisk"
	ln -s mount.sealdisk "$sbin/mount.fuse.sealdisk"
}

is_mounted() {
	[ "$(findmnt -n -o FSTYPE --mountpoint "$1")" = "$2" ]
}

# The mount's daemon, by the path of its mount point.
the_daemon() {
	grep -lF -e "$MNT" /proc/[0-9]*/cmdline 2>/dev/null |
		grep -oE '[0-9]+' | while read -r pid; do
			if [ "$(readlink "/proc/$pid/exe")" = "$SEALDISK" ]; then
				printf '%s\n' "$pid"
			fi
		done
}

is_daemon() {
	[ "$(the_daemon | wc -l)" -eq 3 ]
}

has_ended() {
	[ -z "$(the_daemon)" ]
}

# mounts COMMAND...: says nothing, or one warning of what the system refuses.
mounts() {
	expect 0 '^(sealdisk: warning: the system refuses [[:print:]]*)?$' "$@"
}

# unmounted TEXT: nothing is left of either mount, loop device or daemon.
unmounted() {
	check_not "$1: the file system is unmounted" mountpoint -q "$FS"
	check_not "$1: the store is unmounted" mountpoint -q "$MNT"
	check "$1: no loop device is left" test -z "$(loops_below)"
	check "$1: the daemon has ended" wait_for 10 has_ended
	check "$1: the disk is clean" test "$(field db .clean)" = true
}

note 'by hand, as each type'
install_helpers
for type in sealdisk fuse.sealdisk; do
	mounts mount -t "$type" "$STORE" "$MNT"
	check "$type: mounted" is_mounted "$MNT" fuse.sealdisk
	check "$type: from the store" \
		test "$(findmnt -n -o SOURCE --mountpoint "$MNT")" = "$STORE"
	check "$type: it serves" test -f "$MNT/disks/db"
	check "$type: one daemon: a keeper, a worker and one in reserve" \
		wait_for 5 is_daemon
	expect 0 '^$' umount "$MNT"
	unmounted "$type"
done

note 'options'
mounts mount -t sealdisk -o \
	"rw,suid,dev,exec,defaults,auto,noauto,nofail,user,_netdev,x-a=b,x-c" \
	"$STORE" "$MNT"
umount "$MNT"
check 'the daemon has ended' wait_for 10 has_ended
mounts mount -v -n -t sealdisk -o \
	"config=$SEALDISK_CONFIG,linger=1,threads=2,cache_size=8M" \
	"$STORE" "$MNT"
umount "$MNT"
check 'the daemon has ended' wait_for 10 has_ended
for ro in -r '-o ro'; do
	# shellcheck disable=SC2086 # words
	expect 0 '' mount -t sealdisk $ro "$STORE" "$MNT"
	check "$ro: read only" test "$(findmnt -n -o FS-OPTIONS --mountpoint \
		"$MNT" | grep -ow ro)" = ro
	expect 1 'Read-only file system' touch "$MNT/disks/new"
	expect 1 'Read-only file system' \
		dd if=/dev/zero of="$MNT/disks/db" count=1 conv=notrunc
	expect 0 '' dd if="$MNT/disks/db" of=/dev/null count=1
	umount "$MNT"
	check 'the daemon has ended' wait_for 10 has_ended
done
expect 0 '' mount -f -t sealdisk "$STORE" "$MNT"
check_not '-f mounts nothing' mountpoint -q "$MNT"
check 'and starts nothing' has_ended
run mount -t sealdisk -o nonsense=1 "$STORE" "$MNT"
check 'an option that there is not is refused' test "$status" -ne 0
check 'and named' grep -q 'nonsense' <<<"$out"
run mount -t sealdisk "$T/none" "$MNT"
check 'a store that there is not is refused' test "$status" -ne 0
check 'and named' grep -q "$T/none" <<<"$out"
run mount -t sealdisk "$STORE" "$T/none"
check 'a mount point that there is not is refused' test "$status" -ne 0
check_not 'nothing is mounted' mountpoint -q "$MNT"

note 'fstab'
sd mount "$STORE" "$MNT"
dev=$(sd attach db)
mkfs.ext4 -q "$dev"
sd detach db
sd umount "$MNT"
# The two lines of the manual; x-sdtest picks them for umount -a.
cat >"$FSTAB" <<-END2
	$STORE         $MNT  fuse.sealdisk  allow_other,_netdev,x-sdtest  0 0
	$MNT/disks/db  $FS   ext4  loop,x-systemd.requires-mounts-for=$MNT,x-sdtest  0 2
END2
for round in 1 2; do
	mounts mount -a -T "$FSTAB"
	check 'the store is mounted' is_mounted "$MNT" fuse.sealdisk
	check 'the file system is mounted' is_mounted "$FS" ext4
	check 'others may look' grep -qw allow_other \
		<<<"$(findmnt -n -o FS-OPTIONS --mountpoint "$MNT")"
	if [ "$round" -eq 1 ]; then
		printf 'hello\n' >"$FS/file"
	else
		check 'what was written is there' grep -qx hello "$FS/file"
	fi
	mounts mount -a -T "$FSTAB"
	check 'a second time changes nothing' \
		test "$(findmnt -rn -o TARGET | grep -cF "$T/")" -eq 2
	check 'there is one daemon' wait_for 5 is_daemon
	expect 32 'busy' umount "$MNT"
	expect 0 '^$' umount -a -O x-sdtest
	unmounted 'umount -a'
done

note 'one line at a time, by its mount point'
mounts mount -T "$FSTAB" "$MNT"
mounts mount -T "$FSTAB" "$FS"
check 'what was written is there' grep -qx hello "$FS/file"
printf 'bye\n' >"$FS/file"
expect 0 '^$' umount "$FS"
expect 0 '^$' umount "$MNT"
unmounted 'umount'

note 'a partition of the system that is shut down without a word to us'
mounts mount -a -T "$FSTAB"
check 'what was written is there' grep -qx bye "$FS/file"
printf 'fsynced\n' | dd of="$FS/file" conv=fsync status=none
umount -l "$MNT"
umount "$FS"
unmounted 'in the wrong order'

note 'without a helper of the longer name: through mount.fuse3'
if [ -x "$sbin/mount.fuse3" ]; then
	rm "$sbin/mount.fuse.sealdisk"
	ln -s "$SEALDISK" "$sbin/sealdisk"
	mounts mount -a -T "$FSTAB"
	check 'the file system is mounted' is_mounted "$FS" ext4
	check 'what was written is there' grep -qx fsynced "$FS/file"
	expect 0 '^$' umount -a -O x-sdtest
	unmounted 'through mount.fuse3'
fi
