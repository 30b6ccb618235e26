#!/bin/bash
# root_worker_passphrase.sh - a keystore whose root is a passphrase that came by a
# descriptor, once: the workers that follow have it, too.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_fuse
require jq

STORE=$T/store MNT=$T/mnt
mkdir "$MNT"
printf 'correct horse battery\n' >"$T/passphrase"
export SEALDISK_CONFIG=$T/sealdisk.ini
cat >"$SEALDISK_CONFIG" <<END
[mount]
linger = 1
[keystore]
path = $T/keystore.db
root = passphrase
audit = none
END

# with_passphrase ARGS...
with_passphrase() {
	"$SEALDISK" --passphrase-fd=5 "$@" 5<"$T/passphrase"
}

quiet with_passphrase init "$STORE"
"$SEALDISK" --passphrase-fd=5 mount -f "$STORE" "$MNT" 5<"$T/passphrase" \
	2>>"$LOG" &
daemon=$!
wait_for 20 test -d "$MNT/disks"
with_passphrase -s "$STORE" create d --size 8M
printf 'hello' >"$MNT/disks/d"
kill -KILL "$(worker)"
check 'another worker has the disk' test \
	"$(head -c 5 "$MNT/disks/d")" = hello
is_free() {
	[ "$("$SEALDISK" -s "$STORE" info d --json | jq -r .state)" = detached ]
}
check 'the disk is detached' wait_for 10 is_free
check 'and attached again: the keystore is open' test \
	"$(head -c 5 "$MNT/disks/d")" = hello
check_not 'the passphrase is not in sight' grep -qa 'correct horse' \
	"/proc/$daemon/cmdline" "/proc/$daemon/environ" \
	"/proc/$(worker)/cmdline" "/proc/$(worker)/environ" "$LOG"
"$SEALDISK" umount "$MNT"
wait "$daemon" && r=0 || r=$?
daemon=''
check 'the daemon ended well' test "$r" -eq 0
