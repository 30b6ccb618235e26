#!/bin/bash
# root_upgrade.sh - another program takes over a mount, or cannot: its disks stay
# attached and open.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq

installed=$SEALDISK
mkdir "$T/bin"
cp "$installed" "$T/bin/sealdisk"
SEALDISK=$T/bin/sealdisk

# install_program FILE: as a package does, by a rename.
install_program() {
	cp "$1" "$T/bin/new"
	chmod 755 "$T/bin/new"
	mv "$T/bin/new" "$T/bin/sealdisk"
}

# upgrade: by a program that is whole.
upgrade() {
	"$installed" -s "$STORE" upgrade "$MNT"
}

daemon_field() {
	"$installed" -s "$STORE" info --json | jq ".daemon.$1"
}

make_store
start_daemon
sd create db --size 64M
dev=$(sd attach db)
head -c 1M /dev/urandom >"$T/data"
dd if="$T/data" of="$dev" bs=64K oflag=direct status=none # not synced
keeper=$(daemon_field daemon_pid)

note 'a program that can'
before=$(worker)
install_program "$installed"
expect 0 'is served by process' upgrade
check 'another process serves' test "$(worker)" != "$before"
check 'it is counted' test "$(daemon_field upgrades)" -eq 1
check 'the disk has what was acknowledged' cmp -n 1M "$dev" "$T/data"
check 'the keeper is the new program, too' wait_for 10 \
	grep -qa keeper-state "/proc/$keeper/cmdline"
check 'under its old number' test "$(daemon_field daemon_pid)" -eq "$keeper"
kill -KILL "$(worker)"
check 'which has a worker followed by another' cmp -n 1M "$dev" "$T/data"

note 'programs that cannot'
before=$(worker)
install_program /bin/false
expect 1 'ends at once' upgrade
printf '#!/bin/sh\nkill -SEGV $$\n' >"$T/script"
install_program "$T/script"
expect 1 'ends at once' upgrade
rm "$T/bin/sealdisk"
expect 1 'ends at once' upgrade
install_program "$installed"
cp "$SEALDISK_CONFIG" "$T/good.ini"
printf '[mount]\nlinger = soon\n' >>"$SEALDISK_CONFIG"
expect 1 'settings' env SEALDISK_CONFIG="$T/good.ini" "$installed" \
	-s "$STORE" upgrade "$MNT"
cp "$T/good.ini" "$SEALDISK_CONFIG"
check 'the old one serves' test "$(worker)" = "$before"
check 'with the disk attached' cmp -n 1M "$dev" "$T/data"
expect 0 'is served by process' upgrade
check 'and then another' test "$(worker)" != "$before"

note 'a program that has taken over, and does not serve yet'
# stop_next OLD: whoever serves when that one has gone.
stop_next() {
	local children pid

	children=$1
	while [[ " $children " = *" $1 "* ]]; do
		read -r children <"/proc/$keeper/task/$keeper/children" || :
	done
	for pid in $children; do
		kill -STOP "$pid" 2>/dev/null || :
	done
}
ticks() {
	awk '{ print $14 + $15 }' "/proc/$keeper/stat"
}
before=$(worker)
install_program "$installed"
upgrade >"$T/upgrade" 2>&1 &
job=$!
stop_next "$before"
sleep 1.5
n=$(ticks)
sleep 1
check 'costs the keeper no time' test $(($(ticks) - n)) -lt 20
pgrep -P "$keeper" | xargs kill -CONT
check 'and serves then' wait "$job"
check 'with the disk attached' cmp -n 1M "$dev" "$T/data"

note 'busy'
fio --name=v --filename="$dev" --size=64M --rw=randwrite --bs=4k --iodepth=32 \
	--ioengine=libaio --direct=1 --verify=crc32c --do_verify=1 \
	--verify_fatal=1 --rate_iops=4000 >"$T/fio" 2>&1 &
fio=$!
for _ in 1 2 3 4 5; do
	sleep 0.3
	check 'exchanged' quiet upgrade
done
check 'no error, no mismatch' wait "$fio"
SEALDISK=$installed
sd detach db
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
check 'the disk is whole' quiet sd check db
