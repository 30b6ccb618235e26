#!/bin/bash
# stream.sh - `send` and `receive` between two stores with one keystore.
# shellcheck disable=SC2016 # backquotes stand in messages
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

helper=${top_builddir:-$PWD}/tests/helper_snapshot
[ -x "$helper" ] || skip 'needs tests/helper_snapshot'

make_store
other=$T/other
sd init "$other" >/dev/null

# on_other ARGS...: the program on the receiving store.
on_other() {
	"$SEALDISK" -s "$other" "$@"
}

send_to() {
	sd send "${@:2}" >"$1"
}

receive_of() {
	on_other receive "${@:2}" <"$1"
}

# pipe NAME ARGS OF SEND...: from the one store into the other.
pipe() {
	sd send "${@:2}" | on_other receive "$1"
}

# same HERE THERE: they read the same.
same() {
	"$helper" "$STORE" cat "$1" >"$T/a" &&
		"$helper" "$other" cat "$2" >"$T/b" &&
		cmp "$T/a" "$T/b"
}

lineages() {
	find "$other/lineages" "$other/receiving" -type f | sort
}

# cut FILE BYTES NAME: receive no more of it than that.
cut_off() {
	head -c "$2" "$1" | on_other receive "$3"
}

# A disk with three snapshots.
truncate -s 20M "$T/raw"
dd if=/dev/urandom of="$T/raw" bs=1M count=9 conv=notrunc status=none
sd import "$T/raw" d
"$helper" "$STORE" take d@one
dd if=/dev/urandom of="$T/raw" bs=1M seek=4 count=1 conv=notrunc status=none
sd import "$T/raw" e
"$helper" "$STORE" take d@two
"$helper" "$STORE" take e@one

note 'full and incremental'
expect 0 '^$' pipe x@one d@one
check 'it reads the same' same d@one x@one
check 'as the disk that it was taken of' cmp -n 9437184 "$T/a" <(
	sd export d "$T/d.raw"
	cat "$T/d.raw"
)
expect 0 '^$' pipe x@two d@two --from d@one
check 'so does the second' same d@two x@two
expect 0 '^$' pipe image:golden e@one
check 'and an image' same e@one image:golden
send_to "$T/s" d@one
run receive_of "$T/s" y@one --json
check 'JSON says what was made' jq -e --argjson n "$(stat -c %s "$T/s")" '
	.name == "y@one" and .layers == 0 and .layers_there == 1 and
	.size == 20971520 and .bytes == $n and (.uuid | length) == 36' \
	<<<"$out"
rm -r "$other"
sd init "$other" >/dev/null
run receive_of "$T/s" x@one --json --progress=json
check 'progress is lines of JSON' jq -es '
	[.[] | select(.op)] | .[-1].done == 3 and
	all(.[]; .op == "receive" and .unit == "chunks")' <<<"$out"
check 'and what was made is told' jq -es '
	.[-1] | .chunks == 3 and .layers == 1 and .blocks == 2304' <<<"$out"
run sh -c '"$1" send d@one --progress=json >/dev/null' sh "$SEALDISK"
check 'of sending, too' grep -q '"op":"send"' <<<"$out"

note 'no key is needed to send'
mv "$T/keystore.db" "$T/keystore.away"
mv "$T/root.key" "$T/root.away"
check 'without a keystore the stream is as long' test \
	"$(sd send d@one | wc -c)" -eq "$(stat -c %s "$T/s")"
mv "$T/keystore.away" "$T/keystore.db"
mv "$T/root.away" "$T/root.key"

note 'nothing of the content is in the stream'
# By text: a line feed in random bytes would make several patterns of them.
tr -cd '[:lower:]' </dev/urandom | head -c 64 >"$T/needle"
cp "$T/raw" "$T/marked.raw"
dd if="$T/needle" of="$T/marked.raw" conv=notrunc status=none
sd import "$T/marked.raw" marked >/dev/null
sd snapshot marked@now >/dev/null
sd send marked@now >"$T/marked"
check 'what is looked for is on the disk' grep -qaF -f "$T/needle" "$T/marked.raw"
check_not 'and not in the stream' grep -qaF -f "$T/needle" "$T/marked"
rm "$T/marked" "$T/marked.raw"
sd rm marked@now --yes
sd rm marked --yes

