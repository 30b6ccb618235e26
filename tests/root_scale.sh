#!/bin/bash
# root_scale.sh - many snapshots of one disk, and many disks in one store: all
# of them are there, what any of them holds is right, and no two names cost more
# memory than a little.  How long it all takes is for `make bench`.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_root
require_fuse
require jq

many=${SCALE:-100}
make_store
DISKS=$MNT/disks SNAPS=$MNT/snapshots

resident_kib() {
	awk '$1 == "VmRSS:" { print $2 }' "/proc/$(worker)/status"
}

# grown KIB: no more than that since $before.
grown() {
	[ $(($(resident_kib) - before)) -le "$1" ]
}

count() {
	find "$1" -maxdepth 1 -type f | wc -l
}

write_number() {
	printf '%08d' "$2" | dd of="$1" conv=notrunc,fsync status=none
}

holds_number() {
	[ "$(head -c 8 "$1")" = "$(printf '%08d' "$2")" ]
}

# Each has 4 KiB of its own as well, so that there are as many layers to read.
numbered() {
	local i

	for ((i = 1; i <= many; i++)); do
		write_number "$DISKS/one" "$i" &&
			printf '%08d' "$i" | dd of="$DISKS/one" bs=4k seek="$i" \
				conv=notrunc status=none &&
			ln "$DISKS/one" "$SNAPS/one/$i" || return
	done
}

all_blocks() {
	local i

	for ((i = 1; i <= $2; i++)); do
		[ "$(dd if="$1" bs=4k skip="$i" count=1 status=none |
			head -c 8)" = "$(printf '%08d' "$i")" ] || return
	done
}

make_disks() {
	local i

	for ((i = 1; i <= many; i++)); do
		truncate -s 64M "$DISKS/d$i" || return
	done
}

# All of them attached at once.
open_all() {
	local f fd fds=() r=0

	for f in "$DISKS"/d* "$SNAPS"/one/*; do
		exec {fd}<"$f" || r=1
		fds+=("$fd")
	done
	for fd in "${fds[@]}"; do
		exec {fd}<&-
	done
	return "$r"
}

one_layer() {
	[ "$(find "$STORE/lineages" -name layer.ini | wc -l)" = 1 ]
}

note 'snapshots of a disk that is open all the time'
start_daemon
sd create one --size 64M
exec 9<"$DISKS/one"
write_number "$DISKS/one" 0
before=$(resident_kib)
check "$many are taken" numbered
check 'they need little memory' grown $((many * 50 + 8192))
check 'all are there' test "$(count "$SNAPS/one")" = "$many"
check 'and listed' test "$(sd ls snapshots --json | jq -s 'flatten |
	length')" = "$many"
check 'the tree has all' test "$(sd tree | grep -c .)" -gt "$many"
for i in 1 2 $((many / 2)) "$many"; do
	check "snapshot $i has what it had" holds_number "$SNAPS/one/$i" "$i"
	check "snapshot $i has all before" all_blocks "$SNAPS/one/$i" "$i"
done
check 'the disk has all' all_blocks "$DISKS/one" "$many"
exec 9<&-

note 'after the daemon has ended'
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
start_daemon
check 'the disk has all' all_blocks "$DISKS/one" "$many"
check 'a snapshot has what it had' holds_number "$SNAPS/one/7" 7
check 'one more is taken' ln "$DISKS/one" "$SNAPS/one/more"

note 'disks'
before=$(resident_kib)
check "$many are made" make_disks
for i in 1 $((many / 2)) "$many"; do
	check "disk $i is written to" write_number "$DISKS/d$i" "$i"
done
check 'they need little memory' grown $((16 << 10))
check 'all are there' test "$(count "$DISKS")" = $((many + 1))
check 'and listed' test "$(sd ls --json | jq -s 'flatten | length')" = \
	$((many + 1))
for i in 1 $((many / 2)) "$many"; do
	check "disk $i has what was written" holds_number "$DISKS/d$i" "$i"
done
check 'all are attached at once, the snapshots too' open_all

note 'all of it removed'
check 'the disks' wait_for 20 rm -f "$DISKS"/d*
check 'half of the snapshots' wait_for 20 rm -f "$SNAPS"/one/*[02468]
check 'the others have what they had' holds_number "$SNAPS/one/1" 1
check 'and the disk' all_blocks "$DISKS/one" "$many"
check 'the other half' wait_for 20 rm -f "$SNAPS"/one/*
check 'the disk has all' all_blocks "$DISKS/one" "$many"
check 'one layer is left of it' wait_for 60 one_layer
check 'the disk has all' all_blocks "$DISKS/one" "$many"
stop_daemon
check 'the daemon has ended well' test "$daemon_status" -eq 0
check_not 'no fault in the log' grep -i integrity "$LOG"
