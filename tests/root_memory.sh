#!/bin/bash
# root_memory.sh - the daemon's memory and the time of an attach hang on neither
# the size of a disk nor what is on it: a disk of 16 TiB costs what one of 1 GiB
# does, plus the cache that it may have.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq fio

cache=16
bound=$((64 + cache)) # MiB
make_store
sed -i "s/^linger/cache_size = ${cache}M\n&/" "$SEALDISK_CONFIG"

# What is resident, without what is mapped of files, in MiB.
resident() {
	awk '$1 == "RssAnon:" { print int($2 / 1024) }' \
		"/proc/$(worker)/status"
}

# attach_ms DISK: the least of three, in milliseconds.
attach_ms() {
	local i from to least=999999

	for i in 1 2 3; do
		from=${EPOCHREALTIME/./}
		"$SEALDISK" attach "$1" >"$T/dev"
		to=${EPOCHREALTIME/./}
		[ $(((to - from) / 1000)) -ge "$least" ] ||
			least=$(((to - from) / 1000))
		[ "$i" -eq 3 ] || "$SEALDISK" detach "$1"
	done
	dev=$(cat "$T/dev")
	took=$least
}

# work N: so many reads and writes at places all over the device.
work() {
	fio --name=work --filename="$dev" --direct=1 --rw=randrw --bs=4k \
		--ioengine=libaio --iodepth=8 --norandommap --randrepeat=1 \
		"--number_ios=$1" --time_based=0 >"$T/fio" 2>&1 || {
		cat "$T/fio"
		return 1
	}
}

declare -A took_of rss_of
start_daemon
at_rest=$(resident)
note "at rest: $at_rest MiB"
sd create small --size 1G
sd create huge --size 16T
for disk in small huge; do
	note "$disk"
	attach_ms "$disk"
	note "attach: $took ms; attached: $(resident) MiB"
	took_of[$disk]=$took
	check 'random reads and writes all over it' work 4000
	check "$disk: committed" sync "$dev"
	rss_of[$disk]=$(resident)
	note "after the work: $(resident) MiB"
	check "$disk: at most $bound MiB" test "$(resident)" -le "$bound"
	expect 0 '^$' sd detach "$disk"
	attach_ms "$disk"
	note "attach of what was written to: $took ms"
	check "$disk: an attach takes no longer with something on it" \
		test "$took" -lt $((500 + took_of[small] * 10))
	expect 0 '^$' sd detach "$disk"
done
check 'an attach of the huge one takes no longer' \
	test "${took_of[huge]}" -lt $((500 + took_of[small] * 10))
check 'and no more memory' test "${rss_of[huge]}" -le $((rss_of[small] + cache + 32))

note 'one after the other, and nothing stays'
before=$(resident)
for i in {1..25}; do
	attach_ms small
	sd detach small
done
note "before: $before MiB, after: $(resident) MiB"
check 'nothing is lost on the way' test "$(resident)" -le $((before + 4))
check_not 'no fault' grep -q integrity "$LOG"
stop_daemon
check 'the daemon ended well' test "$daemon_status" -eq 0
