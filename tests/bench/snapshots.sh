# snapshots.sh - what is measured of snapshots.  Read by bench.sh.
#
# Two peers have them: Sealdisk, and QEMU's qcow2 with LUKS inside, in one file
# with its snapshots.  Sealdisk's are taken of a disk that is open, qcow2's by
# qemu-img, which wants it to be closed.
#
# What is compared with itself (with and without snapshots) is done in turns,
# three times, and of each side the best counts: a machine that has other things
# to do for a while is then not what is measured.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # bench.sh's variables, and for it

snapshot_jobs='snapshot snap-randread snap-write send scale'
turns=3

# ---- the two peers ----

qcow2_file() {
	printf '%s\n' "$T/qcow2/$1.qcow2"
}

# qcow2_create NAME SIZE OPTIONS...
qcow2_create() {
	local name=$1 size=$2

	shift 2
	# It gives up where it cannot tell how fast its key derivation is.
	for _ in {1..20}; do
		qemu-img create -q -f qcow2 \
			--object "secret,id=s,file=$T/qcow2/pass" -o \
			encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=20 \
			"$@" "$(qcow2_file "$name")" "$size" >>"$T/log" 2>&1 &&
			return
		rm -f "$(qcow2_file "$name")"
	done
	return 1
}

# qcow2_on NAME COMMAND ARGS...: of qemu's, on that image.
qcow2_on() {
	local name=$1 image

	shift
	image=driver=qcow2,file.driver=file,file.filename=$(qcow2_file "$name")
	image+=,encrypt.format=luks,encrypt.key-secret=s
	"$@" --object "secret,id=s,file=$T/qcow2/pass" --image-opts "$image" \
		>>"$T/log" 2>&1
}

qcow2_serve() {
	touch "$T/qcow2/export"
	serve qcow2 qemu-storage-daemon \
		--object "secret,id=s,file=$T/qcow2/pass" \
		--blockdev "driver=file,filename=$(qcow2_file "$1"),node-name=f" \
		--blockdev driver=qcow2,file=f,encrypt.format=luks,encrypt.key-secret=s,node-name=q \
		--export "type=fuse,id=e,node-name=q,mountpoint=$T/qcow2/export,writable=on"
	wait_for 10 is_fuse "$T/qcow2/export"
}

# snap_make PEER NAME MIB
snap_make() {
	case $1 in
	sealdisk) sd sealdisk create "$2" --size "$3M" >/dev/null ;;
	qcow2)
		printf 'bench' >"$T/qcow2/pass"
		qcow2_create "$2" "$3M"
		;;
	esac
}

# snap_open PEER NAME: it is $target.
snap_open() {
	case $1 in
	sealdisk)
		target=$T/sealdisk/mnt/disks/$2
		exec {opened}<"$target"
		;;
	qcow2)
		qcow2_serve "$2"
		target=$T/qcow2/export
		;;
	esac
}

snap_close() {
	case $1 in
	sealdisk) exec {opened}<&- ;;
	qcow2)
		kill "${daemon[qcow2]}"
		wait "${daemon[qcow2]}" || :
		;;
	esac
	target=''
}

# snap_take PEER NAME SNAPSHOT
snap_take() {
	local mnt=$T/sealdisk/mnt

	case $1 in
	sealdisk) ln "$mnt/disks/$2" "$mnt/snapshots/$2/$3" ;;
	qcow2) qcow2_on "$2" qemu-img snapshot -c "$3" ;;
	esac
}

# snap_clone PEER NAME SNAPSHOT CLONE: qcow2 can do that of a whole file only.
snap_clone() {
	local mnt=$T/sealdisk/mnt

	case $1 in
	sealdisk) ln "$mnt/snapshots/$2/$3" "$mnt/disks/$4" ;;
	qcow2)
		qcow2_create "$4" 1G -u -F qcow2 -b "$(qcow2_file "$2")"
		;;
	esac
}

# snap_remove PEER NAME: with its snapshots.
snap_remove() {
	local mnt=$T/sealdisk/mnt

	case $1 in
	sealdisk)
		sd sealdisk rm --yes "$2"
		[ ! -d "$mnt/snapshots/$2" ] ||
			wait_for 60 snap_remove_all "$mnt/snapshots/$2"
		;;
	qcow2) rm -f "$(qcow2_file "$2")" ;;
	esac
}

