# lib_threads.sh - what the tests of programs under ThreadSanitizer share.  Read
# after lib.sh.
#
# A process that finds a race tells it in a file of its own, $T/tsan.PID, at once:
# also one that is killed later, and one whose standard error nobody reads.
# shellcheck shell=bash

# shellcheck disable=SC2034 # it is of those who read this
seconds=${SEALDISK_SECONDS:-20}

# The exit status stays the program's own: a command is to be done in spite of
# what is found in it.  Locks are not looked at, for the reason that Makefile.am
# gives.
watch_threads() {
	nm -D "$SEALDISK" 2>/dev/null | grep -q __tsan_init ||
		skip 'needs a build --with-sanitizer=thread'
	"$SEALDISK" --version >/dev/null 2>&1 ||
		skip 'needs setarch -R, as make check-threads has it'
	export TSAN_OPTIONS="log_path=$T/tsan exitcode=0 detect_deadlocks=0\
 history_size=4"
}

# is_watched PID: whether what checks it is loaded in it.
is_watched() {
	grep -q libtsan "/proc/$1/maps"
}

# reports: how often something was found.
reports() {
	cat "$T"/tsan.* 2>/dev/null | grep -c '^WARNING: ThreadSanitizer' || :
}

# found_nothing: else all of it is shown.
found_nothing() {
	[ "$(reports)" -eq 0 ] && return
	cat "$T"/tsan.*
	return 1
}

# over: whether the work is to come to its end.
over() {
	[ -e "$T/enough" ]
}

# again NAME: the function NAME with 0, 1, ... until it is over, and once at
# least; it ends with what fails.
again() {
	local i=0

	while "$1" "$i" >"$T/$1.out" 2>&1; do
		i=$((i + 1))
		printf '%s\n' "$i" >"$T/$1.done"
		! over || return 0
	done
	cat "$T/$1.out"
	return 1
}

# begin NAME...: each again and again, beside the others.
declare -A works=()
begin() {
	local name

	for name; do
		again "$name" >"$T/$name.failed" &
		works[$name]=$!
	done
}

# end_all: what was begun, and what became of it.
end_all() {
	local name

	: >"$T/enough"
	for name in "${!works[@]}"; do
		check "$name: nothing failed" wait "${works[$name]}"
		cat "$T/$name.failed"
		note "$name: $(cat "$T/$name.done" 2>/dev/null) times"
	done
	works=()
}
