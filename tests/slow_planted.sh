#!/bin/bash
# slow_planted.sh - the crash explorer finds what is wrong with an engine that
# has a bug of fuse/core/planted.h in it, and finds it again by what it printed;
# in the engine itself there is nothing to be found there.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

planted=${top_builddir:-.}/tests/crash_planted
explore=${top_builddir:-.}/tests/crash_explore
if [ ! -x "$planted" ] || [ ! -x "$explore" ]; then
	skip 'needs tests/crash_planted'
fi
export SEALDISK_TEST_SLOW=1
unset SEALDISK_SEED

# Prints the options that find it again.
again() {
	sed -n '/^shrunk:/{n;s/^ *//p;}' <<<"$out"
}

for bug in map-before-chunks slots-freed-early page-over-newest frozen-late \
	merged-early merged-past settled-in-memory resumed-unsettled resumed-unread \
	resumed-unmapped forgotten-early rest-unproved; do
	expect 1 'found: .*shrunk: ' "$planted" --plant "$bug"
	read -ra options <<<"$(again)"
	note "$bug: ${options[*]}"
	expect 1 'found: ' "$planted" --plant "$bug" "${options[@]}"
	expect 0 'each as it may be' "$explore" "${options[@]}"
done

expect 2 'nothing is planted' "$explore" --plant frozen-late
check_not 'the program has nothing planted in it' \
	grep -q SEALDISK_PLANTED "$SEALDISK"
check_not 'nor its symbols' eval "nm '$SEALDISK' | grep -qw planted"
