#!/bin/bash
# root_worker_model.sh - random work in the mounted tree, as tests/helper_model.c
# has it in its model, while the worker is killed before, in and between
# operations, and exchanged for another program: all that was answered is there,
# and each thing was done once.
#
# SEALDISK_TEST_SLOW=1: thousands of steps.  SEALDISK_SEED=N: the same steps.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_root
require_fuse
require jq

model=${top_builddir:-.}/tests/helper_model
[ -x "$model" ] || skip "needs $model: make check-root builds it"
steps=400 deaths=60
[ -z "${SEALDISK_TEST_SLOW:-}" ] || steps=5000 deaths=300
seed=${SEALDISK_SEED:-$SRANDOM}
note "the steps are those of SEALDISK_SEED=$seed"

make_store
start_daemon
E=$T/expected
mkdir -p "$E/disks" "$E/snapshots" "$E/images"

# One during which the worker dies is called off, which is no fault.
exchange() {
	while [ ! -e "$T/enough" ]; do
		sleep 1
		timeout 30 "$SEALDISK" upgrade "$MNT" >/dev/null 2>&1 || :
	done
}

run_model() {
	timeout 900 "$model" "$MNT" "$seed" "$steps" "$deaths" "$E" >"$T/model"
}

exchange &
exchanger=$!
check 'all is as if none had died' run_model
: >"$T/enough"
wait "$exchanger"
note "$(cat "$T/model")"
grep -q 'deaths$' "$T/model" || tail -n 40 "$LOG"
killed=$(sed -n 's/^\([0-9]*\) deaths$/\1/p' "$T/model")
check 'it was killed often enough' test "${killed:-0}" -ge $((deaths / 2))
restarts=$(sd info --json | jq .daemon.restarts)
note "$restarts restarts, $(sd info --json | jq .daemon.upgrades) upgrades"
# One that dies while it hands over to a new program is followed by that.
check 'another worker came each time' test \
	"$restarts" -ge $((${killed:-0} - 2 - ${killed:-0} / 20))

stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
check 'the store is whole' quiet sd check
start_daemon
for folder in disks snapshots images; do
	check "$folder/ is what it must be" quiet diff -r \
		"$E/$folder" "$MNT/$folder"
done
stop_daemon
