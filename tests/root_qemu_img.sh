#!/bin/bash
# root_qemu_img.sh - qemu-img brings images in, and takes them out again.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_root
require_fuse
require jq qemu-img

make_store
start_daemon
disks=$MNT/disks
size=$((96 << 20))

note 'an image to bring: data, zeros and holes, raw and qcow2'
raw=$T/image.raw qcow2=$T/image.qcow2
truncate -s "$size" "$raw"
for i in 0 3 17 40 41 95; do
	dd if=/dev/urandom of="$raw" bs=1M count=1 seek="$i" conv=notrunc \
		status=none
done
dd if=/dev/zero of="$raw" bs=1M count=8 seek=60 conv=notrunc status=none
dd if=/dev/urandom of="$raw" bs=512 count=1 seek=65537 conv=notrunc status=none
qemu-img convert -f raw -O qcow2 -o cluster_size=64k "$raw" "$qcow2"
sum=$(sha256sum <"$raw")

# same DISK: as the image, by its bytes and in qemu-img's eyes.
same() {
	check "$1 has the image's bytes" \
		test "$(sha256sum <"$disks/$1")" = "$sum"
	check "$1 compares to the raw image" \
		qemu-img compare -q -f raw -F raw "$raw" "$disks/$1"
	check "$1 compares to the qcow2 image" \
		qemu-img compare -q -f qcow2 -F raw "$qcow2" "$disks/$1"
	check "$1 holds about what is in it" \
		test "$(field "$1" .allocated)" -lt $((20 << 20))
}

note 'in, as a new disk'
check 'from raw' qemu-img convert -f raw -O raw "$raw" "$disks/raw"
same raw
check 'from qcow2' qemu-img convert -f qcow2 -O raw "$qcow2" "$disks/qcow2"
same qcow2
check 'past the cache, by several workers out of order' qemu-img convert \
	-t none -T none -W -m 8 -f qcow2 -O raw "$qcow2" "$disks/none"
same none
check 'written through' qemu-img convert -t writethrough -f qcow2 -O raw \
	"$qcow2" "$disks/through"
same through
check 'it counts in 512' test "$(field raw .sector_size)" = 512
check 'it has the size' test "$(field raw .size)" = "$size"
check 'qemu-img info sees it' test "$(qemu-img info -f raw --output=json \
	"$disks/raw" | jq '."virtual-size"')" = "$size"

note 'in, onto a disk that is there and holds something else'
for name in there none-there; do
	sd create "$name" --size $((size))
	dd if=/dev/urandom of="$disks/$name" bs=1M count=24 seek=50 \
		conv=notrunc status=none
done
check 'convert -n' qemu-img convert -n -f qcow2 -O raw "$qcow2" "$disks/there"
same there
check 'convert -n, past the cache' qemu-img convert -n -t none -T none -f raw \
	-O raw "$raw" "$disks/none-there"
same none-there
check 'the disk kept its sectors' test "$(field there .sector_size)" = 4096
check 'convert without -n, over it' \
	qemu-img convert -f raw -O raw "$raw" "$disks/there"
same there
sd create small --size 1M
check_not 'one that is too small is refused' \
	qemu-img convert -n -f raw -O raw "$raw" "$disks/small" 2>"$T/err"
check 'and keeps its size' test "$(field small .size)" = 1048576

note 'a difference is found'
printf 'x' | dd of="$disks/none" bs=1 seek=$((17 << 20)) conv=notrunc \
	status=none
expect 1 'Content mismatch at offset 17825792' \
	qemu-img compare -f raw -F raw "$raw" "$disks/none"

note 'after the daemon has ended'
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
start_daemon
for name in raw qcow2 through there none-there; do
	check "$name is what it was" \
		qemu-img compare -q -f raw -F raw "$raw" "$disks/$name"
done

note 'out'
check 'to raw' qemu-img convert -f raw -O raw "$disks/raw" "$T/out.raw"
check 'the bytes' cmp "$raw" "$T/out.raw"
check 'its holes are holes' test "$(du -k "$T/out.raw" | cut -f1)" -lt 20480
check 'to qcow2' qemu-img convert -c -f raw -O qcow2 "$disks/qcow2" \
	"$T/out.qcow2"
check 'which is whole' qemu-img check -q "$T/out.qcow2"
check 'the content' \
	qemu-img compare -q -f raw -F qcow2 "$raw" "$T/out.qcow2"
check 'from disk to disk' qemu-img convert -f raw -O raw "$disks/raw" \
	"$disks/copy"
same copy
check 'VHD' qemu-img convert -f raw -O vpc "$disks/raw" "$T/out.vhd"
check 'the content' qemu-img compare -q -f raw -F vpc "$raw" "$T/out.vhd"

note 'no qemu-img has it open: it goes'
for name in raw qcow2 none through there none-there copy small; do
	check "rm $name" rm "$disks/$name"
done
check_not 'no fault' grep -q integrity "$LOG"
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