# One whose layer is just being merged is busy.
snap_remove_all() {
	rm -f "$1"/* 2>/dev/null
}

# ---- figures ----

ms_of() {
	local from=$EPOCHREALTIME

	"$@" >/dev/null
	seconds_since "$from" | awk '{ print $1 * 1000 }'
}

# fio_iops PEER OPTIONS...: over $target.
fio_iops() {
	do_fio snapshots "$@" >"$T/fio.json"
	jq -r '.jobs[0] | if .error != 0 then error("fio: \(.error)") else
		.read.iops + .write.iops end' "$T/fio.json"
}

most() {
	sort -g | tail -n 1
}

least() {
	sort -g | head -n 1
}

quotient() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f\n", a / b }'
}

# ---- jobs ----

fill_target() {
	do_fio fill "$1" --rw=write --bs=1M --end_fsync=1 >/dev/null
}

# A block in each chunk of GIB.
fill_sparse() {
	size_mib=$(($2 * 1024)) do_fio sparse "$1" --rw=write:4092k --bs=4k \
		--io_size=$(($2 * 256 * 4))k --end_fsync=1 >/dev/null
}

snapshot_times() {
	local p=$1 gib=${SEALDISK_BENCH_HUGE:-100} i name
	local -A took=([small]='' [large]='')

	snap_make "$p" small 1024
	snap_open "$p" small
	size_mib=1024 fill_target "$p"
	snap_close "$p"
	note "$p: making $((gib * 256)) chunks"
	snap_make "$p" large $((gib * 1024))
	snap_open "$p" large
	fill_sparse "$p" "$gib"
	snap_close "$p"
	settle
	for i in 1 2 3 4 5; do
		for name in small large; do
			time_snapshot "$p" "$name" "$i"
		done
	done
	sample snapshot-growth "$p" x \
		"$(quotient "$(least <<<"${took[large]}")" \
			"$(least <<<"${took[small]}")")"
	snap_remove "$p" small
	snap_remove "$p" large
}

# time_snapshot PEER NAME N: with a write before it that is not synced.
time_snapshot() {
	local p=$1 name=$2 ms

	snap_open "$p" "$name"
	dd if=/dev/urandom of="$target" bs=4k count=1 seek="$3" conv=notrunc \
		status=none
	[ "$p" = sealdisk ] || snap_close "$p"
	ms=$(ms_of snap_take "$p" "$name" "$3")
	sample "snapshot-$name" "$p" ms "$ms"
	took[$name]+=${took[$name]:+$'\n'}$ms
	[ "$p" != sealdisk ] || snap_close "$p"
	sample "clone-$name" "$p" ms \
		"$(ms_of snap_clone "$p" "$name" "$3" "$name-$3")"
	snap_remove "$p" "$name-$3"
}

# write_pieces PEER NAME SEED: eight of 64 KiB somewhere; it is open, but for
# qcow2.
write_pieces() {
	local p=$1 at i cmd=()

	RANDOM=$3
	for ((i = 0; i < 8; i++)); do
		at=$(((RANDOM << 15 | RANDOM) % (size_mib * 16)))
		if [ "$p" = sealdisk ]; then
			dd if="$T/piece" of="$target" bs=64k seek="$at" \
				conv=notrunc status=none
		else
			cmd+=(-c "write -q -P $3 $((at * 65536)) 64k")
		fi
	done
	[ "$p" = sealdisk ] || qcow2_on "$2" qemu-io "${cmd[@]}"
}

with_snapshots() {
	local p=$1 name=$2 i

	head -c 64k /dev/urandom >"$T/piece"
	[ "$p" != sealdisk ] || snap_open "$p" "$name"
	for ((i = 1; i <= 100; i++)); do
		write_pieces "$p" "$name" "$i"
		snap_take "$p" "$name" "$i"
	done
	[ "$p" != sealdisk ] || snap_close "$p"
}

snapshot_reads() {
	local p=$1 name turn iops
	local -A got=([none]='' [many]='')

	for name in none many; do
		snap_make "$p" "$name" "$size_mib"
		snap_open "$p" "$name"
		fill_target "$p"
		snap_close "$p"
	done
	with_snapshots "$p" many
	settle
	for ((turn = 0; turn < turns; turn++)); do
		for name in none many; do
			snap_open "$p" "$name"
			cat "$target" >/dev/null
			iops=$(fio_iops "$p" --rw=randread --bs=4k --direct=1 \
				--ioengine=libaio --iodepth=16 --time_based \
				--runtime="$seconds")
			snap_close "$p"
			sample "snap-randread-$name" "$p" iops "$iops"
			got[$name]+=${got[$name]:+$'\n'}$iops
		done
	done
	sample snap-randread-ratio "$p" x \
		"$(quotient "$(most <<<"${got[many]}")" \
			"$(most <<<"${got[none]}")")"
	snap_remove "$p" none
	snap_remove "$p" many
}

# Each block of 256 MiB once, in disorder.
write_each_once() {
	size_mib=256 fio_iops "$1" --rw=randwrite --bs=4k --direct=1 \
		--ioengine=libaio --iodepth=16 --norandommap=0 --end_fsync=1
}

snapshot_writes() {
	local p=$1 turn again='' first='' iops

	snap_make "$p" written 256
	snap_open "$p" written
	size_mib=256 fill_target "$p"
	for ((turn = 1; turn <= turns; turn++)); do
		settle
		iops=$(write_each_once "$p")
		sample snap-rewrite "$p" iops "$iops"
		again+=${again:+$'\n'}$iops
		[ "$p" = sealdisk ] || snap_close "$p"
		snap_take "$p" written "$turn"
		[ "$p" = sealdisk ] || snap_open "$p" written
		settle
		iops=$(write_each_once "$p")
		sample snap-firstwrite "$p" iops "$iops"
		first+=${first:+$'\n'}$iops
	done
	snap_close "$p"
	sample snap-write-ratio "$p" x \
		"$(quotient "$(most <<<"$first")" "$(most <<<"$again")")"
	snap_remove "$p" written
}

send_to_file() {
	sd sealdisk send sent@1 >"$T/stream"
	sync "$T/stream"
}

copy_file() {
	cp "$T/stream" "$T/copy"
	sync "$T/copy"
}

# Both from the page cache into a new file, and synced.
send_beside_cp() {
	local p=$1 turn ms bytes sent='' copied=''

	snap_make "$p" sent "$size_mib"
	snap_open "$p" sent
	fill_target "$p"
	snap_take "$p" sent 1
	snap_close "$p"
	for ((turn = 0; turn < turns; turn++)); do
		rm -f "$T/stream" "$T/copy"
		settle
		ms=$(ms_of send_to_file)
		bytes=$(stat -c %s "$T/stream")
		sample send "$p" MB/s "$(quotient "$bytes" "${ms}e3")"
		sent+=${sent:+$'\n'}$ms
		settle
		ms=$(ms_of copy_file)
		sample send-cp "$p" MB/s "$(quotient "$bytes" "${ms}e3")"
		copied+=${copied:+$'\n'}$ms
	done
	sample send-ratio "$p" x \
		"$(quotient "$(least <<<"$copied")" "$(least <<<"$sent")")"
	rm -f "$T/stream" "$T/copy"
	snap_remove "$p" sent
}

# ---- many of them ----

# figures WHAT DISK: of a store that has many by now.
figures() {
	sample "scale-$1-attach" sealdisk ms \
		"$(ms_of head -c 4096 "$T/sealdisk/mnt/disks/$2")"
	sd sealdisk detach "$2" >/dev/null || :
	sample "scale-$1-ls" sealdisk ms "$(ms_of sd sealdisk ls all)"
	sample "scale-$1-resident" sealdisk KiB "$(resident_kib sealdisk)"
}

# 1,000 snapshots of one disk, and 1,000 disks: the first ten beside the last.
scale() {
	local mnt=$T/sealdisk/mnt n=${SEALDISK_BENCH_SCALE:-1000} i ms

	snap_make sealdisk many 1024
	figures one many
	snap_open sealdisk many
	for ((i = 1; i <= n; i++)); do
		dd if=/dev/zero of="$target" bs=4k count=1 seek="$i" \
			conv=notrunc status=none
		ms=$(ms_of snap_take sealdisk many "$i")
		[ "$i" -gt 10 ] || sample scale-snapshot-first sealdisk ms "$ms"
		[ "$i" -le $((n - 10)) ] ||
			sample scale-snapshot-last sealdisk ms "$ms"
	done
	sample scale-snapshots-open sealdisk KiB "$(resident_kib sealdisk)"
	snap_close sealdisk
	sd sealdisk detach many >/dev/null || :
	figures snapshots many
	for ((i = 1; i <= n; i++)); do
		ms=$(ms_of truncate -s 1G "$mnt/disks/many-$i")
		[ "$i" -gt 10 ] || sample scale-create-first sealdisk ms "$ms"
		[ "$i" -le $((n - 10)) ] ||
			sample scale-create-last sealdisk ms "$ms"
	done
	figures disks "many-$n"
	for ((i = 1; i <= n; i++)); do
		rm "$mnt/disks/many-$i"
	done
	snap_remove sealdisk many
}

run_snapshot_job() {
	case $1 in
	snapshot) snapshot_times "$2" ;;
	snap-randread) snapshot_reads "$2" ;;
	snap-write) snapshot_writes "$2" ;;
	send) send_beside_cp "$2" ;;
	scale) scale ;;
	esac
}
