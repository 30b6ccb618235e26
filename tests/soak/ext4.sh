# ext4.sh - a file system with records that are written and synced, beside fio.
# shellcheck shell=bash
# shellcheck disable=SC2154 # soak.sh has the rest

records=${top_builddir:-.}/tests/helper_records
FS=$T/fs CLONE=$T/clone ACKED=$T/acked

ext4_needs() {
	command -v fio >/dev/null || { echo fio && return 1; }
	[ -x "$records" ] || { echo "$records" && return 1; }
}

ext4_unit() {
	echo 'records, those of before each time again'
}

ext4_make() {
	mkdir -p "$FS" "$CLONE"
	: >"$ACKED"
	sd create d --size 192M
	dev=$(sd attach d)
	mkfs.ext4 -q "$dev"
	mount "$dev" "$FS"
}

ext4_attach() {
	dev=$(sd attach d)
}

# The number of the last record that was synced.
ext4_acked() {
	tail -n 1 "$ACKED" | grep . || echo 0
}

has_acked() {
	[ "$(ext4_acked)" -ge "$1" ]
}

ext4_start() {
	local last

	last=$(ext4_acked)
	fio --name=load --directory="$FS" --size=40M --rw=randrw --rwmixwrite=80 \
		--bssplit=4k/60:16k/20:60k/20 --direct=1 --ioengine=libaio \
		--iodepth=4 --fsync=100 --time_based --runtime=60 >"$T/fio" 2>&1 &
	fio=$!
	"$records" write "$FS" $((last + 1)) >>"$ACKED" 2>"$T/writer" &
	writer=$!
	wait_for 20 has_acked $((last + 2)) && return
	cat "$T/writer" "$T/fio"
	return 1
}

ext4_trim() {
	fstrim "$FS"
}

ext4_stop() {
	kill "$writer" "$fio" 2>/dev/null || :
	ext4_ended
}

ext4_crash() {
	kill_mount
}

# The daemon's death is their end: all their writes fail.
ext4_ended() {
	wait "$writer" "$fio" 2>/dev/null || :
	leave_fs "$FS"
}

ext4_verify() {
	must 'its file system is whole' whole_fs "$FS" || return
	"$records" verify "$FS" "$(ext4_acked)" >"$T/verified" || {
		cat "$T/verified"
		return 1
	}
	n_verified=$((n_verified + $(ext4_acked)))
	rm -f "$FS"/load.*
}

# look_at_records FIRST LAST: all up to some number between the two are there,
# and nothing of the one after the next.
look_at_records() {
	local last r=1

	whole_fs "$CLONE" || return
	# Of no record there are no files either.
	[ "$1" -gt 0 ] || [ -e "$CLONE/ring" ] || r=0
	for ((last = $1; last <= $2 && r; last++)); do
		"$records" verify "$CLONE" "$last" >"$T/verified" 2>&1 && r=0
	done
	[ "$r" -eq 0 ] || cat "$T/verified"
	leave_fs "$CLONE"
	return "$r"
}

ext4_verify_snapshot() {
	# One more than was told: it may have been synced and not told yet.
	with_clone "$1" look_at_records "${snap_from[$1]}" \
		$((${snap_to[$1]} + 1))
}
