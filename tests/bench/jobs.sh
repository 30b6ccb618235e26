# jobs.sh - what is measured.  Read by bench.sh.
#
# Sequential jobs come first, on an image that was written in order; then the
# random ones, which leave it in disorder; `seqread-aged` reads it then.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # bench.sh's variables, and for it

quick_jobs='seqwrite-first seqwrite-again seqread-cold seqread-warm'
quick_jobs+=' randread randwrite'
default_jobs='seqwrite-first seqwrite-again seqread-cold seqread-warm'
default_jobs+=' randread randread-qd1 randwrite mixed fsync1 fsync32'
default_jobs+=' loop-randread loop-randwrite'
default_jobs+=' loopbuf-randread loopbuf-randwrite buf-write buf-randwrite'
default_jobs+=' loopbuf-write seqread-aged smallfiles attach'
extra_jobs='huge kms stall'

# Those that a job has a meaning for.
job_peers() {
	local p want=${peers/qcow2/} out=''

	case $1 in
	attach | huge | kms | send | scale | stall) want='sealdisk' ;;
	snap*) want='sealdisk qcow2' ;;
	buf-* | loopbuf-write) ;;
	smallfiles) want='plain pll sealdisk gocryptfs qsd ocb' ;;
	*) want='plain pll sealdisk gocryptfs qsd ocb sealdisk-alone' ;;
	esac
	for p in $want; do
		! is_in "$p" "$peers" || out+=" $p"
	done
	echo "$out"
}

# do_fio NAME PEER OPTIONS...: over the peer's image, or $target; prints fio's
# results.
do_fio() {
	local name=$1 p=$2

	shift 2
	fio --name="$name" --filename="${target:-$(peer_file "$p")}" \
		--size="${size_mib}M" --output-format=json --thread \
		--randrepeat=0 --norandommap --fallocate=none "$@" \
		2>>"$T/log" | sed -n '/^{/,$p'
}

# measure JOB PEER UNIT OPTIONS...: UNIT is iops or MB/s.
measure() {
	local job=$1 p=$2 unit=$3 before after

	shift 3
	settle
	before=$(cpu_of "$p")
	do_fio "$job" "$p" "$@" >"$T/fio.json"
	after=$(cpu_of "$p")
	jq -r --arg unit "$unit" --argjson cpu $((after - before)) '
		.jobs[0] | (.read.total_ios + .write.total_ios) as $n |
		if .error != 0 then error("fio: error \(.error)") else . end |
		(if $unit == "iops" then .read.iops + .write.iops
		 else (.read.bw_bytes + .write.bw_bytes) / 1e6 end) as $v |
		"\($v) \(if $n > 0 then $cpu / $n else 0 end)"' \
		"$T/fio.json" >"$T/value"
	# shellcheck disable=SC2046 # two words
	sample "$job" "$p" "$unit" $(cat "$T/value")
}

timed() {
	measure "$@" --time_based --runtime="$seconds"
}

deep() {
	timed "$@" --bs=4k --direct=1 --ioengine=libaio --iodepth=16
}

buffered() {
	timed "$@" --bs=4k --direct=0 --ioengine=psync
}

drop_caches() {
	sync -f "$T"
	echo 3 >/proc/sys/vm/drop_caches
}

# Store warm, and the image's own pages gone; of a plain file they are one.
warm() {
	cat "$(peer_file "$1")" >/dev/null
}

# Through a loop device: attach_loop PEER direct|buffered sets $target.
attach_loop() {
	local p=$1 how=$2

	if [ "$how" = buffered ]; then
		target=$(losetup -f --show "$(peer_file "$p")")
		return
	fi
	case $p in
	sealdisk* | ocb) target=$(sd "$p" attach img) ;;
	*) target=$(losetup -f --show --direct-io=on --sector-size 4096 \
		"$(peer_file "$p")") ;;
	esac
}

detach_loop() {
	blockdev --flushbufs "$target"
	losetup -d "$target"
	wait_for 10 loop_is_free "$target"
	target=''
}

loop_is_free() {
	[ ! -e "/sys/block/${1#/dev/}/loop/backing_file" ]
}

# over_loop direct|buffered HOW JOB PEER ARGS...: HOW is deep or buffered.
over_loop() {
	local how=$1

	shift
	attach_loop "$3" "$how"
	"$@"
	detach_loop
}

# About 30 MiB in 3000 files, as a source tree has them.
make_tree() {
	local d f

	[ ! -e "$T/tree" ] || return 0
	head -c 64M /dev/urandom >"$T/random"
	for d in $(seq 60); do
		mkdir -p "$T/tree/$d"
		for f in $(seq 50); do
			tail -c +$((d * 50 * 1024 + f * 512)) "$T/random" |
				head -c $(((d * f * 7919) % 20480 + 100)) \
					>"$T/tree/$d/$f" || :
		done
	done 2>/dev/null
	rm -f "$T/random"
}

seconds_since() {
	echo "$1 $EPOCHREALTIME" | awk '{ printf "%.4f\n", $2 - $1 }'
}

