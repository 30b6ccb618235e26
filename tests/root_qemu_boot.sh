#!/bin/bash
# root_qemu_boot.sh - QEMU boots a small system from a clone of an image, twice,
# and the system writes to its disk.  Two more clones run side by side.  The
# image stays what it was.
#
# The system is Debian's kernel, a static busybox and extlinux, on an ext4 without
# a partition table: it is booted by its own disk, with nothing from outside.  The kernel has to have NVMe, ext4 and
# the serial console built in: $SEALDISK_TEST_KERNEL (quickstart --test gets
# one), or one of this machine's, if it is one for clouds.
# shellcheck disable=SC2016 # for the guest's shell
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq qemu-system-x86_64 extlinux mkfs.ext4 e2fsck

busybox=$(command -v busybox) || skip 'needs busybox'
ldd "$busybox" >/dev/null 2>&1 && skip 'needs busybox-static'

# shellcheck source=tests/lib_qemu.sh
. "${0%/*}/lib_qemu.sh"
kernel=$(find_kernel)
[ -r "$kernel" ] || skip 'needs a kernel: SEALDISK_TEST_KERNEL'
FS=$T/fs
mkdir "$FS"
make_store
DISKS=$MNT/disks IMAGES=$MNT/images

# The guest's first and only program.
guest_init() {
	cat <<-'END'
		#!/bin/busybox sh
		busybox=/bin/busybox
		$busybox mount -t proc proc /proc
		$busybox mount -o remount,rw /
		for word in $($busybox cat /proc/cmdline); do
			case $word in test.*) eval "${word#test.}" ;; esac
		done
		n=$($busybox cat /boots)
		echo $((n + 1)) >/boots
		$busybox dd if=/dev/urandom of="/random.$n" bs=64k count=64
		$busybox sha256sum "/random.$n" >>/sums
		$busybox sync
		echo "GUEST boot $((n + 1)) of $($busybox cat /name)"
		$busybox mount -o remount,ro /
		$busybox poweroff -f
	END
}

fill_root() {
	mkdir -p "$1"/{bin,sbin,dev,proc,boot}
	mknod "$1/dev/console" c 5 1
	mknod "$1/dev/urandom" c 1 9
	cp "$busybox" "$1/bin/busybox"
	guest_init >"$1/sbin/init"
	chmod 755 "$1/sbin/init"
	echo 0 >"$1/boots"
	echo image >"$1/name"
	cp "$kernel" "$1/boot/vmlinuz"
	cat >"$1/boot/extlinux.conf" <<-END
		DEFAULT linux
		PROMPT 0
		LABEL linux
		KERNEL vmlinuz
		APPEND root=/dev/nvme0n1 ro console=ttyS0 panic=-1 no_timer_check quiet
	END
}

# attach NAME: sets dev.
attach() {
	dev=$(sd attach "$1")
}

install_system() {
	attach "$1"
	mkfs.ext4 -q -O ^64bit,^metadata_csum "$dev"
	mount "$dev" "$FS"
	fill_root "$FS"
	extlinux --install "$FS/boot" >"$T/extlinux" 2>&1
	umount "$FS"
	sd detach "$1"
}

# start_guest NAME: boots that disk, with $guest its pid, and its console in
# $T/console.NAME.
start_guest() {
	timeout 240 qemu-system-x86_64 -M q35,accel=tcg -m 256 \
		-nodefaults -no-reboot -nographic \
		-serial "file:$T/console.$1" -net none \
		-drive "file=$DISKS/$1,if=none,id=d,format=raw,cache=none,aio=native" \
		-device nvme,drive=d,serial=1 </dev/null >"$T/qemu.$1" 2>&1 &
	guest=$!
}

# has_booted NAME TIMES: by what it said before it ended.
has_booted() {
	grep -q "GUEST boot $2 of $1" "$T/console.$1" && return
	tail -n 20 "$T/qemu.$1" "$T/console.$1"
	return 1
}

detached() {
	[ -z "$(field "$1" '.attached_by // ""')" ]
}

# looks NAME TIMES: what the guest has left on its disk, seen from here.
looks() {
	local n

	check "$1 is free" wait_for 10 detached "$1"
	check "$1 is attached here" attach "$1"
	check "$1 is whole" quiet e2fsck -fn "$dev"
	check "$1 mounts" mount -o ro,noload "$dev" "$FS"
	check "$1 has booted $2 times" test "$(cat "$FS/boots")" = "$2"
	check "$1 has a line a boot" test "$(wc -l <"$FS/sums")" = "$2"
	for ((n = 0; n < $2; n++)); do
		check "$1 has what boot $((n + 1)) wrote" test \
			"$(sha256sum <"$FS/random.$n" | cut -d ' ' -f 1)" = \
			"$(sed -n "$((n + 1))s/ .*//p" "$FS/sums")"
	done
	umount "$FS"
	sd detach "$1"
}

# name_it NAME: so that a console tells which one it is.
name_it() {
	attach "$1"
	mount "$dev" "$FS"
	echo "$1" >"$FS/name"
	umount "$FS"
	sd detach "$1"
}

note 'an image of a system'
start_daemon
sd create golden --size 128M --sector-size 512 --kind system
install_system golden
check 'it becomes an image' ln "$DISKS/golden" "$IMAGES/system"
sd rm --yes golden
sum=$(sha256sum <"$IMAGES/system")

note 'a clone of it, booted'
check 'a clone' sd create vm1 --from image:system
check 'it is a system disk' test "$(field vm1 .kind)" = system
name_it vm1
start_guest vm1
check 'QEMU ends' wait "$guest"
# What comes has no chance without.
has_booted vm1 1
check 'the image is what it was' \
	test "$(sha256sum <"$IMAGES/system")" = "$sum"
looks vm1 1

note 'once more, and two others beside each other'
for name in vm2 vm3; do
	ln "$IMAGES/system" "$DISKS/$name"
	name_it "$name"
done
guests=()
for name in vm1 vm2 vm3; do
	start_guest "$name"
	guests+=("$guest")
done
for guest in "${guests[@]}"; do
	check 'QEMU ends' wait "$guest"
done
check 'vm1 has booted again' has_booted vm1 2
for name in vm2 vm3; do
	check "$name has booted" has_booted "$name" 1
done
looks vm1 2
looks vm2 1
looks vm3 1

note 'a snapshot while it runs'
start_guest vm2
check 'it boots' wait_for 240 grep -qs . "$T/console.vm2"
check 'a snapshot is taken' ln "$DISKS/vm2" "$MNT/snapshots/vm2/running"
check 'QEMU ends' wait "$guest"
check 'the guest has not noticed' has_booted vm2 2
looks vm2 2

note 'the image'
check 'is what it was' test "$(sha256sum <"$IMAGES/system")" = "$sum"
check 'the clones have what they wrote of their own' \
	test "$(field vm3 .allocated)" -gt 0
stop_daemon
check 'the daemon has ended well' test "$daemon_status" -eq 0
check_not 'no fault in the log' grep -i integrity "$LOG"