note 'refused'
refuse 2 'DISK@SNAPSHOT or image:NAME' sd send d
refuse 2 'DISK@SNAPSHOT or image:NAME' sd send d@
refuse 2 'DISK@SNAPSHOT or image:NAME' sd send image:a@b
refuse 2 'DISK@SNAPSHOT or image:NAME' receive_of "$T/s" x
refuse 2 'not both' receive_of "$T/s" x@z --resume --abort
refuse 3 'no such snapshot' sd send d@none
refuse 3 'no such image' sd send image:none
refuse 3 'is not there' sd send d@two --from d@none
refuse 1 'does not come of that' sd send e@one --from d@one
refuse 1 'the name is taken' receive_of "$T/s" x@one
send_to "$T/i" d@two --from d@one
rm -r "$other"
sd init "$other" >/dev/null
refuse 3 'not in this store' receive_of "$T/i" x@two
refuse 6 'no stream' receive_of "$T/raw" x@two
refuse 1 'ends before its end' receive_of /dev/null x@two
check 'nothing is left of that' test -z "$(lineages 2>/dev/null)"
if command -v script >/dev/null; then
	run script -qec "$SEALDISK send d@one" /dev/null
	check 'nor is it written to a terminal' grep -q 'terminal' <<<"$out"
fi

note 'a key that is disabled'
key=$(sd key create --alias app)
sd import "$T/raw" k --key alias/app
"$helper" "$STORE" take k@one
send_to "$T/k" k@one
sd key disable alias/app --yes
refuse 5 'disabled' receive_of "$T/k" x@k
sd key enable alias/app
expect 0 '^$' receive_of "$T/k" x@k
check 'enabled again it opens' same k@one x@k
check 'the stream is of that key' grep -qa "$key" "$T/k"

note 'damage'
size=$(stat -c %s "$T/s")
for at in 60 400 1500 20000 1000000 "$((size - 5))"; do
	cp "$T/s" "$T/bad"
	printf '\x55\xaa\x55' |
		dd of="$T/bad" bs=1 seek="$at" conv=notrunc status=none
	run receive_of "$T/bad" x@bad
	check "damage at $at is refused" test "$status" -ne 0
	check_not 'and has no name' test -e "$other/snapshots/x/bad.ini"
done
on_other receive x@bad --abort --yes || :

note 'cut and gone on with'
for part in 50 70 95; do
	refuse 1 'ends before.*receive --resume' \
		cut_off "$T/s" $((size * part / 100)) x@cut
	check_not 'half of it has no name' test -e "$other/snapshots/x/cut.ini"
	expect 0 '^[0-9a-f:-]+$' on_other receive x@cut --resume
	token=$out
	check 'the rest is shorter' test \
		"$(sd send d@one --resume "$token" | wc -c)" -lt "$size"
	expect 0 '^$' pipe x@cut d@one --resume "$token"
	check 'and it reads the same' same d@one x@cut
	refuse 3 'nothing of that name' on_other receive x@cut --resume
	rm -r "$other"
	sd init "$other" >/dev/null
done
refuse 1 'ends before' cut_off "$T/s" $((size / 2)) x@cut
refuse 2 'there is no terminal|--yes' on_other receive x@cut --abort
expect 0 '^$' on_other receive x@cut --abort --yes
check 'given up, nothing is left' test -z "$(lineages 2>/dev/null)"
refuse 3 'nothing of that name' on_other receive x@cut --abort --yes
refuse 6 'another one was' sd send e@one --resume "$token"
refuse 1 'nothing of where' sd send d@one --resume here

note 'killed'
is_receiving() {
	[ -n "$(ls "$other/receiving" 2>/dev/null)" ]
}

mkfifo "$T/fifo"
"$SEALDISK" -s "$other" receive x@kill <"$T/fifo" 2>"$T/said" &
job=$!
exec 9>"$T/fifo"
head -c $((size / 2)) "$T/s" >&9
wait_for 10 is_receiving
sleep 0.3
kill -TERM "$job"
status=0
wait "$job" || status=$?
exec 9>&-
check 'a signal ends it' test "$status" -eq 1
check 'with one line' grep -q 'interrupted' "$T/said"
expect 0 ':' on_other receive x@kill --resume
expect 0 '^$' receive_of "$T/s" x@kill
check 'it can be received from the start, too' same d@one x@kill

"$SEALDISK" -s "$other" receive image:k <"$T/fifo" &
job=$!
exec 9>"$T/fifo"
send_to "$T/e" e@one
head -c $((size / 2)) "$T/e" >&9
wait_for 10 is_receiving
sleep 0.2
kill -KILL "$job"
wait "$job" 2>/dev/null || :
exec 9>&-
check_not 'killed at once it leaves no name' test -e "$other/images/k.ini"
expect 0 '^$' receive_of "$T/e" image:k
check 'and begins again' same e@one image:k
