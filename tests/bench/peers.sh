# peers.sh - what Sealdisk is measured beside.  Read by bench.sh.
#
# A peer P has a folder $T/P.  Once it is started and filled, $(peer_file P) is
# its image as a client sees it, and ${daemon[P]} the process that serves it.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # bench.sh's variables, and for it

#	plain		a file of the file system that holds all of them
#	pll		libfuse's passthrough_ll: what FUSE alone costs
#	gocryptfs
#	qsd		qemu-storage-daemon, a LUKS image exported through FUSE
#	sealdisk	with AES-256-GCM, as it is by default
#	ocb		Sealdisk with AES-256-OCB
#	qcow2		QEMU's, with LUKS, for what concerns snapshots alone
#	pll-wb		with the kernel's writeback cache: for buffered writes
#	sealdisk-wb
#	sealdisk-alone	with keeper=no: what it costs to survive the worker
all_peers='plain pll sealdisk gocryptfs qsd ocb qcow2 pll-wb sealdisk-wb
	sealdisk-alone'
quick_peers='pll sealdisk gocryptfs'

packages='fio jq gcc pkg-config libfuse3-dev fuse3 gocryptfs qemu-utils
	qemu-system-common util-linux e2fsprogs'
pll_example=/usr/share/doc/libfuse3-dev/examples
declare -A daemon

install_packages() {
	local p lacking=()

	for p in $packages; do
		dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null |
			grep -qx installed || lacking+=("$p")
	done
	[ "${#lacking[@]}" -gt 0 ] || return 0
	note "installing ${lacking[*]}"
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
		--no-install-recommends install "${lacking[@]}" >/dev/null
}

# Whether this machine has no P; $missing says what it lacks.
peer_missing() {
	missing='' package=''
	case $1 in
	pll | pll-wb)
		package='libfuse3-dev gcc pkg-config'
		[ -x "$T/bin/passthrough_ll" ] || pll_build >>"$T/log" 2>&1 ||
			missing='passthrough_ll cannot be built'
		;;
	gocryptfs)
		package=gocryptfs
		command -v gocryptfs >/dev/null || missing='no gocryptfs'
		;;
	qsd | qcow2)
		package='qemu-system-common qemu-utils'
		command -v qemu-storage-daemon >/dev/null ||
			missing='no qemu-storage-daemon'
		command -v qemu-img >/dev/null || missing='no qemu-img'
		;;
	esac
	[ -n "$missing" ]
}

