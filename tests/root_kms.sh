#!/bin/bash
# root_kms.sh - disks whose keys are a key server's, over TLS: in use, while it
# is away, and after it is back.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

: "${top_builddir:=$PWD}"
KMSD=$top_builddir/kmsd
[ -x "$KMSD" ] || skip 'kmsd is not built'
require certtool
require_loop
require_fuse

make_config
mkdir "$T/tls"
printf 'cn = "kmsd"\nip_address = "127.0.0.1"\ntls_www_server\nsigning_key\n' \
	>"$T/tls/tmpl"
printf 'expiration_days = 2\nca\ncert_signing_key\n' >>"$T/tls/tmpl"
certtool --generate-privkey --ecc --outfile "$T/tls/key.pem" 2>/dev/null
certtool --generate-self-signed --load-privkey "$T/tls/key.pem" \
	--template "$T/tls/tmpl" --outfile "$T/tls/cert.pem" 2>/dev/null
port=$((20000 + $$ % 20000))
cat >"$T/kmsd.ini" <<END
[kmsd]
listen = unix:$T/sock 127.0.0.1:$port
tls_cert = $T/tls/cert.pem
tls_key = $T/tls/key.pem
[keystore]
path = $T/kmsd.db
root_file = $T/kmsd.root
END
cat >"$SEALDISK_CONFIG" <<END
[sealdisk]
store = $STORE
[mount]
linger = 0
[kms]
endpoint = https://127.0.0.1:$port
ca_file = $T/tls/cert.pem
access_key_file = $T/access
timeout = 2
key = alias/app
END
export KMSD_CONFIG=$T/kmsd.ini

serve() {
	: >"$T/kmsd.log"
	"$KMSD" serve 2>>"$T/kmsd.log" &
	kmsd=$!
	wait_for 10 grep -q "listening on 127" "$T/kmsd.log"
}

stop_serving() {
	kill "$kmsd"
	wait "$kmsd" || :
}

# fails SECONDS ERRNO COMMAND ARGS...: within that time, with that text.
fails() {
	local began=$SECONDS limit=$1 why=$2

	shift 2
	run timeout 30 "$@"
	[ "$status" -ne 0 ] && [ $((SECONDS - began)) -le "$limit" ] &&
		[[ $out == *"$why"* ]]
}

nokey='Required key not available'

"$KMSD" init
serve
"$KMSD" access-key create disks >"$T/access"
chmod 600 "$T/access"
printf '%s' '{"Version":"1","Statement":[{"Effect":"Allow",
"Action":"kms:*","Resource":"*"}]}' | "$KMSD" policy set disks -
sd init "$STORE" >/dev/null
key=$(sd key create --alias alias/app)
sd create a --size 8M
sd create b --size 8M
start_daemon

note 'attached'
dev=$(sd attach a)
check 'a disk is attached' test -b "$dev"
head -c 1M /dev/urandom >"$T/data"
check 'and written' dd if="$T/data" of="$dev" bs=64k oflag=direct status=none

note 'the server is away'
stop_serving
check 'an attached disk is read' cmp -n 1048576 "$T/data" "$dev"
check 'and written' dd if="$T/data" of="$dev" bs=64k seek=16 oflag=direct \
	status=none
check 'and synced' sync "$dev"
check 'a new attach fails in time' fails 8 "$nokey" cat "$MNT/disks/b"
check 'nothing else hangs' quiet timeout 5 ls "$MNT"
sd detach a
check 'a detached one is not attached again' fails 8 "$nokey" cat "$MNT/disks/a"
check 'unmounting does not hang' timeout 20 "$SEALDISK" umount "$MNT"
wait "$daemon" || :
daemon=''

note 'and back'
start_daemon
check 'no attach yet' fails 8 "$nokey" cat "$MNT/disks/a"
serve
check 'what was written is there' cmp -n 1048576 "$T/data" "$MNT/disks/a"
check 'also what was written meanwhile' cmp -n 1048576 "$T/data" \
	<(dd if="$MNT/disks/a" bs=1M skip=1 count=1 status=none)
check 'the other disk attaches, too' dd if="$MNT/disks/b" of=/dev/null bs=4k count=1 status=none

note 'refusals'
sd key disable alias/app --yes
check 'disabled: EKEYREVOKED' fails 3 'Key has been revoked' cat "$MNT/disks/a"
sd key enable alias/app
check 'enabled again' dd if="$MNT/disks/a" of=/dev/null bs=4k count=1 status=none
sd key schedule-deletion alias/app --days 7 --yes
check 'scheduled for deletion: EKEYEXPIRED' fails 3 'Key has expired' \
	cat "$MNT/disks/a"
sd key cancel-deletion alias/app
check 'restored' dd if="$MNT/disks/a" of=/dev/null bs=4k count=1 status=none
printf '%s' '{"Version":"1","Statement":[{"Effect":"Allow",
"Action":"kms:DescribeKey","Resource":"*"}]}' | "$KMSD" policy set disks -
check 'not authorized: EKEYREJECTED' fails 3 'Key was rejected by service' \
	cat "$MNT/disks/a"
"$KMSD" policy rm disks
check 'nor without any policy' fails 3 'Key was rejected by service' \
	cat "$MNT/disks/a"

note 'no key is where it should not be'
secret=$(sed -n 2p "$T/access")
check_not 'the secret is in no log' grep -rqF "$secret" "$T/kmsd.log" "$LOG" \
	"$T/audit"
check 'the audit log is whole' quiet "$KMSD" audit verify
check 'it names who has used the key' grep -q \
	"\"service/ecs.aliyuncs.com\".*\"Decrypt\".*$key" <(cat "$T"/audit/*.log)
stop_daemon
stop_serving
