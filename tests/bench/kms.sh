# kms.sh - the key service's part of the bench.  Read by bench.sh.
#
# A kmsd of its own, with its audit log, at a Unix socket, and clients of
# helper_kmsload that ask as fast as they are answered.  First with a keystore
# that is new, then with 10,000 keys and 1,000,000 lines of audit.
# shellcheck shell=bash
# shellcheck disable=SC2154 # bench.sh's variables

KMSD=${KMSD:-${SEALDISK%/*}/kmsd}
kmsload=${SEALDISK%/*}/tests/helper_kmsload
kms_clients=16

# What is there to measure with; else it is said.
kms_missing() {
	missing=''
	[ -x "$KMSD" ] || missing=kmsd
	[ -x "$kmsload" ] || missing=tests/helper_kmsload
	[ -n "$missing" ]
}

kms_start() {
	mkdir -p "$T/kms"
	cat >"$T/kms/kmsd.ini" <<-END
		[kmsd]
		listen = unix:$T/kms/sock
		[keystore]
		path = $T/kms/keystore.db
		root_file = $T/kms/root.key
		audit = $T/kms/audit/
		max_keys = 0
		max_calls = 0
	END
	"$KMSD" --config "$T/kms/kmsd.ini" init >>"$T/log" 2>&1
	"$KMSD" --config "$T/kms/kmsd.ini" serve >>"$T/log" 2>&1 &
	kms_daemon=$!
	daemons+=("$kms_daemon")
	for _ in {1..100}; do
		[ ! -S "$T/kms/sock" ] || return 0
		sleep 0.1
	done
	return 1
}

kms_stop() {
	kill "$kms_daemon"
	wait "$kms_daemon" || :
}

# ask FORM: the reply.
ask() {
	"$kmsload" once "$T/kms/sock" "$1"
}

# kms_load NAME FORM: at full speed for a while.
kms_load() {
	local failed

	"$kmsload" load "$T/kms/sock" "$2" "$kms_clients" "$seconds" \
		>"$T/load.json"
	failed=$(jq .failed "$T/load.json")
	[ "$failed" -eq 0 ] || note "$1: $failed requests were refused"
	sample "kms-$1" sealdisk /s "$(jq .rate "$T/load.json")"
	sample "kms-$1-p99" sealdisk ms "$(jq '.p99_us / 1000' "$T/load.json")"
}

kms_round() {
	local suffix=$1

	kms_load "generate$suffix" "Action=GenerateDataKey&$kms_form"
	kms_load "decrypt$suffix" "Action=Decrypt&$kms_blob"
}

# kms_embedded NAME AUDIT: the service that is in the program itself, with the
# keystore of the server, which has ended.
kms_embedded() {
	cat >"$T/kms/sealdisk.ini" <<-END
		[kms]
		key = $kms_key
		[keystore]
		path = $T/kms/keystore.db
		root_file = $T/kms/root.key
		audit = $2
	END
	SEALDISK_CONFIG=$T/kms/sealdisk.ini "$kmsload" embedded 2000 \
		>"$T/load.json"
	sample "$1" sealdisk us "$(jq .us "$T/load.json")"
}

kms_bench() {
	local keys=${SEALDISK_BENCH_KEYS:-10000}
	local lines=${SEALDISK_BENCH_LINES:-1000000} have
	local kms_key kms_form kms_blob kms_daemon

	if kms_missing; then
		note "without kms: there is no $missing"
		return
	fi
	kms_start
	kms_key=$(ask "Action=CreateKey&Version=2016-01-20" |
		jq -r .KeyMetadata.KeyId)
	kms_form="Version=2016-01-20&KeyId=$kms_key"
	kms_blob="Version=2016-01-20&CiphertextBlob=$(ask \
		"Action=GenerateDataKey&$kms_form" |
		jq -r '.CiphertextBlob | @uri')"
	kms_round ''
	note "kms: making $keys keys and $lines lines of audit"
	"$kmsload" count "$T/kms/sock" \
		'Action=CreateKey&Version=2016-01-20' "$kms_clients" "$keys" \
		>"$T/load.json"
	have=$(find "$T/kms/audit" -type f -exec cat {} + | wc -l)
	[ "$have" -ge "$lines" ] || "$kmsload" count "$T/kms/sock" \
		"Action=Decrypt&$kms_blob" "$kms_clients" $((lines - have)) \
		>"$T/load.json"
	kms_round -full
	kms_stop
	kms_embedded kms-embedded none
	kms_embedded kms-embedded-audit "$T/kms/audit/"
}
