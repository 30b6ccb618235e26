# lib.sh - what the shell tests share.  Read by them with
#
#	. "${0%/*}/lib.sh"
#
# A test is bash, and reports what it has tried, one by one:
#
#	check "a sentence that is true" COMMAND ARGS...
#	check_not "a sentence that is true" COMMAND ARGS...
#	expect STATUS "regular expression" COMMAND ARGS...
#
# A check that fails is counted and the test goes on; a command outside of a
# check that fails ends it.  The last lines of the log have cmocka's form, so
# that `quickstart --test` can add them up.
#
# Everything a test makes lies below $T.  When it ends, however it ends, what is
# mounted below $T is unmounted, loop devices over files below $T are detached,
# and daemons that serve a mount below $T are stopped: nothing else is touched.
# shellcheck shell=bash

set -eu
export LC_ALL=C
SEALDISK=${SEALDISK:-$PWD/sealdisk}
unset SEALDISK_STORE SEALDISK_CONFIG
umask 022

n_passed=0 n_failed=0 finished=''
out='' status=0

note() {
	printf '# %s\n' "$*"
}

skip() {
	printf '[  SKIPPED ] 1 test(s): %s\n' "$*"
	finished=77
	exit 77
}

require_root() {
	[ "$(id -u)" -eq 0 ] || skip 'needs root'
}

require_fuse() {
	if ! [ -c /dev/fuse ] || ! [ -w /dev/fuse ]; then
		skip 'needs /dev/fuse'
	fi
}

require_loop() {
	require_root
	[ -c /dev/loop-control ] || skip 'needs loop devices'
}

# require TOOL...: programs that the test cannot do without.
require() {
	local tool

	for tool; do
		command -v "$tool" >/dev/null || skip "needs $tool"
	done
}

passed() {
	n_passed=$((n_passed + 1))
	printf '[       OK ] %s\n' "${*//[[:space:]]/ }"
}

failed() {
	n_failed=$((n_failed + 1))
	printf '[  FAILED  ] %s\n' "$*"
}

check() {
	local what=$1

	shift
	if "$@"; then
		passed "$what"
	else
		failed "$what (status $?: $*)"
	fi
}

check_not() {
	local what=$1

	shift
	if "$@"; then
		failed "$what ($*)"
	else
		passed "$what"
	fi
}

# run COMMAND ARGS...: what it prints goes to $out, its exit status to $status.
run() {
	status=0
	out=$("$@" 2>&1) || status=$?
}

# expect STATUS REGEX COMMAND ARGS...: it ends with STATUS, and what it prints
# (both streams) matches REGEX.
expect() {
	local want=$1 regex=$2

	shift 2
	run "$@"
	if [ "$status" -ne "$want" ]; then
		failed "$* (status $status instead of $want: $out)"
	elif ! [[ $out =~ $regex ]]; then
		failed "$* ('$out' does not match '$regex')"
	else
		passed "$*"
	fi
}

# refuse STATUS REGEX COMMAND ARGS...: expect, and one line alone is printed.
refuse() {
	expect "$@"
	if [[ $out == *$'\n'* ]] || [[ $out != sealdisk:* ]]; then
		failed "${*:3}: not one line of sealdisk: $out"
	fi
}

