# plan.sh - what happens when in a round of soak.sh.  All of it comes of the seed,
# the workload and the round's number, and of nothing that was drawn before.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # soak.sh has the one and reads the other

# draw N: sets $drawn to 0 .. N - 1.  Not in a subshell, which has other numbers.
draw() {
	drawn=$(((RANDOM << 15 | RANDOM) % $1))
}

# plan: sets
#	work_ms		how long the work goes on before
#	event		what is then begun: snapshot, drop, trim, detach, work
#	event_ms	how long after that everything is killed
#	recoveries	when, in ms, each recovery is killed that is not the last
#	look_at_snapshot	whether a snapshot is looked at afterwards
#	luck		a number for the workload itself
plan() {
	# Whatever was drawn before: a round by itself has its own numbers.
	RANDOM=$(((seed * 7919 + round * 104729 + $(printf '%d' "'${workload}") * \
		1299709) & 0x7fffffff))
	draw 1200
	work_ms=$((drawn + 50))
	# Also after the background committer has had its turn.
	draw 25
	[ "$drawn" -ne 0 ] || work_ms=5600
	draw 20
	case $drawn in
	[0-5]) event=snapshot ;;
	[6-8]) event=drop ;;
	9 | 1[0-2]) event=trim ;;
	1[3-5]) event=detach ;;
	*) event=work ;;
	esac
	plan_event_ms
	plan_recoveries
	draw 3
	look_at_snapshot=$([ "$drawn" -ne 0 ] || echo yes)
	draw 1000000
	luck=$drawn
}

# Often very soon, in the midst of it, and often when it is done, as far as can be
# seen, and goes on behind.
plan_event_ms() {
	draw 3
	case $drawn in
	0) draw 25 ;;
	1) draw 300 ;;
	*) draw 1200 ;;
	esac
	event_ms=$drawn
}

# None, seven times of ten.
plan_recoveries() {
	local n

	draw 10
	n=$((drawn == 0 ? 2 : drawn < 3))
	recoveries=()
	while [ "${#recoveries[@]}" -lt "$n" ]; do
		draw 120
		recoveries+=("$drawn")
	done
}

# nap MS
nap() {
	sleep "$(($1 / 1000)).$(printf '%03d' $(($1 % 1000)))"
}
