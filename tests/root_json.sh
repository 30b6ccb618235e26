#!/bin/bash
# root_json.sh - the JSON of json.sh, of a mounted store and attached disks.
# shellcheck disable=SC2119 # mount_store's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq

unclean_a() {
	[ "$(field a .state)" = unclean ]
}

make_store
sd create a --size 1M
sd create b --size 1M
mount_store
conforms 0 top sd top --json
conforms 0 attach sd attach a --json
conforms 0 attach sd attach b --ro --json
conforms 0 ls sd ls --json
check 'they are attached' jq -e 'all(.[]; .state == "attached" and
	(.attached_by.loop_devices | length) == 1)' <<<"$out"
conforms 0 info sd info a --json
check 'it has what only its daemon knows' \
	jq -e '.counters and .layers == 1 and has("would_free")' <<<"$out"
conforms 0 top sd top --json
check 'there are two' jq -e 'length == 2' <<<"$out"
conforms 0 top sd top --once --json
conforms 0 export sd export a "$T/live" --live --json
conforms 0 'kms status' sd kms status --json
conforms 0 rotate sd rotate --all --json
status=0
sd doctor --json >"$T/doctor" 2>/dev/null || status=$?
check 'doctor' valid doctor <"$T/doctor"
sd detach a
sd detach b
conforms 0 info sd info a --json

if command -v qemu-img >/dev/null; then
	note 'images'
	for format in qcow2 vpc vmdk; do
		conforms 0 export \
			sd export a "$T/a.$format" --format "$format" --json
		conforms 0 import sd import "$T/a.$format" "$format" --json
	done
fi

note 'a daemon that was killed'
sd attach a >/dev/null
kill -9 "$(field a .attached_by.pid)"
wait_for 10 unclean_a
conforms 0 ls sd ls --json
conforms 0 info sd info a --json
conforms 0 unlock sd unlock a --json
status=0
sd doctor --json >"$T/doctor" 2>/dev/null || status=$?
check 'doctor' valid doctor <"$T/doctor"
check 'it is serious' test "$status" -eq 1
sd detach a
umount "$MNT"
