#!/bin/bash
# bench.sh - Sealdisk beside its peers: one run, one file system, one table.
#
#	bench.sh [OPTION...] [JOB...]
#
# Every peer has an image of the same size on the file system of
# $SEALDISK_BENCH_DIR (/var/tmp), and does each job in turn before any does the
# next one, for machines drift: compare columns of one run, not runs.
#
# bench/peers.sh knows the peers, bench/jobs.sh the jobs, bench/snapshots.sh and
# bench/kms.sh those of snapshots and of the key service, bench/report.jq what
# was to be reached and how it is printed.
set -eu
export LC_ALL=C
umask 022
here=$(cd "${0%/*}" && pwd)
SEALDISK=${SEALDISK:-${top_builddir:-$PWD}/sealdisk}

# shellcheck source=tests/bench/peers.sh
. "$here/bench/peers.sh"
# shellcheck source=tests/bench/jobs.sh
. "$here/bench/jobs.sh"
# shellcheck source=tests/bench/kms.sh
. "$here/bench/kms.sh"
# shellcheck source=tests/bench/snapshots.sh
. "$here/bench/snapshots.sh"

usage() {
	cat <<END
usage: tests/bench.sh [OPTION...] [JOB...]

  --quick        the short table: random 4 KiB and sequential 1 MiB
  --size MIB     of each image; \$SEALDISK_BENCH_SIZE or 1024
  --seconds N    of each timed job; \$SEALDISK_BENCH_SECONDS or 5
  --reps N       how often all is done; \$SEALDISK_BENCH_REPS or 1
  --peers LIST   some of: $all_peers
  --json FILE    the results, also there
  --install      what Debian's packages can add to the peers, first
  --list         the jobs

Jobs: $default_jobs
and, not unless named: $extra_jobs $snapshot_jobs
END
}

die() {
	printf 'bench: %s\n' "$*" >&2
	exit 1
}

note() {
	printf '# %s\n' "$*" >&2
}

# Progress: on a terminal one line that goes again, else nothing.
progress() {
	[ ! -t 2 ] || printf '\r\033[K%s' "$*" >&2
}

take_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--quick) quick=1 ;;
		--install) install=1 ;;
		--size) size_mib=$2 && shift ;;
		--seconds) seconds=$2 && shift ;;
		--reps) reps=$2 && shift ;;
		--peers) peers=${2//,/ } && shift ;;
		--json) json=$(readlink -f "$2") && shift ;;
		--list)
			printf '%s\n' "$default_jobs $extra_jobs $snapshot_jobs" | tr ' ' '\n'
			exit 0
			;;
		-h | --help)
			usage
			exit 0
			;;
		-*)
			usage >&2
			exit 2
			;;
		*)
			is_in "$1" "$default_jobs $extra_jobs $snapshot_jobs" ||
				die "$1: no such job; see --list"
			jobs+=" $1"
			;;
		esac
		shift
	done
}

is_in() {
	case " $2 " in
	*" $1 "*) return 0 ;;
	esac
	return 1
}

# Those of the peers that this machine has.
choose_peers() {
	local p have=''

	for p in $peers; do
		if peer_missing "$p"; then
			note "without $p: $missing (Debian: $package)"
		else
			have+=" $p"
		fi
	done
	peers=${have# }
	[ -n "$peers" ] || die 'no peer is left'
}

describe() {
	local fs

	fs=$(findmnt -n -o FSTYPE -T "$T")
	note "$("$SEALDISK" --version), $(uname -sr), $(nproc) CPUs, $fs," \
		"images of $size_mib MiB, $seconds s a job, $reps time(s)"
	note "load before: $(cut -d ' ' -f 1-3 /proc/loadavg)"
	jq -n --arg version "$("$SEALDISK" --version)" \
		--arg kernel "$(uname -r)" --arg cpus "$(nproc)" \
		--arg fs "$fs" --arg mib "$size_mib" --arg s "$seconds" \
		--arg reps "$reps" --arg load "$(cut -d ' ' -f 1 /proc/loadavg)" \
		'{ about: { version: $version, kernel: $kernel,
		    cpus: ($cpus | tonumber), file_system: $fs,
		    image_mib: ($mib | tonumber), seconds: ($s | tonumber),
		    reps: ($reps | tonumber), load_before: ($load | tonumber) } }' \
		>"$T/samples"
}

