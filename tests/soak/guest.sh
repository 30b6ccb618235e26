# guest.sh - a machine in QEMU with nothing but tests/helper_guest in it, which
# says on its console which of its records are durable.  Its host is cut: QEMU,
# or the mount, or both.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # soak.sh has the rest

# shellcheck source=tests/lib_qemu.sh
. "$here/lib_qemu.sh"
writing=${top_builddir:-.}/tests/helper_guest
CONSOLE=$T/console

guest_needs() {
	command -v qemu-system-x86_64 >/dev/null || {
		echo qemu-system-x86_64
		return 1
	}
	[ -x "$writing" ] || { echo "$writing" && return 1; }
	[ -r "$(find_kernel)" ] || {
		echo 'a kernel: SEALDISK_TEST_KERNEL'
		return 1
	}
}

guest_unit() {
	echo 'records, those of before each time again'
}

# newc NAME MODE SIZE: the head of a file in the kernel's kind of cpio.
newc() {
	local len=$((${#1} + 1))

	printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\0' \
		1 "$2" 0 0 1 0 "$3" 0 0 0 0 "$len" 0 "$1"
	head -c $(((4 - (110 + len) % 4) % 4)) /dev/zero
}

# All that the guest has: one program.
make_initrd() {
	local len

	len=$(stat -c %s "$writing")
	{
		newc init $((0100755)) "$len"
		cat "$writing"
		head -c $(((4 - len % 4) % 4)) /dev/zero
		newc 'TRAILER!!!' 0 0
	} >"$T/initrd"
}

guest_make() {
	kernel=$(find_kernel)
	make_initrd
	sd create d --size 40M --sector-size 512
	acked=(0 0 0)
	: >"$CONSOLE"
	guest_attach
}

# Its file is held open: as QEMU does.
guest_attach() {
	dev=''
	exec {held}<"$MNT/disks/d"
}

let_go() {
	[ -z "${held:-}" ] || exec {held}<&-
	held=''
}

# said WRITER: the last record that it has said to be durable.
said() {
	local n

	n=$(grep -a -oE "@$1 [0-9]+;" "$CONSOLE" | tail -n 1 | tr -d ';')
	echo "${n#* }" | grep . || echo "${acked[$1]}"
}

guest_acked() {
	echo "$(said 0) $(said 1) $(said 2)"
}

all_write() {
	grep -a -q '@0 ' "$CONSOLE" && grep -a -q '@1 ' "$CONSOLE" &&
		grep -a -q '@2 ' "$CONSOLE"
}

guest_start() {
	local soak=$((acked[0] + 1)),$((acked[1] + 1)),$((acked[2] + 1))

	: >"$CONSOLE"
	qemu-system-x86_64 -M q35,accel=tcg -m 128 -nodefaults -no-reboot \
		-nographic -serial "file:$CONSOLE" -net none -kernel "$kernel" \
		-initrd "$T/initrd" -append "console=ttyS0 quiet loglevel=0 \
panic=-1 no_timer_check soak=$soak" \
		-drive "file=$MNT/disks/d,if=none,id=d,format=raw,cache=none,aio=native,discard=unmap" \
		-device nvme,drive=d,serial=1 </dev/null >"$T/qemu" 2>&1 &
	qemu=$!
	if wait_for 60 all_write; then
		let_go
		return
	fi
	tail -n 20 "$T/qemu" "$CONSOLE"
	return 1
}

guest_trim() {
	: # it discards all the time
}

guest_stop() {
	kill_qemu
	guest_ended
	let_go
}

kill_qemu() {
	kill -KILL "$qemu" 2>/dev/null || :
	wait "$qemu" 2>/dev/null || :
}

guest_crash() {
	case $((luck % 4)) in
	0)
		did+=', QEMU alone'
		n_kills=$((n_kills + 1))
		kill_qemu
		;;
	1)
		did+=', QEMU first'
		kill_qemu
		nap $((luck / 4 % 60))
		kill_mount
		;;
	2)
		did+=', the mount first'
		kill_mount
		nap $((luck / 4 % 60))
		kill_qemu
		;;
	*)
		did+=', both'
		kill -STOP "$qemu" 2>/dev/null || :
		kill_mount
		kill_qemu
		;;
	esac
}

guest_ended() {
	read -r -a acked < <(guest_acked)
}

guest_verify() {
	"$writing" verify "$MNT/disks/d" "${acked[0]}:${acked[0]}" \
		"${acked[1]}:${acked[1]}" "${acked[2]}:${acked[2]}" \
		>"$T/verified" || {
		cat "$T/verified"
		return 1
	}
	n_verified=$((n_verified + $(tail -n 1 "$T/verified" | tr -dc 0-9)))
}

guest_verify_snapshot() {
	local from to

	read -r -a from <<<"${snap_from[$1]}"
	read -r -a to <<<"${snap_to[$1]}"
	"$writing" verify "$MNT/snapshots/d/$1" "${from[0]}:$((to[0] + 1))" \
		"${from[1]}:$((to[1] + 1))" "${from[2]}:$((to[2] + 1))" \
		>"$T/verified" && return
	cat "$T/verified"
	return 1
}