# Debian ships the source among libfuse3-dev's examples.  Machines that are set
# up without documentation have it in the package alone.
#
# As it stands it opens its file O_DIRECT when it is opened so itself, and then
# fails every write of 4 KiB, whose buffer is not aligned.  Without that it
# works as the others do: over the file system's page cache.
pll_build() {
	local from=$pll_example

	if [ ! -e "$from/passthrough_helpers.h" ]; then
		(cd "$T" && apt-get -qq download libfuse3-dev &&
			dpkg-deb -x libfuse3-dev_*.deb "$T/libfuse3-dev") || return
		from=$T/libfuse3-dev$pll_example
	fi
	mkdir -p "$T/pll-source"
	cp "$from"/passthrough_* "$T/pll-source/"
	gunzip -q "$T"/pll-source/*.gz 2>/dev/null || :
	sed -i 's/fi->flags & ~O_NOFOLLOW/fi->flags \& ~(O_NOFOLLOW | O_DIRECT)/' \
		"$T/pll-source/passthrough_ll.c"
	grep -q '~(O_NOFOLLOW | O_DIRECT)' "$T/pll-source/passthrough_ll.c" ||
		return
	# shellcheck disable=SC2046 # words
	gcc -O2 -o "$T/bin/passthrough_ll" "$T/pll-source/passthrough_ll.c" \
		$(pkg-config --cflags --libs fuse3)
}

peer_file() {
	case $1 in
	plain) printf '%s\n' "$T/plain/img" ;;
	qsd) printf '%s\n' "$T/qsd/export" ;;
	sealdisk* | ocb) printf '%s\n' "$T/$1/mnt/disks/img" ;;
	*) printf '%s\n' "$T/$1/mnt/img" ;;
	esac
}

# sd PEER ARGS...: the program, with this peer's settings.
sd() {
	local p=$1

	shift
	"$SEALDISK" --config "$T/$p/sealdisk.ini" "$@" 2>>"$T/log"
}

# serve PEER COMMAND ARGS...: run a daemon.
serve() {
	local p=$1

	shift
	"$@" >>"$T/log" 2>&1 </dev/null &
	daemon[$p]=$!
	daemons+=("$!")
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

is_fuse() {
	grep -q " $1 .* - fuse" /proc/self/mountinfo
}

start_pll() {
	local p=$1

	shift
	# With its reply buffers kept: libc would map and unmap 1 MiB a reply,
	# which costs it eight times on large reads.
	serve "$p" env MALLOC_MMAP_THRESHOLD_=67108864 \
		MALLOC_TRIM_THRESHOLD_=134217728 \
		"$T/bin/passthrough_ll" -f -o "source=$T/$p/back" "$@" "$T/$p/mnt"
}

start_gocryptfs() {
	printf 'bench\n' >"$T/gocryptfs/pass"
	gocryptfs -q -init -scryptn 10 -passfile "$T/gocryptfs/pass" \
		"$T/gocryptfs/back" >>"$T/log" 2>&1
	serve gocryptfs gocryptfs -q -fg -nosyslog \
		-passfile "$T/gocryptfs/pass" \
		"$T/gocryptfs/back" "$T/gocryptfs/mnt"
}

# It measures how fast it derives a key, and now and then says that it cannot.
make_luks() {
	local try

	printf 'bench' >"$T/qsd/pass"
	for try in 1 2 3 4 5; do
		rm -f "$T/qsd/img"
		! qemu-img create -q -f luks \
			--object "secret,id=s,file=$T/qsd/pass" \
			-o key-secret=s,iter-time=$((try * 10)) \
			"$T/qsd/img" "${size_mib}M" >>"$T/log" 2>&1 || break
	done
	touch "$T/qsd/export"
}

start_qsd() {
	make_luks
	serve qsd qemu-storage-daemon \
		--object "secret,id=s,file=$T/qsd/pass" \
		--blockdev "driver=file,filename=$T/qsd/img,node-name=f" \
		--blockdev driver=luks,file=f,key-secret=s,node-name=l \
		--export "type=fuse,id=e,node-name=l,mountpoint=$T/qsd/export,writable=on"
}

start_sealdisk() {
	local p=$1 cipher=$2 writeback=$3 keeper=${4:-yes}

	cat >"$T/$p/sealdisk.ini" <<-END
		[sealdisk]
		store = $T/$p/back
		[mount]
		writeback_cache = $writeback
		keeper = $keeper
		[keystore]
		path = $T/$p/keystore.db
		root_file = $T/$p/root.key
		audit = $T/$p/audit/
	END
	sd "$p" init "$T/$p/back" --cipher "$cipher" >/dev/null
	serve "$p" "$SEALDISK" --config "$T/$p/sealdisk.ini" \
		mount -f "$T/$p/back" "$T/$p/mnt"
}

peer_start() {
	local p=$1 place=$T/$1/mnt

	mkdir -p "$T/$p/back" "$T/$p/mnt"
	case $p in
	plain | qcow2) return 0 ;;
	pll) start_pll pll ;;
	pll-wb) start_pll pll-wb -o writeback ;;
	gocryptfs) start_gocryptfs ;;
	qsd) start_qsd && place=$T/qsd/export ;;
	sealdisk) start_sealdisk sealdisk aes-256-gcm no ;;
	sealdisk-wb) start_sealdisk sealdisk-wb aes-256-gcm yes ;;
	sealdisk-alone) start_sealdisk sealdisk-alone aes-256-gcm no no ;;
	ocb) start_sealdisk ocb aes-256-ocb no ;;
	esac
	wait_for 10 is_fuse "$place" || die "$p does not start"
	# The mount comes a moment before the disks.
	case $p in
	sealdisk* | ocb) wait_for 10 test -d "$place/disks" ;;
	esac
	kill -0 "${daemon[$p]}" 2>/dev/null || die "$p has ended"
}

peer_stop() {
	local p=$1

	case $p in
	plain) return 0 ;;
	sealdisk* | ocb) sd "$p" umount "$T/$p/mnt" || : ;;
	qsd) kill "${daemon[$p]}" ;;
	*) umount "$T/$p/mnt" ;;
	esac
	wait "${daemon[$p]}" 2>/dev/null || :
}

# An image in which nothing was written yet.
peer_fresh() {
	case $1 in
	sealdisk* | ocb)
		[ ! -e "$(peer_file "$1")" ] || sd "$1" rm --yes img
		sd "$1" create img --size "${size_mib}M" >/dev/null
		;;
	qsd)
		[ ! -e "$T/qsd/filled" ] || {
			peer_stop qsd
			start_qsd
			wait_for 10 is_fuse "$T/qsd/export"
		}
		: >"$T/qsd/filled"
		;;
	*)
		rm -f "$(peer_file "$1")"
		truncate -s "${size_mib}M" "$(peer_file "$1")"
		;;
	esac
}

# An image in which every block was written, in order.
peer_fill() {
	[ "$1" != qcow2 ] || return 0
	peer_fresh "$1"
	do_fio fill "$1" --rw=write --bs=1M --end_fsync=1 >/dev/null
}

# settle: whatever earlier jobs have left to write, this file system has.
settle() {
	sync -f "$T"
}

# worker_of PEER: the process that does the work: Sealdisk's keeper has another
# for that.
worker_of() {
	sed -n 's/^worker_pid = //p' "$T/$1/mnt/info/store" 2>/dev/null |
		grep . || echo "${daemon[$1]:-}"
}

# The CPU time that the peer's daemon has used, in microseconds.
cpu_of() {
	local pid

	pid=$(worker_of "$1")

	if [ -z "$pid" ]; then
		echo 0
	else
		sed 's/.*) //' "/proc/$pid/stat" | awk -v hz="$(getconf CLK_TCK)" \
			'{ printf "%d\n", ($12 + $13) * 1000000 / hz }'
	fi
}

resident_kib() {
	awk '$1 == "VmRSS:" { print $2 }' "/proc/$(worker_of "$1")/status"
}