# valid ENTRY: what is read is JSON as tests/schema.json has it under ENTRY; what
# is wrong with it is printed.
valid() {
	local wrong status=0

	wrong=$(jq -rs --arg entry "$1" --argjson schema \
		"$(cat "${0%/*}/schema.json")" -f "${0%/*}/schema.jq" 2>&1) ||
		status=$?
	printf '%s' "$wrong"
	[ "$status" -eq 0 ] && [ -z "$wrong" ]
}

# conforms STATUS ENTRY COMMAND ARGS...: it ends with STATUS, and prints what is
# valid and nothing else.
conforms() {
	local want=$1 entry=$2 wrong

	shift 2
	status=0
	out=$("$@" 2>"$T/stderr") || status=$?
	if [ "$status" -ne "$want" ]; then
		failed "$* (status $status: $out $(cat "$T/stderr"))"
	elif ! wrong=$(valid "$entry" <<<"$out"); then
		failed "$*: $wrong: $out"
	else
		passed "$*: $entry"
	fi
}

# wait_for SECONDS COMMAND ARGS...: until the command succeeds.
wait_for() {
	local tries=$(($1 * 20))

	shift
	while ! "$@"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.05
	done
}

# stall ARGS...: start a command that copies, in the background, as $job.  It
# stays where it has copied a part: it tells how far it has come, and the pipe
# for that is full.
stall() {
	rm -f "$T/pipe"
	mkfifo "$T/pipe"
	exec {pipe}<>"$T/pipe"
	dd if=/dev/zero of="$T/pipe" bs=4k oflag=nonblock status=none \
		2>/dev/null || :
	"$SEALDISK" "$@" --progress=json >"$T/pipe" 2>&1 {pipe}>&- &
	job=$!
}

# unstall SIGNAL: it gets the signal, goes on, and has ended as $status; what it
# has said is in $T/said.
unstall() {
	kill "-$1" "$job"
	exec {drain}<"$T/pipe" {pipe}>&-
	tr -d '\0' <&"$drain" >"$T/said" &
	exec {drain}<&-
	status=0
	wait "$job" 2>/dev/null || status=$?
	wait "$!"
}

# Mount points below $T, the newest first.
mounts_below() {
	awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo |
		tac
}

# Loop devices over files below $T.
loops_below() {
	local f dev

	for f in /sys/block/loop*/loop/backing_file; do
		[ -r "$f" ] || continue
		case $(cat "$f" 2>/dev/null || :) in
		"$T"/*)
			dev=${f#/sys/block/}
			printf '/dev/%s\n' "${dev%%/*}"
			;;
		esac
	done
}

# Processes whose command line names a place below $T: daemons, and what a
# failed test left running.
processes_below() {
	grep -lF -e "$T/" /proc/[0-9]*/cmdline 2>/dev/null |
		grep -oE '[0-9]+' | grep -vxF -e $$
}

# What lies on a loop device goes before the device, and that before the mount
# which holds its file: two rounds do for one upon the other.
clean_up() {
	local round x

	for round in 1 2 3; do
		for x in $(mounts_below); do
			umount "$x" 2>/dev/null || [ "$round" -lt 3 ] ||
				umount -l "$x" 2>/dev/null || :
		done
		for x in $(loops_below); do
			losetup -d "$x" 2>/dev/null || :
		done
		[ -n "$(mounts_below)$(loops_below)" ] || break
		sleep 0.2
	done
	for x in $(processes_below); do
		kill -9 "$x" 2>/dev/null || :
	done
	rm -rf "$T"
}

finish() {
	local r=$?

	trap - EXIT
	trap '' HUP INT TERM
	set +e
	if [ "$r" -ne 0 ] && [ "$finished" != 77 ]; then
		failed "the test itself ended with status $r"
	fi
	clean_up
	[ "$finished" != 77 ] || exit 77
	printf '[  PASSED  ] %d test(s).\n' "$n_passed"
	if [ "$n_failed" -gt 0 ]; then
		printf '[  FAILED  ] %d test(s)\n' "$n_failed"
		exit 1
	fi
	exit 0
}

# A configuration of its own below $T: nothing of the machine is read or
# changed.  $STORE is not made yet.
make_config() {
	STORE=$T/store
	MNT=$T/mnt
	export SEALDISK_CONFIG=$T/sealdisk.ini
	export XDG_CONFIG_HOME=$T/xdg XDG_STATE_HOME=$T/xdg HOME=$T
	mkdir -p "$MNT"
	cat >"$SEALDISK_CONFIG" <<-END
		[sealdisk]
		store = $STORE
		[mount]
		linger = 0
		[keystore]
		path = $T/keystore.db
		root_file = $T/root.key
		audit = $T/audit/
	END
}

# sd ARGS...: the program, as the tests call it.
sd() {
	"$SEALDISK" "$@"
}

# A store, mounted on $MNT.
make_store() {
	make_config
	sd init "$STORE" >/dev/null
}

mount_store() {
	sd mount "$STORE" "$MNT" "$@"
}

umount_store() {
	sd umount "$MNT"
}

T=$(mktemp -d "${TMPDIR:-/tmp}/sealdisk-test.XXXXXX")
T=$(readlink -f "$T")
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# What tests with a daemon to look into share.  Its log goes to $LOG, its pid
# to $daemon: it serves in the foreground, as a child of the test.
LOG=$T/log
daemon='' daemon_status=0

# start_daemon [ARGS OF MOUNT...]: $STORE on $MNT.
start_daemon() {
	"$SEALDISK" mount -f "$STORE" "$MNT" "$@" 2>>"$LOG" &
	daemon=$!
	wait_for 10 mountpoint -q "$MNT"
}

# stop_daemon: unmount, and wait for it; its exit status is $daemon_status.
# shellcheck disable=SC2034 # which tests look at
stop_daemon() {
	daemon_status=0
	umount_store
	wait "$daemon" || daemon_status=$?
	daemon=''
}

# worker: the process that serves just now; $daemon keeps it, and another one in
# reserve.
worker() {
	sed -n 's/^worker_pid = //p' "$MNT/info/store"
}

# ended PID...: whether none of them is there any more.
ended() {
	local pid

	for pid in "$@"; do
		! kill -0 "$pid" 2>/dev/null || return 1
	done
}

# kill_daemon SIGNAL: and wait for its end, whatever that is, and that of what
# it had started.
kill_daemon() {
	local all

	mapfile -t all < <(processes_of "$daemon")
	kill "-$1" "$daemon"
	wait "$daemon" 2>/dev/null || :
	wait_for 10 ended "${all[@]}"
	daemon=''
}

# processes_of PID: it, and what it has started.
processes_of() {
	local child

	printf '%s\n' "$1"
	for child in $(pgrep -P "$1"); do
		processes_of "$child"
	done
}

# kill_mount: all processes of the mount at once, as if the machine had stopped;
# of those that are stopped first none can start another.
kill_mount() {
	local all

	kill -STOP "$daemon"
	mapfile -t all < <(processes_of "$daemon")
	kill -KILL "${all[@]}"
	wait "$daemon" 2>/dev/null || :
	daemon=''
}

# field DISK FILTER: of what `info` says, by jq.
field() {
	sd info "$1" --json | jq -r "$2"
}

# knows_fs TYPE: whether this kernel can mount it.
knows_fs() {
	grep -qw "$1" /proc/filesystems || modprobe "$1" 2>/dev/null
}

# sums DIR: checksums of all files below DIR, and what else can be told of them.
sums() (
	cd "$1" || exit
	find . -type f -print0 | sort -z | xargs -0 sha256sum
	find . ! -name lost+found -printf '%p %y %m %n %l\n' | sort
)

# quiet COMMAND ARGS...: what it prints is of interest if it fails.
quiet() {
	if "$@" >"$T/quiet" 2>&1; then
		return 0
	fi
	cat "$T/quiet"
	return 1
}
