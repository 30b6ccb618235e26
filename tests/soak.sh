#!/bin/bash
# soak.sh - the daemon is killed, again and again, at random moments of real
# work, and all that was said to be durable is looked for afterwards.
#
#	soak.sh [--rounds N] [--seed N] [--keep DIR] [WORKLOAD...]
#
# Workloads, each in soak/NAME.sh: ext4 (numbered records that are synced, beside
# other load), fio (which verifies what it wrote), postgres (pgbench; each
# transaction that was reported committed), guest (a machine in QEMU, of which
# the host is cut).  The rounds are shared out among those that are given, or all.
#
# A round: the work begins; some time later something is done to the disk, often
# - a snapshot is taken or removed, a discard, a detach; shortly after that
# everything that makes the mount is killed.  Sometimes it is killed again
# while it recovers.  Then all is looked at, and the next round goes on with it;
# some rounds later with a new store.
#
# What is done when comes of the seed, which is printed: SEALDISK_SEED=N, or
# --seed N, has the same schedule.  --keep copies the store of a round that
# failed to DIR, and ends.
# shellcheck disable=SC2119,SC2154 # what the parts of it have
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
here=$(cd "${0%/*}" && pwd)
# shellcheck source=tests/soak/plan.sh
. "$here/soak/plan.sh"
# shellcheck source=tests/soak/crash.sh
. "$here/soak/crash.sh"
# shellcheck source=tests/soak/snapshots.sh
. "$here/soak/snapshots.sh"
# shellcheck source=tests/soak/ext4.sh
. "$here/soak/ext4.sh"
# shellcheck source=tests/soak/fio.sh
. "$here/soak/fio.sh"
# shellcheck source=tests/soak/postgres.sh
. "$here/soak/postgres.sh"
# shellcheck source=tests/soak/guest.sh
. "$here/soak/guest.sh"

usage() {
	printf 'usage: soak.sh [--rounds N] [--seed N] [--keep DIR] %s\n' \
		'[ext4 | fio | postgres | guest] ...' >&2
	exit 2
}

rounds=200 keep='' workloads=()
seed=${SEALDISK_SEED:-$((RANDOM * 32768 + RANDOM))}
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?} && shift ;;
	--seed) seed=${2:?} && shift ;;
	--keep) keep=${2:?} && shift ;;
	ext4 | fio | postgres | guest) workloads+=("$1") ;;
	*) usage ;;
	esac
	shift
done
[ "${#workloads[@]}" -gt 0 ] || workloads=(ext4 fio postgres guest)
require_loop
require_fuse
require jq mkfs.ext4 e2fsck losetup fstrim pgrep
rounds_of_a_store=20

# must WHAT COMMAND ARGS...: only a failure is said; ${good} is empty then.
must() {
	local what=$1

	shift
	"$@" && return
	failed "$workload, round $round: $what (status $?: $*)"
	good=''
	return 1
}

# spoilt: the round has failed in a way that leaves nothing to go on with.
spoilt() {
	note "round $round: $did"
	note "SEALDISK_SEED=$seed; the log's end:"
	grep -v 'the system refuses' "$LOG" | tail -n 20
	if [ -n "$keep" ]; then
		mkdir -p "$keep"
		cp -a "$T/." "$keep/" 2>/dev/null || :
		note "copied to $keep"
	fi
	exit 1
}

# begin_store: a new one, with the disk d, ready for work.
begin_store() {
	rm -rf "$T/store" "$T/keystore.db"* "$T/root.key" "$T/audit"
	make_store
	# Hardly any cache: pages are written, dropped and read again.
	sed -i 's/^linger/cache_size = 4M\n&/' "$SEALDISK_CONFIG"
	: >"$LOG"
	forget_snapshots
	start_daemon
	"${workload}_make"
	take_first_snapshot
}

# end_store: without a kill, and looked at as a whole.
end_store() {
	good=yes
	look_at_store || :
	[ -n "$good" ] || spoilt
}

look_at_store() {
	local name

	for name in "${!snap_state[@]}"; do
		must "snapshot $name is what it was" verify_snapshot "$name"
	done
	"${workload}_stop"
	must 'the disk is detached' let_disk_go
	must 'clean' wait_for 20 is_clean
	must 'no fault in the log' no_fault_in_log
	stop_daemon
	must 'the daemon has ended well' test "$daemon_status" -eq 0
	must 'check finds nothing' check_store
}

# What a guest had goes by itself when it is closed.  Who merges layers of it may
# have it for a moment.
let_disk_go() {
	quiet sd detach d || wait_for 10 is_free
}

is_free() {
	[ "$(field d .attached_by)" = null ]
}

is_clean() {
	[ "$(field d .clean)" = true ]
}

no_fault_in_log() {
	! grep -i integrity "$LOG"
}

check_store() {
	sd check --json >"$T/check.json" 2>"$T/check.err" &&
		jq -e '.findings == []' "$T/check.json" >/dev/null && return
	cat "$T/check.json" "$T/check.err"
	return 1
}

# One round, from a disk ready for work to the same.
one_round() {
	plan
	good=yes
	must 'the work begins' "${workload}_start" || spoilt
	nap "$work_ms"
	start_event
	nap "$event_ms"
	"${workload}_crash"
	end_event
	"${workload}_ended"
	clear_away
	recover || spoilt
	look_at_disk || :
	[ -n "$good" ] || spoilt
	passed "$workload, round $round: $did"
}

look_at_disk() {
	must 'the snapshots are those that were taken' match_snapshots
	[ -z "$look_at_snapshot" ] || look_at_a_snapshot
	must 'all that was durable is there' "${workload}_verify"
	must 'no fault' test "$(field d .counters.faults)" = 0
	must 'no fault in the log' no_fault_in_log
	# Who merges layers may have had it attached meanwhile.
	[ "$event" = detach ] || [ "$workload" = guest ] || [ -n "$dropped" ] ||
		must 'it knows that it was killed' \
			test "$(field d .counters.unclean)" = 1
}

# soak WORKLOAD N: so many rounds of it.
soak() {
	local n=$2

	workload=$1 round=0 did='' n_verified=0 n_kills=0 n_snap_looks=0
	longest_ms=0 longest_attach_ms=0
	declare -gA n_events=()
	if ! reason=$("${workload}_needs"); then
		printf '[  SKIPPED ] 1 test(s): %s needs %s\n' "$1" "$reason"
		return
	fi
	while [ "$round" -lt "$n" ]; do
		begin_store
		while round=$((round + 1)); do
			one_round
			if [ $((round % rounds_of_a_store)) -eq 0 ] ||
				[ "$round" -ge "$n" ]; then
				break
			fi
		done
		end_store
	done
	report
}

report() {
	local e events=''

	for e in "${!n_events[@]}"; do
		events+=", $e ${n_events[$e]}"
	done
	all_kills=$((all_kills + n_kills))
	note "$workload: $round rounds, $n_kills kills; verified $n_verified" \
		"$("${workload}_unit"), $n_snap_looks times a snapshot;" \
		"longest recovery $longest_ms ms, longest attach" \
		"$longest_attach_ms ms; killed after${events/,/}"
}

printf 'SEALDISK_SEED=%s\n' "$seed"
all_kills=0
start_s=$SECONDS
for ((i = 0; i < ${#workloads[@]}; i++)); do
	# What does not divide evenly goes to the first ones.
	soak "${workloads[i]}" $(((rounds + ${#workloads[@]} - 1 - i) / \
		${#workloads[@]}))
done
note "all: $rounds rounds, $all_kills kills, $((SECONDS - start_s)) s," \
	"SEALDISK_SEED=$seed"
