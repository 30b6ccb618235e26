#!/bin/bash
# doctor.sh - `sealdisk doctor` finds each thing that it can be shown.  The
# machine that it looks at is made of files below $R.
# shellcheck disable=SC2016 # backquotes stand in messages
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

R=$T/machine
export SEALDISK_CONFIG=$T/sealdisk.ini SEALDISK_DOCTOR_ROOT=$R HOME=$T
export XDG_CONFIG_HOME=$T/xdg XDG_STATE_HOME=$T/xdg

# put FILE TEXT: a file of that machine; \0 and \n are what they are in C.
put() {
	mkdir -p "$R${1%/*}"
	# shellcheck disable=SC2059 # it is a format
	printf "$2" >"$R$1"
}

settings() {
	cat >"$SEALDISK_CONFIG" <<-END
		[sealdisk]
		store = ${1:-/srv/store}
		[keystore]
		path = ${2:-/var/lib/sealdisk/keystore.db}
		root_file = ${3:-/etc/sealdisk/root.key}
	END
}

# A machine on which nothing is wrong.
healthy() {
	rm -rf "$R"
	settings
	put /proc/self/mountinfo '%s\n' ''
	cat >"$R/proc/self/mountinfo" <<-'END'
		22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
		23 22 8:17 / /srv rw,relatime - xfs /dev/sdb1 rw
		24 22 0:53 / /mnt/sd rw - fuse.sealdisk /srv/store rw,user_id=0
	END
	put /proc/sys/kernel/osrelease '6.1.0-18-amd64\n'
	put /proc/cpuinfo 'processor : 0\nflags\t\t: fpu sse2 aes avx\n'
	put /proc/swaps 'Filename Type Size Used Priority\n'
	put /proc/4242/comm 'sealdisk\n'
	put /proc/4242/cmdline 'sealdisk\0mount\0/srv/store\0/mnt/sd\0'
	limits 1048576 unlimited 0
	put /proc/4242/status 'Name:\tsealdisk\nCapEff:\t000001ffffffffff\n'
	put /proc/4242/cgroup '0::/system.slice/mnt-sd.mount\n'
	ln -s /usr/bin/sealdisk "$R/proc/4242/exe"
	put /sys/fs/fuse/connections/53/max_background '128\n'
	put /sys/class/bdi/0:53/read_ahead_kb '4096\n'
	put /sys/class/bdi/0:53/max_ratio '20\n'
	put /sys/block/loop3/loop/backing_file '/mnt/sd/disks/db\n'
	put /sys/block/loop3/loop/dio '1\n'
	put /sys/block/loop3/queue/logical_block_size '4096\n'
	put /mnt/sd/info/disks/db \
		'[disk]\nsector_size = 4096\n\n[counters]\nfaults = 0\nfailed = 0\n'
	put /etc/fstab '# none\n'
	line /srv/store /mnt/sd fuse.sealdisk allow_other,_netdev
	line /mnt/sd/disks/db /var/lib/pg ext4 \
		loop,_netdev,x-systemd.requires-mounts-for=/mnt/sd
	put /srv/store/store.ini '[store]\n'
	(umask 077 && put /var/lib/sealdisk/keystore.db 'SQLite')
	(umask 077 && put /etc/sealdisk/root.key 'key')
}

# limits FILES MEMORY CORE: of the daemon.
limits() {
	{
		printf 'Limit                     Soft Limit  Hard Limit  Units\n'
		printf 'Max core file size        %s           0           bytes\n' "$3"
		printf 'Max open files            %s     1048576     files\n' "$1"
		printf 'Max locked memory         %s   unlimited   bytes\n' "$2"
	} >"$R/proc/4242/limits"
}

# line SPEC WHERE TYPE OPTIONS: of fstab.
line() {
	printf '%s\t%s  %s %s 0 0\n' "$@" >>"$R/etc/fstab"
}

fstab() {
	printf '' >"$R/etc/fstab"
}

mountinfo() {
	sed -i "$1" "$R/proc/self/mountinfo"
}

# What is found, but for the space that is left: that is of the real machine.
findings() {
	sd doctor --json 2>/dev/null |
		jq -r 'map(select(.check != "store-space")) | .[] |
			.severity + " " + .check'
}

# nothing WHAT: nothing is found, and the exit status says so.
nothing() {
	check "$1" test -z "$(findings)"
	healthy
}

# shown WHAT FINDING...: just these are found; the machine is healed again.
shown() {
	local what=$1 status=0 want=0 found

	shift
	found=$(findings | sort)
	if [ "$found" != "$(printf '%s\n' "$@" | sort)" ]; then
		failed "$what: found '$found' instead of '$*'"
	else
		passed "$what"
	fi
	case $* in
	*serious*) want=1 ;;
	esac
	sd doctor >"$T/said" 2>&1 || status=$?
	check "$what: the status is $want" test "$status" -eq "$want"
	healthy
}