small_files() {
	local p=$1 from before round

	make_tree
	attach_loop "$p" direct
	mkfs.ext4 -q -F "$target"
	mkdir -p "$T/$p/fs"
	mount "$target" "$T/$p/fs"
	for round in 1 2 3; do
		cat "$T"/tree/*/* >/dev/null
		sync -f "$T/$p/fs"
		settle
		before=$(cpu_of "$p")
		from=$EPOCHREALTIME
		cp -a "$T/tree" "$T/$p/fs/$round"
		sync -f "$T/$p/fs"
		sample smallfiles "$p" s "$(seconds_since "$from")" \
			$((($(cpu_of "$p") - before) / 3060))
		rm -rf "$T/$p/fs/$round"
	done
	umount "$T/$p/fs"
	detach_loop
}

# cache_size, as it is unless it is set: 64 MiB or 2 % of memory.
default_cache_kib() {
	awk '$1 == "MemTotal:" { n = int($2 / 50)
		print (n > 65536 ? n : 65536) }' /proc/meminfo
}

# How long an open takes that attaches, and what memory that needs, for disks
# of three sizes.
attach_times() {
	local p=$1 size from before

	for size in 1G 1T 16T; do
		sd "$p" create "attach-$size" --size "$size" >/dev/null
		for _ in 1 2 3 4 5; do
			before=$(resident_kib "$p")
			from=$EPOCHREALTIME
			exec 9<"$T/$p/mnt/disks/attach-$size"
			sample "attach-$size" "$p" ms "$(seconds_since "$from" |
				awk '{ print $1 * 1000 }')"
			sample "attach-memory-$size" "$p" KiB \
				$(($(resident_kib "$p") - before))
			exec 9<&-
			from=$EPOCHREALTIME
			sd "$p" detach "attach-$size" >/dev/null || :
			sample "detach-$size" "$p" ms "$(seconds_since "$from" |
				awk '{ print $1 * 1000 }')"
		done
		sd "$p" rm --yes "attach-$size"
	done
	sample resident "$p" KiB "$(resident_kib "$p")"
	sample resident-over "$p" KiB \
		$(($(resident_kib "$p") - $(default_cache_kib)))
}

# A disk of 200 GiB of which every chunk exists, with one block each.
huge() {
	local p=$1 gib=${SEALDISK_BENCH_HUGE:-200}

	sd "$p" create huge --size "${gib}G" >/dev/null
	target=$T/$p/mnt/disks/huge
	note "$p: making $((gib * 256)) chunks"
	fio --name=huge --filename="$target" --size="${gib}G" --rw=write:4092k \
		--bs=4k --io_size=$((gib * 256 * 4))k --end_fsync=1 \
		--fallocate=none --output=/dev/null 2>>"$T/log"
	drop_caches
	size_mib=$((gib * 1024)) deep huge-randread-cold "$p" iops --rw=randread
	size_mib=$((gib * 1024)) deep huge-randread-warm "$p" iops --rw=randread
	size_mib=$((gib * 1024)) deep huge-randwrite "$p" iops --rw=randwrite
	sample huge-resident "$p" KiB "$(resident_kib "$p")"
	target=''
	sd "$p" rm --yes huge
}

# longest_wait PEER: of any request in a run of two seconds at queue depth 32, in
# which something happens; ms.
longest_wait() {
	do_fio stall "$1" --rw=randwrite --bs=4k --direct=1 --ioengine=libaio \
		--iodepth=32 --time_based --runtime=2 |
		jq '.jobs[0] | if .error != 0 then error("fio: \(.error)") else
			.write.clat_ns.max / 1e6 end'
}

# How long clients of a loop device wait while the worker is killed, and while
# another program takes over; and without either.
stalls() {
	local p=$1 what

	attach_loop "$p" direct
	for _ in 1 2 3 4 5 6 7; do
		for what in none kill upgrade; do
			{
				sleep 1
				case $what in
				kill) kill -KILL "$(worker_of "$p")" ;;
				upgrade) sd "$p" upgrade "$T/$p/mnt" >/dev/null ;;
				esac
			} &
			longest_wait "$p" >"$T/value"
			wait $!
			sample "stall-$what" "$p" ms "$(cat "$T/value")"
		done
	done
	detach_loop
}

run_job() {
	local p=$2 target=''

	case $1 in
	seqwrite-first)
		peer_fresh "$p"
		measure "$@" MB/s --rw=write --bs=1M --end_fsync=1
		;;
	seqwrite-again) measure "$@" MB/s --rw=write --bs=1M --end_fsync=1 ;;
	seqread-cold)
		drop_caches
		measure "$@" MB/s --rw=read --bs=1M
		;;
	seqread-warm | seqread-aged)
		warm "$p"
		if [ "$p" = plain ]; then
			measure "$@" MB/s --rw=read --bs=1M --invalidate=0
		else
			measure "$@" MB/s --rw=read --bs=1M
		fi
		;;
	randread) deep "$@" iops --rw=randread ;;
	randread-qd1) deep "$@" iops --rw=randread --iodepth=1 ;;
	randwrite) deep "$@" iops --rw=randwrite ;;
	mixed) deep "$@" iops --rw=randrw --rwmixread=70 ;;
	fsync1) buffered "$@" iops --rw=randwrite --fsync=1 ;;
	fsync32) buffered "$@" iops --rw=randwrite --fsync=32 ;;
	loop-randread) over_loop direct deep "$@" iops --rw=randread ;;
	loop-randwrite) over_loop direct deep "$@" iops --rw=randwrite ;;
	loopbuf-randread) over_loop buffered deep "$@" iops --rw=randread ;;
	loopbuf-randwrite) over_loop buffered deep "$@" iops --rw=randwrite ;;
	buf-write) buffered "$@" MB/s --rw=write --end_fsync=1 ;;
	buf-randwrite) buffered "$@" iops --rw=randwrite --end_fsync=1 ;;
	loopbuf-write)
		over_loop buffered buffered "$@" MB/s --rw=write --end_fsync=1
		;;
	smallfiles) small_files "$p" ;;
	attach) attach_times "$p" ;;
	huge) huge "$p" ;;
	kms) kms_bench ;;
	stall) stalls "$p" ;;
	*) run_snapshot_job "$@" ;;
	esac
}
