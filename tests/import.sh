#!/bin/bash
# import.sh - images into disks and back, without a mount; and the lock that a
# host leaves behind.
# shellcheck disable=SC2016 # backquotes stand in messages
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

make_store

# Data at both ends, in the middle, of odd lengths, and holes between.
make_image() {
	truncate -s 40M "$1"
	dd if=/dev/urandom of="$1" bs=1k count=3 conv=notrunc status=none
	dd if=/dev/urandom of="$1" bs=1000 seek=9000 count=777 conv=notrunc \
		status=none
	dd if=/dev/urandom of="$1" bs=1M seek=39 count=1 conv=notrunc \
		status=none
}

# stalled NAME ARGS...: as stall, and it has the disk NAME attached.
stalled() {
	stall "${@:2}"
	wait_for 20 grep -qs '^clean = no' "$STORE/disks/$1.ini"
}

lineages() {
	find "$STORE/lineages" -mindepth 1 -maxdepth 1 | wc -l
}

make_image "$T/raw"

note 'a raw image'
expect 0 '^$' sd import "$T/raw" a
check 'it has the size of the image' test "$(field a .size)" -eq 41943040
check 'and sectors of 512' test "$(field a .sector_size)" -eq 512
check 'and is detached clean' test "$(field a '.state, .clean')" = \
	$'detached\ntrue'
check 'holes take no space' test "$(field a .allocated)" -lt 3000000
expect 0 '^$' sd export a "$T/out"
check 'it comes out as it went in' cmp "$T/raw" "$T/out"
check 'for its owner alone' test "$(stat -c %a "$T/out")" = 600
check 'with its holes' test "$(du -k "$T/out" | cut -f1)" -lt 4000

head -c 20M /dev/zero >"$T/zeros"
expect 0 '^$' sd import "$T/zeros" zeros
check 'zeros take no space' test "$(field zeros .allocated)" -eq 0
sd export zeros "$T/zeros.out"
check 'and take none in the image' test \
	"$(du -k "$T/zeros.out" | cut -f1)" -lt 100
check 'nor are they lost' cmp "$T/zeros" "$T/zeros.out"

head -c 1000 /dev/urandom >"$T/odd"
expect 0 '^$' sd import "$T/odd" odd
sd export odd "$T/odd.out"
check 'a size that is odd is rounded up' \
	test "$(stat -c %s "$T/odd.out")" -eq 1024
check 'and no byte is lost' cmp -n 1000 "$T/odd" "$T/odd.out"

note 'what can be said of the new disk'
sd key create --alias app >"$T/key"
run sd import "$T/odd" b --size 3M --key alias/app --kind system \
	--category cloud_ssd --sector-size 4096 --json
check 'JSON says what was made' jq -e --arg key "$(cat "$T/key")" '
	.name == "b" and .size == 3145728 and .format == "raw" and
	(.uuid | length) == 36 and .key_id == $key' <<<"$out"
check 'the disk is as it was said' test \
	"$(field b '.kind, .category, .sector_size, .size' | tr '\n' ' ')" = \
	'system cloud_ssd 4096 3145728 '
run sd export b "$T/b" --json
check 'JSON says what was written' jq -e --arg file "$T/b" '
	.name == "b" and .file == $file and .format == "raw" and
	.size == 3145728' <<<"$out"
run sd import "$T/raw" progress --progress=json
check 'progress is lines of JSON' jq -es '.[-1].done == 41943040 and
	all(.[]; .op == "import" and .unit == "B")' <<<"$out"
run sd export progress "$T/progress" --progress=json
check 'for an export, too' jq -es '.[-1].done == 41943040 and
	.[0].op == "export"' <<<"$out"

note 'refused'
refuse 3 'No such file' sd import "$T/none" c
refuse 2 'name a file' sd import - c
refuse 2 'name a file' sd export a -
refuse 2 'import: name' sd import "$T/raw" a/b
refuse 2 'format other: raw, qcow2' sd import "$T/raw" c --format other
refuse 2 'format vdi: raw, qcow2' sd export a "$T/c" --format vdi
refuse 2 'the image has 40' sd import "$T/raw" c --size 39M
refuse 2 'not a multiple' sd import "$T/raw" c --size 41943041
refuse 2 'sector size 8' sd import "$T/raw" c --sector-size 8
refuse 2 'local disks' sd import "$T/raw" c --category local
refuse 1 'a disk of that name' sd import "$T/raw" a
refuse 1 'neither a file nor' sd import "$T" c
mkfifo "$T/fifo"
refuse 1 'neither a file nor' sd import "$T/fifo" c
: >"$T/empty"
refuse 1 'it is empty' sd import "$T/empty" c
expect 0 '^$' sd import "$T/empty" empty --size 1M
refuse 5 'no such key' sd import "$T/raw" c --key alias/none
refuse 3 'no such disk' sd export c "$T/c"
refuse 3 'No such file' sd export a "$T/none/a"
sum=$(sha256sum "$T/out")
refuse 1 'never written over' sd export b "$T/out"
check 'a file that is there stays as it is' \
	test "$sum" = "$(sha256sum "$T/out")"
