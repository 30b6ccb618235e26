# snapshots.sh - which snapshots there must be, and what is in them.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # soak.sh has the rest

# Whether any was removed from this store, or half made, is ${dropped}.  By name:
# what must be (there; taking or dropping: either; gone), what the workload had
# acknowledged before it was begun and when it had ended, and its checksum since
# it was first looked at.
declare -A snap_state snap_from snap_to snap_sum
n_snaps=0

forget_snapshots() {
	snap_state=() snap_from=() snap_to=() snap_sum=() dropped=''
}

# One to begin with, so that there is always a layer below.
take_first_snapshot() {
	snap=first event=snapshot
	snap_from[first]=$("${workload}_acked" first)
	sd snapshot d@first
	end_snapshot_event 0
}

# Three at most, so that merges have their turn, and none is removed where there
# is none.
plan_snapshot_event() {
	local names

	mapfile -t names < <(printf '%s\n' "${!snap_state[@]}" | sort -V |
		grep .)
	if [ "${#names[@]}" -ge 3 ]; then
		event=drop
	elif [ "${#names[@]}" -eq 0 ]; then
		event=snapshot
	fi
	if [ "$event" = drop ]; then
		snap=${names[luck % ${#names[@]}]}
		snap_state[$snap]=dropping dropped=yes
	else
		n_snaps=$((n_snaps + 1))
		snap=s$n_snaps
		snap_from[$snap]=$("${workload}_acked" "$snap")
		snap_state[$snap]=taking
	fi
	did+=" of $snap"
}

# end_snapshot_event STATUS: of the command.
end_snapshot_event() {
	[ "$event" = drop ] || snap_to[$snap]=$("${workload}_acked")
	[ "$1" -eq 0 ] || return 0
	case $event in
	drop) snap_state[$snap]=gone ;;
	*) snap_state[$snap]=there ;;
	esac
}

# match_snapshots: those are there that must be.
match_snapshots() {
	local name is list

	list=$(ls "$MNT/snapshots/d" 2>/dev/null)
	for name in $list; do
		[ -n "${snap_state[$name]:-}" ] || {
			note "$name: never taken"
			return 1
		}
	done
	for name in "${!snap_state[@]}"; do
		is=gone
		! grep -qxF "$name" <<<"$list" || is=there
		case ${snap_state[$name]}$is in
		theregone | gonethere)
			note "$name: ${snap_state[$name]}, but it is $is"
			return 1
			;;
		esac
		snap_state[$name]=$is
		[ "$is" = gone ] || continue
		dropped=yes # also one that was not made: its layer is merged
		unset "snap_state[$name]"
	done
}

look_at_a_snapshot() {
	local names

	mapfile -t names < <(printf '%s\n' "${!snap_state[@]}" | sort -V |
		grep .)
	[ "${#names[@]}" -gt 0 ] || return 0
	snap=${names[luck % ${#names[@]}]}
	must "snapshot $snap is what it was" verify_snapshot "$snap"
}

# with_clone NAME COMMAND ARGS...: with $dev a clone of that snapshot, which then
# goes.
with_clone() {
	local d=$dev name=$1 r=0

	shift
	sd clone "d@$name" c && dev=$(sd attach c) || return
	"$@" || r=$?
	sd detach c && sd rm --yes c || r=1
	dev=$d
	return "$r"
}

# verify_snapshot NAME: the first time by what the workload knows of it.
verify_snapshot() {
	local sum

	sum=$(sha256sum <"$MNT/snapshots/d/$1") || return
	n_snap_looks=$((n_snap_looks + 1))
	if [ -n "${snap_sum[$1]:-}" ]; then
		[ "$sum" = "${snap_sum[$1]}" ]
		return
	fi
	snap_sum[$1]=$sum
	"${workload}_verify_snapshot" "$1"
}
