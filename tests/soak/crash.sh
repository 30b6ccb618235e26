# crash.sh - the event before the kill, what is left after it, and the recovery.
# shellcheck shell=bash
# shellcheck disable=SC2004,SC2034,SC2119,SC2154 # soak.sh has the rest

# start_event: in the background, for it is to be killed in its midst.
start_event() {
	event_pid='' did="$work_ms ms, then $event $event_ms ms"
	case $event in
	snapshot | drop) plan_snapshot_event ;;
	esac
	: $((n_events[$event] += 1))
	case $event in
	snapshot) sd snapshot "d@$snap" >"$T/event" 2>&1 & ;;
	drop) sd rm --yes "d@$snap" >"$T/event" 2>&1 & ;;
	trim) "${workload}_trim" >"$T/event" 2>&1 & ;;
	detach)
		"${workload}_stop" >"$T/event" 2>&1
		sd detach d >"$T/event" 2>&1 &
		;;
	*) return ;;
	esac
	event_pid=$!
}

# end_event: it may have ended well before the kill, or not.
end_event() {
	local r=0

	[ -n "$event_pid" ] || return 0
	wait "$event_pid" 2>/dev/null || r=$?
	case $event in
	snapshot | drop) end_snapshot_event "$r" ;;
	esac
	if [ "$r" -eq 0 ]; then
		did+=' (done)'
	else
		did+=' (under way)'
	fi
}

# clear_away: what an administrator does with what is left of a mount that died.
clear_away() {
	for dev in $(loops_below); do
		losetup -d "$dev"
	done
	[ -n "$daemon" ] || ! mountpoint -q "$MNT" || umount -l "$MNT"
}

# kill_in_recovery MS
kill_in_recovery() {
	local pid

	start_daemon
	"${workload}_attach" >/dev/null 2>&1 &
	pid=$!
	nap "$1"
	kill_mount
	n_kills=$((n_kills + 1))
	wait "$pid" 2>/dev/null || :
	clear_away
	did+=", again $1 ms into recovery"
}

# recover: it is mounted and attached, at last; unless the daemon lives, when it is
# only attached.
recover() {
	local ms start_ms attach_ms

	if [ -n "$daemon" ]; then
		must 'it is attached' "${workload}_attach"
		return
	fi
	n_kills=$((n_kills + 1))
	for ms in "${recoveries[@]}"; do
		kill_in_recovery "$ms"
	done
	start_ms=$(now_ms)
	must 'it mounts' start_daemon || return
	attach_ms=$(now_ms)
	must 'it is attached' "${workload}_attach" || return
	ms=$(now_ms)
	did+="; back in $((ms - start_ms)) ms"
	[ $((ms - start_ms)) -le "$longest_ms" ] ||
		longest_ms=$((ms - start_ms))
	[ $((ms - attach_ms)) -le "$longest_attach_ms" ] ||
		longest_attach_ms=$((ms - attach_ms))
}

now_ms() {
	local us=${EPOCHREALTIME/./}

	printf '%s\n' $((us / 1000))
}

# whole_fs DIR: the file system of $dev is whole after the kernel has recovered
# it; and is mounted there.
whole_fs() {
	mount "$dev" "$1" || return
	umount "$1"
	if ! e2fsck -fn "$dev" >"$T/e2fsck" 2>&1; then
		cat "$T/e2fsck"
		return 1
	fi
	mount "$dev" "$1"
}

# leave_fs DIR: unmounts it, if it is mounted, when its last user has gone.
leave_fs() {
	! mountpoint -q "$1" || wait_for 10 umount "$1" 2>/dev/null
}