refuse 1 'never written over' sd export b "$T"
check_not 'no disk came of all that' grep -qx c <<<"$(sd ls --names)"

note 'what does not verify is not exported'
chunk=$(find "$STORE/lineages/$(field a .lineage)" -name '*.chunk' | sort |
	head -n 1)
size=$(stat -c %s "$chunk")
head -c $((size - 69632)) /dev/urandom |
	dd of="$chunk" bs=4096 seek=17 conv=notrunc status=none
refuse 6 'does not verify' sd export a "$T/damaged"
check_not 'and no half of it is left' test -e "$T/damaged"

note 'interrupted'
yes 'a line of text that is not zero' | head -c 8M >"$T/large" || :
before=$(lineages)
stalled stop import "$T/large" stop
refuse 4 'in use by process .* of this host' sd unlock stop
refuse 4 'in use by process' sd rm --yes stop
unstall TERM
check 'an import ends with a signal' test "$status" -eq 1
check 'and says so' grep -q '^sealdisk: import .*: interrupted' "$T/said"
check_not 'and leaves no disk' test -e "$STORE/disks/stop.ini"
check 'nor anything else' test "$(lineages)" -eq "$before"
sd import "$T/large" large
stall export large "$T/stopped"
wait_for 20 test -s "$T/stopped"
unstall INT
check 'so does an export' test "$status" -eq 1
check_not 'and leaves no file' test -e "$T/stopped"
check 'nor the disk locked' test "$(field large .state)" = detached

note 'the lock of another host'
expect 0 'nothing to break' sd unlock b
run sd unlock b --json
check 'JSON says it, too' jq -e '.broken == false and .host == null and
	.since == null and .name == "b"' <<<"$out"
refuse 3 'no such disk' sd unlock none
stalled killed import "$T/large" killed
unstall KILL
lock=$STORE/locks/disk-$(field killed .uuid)
check 'a process that was killed leaves its words' test -s "$lock"
check 'and the disk unclean' test "$(field killed .state)" = unclean
cp "$lock" "$T/words"
expect 0 'nothing to break' sd unlock killed
expect 0 '^$' sd set killed kind=system

# The same words, of another machine.
other() {
	sed -e 's/^host=.*/host=far.example/' -e \
		's/^boot_id=.*/boot_id=11111111-2222-3333-4444-555555555555/' \
		"$T/words" >"$lock"
}
other
for c in 'resize killed 1G' 'set killed kind=data' 'rename killed new' \
	"export killed $T/x"; do
	# shellcheck disable=SC2086 # words
	refuse 4 'far.example .*unlock killed' sd $c
done
refuse 4 '' sd rm --yes killed
check 'the words are there still' grep -q far.example "$lock"
refuse 2 '--yes' sd unlock killed
check 'and still' grep -q far.example "$lock"
run sd unlock killed --yes --json
check 'it is broken' jq -e '.broken and .host == "far.example" and
	(.since | fromdate) > 0' <<<"$out"
expect 0 'nothing to break' sd unlock killed
expect 0 '^$' sd resize killed 1G
check 'and the disk is whole again' test \
	"$(field killed '.state')" = detached
other
expect 0 'nothing to break' sd unlock killed
expect 0 '^$' sd resize killed 2G

note 'the same machine, started again; and a container on it'
sed 's/^boot_id=.*/boot_id=11111111-2222-3333-4444-555555555555/' \
	"$T/words" >"$lock"
sed -i 's/^clean = yes/clean = no/' "$STORE/disks/killed.ini"
expect 0 'nothing to break' sd unlock killed
sed 's/^host=.*/host=container/' "$T/words" >"$lock"
expect 0 'nothing to break' sd unlock killed

note 'other formats'
command -v qemu-img >/dev/null || exit 0
cd "$T"
qemu-img create -q -f qcow2 -b "$T/raw" -F raw back.qcow2
refuse 1 "$T/raw: its content lies in another file" sd import back.qcow2 c
qemu-img create -q -f qcow2 -o data_file=data,data_file_raw=on ext.qcow2 1M
refuse 1 'data: its content lies in another file' sd import ext.qcow2 c
qemu-img create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 1M
refuse 1 'flat-flat.vmdk: its content lies in another' sd import flat.vmdk c
# Not LUKS: for that qemu-img times the processor, and gives up on a busy one.
qemu-img create -q -f qcow2 --object secret,id=s,data=abc \
	-o encrypt.format=aes,encrypt.key-secret=s aes.qcow2 1M
refuse 1 'encrypted by itself' sd import aes.qcow2 c
printf 'QFI\xfb\0\0\0\3 and no more' >broken.qcow2
refuse 1 'qemu-img: ' sd import broken.qcow2 c
refuse 2 'the image has 1' sd import back.qcow2 c --size 512 --format raw
expect 0 '^$' sd import broken.qcow2 told --format raw
sd export told told
check 'raw is raw, whatever it looks like' \
	cmp -n "$(stat -c %s broken.qcow2)" broken.qcow2 told
check_not 'no disk came of the others' grep -qx c <<<"$(sd ls --names)"