healthy
expect 0 'looking at .* in place of this machine' sd doctor
nothing 'a healthy machine'

note 'speed'
put /sys/block/loop3/loop/dio '0\n'
shown 'a loop device without direct I/O' 'warning loop-direct-io'
put /sys/block/loop3/queue/logical_block_size '512\n'
shown 'a loop device with smaller sectors' 'warning loop-sector-size'
put /mnt/sd/info/disks/db '[disk]\nsector_size = 512\n[counters]\nfaults = 0\n'
put /sys/block/loop3/queue/logical_block_size '512\n'
nothing 'sectors of 512 on a disk of 512'
put /sys/block/loop3/loop/dio '0\n'
put /sys/block/loop3/loop/backing_file '/srv/other.img\n'
nothing 'the loop device of somebody else'
put /sys/fs/fuse/connections/53/max_background '12\n'
shown 'few requests at a time' 'warning max-background'
put /sys/class/bdi/0:53/read_ahead_kb '128\n'
shown 'little readahead' 'warning readahead'
put /sys/class/bdi/0:53/max_ratio '1\n'
shown 'little dirty memory' 'warning max-ratio'
put /proc/cpuinfo 'processor : 0\nflags : fpu sse2 vaes_not avx\n'
shown 'a processor without AES' 'warning aes'
put /proc/cpuinfo 'processor : 0\nFeatures : fp asimd aes pmull\n'
nothing 'an Arm processor with AES'
put /proc/cpuinfo 'processor : 0\nFeatures : fp asimd\n'
shown 'one without' 'warning aes'
put /proc/sys/kernel/osrelease '5.10.0-28-amd64\n'
shown 'an old kernel' 'warning kernel'
put /proc/sys/kernel/osrelease '6.0.19\n'
shown 'a kernel that is a little old' 'warning kernel'
put /proc/sys/kernel/osrelease '7.0.1\n'
nothing 'a new kernel'

note 'the daemon'
limits 1024 unlimited 0
shown 'few open files' 'warning open-files'
limits 1048576 8388608 0
nothing 'a limit of memory, and CAP_IPC_LOCK'
limits 1048576 8388608 0
put /proc/4242/status 'CapEff:\t000001ffffffbfff\n'
shown 'a limit of memory without it' 'warning locked-memory'
put /proc/4242/status 'CapEff:\t000001fffeffffff\n'
shown 'no CAP_SYS_RESOURCE' 'warning io-flusher'
limits 1048576 unlimited unlimited
shown 'core dumps' 'serious core-dump'
put /proc/4242/cgroup \
	'0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n'
shown "a daemon in a user's session" 'warning user-session'
ln -sf '/usr/bin/sealdisk (deleted)' "$R/proc/4242/exe"
shown 'a daemon that an update has left behind' 'warning daemon-old'
put /mnt/sd/info/disks/db '[disk]\n[counters]\nfaults = 3\nfailed = 0\n'
shown 'blocks that do not verify' 'serious disk-faults'
put /mnt/sd/info/disks/db '[disk]\n[counters]\nfaults = 0\nfailed = 1\n'
shown 'a sync that failed' 'serious disk-failed'

note 'the store'
mountinfo 's|xfs /dev/sdb1|nfs4 server:/srv|'
shown 'a store on NFS' 'warning store-network'
mountinfo 's|xfs /dev/sdb1|fuse.sshfs server:|'
shown 'a store on another FUSE' 'warning store-network'
mountinfo 's|/dev/sdb1|/dev/loop3p1|'
shown 'a store on its own disk' 'serious store-on-itself'
mountinfo 's|/dev/sdb1|/dev/loop3|'
put /sys/block/loop3/loop/backing_file '/root/other.img\n'
nothing 'a store on a loop device over something else'

note 'keys'
chmod 640 "$R/var/lib/sealdisk/keystore.db"
shown 'a keystore that others read' 'serious keystore-mode'
chmod 777 "$R/var/lib/sealdisk"
shown 'a keystore that others replace' 'serious keystore-folder'
chmod 604 "$R/etc/sealdisk/root.key"
shown 'a root key that others read' 'serious root-key-mode'
chmod 620 "$R/etc/sealdisk/root.key"
shown 'a root key that others write' 'serious root-key-mode'
if [ "$(id -u)" -eq 0 ]; then
	chown 12345 "$R/etc/sealdisk/root.key"
	shown 'a root key of somebody else' 'serious root-key-mode'
fi
settings /srv/store /srv/store/keystore.db
(umask 077 && put /srv/store/keystore.db 'SQLite')
shown 'a keystore in the store' 'serious keystore-in-store'
settings /srv/store '' /srv/store/root.key
(umask 077 && put /srv/store/root.key 'key')
shown 'a root key in the store' 'serious root-key-in-store'
settings /srv/store '' /srv/root.key
(umask 077 && put /srv/root.key 'key')
shown 'a root key beside the store' 'warning root-key-beside-store'
settings /srv/store '' /srv/root.key
(umask 077 && put /srv/root.key 'key')
put /sys/dev/block/8:17/dm/uuid 'CRYPT-LUKS2-abc-srv\n'
nothing 'on an encrypted medium'

