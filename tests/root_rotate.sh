#!/bin/bash
# root_rotate.sh - disks that are in use moved to other keys by their daemon,
# and daemons whose keystore hangs on a passphrase or a credential.
# shellcheck source=tests/lib.sh
# shellcheck disable=SC2119 # start_daemon takes arguments, or none
. "${0%/*}/lib.sh"
require_root
require_fuse
require jq script

# key_of NAME, version_of NAME: what the store says.
key_of() {
	field "$1" .key_id
}

version_of() {
	field "$1" .key_version_id
}

# same WHAT COMMAND ARGS...: it prints just that.
same() {
	local want=$1

	shift
	[ "$("$@")" = "$want" ]
}

# wrapped NAME: the wrapped key, as it is in the file.
wrapped() {
	sed -n 's/^wrapped_dk = //p' "$STORE/disks/$1.ini"
}

# root_is KIND: what sealdisk.ini says of the root.
root_is() {
	sed -i '/^root =/d' "$SEALDISK_CONFIG"
	sed -i "s|^\[keystore\]|&\nroot = $1|" "$SEALDISK_CONFIG"
}

with() {
	local passphrase=$1

	shift
	sd --passphrase-fd 3 "$@" 3<<<"$passphrase"
}

make_store
key=$(sd key create --alias app)
other=$(sd key create --alias other)
for name in busy idle; do
	sd create "$name" --size 8M --key alias/app
done
start_daemon

note 'a disk that is in use'
exec 5<>"$MNT/disks/busy"
head -c 1M /dev/urandom >"$T/data"
cat "$T/data" >&5
check 'it is attached' same attached field busy .state
version=$(sd key rotate alias/app)
before=$(wrapped busy)
expect 0 'busy +disk +1 +would be rewrapped' sd rotate --all -n
check 'a dry run changes nothing' same "$before" wrapped busy
expect 0 'busy +disk +1 +rewrapped.*idle +disk +1 +rewrapped' sd rotate --all
check 'its data key is under the new version' same "$version" version_of busy
check 'and that of a disk which is not' same "$version" version_of idle
check_not 'it is wrapped anew' same "$before" wrapped busy
expect 0 'busy +disk +0 +current' sd rotate busy
after=$(wrapped busy)
sd resize busy 16M
sd set busy kind=system
check 'a resize and a property leave it so' same "$after" wrapped busy

expect 0 'rewrapped' sd rotate busy --key alias/other
check 'it is under another key' same "$other" key_of busy
sd key disable alias/app --yes 2>/dev/null
check 'the first key is not needed' dd if="$MNT/disks/busy" of=/dev/null \
	bs=1M status=none
refuse 5 'disabled' sd rotate busy --key alias/app
check 'a refusal changes nothing' same "$other" key_of busy
sd key enable alias/app
exec 5>&-
wait_for 5 same detached field busy .state
check 'detaching does not bring the old one back' same "$other" key_of busy
check 'it is attached under its new key' \
	cmp -n 1M "$MNT/disks/busy" "$T/data"

note 'a daemon that is killed'
exec 5<>"$MNT/disks/busy"
expect 0 'rewrapped' sd rotate busy --key "$key"
kill_daemon KILL
exec 5>&-
umount -l "$MNT"
check 'what was answered is there' same "$key" key_of busy
start_daemon
check 'and opens' cmp -n 1M "$MNT/disks/busy" "$T/data"

note 'many at once, by a daemon and by commands'
for name in d1 d2 d3 d4; do
	sd create "$name" --size 1M --key alias/app
done
pids=()
exec 6<>"$MNT/disks/d1" 7<>"$MNT/disks/d2"
for to in other app other app; do
	sd rotate --all --key "alias/$to" >/dev/null &
	pids+=($!)
done
for pid in "${pids[@]}"; do
	check 'none is in the way of another' wait "$pid"
