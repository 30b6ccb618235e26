#!/bin/bash
# fuzz.sh - what fuzzers have found is replayed by them; and with arguments, for
# `make fuzz-run` and `make fuzz-keep`, more is searched for.
#
#	fuzz.sh                      replay tests/data/fuzz_*.tar.gz
#	fuzz.sh run SECONDS NAME...  each fuzzer for so long, in ./fuzz-found
#	fuzz.sh keep NAME...         the least of what is in there that reaches
#	                             as much, into tests/data/fuzz_NAME.tar.gz
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

data=${top_srcdir:-${0%/*}/..}/tests/data
programs=${top_builddir:-$PWD}/tests
found=$PWD/fuzz-found
export UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=handle_abort=1:allocator_may_return_null=1

# unpack NAME DIR: what was kept of fuzz_NAME.
unpack() {
	mkdir -p "$2"
	[ ! -e "$data/fuzz_$1.tar.gz" ] ||
		tar -xzf "$data/fuzz_$1.tar.gz" -C "$2"
}

replay_one() {
	unpack "$1" "$T/$1"
	SEALDISK_ROUNDS=0 "$programs/fuzz_$1" "$T/$1"/* >"$T/out" 2>&1 || {
		cat "$T/out"
		return 1
	}
}

replay() {
	local program name

	for program in "$programs"/fuzz_*; do
		name=${program##*/fuzz_}
		if ! [ -x "$program" ] || ! [ -e "$data/fuzz_$name.tar.gz" ]; then
			continue
		fi
		check "fuzz_$name takes what was found by it" replay_one "$name"
	done
}

# run_one SECONDS NAME: what is new is in fuzz-found/NAME, and an input that
# something is wrong with in fuzz-found/NAME.crash-...
run_one() {
	local options=()

	unpack "$2" "$found/$2"
	[ ! -e "$data/fuzz_$2.dict" ] || options+=("-dict=$data/fuzz_$2.dict")
	printf '\n==> fuzz_%s, %s seconds\n' "$2" "$1"
	"$programs/fuzz_$2" -max_total_time="$1" -timeout=20 \
		-rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 \
		-artifact_prefix="$found/$2." "${options[@]}" \
		"$found/$2" "$data/fuzz_$2" 2>&1 |
		grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|RELOAD)|NEW_FUNC|# Uses:'
	return "${PIPESTATUS[0]}"
}

# keep_one NAME: the seeds are files of their own, and not packed; nor is a copy
# of one, which has its SHA-1 as its name.
keep_one() {
	local seed sum

	unpack "$1" "$T/old"
	mkdir -p "$T/$1" "$found/$1"
	cp "$data/fuzz_$1"/* "$T/$1/"
	"$programs/fuzz_$1" -set_cover_merge=1 -use_counters=0 "$T/$1" \
		"$T/old" "$found/$1" 2>&1 | grep 'MERGE-OUTER'
	for seed in "$data/fuzz_$1"/*; do
		sum=$(sha1sum "$seed")
		rm -f "$T/$1/${seed##*/}" "$T/$1/${sum%% *}"
	done
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
		-C "$T/$1" -c . | gzip -9n >"$data/fuzz_$1.tar.gz"
	rm -rf "${T:?}/old"
}

case ${1:-} in
run)
	seconds=$2
	shift 2
	bad=''
	for name; do
		run_one "$seconds" "$name" || bad="$bad $name"
	done
	check "nothing was found to be wrong${bad:+ but by$bad}" [ -z "$bad" ]
	;;
keep)
	shift
	for name; do
		keep_one "$name"
		check "what was found by fuzz_$name is kept" \
			[ -s "$data/fuzz_$name.tar.gz" ]
	done
	;;
*) replay ;;
esac
