#!/bin/bash
# threads_kmsd.sh - the key server under ThreadSanitizer, while many ask it for
# all that they can, over a Unix socket and over TLS, come and go, and an
# administrator works beside it.
#
# It is run by make check-threads.  SEALDISK_SECONDS=N: for so long.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
# shellcheck source=tests/lib_threads.sh
. "${0%/*}/lib_threads.sh"

: "${top_builddir:=$PWD}"
KMSD=$top_builddir/kmsd
kmsload=$top_builddir/tests/helper_kmsload
[ -x "$KMSD" ] || skip 'kmsd is not built'
require certtool curl jq
watch_threads

cat >"$T/kmsd.ini" <<END
[kmsd]
listen = unix:$T/sock unix:$T/crowd 127.0.0.1:0
tls_cert = $T/cert.pem
tls_key = $T/key.pem
timeout = 2
threads = 4
connections = 32
[keystore]
path = $T/kmsd.db
root_file = $T/kmsd.root
audit = $T/audit/
max_calls = 0
END
export KMSD_CONFIG=$T/kmsd.ini
form=Version=2016-01-20

# Another one each time: it is read again while it is used.
certificate() {
	printf 'cn = "kmsd"\nip_address = "127.0.0.1"\ntls_www_server\n' \
		>"$T/template"
	printf 'signing_key\nexpiration_days = 2\n' >>"$T/template"
	certtool --generate-privkey --ecc --outfile "$T/key.new" &&
		certtool --generate-self-signed --load-privkey "$T/key.new" \
			--template "$T/template" --outfile "$T/cert.new" &&
		mv "$T/key.new" "$T/key.pem" && mv "$T/cert.new" "$T/cert.pem"
}

# ask FORM [SOCKET]
ask() {
	curl -sS --max-time 20 --unix-socket "$T/${2:-sock}" -d "$form&$1" \
		http://kms/
}

field_of() {
	jq -er "$1"
}

# all_answered: by what kmsload says.
all_answered() {
	jq -e '.failed == 0' "$1" >"$T/jq.out"
}

quiet certificate
"$KMSD" init >"$T/init.out"
"$KMSD" --config "$T/kmsd.ini" serve 2>"$T/kmsd.log" &
kmsd=$!
wait_for 20 grep -q 'listening on 127' "$T/kmsd.log"
port=$(sed -n 's/.*listening on 127.0.0.1://p' "$T/kmsd.log")
check 'the server is watched' is_watched "$kmsd"
key=$(ask Action=CreateKey | field_of .KeyMetadata.KeyId)
blob=$(ask "Action=GenerateDataKey&KeyId=$key" |
	field_of '.CiphertextBlob | @uri')

#
# What is done all the while.
#

generates() {
	"$kmsload" load "$T/sock" "$form&Action=GenerateDataKey&KeyId=$key" 6 1 \
		>"$T/generates.json" && all_answered "$T/generates.json"
}

opens() {
	"$kmsload" load "$T/sock" "$form&Action=Decrypt&CiphertextBlob=$blob" 6 1 \
		>"$T/opens.json" && all_answered "$T/opens.json"
}

# Nobody is let in over TLS without a name, and so it is with a signature that is
# none: but it is looked at.
knocks() {
	curl -sSk --max-time 20 -d "$form&Action=ListKeys" \
		"https://127.0.0.1:$port/" | grep -q Code &&
		curl -sSk --max-time 20 "https://127.0.0.1:$port/?$form&\
Action=ListKeys&AccessKeyId=none&SignatureMethod=HMAC-SHA1&SignatureVersion=1.0&\
SignatureNonce=$1&Timestamp=$(date -u +%Y-%m-%dT%H:%M:%SZ)&Signature=none" |
		grep -q Code
}

# More than there is room for at one address: what is refused is no fault.
crowds() {
	local i pids=()

	for i in {1..48}; do
		ask Action=ListKeys crowd >"$T/crowd.$i" 2>&1 &
		pids+=($!)
	done
	wait "${pids[@]}" || :
	ask Action=ListKeys | field_of .TotalCount >"$T/crowd.all"
}

manages() {
	local one

	one=$(ask Action=CreateKey | field_of .KeyMetadata.KeyId) &&
		ask "Action=CreateAlias&AliasName=alias/t$1&KeyId=$one" |
		field_of .RequestId &&
		ask "Action=DisableKey&KeyId=$one" | field_of .RequestId &&
		ask "Action=EnableKey&KeyId=$one" | field_of .RequestId &&
		ask "Action=CreateKeyVersion&KeyId=$one" | field_of .RequestId &&
		ask Action=ListAliases | field_of .TotalCount &&
		ask "Action=DescribeKey&KeyId=alias/t$1" | field_of .RequestId &&
		ask "Action=DeleteAlias&AliasName=alias/t$1" |
		field_of .RequestId &&
		ask "Action=ScheduleKeyDeletion&KeyId=$one&PendingWindowInDays=7" |
		field_of .RequestId
}

administers() {
	"$KMSD" backup "$T/copy.$1" && "$KMSD" audit verify &&
		"$KMSD" access-key ls && "$KMSD" usage
}

reads_again() {
	sleep 0.3
	certificate && kill -HUP "$kmsd"
}

note "for $seconds seconds"
begin generates opens knocks crowds manages administers reads_again
sleep "$seconds"
end_all

note 'and it ends'
kill "$kmsd"
check 'with status 0' wait "$kmsd"
check 'its audit log is whole' quiet "$KMSD" audit verify
check 'no thread got into the way of another' found_nothing