# sample JOB PEER UNIT VALUE [CPU-US-PER-OPERATION]
sample() {
	printf '{"job":"%s","peer":"%s","rep":%d,"unit":"%s","value":%s,"cpu":%s}\n' \
		"$1" "$2" "$rep" "$3" "$4" "${5:-null}" >>"$T/samples"
}

run_all() {
	local job p

	for rep in $(seq "$reps"); do
		for job in $jobs; do
			for p in $(job_peers "$job"); do
				progress "$rep/$reps $job: $p"
				run_job "$job" "$p"
			done
		done
	done
	progress ''
}

report() {
	jq -s -f "$here/bench/report.jq" --argjson text false "$T/samples" \
		>"$T/report.json"
	[ -z "$json" ] || cp "$T/report.json" "$json"
	jq -r -s -f "$here/bench/report.jq" --argjson text true "$T/samples"
}

# What lies below $T goes in the order in which it must: what is mounted on a
# loop device, the device, the mount that holds its file, the daemons.
clean_up() {
	local x round

	for round in 1 2 3; do
		for x in $(awk -v t="$T/" 'index($5, t) == 1 { print $5 }' \
			/proc/self/mountinfo | tac); do
			umount "$x" 2>/dev/null || [ "$round" -lt 3 ] ||
				umount -l "$x" 2>/dev/null || :
		done
		losetup -n -O NAME,BACK-FILE 2>/dev/null |
			while read -r x file; do
				case $file in
				"$T"/*) losetup -d "$x" 2>/dev/null || : ;;
				esac
			done
		sleep 0.2
	done
	for x in "${daemons[@]}"; do
		kill "$x" 2>/dev/null || :
	done
	wait 2>/dev/null || :
	if grep -q " $T/" /proc/self/mountinfo; then
		note "$T is still in use and stays"
	else
		rm -rf --one-file-system "$T"
	fi
}

finish() {
	local r=$?

	trap - EXIT
	trap '' HUP INT TERM
	set +e
	[ "$r" -eq 0 ] || [ ! -s "$T/log" ] || tail -n 20 "$T/log" >&2
	clean_up
	exit "$r"
}

quick='' install='' jobs='' json='' rep=1
peers=$all_peers
size_mib=${SEALDISK_BENCH_SIZE:-1024}
seconds=${SEALDISK_BENCH_SECONDS:-5}
reps=${SEALDISK_BENCH_REPS:-1}
daemons=()
take_options "$@"
if [ -n "$quick" ]; then
	[ "$peers" != "$all_peers" ] || peers=$quick_peers
	jobs=${jobs:-$quick_jobs}
fi
jobs=${jobs:-$default_jobs}

[ "$(id -u)" -eq 0 ] || die 'this needs root'
[ -z "$install" ] || install_packages
for tool in fio jq losetup; do
	command -v "$tool" >/dev/null || die "this needs $tool (--install)"
done
[ -x "$SEALDISK" ] || die "$SEALDISK is not built"

T=$(mktemp -d "${SEALDISK_BENCH_DIR:-/var/tmp}/sealdisk-bench.XXXXXX")
T=$(readlink -f "$T")
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
unset SEALDISK_STORE SEALDISK_CONFIG
# What else runs here disturbs less; all peers and fio alike have it from us.
renice -n -15 -p $$ >/dev/null 2>&1 || note 'others may disturb: no renice'
mkdir "$T/bin"
choose_peers
describe
for p in $peers; do
	progress "preparing $p"
	peer_start "$p"
	peer_fill "$p"
done
run_all
report
