#!/bin/bash
# slow_kmsd_kill.sh - kmsd is killed while it makes keys: all that it has
# answered is there afterwards.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

: "${top_builddir:=$PWD}"
KMSD=$top_builddir/kmsd
[ -x "$KMSD" ] || skip 'kmsd is not built'
require curl jq

cat >"$T/kmsd.ini" <<END
[kmsd]
listen = unix:$T/sock
[keystore]
path = $T/kmsd.db
root_file = $T/kmsd.root
max_keys = 0
END
export KMSD_CONFIG=$T/kmsd.ini
"$KMSD" init

serve() {
	: >"$T/kmsd.log"
	"$KMSD" serve 2>"$T/kmsd.log" &
	kmsd=$!
	wait_for 10 grep -q 'listening on' "$T/kmsd.log"
}

# make N: keys, with a version more, until nobody answers; what was answered
# goes to a file.
make() {
	local answer id

	while answer=$(curl -sf --max-time 5 --unix-socket "$T/sock" \
		'http://kms/?Action=CreateKey&Version=2016-01-20'); do
		id=$(jq -re .KeyMetadata.KeyId <<<"$answer") || break
		printf '%s\n' "$id" >>"$T/made.$1"
		answer=$(curl -sf --max-time 5 --unix-socket "$T/sock" \
			"http://kms/?Action=CreateKeyVersion&KeyId=$id&Version=2016-01-20") ||
			break
		printf '%s %s\n' "$id" \
			"$(jq -r .KeyVersion.KeyVersionId <<<"$answer")" \
			>>"$T/rotated.$1"
	done
}

for round in 1 2 3 4 5; do
	serve
	makers=()
	for n in 1 2 3 4; do
		make "$round.$n" &
		makers+=("$!")
	done
	sleep "0.$((RANDOM % 8 + 2))"
	kill -9 "$kmsd"
	wait "$kmsd" "${makers[@]}" 2>/dev/null || :
done
serve
cat "$T"/made.* >"$T/made"
cat "$T"/rotated.* >"$T/rotated"
note "$(wc -l <"$T/made") keys, $(wc -l <"$T/rotated") rotations"
check 'there is something to look for' test -s "$T/rotated"
lost=0
while read -r id; do
	curl -sf --unix-socket "$T/sock" -o /dev/null \
		"http://kms/?Action=DescribeKey&KeyId=$id&Version=2016-01-20" ||
		lost=$((lost + 1))
done <"$T/made"
check 'no key that was answered is lost' test "$lost" -eq 0
while read -r id version; do
	curl -sf --unix-socket "$T/sock" -o /dev/null \
		"http://kms/?Action=DescribeKeyVersion&KeyId=$id&KeyVersionId=$version&Version=2016-01-20" ||
		lost=$((lost + 1))
done <"$T/rotated"
check 'nor any version' test "$lost" -eq 0
expect 0 ' 0 of them wrong' "$KMSD" audit verify
kill "$kmsd"
wait "$kmsd" || :
