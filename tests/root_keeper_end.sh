#!/bin/bash
# root_keeper_end.sh - a worker dies, or another one takes over, while the mount is
# coming to its end.
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

# A program of which the new version says that it has begun, and waits.
mkdir "$T/bin"
cp "$SEALDISK" "$T/bin/sealdisk"
"$T/bin/sealdisk" mount -f "$STORE" "$MNT" 2>>"$LOG" &
daemon=$!
wait_for 10 mountpoint -q "$MNT"
first=$(worker)
cat >"$T/new" <<-END
	#!/bin/sh
	: >"$T/begun"
	while [ ! -e "$T/go" ]; do sleep 0.05; done
	exec $SEALDISK "\$@"
END
chmod +x "$T/new"
mv "$T/new" "$T/bin/sealdisk"
start_upgrade() {
	rm -f "$T/begun" "$T/go"
	timeout 20 "$SEALDISK" upgrade "$MNT" >/dev/null 2>&1 &
	upgrade=$!
	wait_for 10 test -e "$T/begun"
}

# What was said to be off does not come after all.
start_upgrade
kill -KILL "$first"
check_not 'an upgrade during which the worker dies is refused' wait "$upgrade"
second=$(worker)
: >"$T/go"
sleep 0.5
check 'and stays so' test "$(worker)" = "$second"
first=$second

start_upgrade
# It has no time to look at signals any more.
kill -STOP "$first"
kill -TERM "$daemon"
: >"$T/go"
check 'a SIGTERM just before an upgrade' wait_for 10 is_unmounted
check 'is the end' wait_for 10 ended "$daemon"
wait "$upgrade" || :
if ! kill -0 "$daemon" 2>/dev/null; then
	daemon=''
else
	kill_mount
fi
