#!/bin/bash
# root_plaintext.sh - what is written to a disk, and its keys, are nowhere they
# do not belong: not in the store, the log or a core dump, and once the disk is
# detached not in the daemon's memory or the kernel's cache of the file either.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4

memsearch=$(readlink -f "${top_builddir:-.}/tests/helper_memsearch")
[ -x "$memsearch" ] || skip "needs $memsearch: make check-root builds it"
FS=$T/fs
mkdir "$FS" "$T/cwd"
make_store
cd "$T/cwd"
ulimit -c unlimited
start_daemon
sd create db --size 64M
sd create raw --size 64M --sector-size 512

# In two pieces, so that no command line and no shell variable holds it whole.
head=PLAINTEXT-OF-SEALDISK
tail=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
printf '%s%s' "$head" "$tail" >"$T/marker"
yes "$(cat "$T/marker")" | head -c 400000 >"$T/content"

# search ARGS...: what is found goes to $T/found.
search() {
	"$memsearch" "$@" >"$T/found"
}

# is_nowhere ARGS...: the marker and all keys of both disks.
is_nowhere() {
	if search -b "$T/marker" -d db "$@" && search -d raw "$@"; then
		return 0
	fi
	cat "$T/found"
	return 1
}

has_found() {
	grep -q "^$1: found" "$T/found"
}

note 'written: as names and as content, through loop device and file'
dev=$(sd attach db)
mkfs.ext4 -q "$dev"
mount "$dev" "$FS"
mkdir "$FS/$(cat "$T/marker")"
cp "$T/content" "$FS/$(cat "$T/marker")/$(cat "$T/marker")"
ln -s "$(cat "$T/marker")" "$FS/link"
exec 8<>"$MNT/disks/raw"
dd if="$T/content" of="$MNT/disks/raw" bs=64k conv=notrunc,fsync status=none
dd if="$T/content" of="$MNT/disks/raw" bs=4k seek=1000 count=64 \
	iflag=fullblock oflag=direct conv=notrunc status=none
dd if="$T/content" of="$MNT/disks/raw" bs=777 seek=9999 conv=notrunc,fsync \
	status=none
sync -f "$FS"
check 'it is on the disk' grep -qaf "$T/marker" "$dev"
check 'and in the file' grep -qaf "$T/marker" "$MNT/disks/raw"

note 'while it is attached'
check 'the daemon has the key' test -n "$(search -d db -p "$(worker)" ||
	grep '^data key: found' "$T/found")"
check 'and keys of chunks' has_found 'block key of chunk [0-9]*'
check_not 'no marker in its arguments' \
	grep -qaF "$tail" "/proc/$daemon/cmdline" "/proc/$daemon/environ"
check_not 'nor in its log' grep -qaFf "$T/marker" "$LOG"

# in_store TEXT: neither names nor content of any file of the store, nor in what
# lies beside it.
in_store() {
	local files

	mapfile -d '' files < <(find "$STORE" -type f -size +0 -print0)
	check_not "$1: not in the store" grep -raqFf "$T/marker" "$STORE"
	check_not "$1: nor in a name there" \
		test -n "$(find "$STORE" -name "*$head*" -o -name "*$tail*")"
	check "$1: nor a key" is_nowhere "${files[@]}"
	check "$1: nor with the keystore, settings and log" is_nowhere \
		"$LOG" "$SEALDISK_CONFIG" "$T"/keystore.db* "$T/root.key"
}
in_store 'in use'

note 'detached'
umount "$FS"
sd detach db
exec 8>&-
sd detach raw 2>/dev/null || wait_for 5 test "$(field raw .state)" = detached
check 'both are detached' test "$(field db .state)$(field raw .state)" = \
	detacheddetached
check 'the daemon runs' kill -0 "$daemon"
check 'no key is left in its memory' search -d db -p "$(worker)"
check "nor in its keeper's" search -d db -p "$daemon"
# Its workers overwrite their buffers when they are told to.
check 'nor the marker' wait_for 3 search -b "$T/marker" -p "$(worker)"
check 'nor a key of the other disk' is_nowhere -p "$(worker)"
check "nor in its keeper's" is_nowhere -p "$daemon"
check 'that was a search' test "$(sed -n 's/ KiB searched.*//p' "$T/found")" \
	-gt 2000
in_store detached

# cached: KiB that the kernel has in its page cache.
cached() {
	awk '$1 == "Cached:" { print $2 }' /proc/meminfo
}

# What of a disk's file is cached goes with the detach.  Others fill the cache
# meanwhile, and so it is tried again.
drops_cache() {
	local before with after try

	for try in {1..8}; do
		before=$(cached)
		exec 8<"$MNT/disks/zeros"
		dd if="$MNT/disks/zeros" of=/dev/null bs=1M status=none
		with=$(cached)
		exec 8<&-
		wait_for 5 is_detached zeros
		after=$(cached)
		note "page cache: $before KiB, $with KiB with the file," \
			"$after KiB after (try $try)"
		if [ $((with - before)) -gt 200000 ] &&
			[ $((with - after)) -gt 200000 ]; then
			return 0
		fi
	done
	return 1
}

is_detached() {
	[ "$(field "$1" .state)" = detached ]
}

note 'the page cache of the file'
sd create zeros --size 256M
check 'is dropped at the last close' drops_cache

note 'attached again'
dev=$(sd attach db)
mount "$dev" "$FS"
check 'what was written is there' \
	cmp "$T/content" "$FS/$(cat "$T/marker")/$(cat "$T/marker")"
cp "$T/content" "$FS/copy"
sync -f "$FS"
check 'the daemon has the key' test -n "$(search -d db -p "$(worker)" ||
	grep '^data key: found' "$T/found")"

note 'a core dump that is asked for'
if command -v gcore >/dev/null; then
	for pid in $(processes_of "$daemon"); do
		if gcore -o "$T/core" "$pid" >"$T/gcore" 2>&1; then
			check 'is one' grep -qaF "$STORE" "$T/core.$pid"
			check 'without marker or keys' \
				is_nowhere "$T/core.$pid"
			rm "$T/core.$pid"
		else
			check 'it is refused' test ! -e "$T/core.$pid"
		fi
	done
fi

note 'a daemon that aborts'
kill_daemon ABRT
check 'leaves no core' test -z "$(ls "$T/cwd")"
check_not 'and no marker in its log' grep -qaFf "$T/marker" "$LOG"
