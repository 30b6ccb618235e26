#!/bin/bash
# root_keeper_end.sh - a worker dies while the mount is coming to its end, and a
# file is still open.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_root
require_fuse

is_unmounted() {
	! mountpoint -q "$MNT"
}

# The mount cannot be asked any more: the older one of the two.
worker() {
	pgrep -o -P "$daemon"
}

goes_on() {
	[ -n "$(worker)" ] && [ "$(worker)" != "$first" ]
}

make_store
start_daemon
sd create d --size 16M
head -c 65536 /dev/urandom >"$T/data"
exec 3<>"$MNT/disks/d"
cat "$T/data" >&3
kill -TERM "$daemon"
check 'a SIGTERM takes the mount away' wait_for 5 is_unmounted
first=$(worker)
kill -KILL "$first"
check 'another worker goes on' wait_for 5 goes_on
second=$(worker)
sleep 0.3
check 'which the same signal does not end' kill -0 "$second"
if kill -0 "$second" 2>/dev/null; then
	timeout 5 dd if="/proc/$$/fd/3" of="$T/back" bs=65536 count=1 \
		status=none || :
	check 'what is open is served' cmp "$T/data" "$T/back"
	exec 3>&-
	check 'and its last close is the end' wait_for 10 ended "$daemon"
	daemon=''
else
	kill_mount
fi
