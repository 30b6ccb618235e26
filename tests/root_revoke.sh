#!/bin/bash
# root_revoke.sh - disks in use whose master key is revoked, or has a newer
# version: cut off where they are to be, wrapped anew, and otherwise left alone.
# shellcheck source=tests/lib.sh
# shellcheck disable=SC2119 # start_daemon takes arguments, or none
# shellcheck disable=SC2317,SC2094 # called by check; files of disks
. "${0%/*}/lib.sh"
require_root
require_fuse
require jq
memsearch=$(readlink -f "${top_builddir:-.}/tests/helper_memsearch")
[ -x "$memsearch" ] || skip "needs $memsearch: make check-root builds it"

# reads N: from the descriptor, past all caches.
reads() {
	dd of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null <&"$1"
}
writes() {
	dd if="$T/data" bs=4k count=1 oflag=direct status=none 1>&"$1" 2>/dev/null
}
# shuts N: the descriptor, which may tell of an error.
shuts() {
	{ eval "exec $1>&-"; } 2>/dev/null || :
}
fails() {
	! reads "$1"
}
# has LINE: in the daemon's log.
has() {
	grep -q "$1" "$LOG"
}
newest() {
	sd key users alias/app --json |
		jq -e --arg n "$1" '.[] | select(.name == $n) | .version ==
			"newest"' >/dev/null
}
# searched NAME: no key of it is in the daemon.
searched() {
	"$memsearch" -d "$1" -p "$(worker)" >"$T/found" && return
	cat "$T/found"
	return 1
}

make_store
sed -i 's/^\[keystore\]/[kms]\nkey_check_interval = 1\n&/' "$SEALDISK_CONFIG"
sd key create --alias app >/dev/null
for name in stop keep; do
	sd create "$name" --size 8M --key alias/app
done
sd set stop on_key_revoked=stop
start_daemon
head -c 1M /dev/urandom >"$T/data"
exec 5<>"$MNT/disks/stop" 6<>"$MNT/disks/keep" 7<"$MNT/disks/stop"
cat "$T/data" >&5
cat "$T/data" >&6

note 'a newer version of the key'
sd key rotate alias/app >/dev/null
check 'they are wrapped under it' wait_for 5 newest stop
check 'all of them' wait_for 5 newest keep
check 'and go on' reads 5

note 'the key is disabled'
sd key disable alias/app --yes 2>/dev/null
check 'the one that is to stop is cut off' wait_for 5 fails 5
check 'its reason is told' wait_for 5 has 'disk stop was cut off.*disabled'
check_not 'no write is taken' writes 5
check_not 'nor is it read from a cache' head -c 1 <&7
check_not 'nobody opens it' head -c 1 "$MNT/disks/stop"
check 'the other one works' reads 6
check 'the mount does' ls -l "$MNT/disks" >/dev/null
expect 0 'detached' sd info stop

note 'it is enabled again'
sd key enable alias/app
check 'no key of it is left in the daemon' searched stop
check_not 'while it is open it stays so' head -c 1 "$MNT/disks/stop"
shuts 5
shuts 7
check 'then it can be attached, and lost nothing' wait_for 5 \
	cmp -n 1048576 "$T/data" "$MNT/disks/stop"
sd set stop on_key_revoked=keep

note 'deleted'
exec 5<>"$MNT/disks/keep"
sd set keep on_key_revoked=stop
sd key schedule-deletion alias/app --days 7 --yes >/dev/null 2>&1
check 'a key that is scheduled for deletion cuts off, too' wait_for 5 fails 5
check 'its reason is told' wait_for 5 has 'disk keep was cut off.*deletion'
sd key cancel-deletion "$(sd key ls --json | jq -r '.[0].key_id')"
shuts 5
shuts 6
check 'it comes back' wait_for 5 cmp -n 1048576 "$T/data" "$MNT/disks/keep"
note 'a KMS that fails'
exec 5<>"$MNT/disks/keep"
mv "$T/keystore.db" "$T/away.db"
check 'is told' wait_for 5 has 'cannot be looked at'
printf 'no keystore' >"$T/keystore.db"
sleep 1.5
check 'and cuts nothing off' reads 5
rm -f "$T/keystore.db"
mv "$T/away.db" "$T/keystore.db"
sd set keep on_key_revoked=stop
sd key enable alias/app 2>/dev/null || :
sd key disable alias/app --yes 2>/dev/null
check 'where it is back, it is heard again' wait_for 5 fails 5
shuts 5
stop_daemon
check 'the daemon ends well' test "$daemon_status" -eq 0
