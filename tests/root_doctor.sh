#!/bin/bash
# root_doctor.sh - `doctor` and `top` on a real mount.
# shellcheck disable=SC2016 # backquotes stand in messages
# shellcheck disable=SC2119 # mount_store's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq

make_store
refuse 3 'not mounted' sd top
refuse 3 'not mounted' sd top --json

# found CHECK [FILTER]: whether doctor has it, for which FILTER holds.
found() {
	{ sd doctor --json 2>/dev/null || :; } |
		jq -e --arg check "$1" "any(.[]; .check == \$check and ${2:-true})" \
			>/dev/null
}

none_attached() {
	[ "$(sd top --json | jq length)" -eq 0 ]
}

sd create db --size 64M
mount_store
note 'doctor'
dev=$(sd attach db)
check_not 'a device of `sealdisk attach` is well' found loop-direct-io
check_not 'its sectors, too' found loop-sector-size
check_not 'and the mount' found max-background
check_not 'nobody is dead' found daemon-dead
sd detach db
dev=$(losetup -f --show "$MNT/disks/db")
check 'what losetup leaves as it is is found' found loop-direct-io \
	"(.what | contains(\"$dev over $MNT/disks/db \"))"
check 'the sectors, too' found loop-sector-size
if [ -w "/sys/class/bdi/0:$(stat -c %Ld "$MNT")/max_ratio" ]; then
	echo 1 >"/sys/class/bdi/0:$(stat -c %Ld "$MNT")/max_ratio"
	check 'little dirty memory is found' found max-ratio
fi
if [ -w "/sys/fs/fuse/connections/$(stat -c %Ld "$MNT")/max_background" ]; then
	echo 5 >"/sys/fs/fuse/connections/$(stat -c %Ld "$MNT")/max_background"
	check 'few requests at a time are found' found max-background
fi

note 'top'
dd if=/dev/zero of="$dev" bs=1M count=4 conv=fsync status=none
dd if=/dev/urandom of="$dev" bs=1M count=8 conv=fsync status=none
expect 0 '^NAME +READ +WRITTEN .*STATE.db +.* 12.0M .* ok$' sd top
expect 0 '^NAME ' sd top --once
run sd top --json
check 'JSON has all counters' jq -e 'length == 1 and (.[0] |
	.name == "db" and .write_bytes == 12582912 and .commits >= 1 and
	.faults == 0 and .failed == 0 and .unclean == 0 and
	has("reads") and has("read_bytes") and has("writes") and has("zeros") and
	has("flushes") and has("commit_errors") and has("repairs") and
	has("allocated") and has("dirty_groups") and has("chunks_open"))' \
	<<<"$out"
if command -v script >/dev/null; then
	# It ends with the q, long before that of timeout.
	{ sleep 2.5; printf q; sleep 1; } |
		timeout 20 script -qec "'$SEALDISK' top" /dev/null >"$T/screen"
	check 'on a terminal it is drawn again and again' \
		test "$(grep -c 'READ/s' "$T/screen")" -ge 2
	check 'and the terminal is put back' \
		grep -qF $'\e[?1049l' "$T/screen"
fi
losetup -d "$dev"

note 'a daemon that was killed'
wait_for 10 none_attached
sd attach db >"$T/dev"
kill -9 "$(field db .attached_by.pid)"
check 'is found' wait_for 5 found daemon-dead '.severity == "serious"'
run sd doctor
check 'and serious' test "$status" -eq 1
expect 1 '' sd top
sd detach db
umount "$MNT"

note 'a store that is nearly full'
mkdir "$T/small"
mount -t tmpfs -o size=8m tmpfs "$T/small"
sd init "$T/small/store" >/dev/null
export SEALDISK_STORE=$T/small/store
check_not 'an empty one is well' found store-space
head -c 7850k /dev/zero >"$T/small/fill"
check 'nearly full' found store-space '.severity == "warning"'
head -c 1M /dev/zero >>"$T/small/fill" 2>/dev/null || :
check 'full' found store-space '.severity == "serious"'
umount "$T/small"
