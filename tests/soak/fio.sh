# fio.sh - jobs of fio on the loop device itself.  Those that are verified write
# each block once and each write through: what fio has counted is durable.  It
# finds these again by what it was seeded with, so many and no more.
# shellcheck shell=bash
# shellcheck disable=SC2154 # soak.sh has the rest

# The disk: three regions for jobs that are verified, one a round in turn, each
# as it was left for two more rounds; one for load; one for discards.
region_mib=32 load_mib=96 trim_mib=112 disk_mib=128
FIO=$T/fio

fio_needs() {
	command -v fio >/dev/null || { echo fio && return 1; }
}

fio_unit() {
	echo 'bytes of whole writes'
}

fio_attach() {
	dev=$(sd attach d)
}

fio_acked() {
	local k

	[ -n "${1:-}" ] || return 0
	# Of the region in use nobody can tell now what is durable.
	for k in 0 1 2; do
		[ "$k" -eq $((round % 3)) ] || [ ! -e "$FIO/$k.verify" ] ||
			cp "$FIO/$k.verify" "$FIO/$1.$k.verify"
	done
}

fio_make() {
	rm -rf "$FIO"
	mkdir "$FIO"
	sd create d --size "${disk_mib}M"
	fio_attach
	fill_trimmed
}

# Where discards are done each block is all of this byte, or zeros.
fill_trimmed() {
	head -c $(((disk_mib - trim_mib) << 20)) /dev/zero | tr '\0' '\245' |
		dd of="$dev" bs=1M seek="$trim_mib" conv=nocreat oflag=direct \
			iflag=fullblock status=none
}

# What all jobs have that are verified.
fio_global() {
	printf '%s\n' '[global]' "filename=$dev" rw=randwrite ioengine=psync \
		sync=dsync direct=1 verify=crc32c verify_fatal=1 \
		verify_state_save=0 allow_file_create=0 overwrite=1 \
		fallocate=none
}

# region_jobs [COUNT...]: those of the region in use; of how many of each one's
# writes are to be looked at.  A job of which there is none keeps its place: what
# the others write where depends on theirs.
region_jobs() {
	local k=$((round % 3)) i split

	for i in 0 1 2 3; do
		split=4k
		[ "$i" -lt 2 ] || split=4k/40:12k/20:20k/20:64k/20
		printf '%s\n' "[job$i]" "bssplit=$split" size=8M \
			"offset=$((k * region_mib + 8 * i))M" \
			"randseed=$((luck + i))"
		case ${1:-} in
		'') ;;
		0) printf '%s\n' number_ios=1 rw=randread verify=null ;;
		*) printf '%s\n' "number_ios=$1" ;;
		esac
		shift || :
	done
}

load_job() {
	printf '%s\n' '[load]' "filename=$dev" rw=randwrite ioengine=libaio \
		iodepth=16 direct=1 bssplit=4k/70:16k/20:64k/10 \
		"offset=${load_mib}M" size=16M time_based runtime=60 fdatasync=200
}

has_written_to() {
	[ "$(awk '{ print $7 }' "/sys/block/${dev#/dev/}/stat")" -gt "$1" ]
}

fio_start() {
	local before

	before=$(awk '{ print $7 }' "/sys/block/${dev#/dev/}/stat")
	{
		fio_global
		region_jobs
	} >"$FIO/write.fio"
	load_job >"$FIO/load.fio"
	rm -f "$FIO/$((round % 3)).verify"
	fio --output-format=json --output="$FIO/write.json" "$FIO/write.fio" \
		>"$FIO/write.out" 2>&1 &
	fio=$!
	fio "$FIO/load.fio" >"$FIO/load.out" 2>&1 &
	load=$!
	wait_for 20 has_written_to $((before + 1000)) && return
	cat "$FIO/write.out" "$FIO/load.out"
	return 1
}

fio_trim() {
	blkdiscard -f -o $(((trim_mib + luck % 8) << 20)) \
		-l $((4096 * (1 + luck % 2048))) "$dev"
}

# How many writes of each job have been acknowledged: all but one that failed.
written() {
	sed -n '/^{$/,/^}$/p' "$FIO/write.json" | jq -r '.jobs[] |
		.write.total_ios - (if .error == 0 then 0 else 1 end)'
}

fio_stop() {
	kill -INT "$fio" "$load" 2>/dev/null || :
	fio_ended
}

fio_crash() {
	kill_mount
}

fio_ended() {
	local verify=$FIO/$((round % 3)).verify counts

	wait "$fio" "$load" 2>/dev/null || :
	[ ! -e "$verify" ] || return 0
	mapfile -t counts < <(written)
	[ "${#counts[@]}" -eq 4 ] && region_jobs "${counts[@]}" >"$verify"
}

# look_at_jobs JOBS: what they wrote to $dev is there.
look_at_jobs() {
	{
		fio_global
		cat "$1"
	} >"$FIO/look.fio"
	if ! fio --verify_only --output-format=json --output="$FIO/look.json" \
		"$FIO/look.fio" >"$FIO/look.out" 2>&1 ||
		grep -q verify: "$FIO/look.out"; then
		cat "$FIO/look.out" "$FIO/look.fio"
		return 1
	fi
	n_verified=$((n_verified + $(jq '[.jobs[].read.io_bytes] | add' \
		"$FIO/look.json")))
}

# Where discards are done, whole blocks of two kinds; elsewhere, that it can be
# read at all.
fio_look_at_rest() {
	dd if="$dev" bs=1M skip="$load_mib" count=$((trim_mib - load_mib)) \
		iflag=direct of=/dev/null status=none || return
	dd if="$dev" bs=1M skip="$trim_mib" iflag=direct status=none |
		od -An -v -tx1 -w4096 | tr -d ' ' | sort -u |
		grep -vxE '(00)+|(a5)+' | head -n 1 | grep . && return 1
	return 0
}

# look_at_regions JOBS...: of those that have been used.
look_at_regions() {
	local f

	for f; do
		[ ! -e "$f" ] || look_at_jobs "$f" || return
	done
}

fio_verify() {
	local r=0

	# This round's, and one that others have been written beside since.
	look_at_regions "$FIO/$((round % 3)).verify" \
		"$FIO/$(((round + 1 + luck % 2) % 3)).verify" || r=1
	fio_look_at_rest || r=1
	[ "$event" != trim ] || fill_trimmed
	return "$r"
}

# Of a clone: fio wants to be able to write there.
fio_verify_snapshot() {
	with_clone "$1" look_at_regions "$FIO/$1".*.verify
}