done
exec 6>&- 7>&-
sd rotate --all --key alias/app >"$T/said"
for name in busy idle d1 d2 d3 d4; do
	check "$name is under one key, and opens" \
		dd if="$MNT/disks/$name" of=/dev/null bs=64K status=none
done
check 'all are under the same' same "$key
$key
$key
$key
$key
$key" jq -r '.[].key_id' <(sd ls --json)

note 'others than root'
if [ "$(id -u nobody 2>/dev/null)" ]; then
	refuse 1 'root.s choice|Permission|Operation' setpriv --reuid=nobody \
		--clear-groups "$SEALDISK" -s "$STORE" rotate busy
fi

note 'the root changes under a daemon'
exec 5<>"$MNT/disks/busy"
sd kms change-root >/dev/null
check 'what is attached goes on' cmp -n 1M "$MNT/disks/busy" "$T/data"
check 'what is not is attached' cmp -n 4K "$MNT/disks/idle" /dev/zero
exec 5>&-
stop_daemon

note 'a passphrase'
sd kms change-root --to passphrase --new-passphrase-fd 3 \
	3<<<'correct horse' >/dev/null
root_is passphrase
expect 5 'does not open it' with 'wrong horse' mount "$STORE" "$MNT"
check_not 'nothing is mounted' mountpoint -q "$MNT"
expect 5 'no terminal' setsid -w "$SEALDISK" mount "$STORE" "$MNT"
check 'from a descriptor' with 'correct horse' mount "$STORE" "$MNT"
check 'it serves' cmp -n 1M "$MNT/disks/busy" "$T/data"
umount_store
check 'as a mount option' sd mount "$STORE" "$MNT" -o passphrase_fd=3 \
	3<<<'correct horse'
check 'it serves' cmp -n 1M "$MNT/disks/busy" "$T/data"
daemon_pid=$(pgrep -f -- "--ready-fd.*$STORE|$STORE.*--ready-fd" | head -n 1)
check 'it is on no command line and in no environment' test -z \
	"$(grep -l 'correct horse' "/proc/$daemon_pid/cmdline" \
		"/proc/$daemon_pid/environ" 2>/dev/null)"
umount_store

# answer TEXT: on the terminal of ask(), when it asks.
mkfifo "$T/keys"
ask() {
	: >"$T/screen"
	script -qefc "$*" "$T/screen" <"$T/keys" >/dev/null &
	asking=$!
	exec 8>"$T/keys"
	wait_for 10 grep -q 'Passphrase of keystore' "$T/screen"
}

answer() {
	printf '%s\n' "$1" >&8
	status=0
	wait "$asking" || status=$?
	exec 8>&-
}

ask "$SEALDISK" mount "$STORE" "$MNT"
check_not 'the daemon asks before it serves' mountpoint -q "$MNT"
answer 'correct horse'
check 'from the terminal' test "$status" -eq 0
check 'it serves in the background' cmp -n 1M "$MNT/disks/busy" "$T/data"
check_not 'the terminal shows no passphrase' grep -q horse "$T/screen"
umount_store
ask "$SEALDISK" mount "$STORE" "$MNT"
answer 'wrong horse'
check 'a wrong one ends it' test "$status" -eq 5
check 'in one line' test "$(grep -c sealdisk: "$T/screen")" -eq 1
check_not 'and nothing is mounted' mountpoint -q "$MNT"

note 'a credential'
mkdir -m 700 "$T/credentials"
export CREDENTIALS_DIRECTORY=$T/credentials
(umask 077 && head -c 32 /dev/urandom >"$T/credentials/sealdisk.root")
with 'correct horse' kms change-root --to credential >/dev/null
root_is credential
start_daemon
check 'the daemon finds it where systemd puts it' \
	cmp -n 1M "$MNT/disks/busy" "$T/data"
stop_daemon
check 'and ends well' test "$daemon_status" -eq 0
unset CREDENTIALS_DIRECTORY
expect 5 'no such credential' sd mount "$STORE" "$MNT"
