#!/bin/bash
# audit.sh - the audit log and the counts of calls, from the command line.
# Needs neither root nor a mount.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

log=$T/audit/audit-000001.log

# counted FILTER ARGS...: jq's filter holds for what the command prints as JSON.
counted() {
	local filter=$1

	shift
	run "$@" --json
	if jq -e "$filter" <<<"$out" >/dev/null; then
		passed "$*: $filter"
	else
		failed "$*: $filter does not hold for: $out"
	fi
}

# spoiled WHAT SED: verify finds what sed does to the log, and says it is bad.
spoiled() {
	cp "$log" "$T/whole"
	sed -i "$2" "$log"
	run sd kms audit verify
	check "$1 is an integrity fault" test "$status" -eq 6
	check "$1 is told" grep -q '^file 1' <<<"$out"
	cp "$T/whole" "$log"
}

note 'what is written down'
make_config
sd init "$STORE" >/dev/null
sd key create --alias app >/dev/null
sd create a --size 1M --key alias/app >/dev/null
sd create b --size 1M >/dev/null
sd key disable alias/app --yes 2>/dev/null
run sd create c --size 1M --key alias/app
check 'a disabled key makes no disk' test "$status" -eq 5
sd key enable alias/app
counted 'map(.action) | index("CreateKey") < index("GenerateDataKey")' \
	sd kms audit
counted 'all(.principal == "uid/'"$(id -u)"'" and .kind == "request")' \
	sd kms audit
counted 'length == 1 and .[0].result == "Rejected.Disabled"' \
	sd kms audit --failed
counted 'length == 2 and all(.action == "GenerateDataKey")' \
	sd kms audit --action GenerateDataKey --last 2
counted 'length == 0' sd kms audit --since 2099-01-01T00:00:00Z
counted 'length == 0' sd kms audit --principal user/nobody
counted 'length > 0' sd kms audit --key "$(sd key ls --json |
	jq -r '.[] | select(.aliases == ["alias/app"]) | .key_id')"
lines=$(wc -l <"$log")
sd ls >/dev/null
sd key ls >/dev/null
check 'who only looks is not written down' test "$(wc -l <"$log")" -eq "$lines"

note 'how often'
counted 'map(select(.action == "GenerateDataKey")) |
	(map(select(.billable)) | map(.calls) == [1]) and
	(map(select(.billable | not)) | map(.calls) == [1])' sd kms usage
counted 'length == 0' sd kms usage --month 1999-12
counted 'length > 0' sd kms usage --month all

note 'whether it is whole'
run sd kms audit verify
check 'it is' test "$status" -eq 0
spoiled 'a changed line' '2s/"result":"ok"/"result":"no"/'
spoiled 'a removed line' 3d
spoiled 'a moved line' '2{h;d};3G'
spoiled 'a cut off end' "\$d"
rm "$log"
run sd kms audit verify
check 'a log that is gone is missed' test "$status" -eq 6
cp "$T/whole" "$log"
printf '{"n":7,"prev":"half a li' >>"$log"
run sd kms audit verify
check 'what a crash tears is none' test "$status" -eq 0
sd key rotate alias/app >/dev/null
counted '.whole and .unsealed == 0' sd kms audit verify
counted 'map(select(.kind == "resumed")) | length == 1' sd kms audit

note 'where it cannot be written'
mv "$T/audit" "$T/was"
: >"$T/audit"
run sd key create
check 'no key is made' test "$status" -eq 5
check 'and why is said' grep -q 'cannot write its audit log' <<<"$out"
rm "$T/audit"
mv "$T/was" "$T/audit"
sed -i 's|^[[:space:]]*audit = .*|audit = none|' "$SEALDISK_CONFIG"
sd key create >/dev/null
check 'unless none is wanted' test "$(wc -l <"$log")" -eq $((lines + 2))
run sd kms audit
check 'then there is nothing to show' grep -q 'no audit log is kept' <<<"$out"

note 'wrong uses'
for args in 'frobnicate' '--last 0' '--last x' '--since yesterday' '--from 2' \
	'verify --failed' 'verify --from 0'; do
	# shellcheck disable=SC2086 # words
	run sd kms audit $args
	check "kms audit $args" test "$status" -eq 2
done
run sd kms usage --month 2026-13
check 'kms usage --month 2026-13' test "$status" -eq 2