rm "$R/var/lib/sealdisk/keystore.db"
shown 'no keystore' 'serious keystore-missing'
rm "$R/etc/sealdisk/root.key"
shown 'no root key' 'serious root-key-missing'
rm "$R/etc/sealdisk/root.key"
sed -i 's/^\[keystore\]/&\nroot = passphrase/' "$SEALDISK_CONFIG"
nothing 'a passphrase in its place'
rm "$R/etc/sealdisk/root.key"
sed -i '/^store/d' "$SEALDISK_CONFIG"
shown 'no root key of what is mounted' 'serious root-key-missing'
printf '[kms]\nendpoint = https://kms.example.com\n' >>"$SEALDISK_CONFIG"
shown 'a key service that this version does not know' 'warning kms-endpoint'

note 'swap'
put /proc/swaps 'Filename Type\n/dev/sda2 partition 1 0 -2\n'
shown 'swap in the clear' 'warning swap'
put /proc/swaps 'Filename Type\n/swapfile\\040one file 1 0 -2\n'
shown 'a file of swap in the clear' 'warning swap'
put /proc/swaps 'Filename Type\n/dev/zram0 partition 1 0 100\n'
nothing 'swap in memory'
put /proc/swaps 'Filename Type\n/dev/dm-1 partition 1 0 -2\n'
put /sys/block/dm-1/dm/uuid 'LVM-abc\n'
put /sys/block/dm-1/slaves/dm-0/x ''
put /sys/block/dm-0/dm/uuid 'CRYPT-LUKS2-abc\n'
nothing 'swap upon LVM upon LUKS'
put /proc/swaps 'Filename Type\n/swapfile file 1 0 -2\n'
put /sys/dev/block/8:1/dm/uuid 'CRYPT-LUKS2-abc\n'
nothing 'a file of swap on LUKS'

note 'fstab'
fstab
line /srv/store /mnt/sd fuse.sealdisk allow_other
shown 'a line without _netdev' 'note fstab-netdev'
fstab
line /srv/store /mnt/sd sealdisk allow_other
mountinfo 's|xfs /dev/sdb1|nfs4 server:/srv|'
shown 'and a store on the network' 'warning fstab-netdev' \
	'warning store-network'
fstab
line /srv/store /mnt/sd sealdisk _netdev
line /mnt/sd/disks/db /var/lib/pg ext4 loop,_netdev
shown 'a disk that waits for nothing' 'warning fstab-order'
fstab
line /srv/store /mnt/sd sealdisk _netdev
line /mnt/sd/disks/db /var/lib/pg ext4 \
	loop,x-systemd.requires-mounts-for=/mnt/sd
shown 'a disk without _netdev' 'warning fstab-cycle'
fstab
line /mnt/sdx/disks/db /var/lib/pg ext4 loop
line '#/srv/store' /mnt/sd sealdisk defaults
nothing 'lines of others'

note 'many at once, as text and as JSON'
put /sys/block/loop3/loop/dio '0\n'
chmod 644 "$R/etc/sealdisk/root.key"
run sd doctor
check 'the status says serious' test "$status" -eq 1
check 'what is serious comes first' test \
	"$(grep -E '^(serious|warning)' <<<"$out" | head -n 1 | cut -d: -f1)" = \
	serious
check 'a line each, with the cost and the remedy' \
	grep -qE '^warning: /dev/loop3 over .*: .*lost \(losetup .*\)$' <<<"$out"
check 'standard error sums up in one line' \
	grep -qE '^sealdisk: doctor: 1 of [23]: serious$' <<<"$out"
sd doctor --json >"$T/json" 2>/dev/null || :
check 'JSON has all fields, all text' jq -e 'length >= 2 and all(.[];
	(keys == ["check", "costs", "mend", "severity", "what"]) and
	all(.[]; type == "string" and length > 0) and
	(.severity | IN("serious", "warning", "note")))' "$T/json"
healthy

note 'another store, and what is not there'
mountinfo 's|/srv/store rw,user|/srv/another rw,user|'
put /sys/block/loop3/loop/dio '0\n'
nothing 'mounts of other stores are passed over'
sed -i '/^store/d' "$SEALDISK_CONFIG"
mountinfo 's|/srv/store rw,user|/srv/another rw,user|'
put /sys/block/loop3/loop/dio '0\n'
shown 'unless no store is named' 'warning loop-direct-io'
rm -rf "$R"
mkdir "$R"
nothing 'a machine without any file'
refuse 2 'too many' sd doctor now

unset SEALDISK_DOCTOR_ROOT
settings "$T/none"
refuse 3 'none' sd doctor
