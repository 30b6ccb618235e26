#!/bin/bash
# ownkey.sh - clones with a data key of their own: what they share with what
# they come from, what not, and what says so; on a store that is not mounted.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

make_store

# json FILTER COMMAND ARGS...: what it prints is JSON, for which FILTER holds.
json() {
	local filter=$1

	shift
	run "$@"
	if [ "$status" -eq 0 ] && jq -e "$filter" <<<"$out" >/dev/null; then
		passed "$*: $filter"
	else
		failed "$*: $filter does not hold for: $out (status $status)"
	fi
}

sd key create --alias app >/dev/null
sd key create --alias other >/dev/null
id() {
	sd key alias --json |
		jq -r --arg a "alias/$1" '.[] | select(.alias == $a).key_id'
}
app=$(id app)
other=$(id other)

# holds NAME FILE: it reads as that does.
holds() {
	rm -f "$T/out"
	sd export "$1" "$T/out" && cmp -s "$T/out" "$2"
}
# lineages NAME: how many its data keys belong to.
lineages() {
	sd info "$1" --json | jq '.data_keys | map(.lineage) | unique | length'
}

head -c 1M /dev/urandom >"$T/full"
sd import "$T/full" db --key alias/app
sd snapshot db@s
sd image db@s golden

note 'a data key of its own'
for source in db db@s image:golden; do
	expect 0 '^$' sd clone "$source" own --own-key
	check "of $source" holds own "$T/full"
	expect 0 '^2$' lineages own
	json '(.data_keys | map(.key_id) | unique) == ["'"$app"'"]' \
		sd info own --json
	sd rm --yes own
	expect 0 '^$' sd clone "$source" own --key alias/other --kind system \
		--size 2M
	json '.key_id == "'"$other"'" and .kind == "system" and .size == 2097152
		and (.data_keys | map(.key_id)) == ["'"$other"'", "'"$app"'"]' \
		sd info own --json
	sd rm --yes own
	expect 0 '^$' sd clone "$source" own --key alias/app
	expect 0 '^1$' lineages own
	sd rm --yes own
	refuse 5 'no such key' sd clone "$source" x --own-key --key alias/none
done
refuse 3 'no such disk' sd info x
# As the cloud has it: without a key that of the source, not the default one.
for source in db db@s image:golden; do
	json '.key_id == "'"$app"'"' sd create own --from "$source" --json
	sd rm --yes own
	json '.key_id == "'"$other"'"' \
		sd create own --from "$source" --key alias/other --json
	sd rm --yes own
done

note 'what says so'
sd clone db@s own --key alias/other
sd snapshot own@t
sd clone own@t own2
json 'map(.name) == ["own", "own2", "own@t"] and all(.data_keys == 1)' \
	sd key users alias/other --json
json 'map(.name) | contains(["db", "own", "own2", "own@t", "image:golden"])' \
	sd key users alias/app --json
json 'map({(.name): .parent}) | add |
	.own == "image:golden" and .own2 == "own@t" and ."own@t" == "own"' \
	sd tree --json
expect 0 'data_keys' sd info own

note 'both keys are needed, and both are rewrapped'
sd key disable alias/app --yes 2>/dev/null
refuse 5 'disabled' sd export own "$T/none"
sd key enable alias/app
sd key disable alias/other --yes 2>/dev/null
refuse 5 'disabled' sd export own "$T/none"
check 'what it comes from needs one' holds db "$T/full"
sd key enable alias/other
json '.[0].data_keys == 2 and .[0].rewrapped' \
	sd rotate own --key alias/acs/ecs --json
check 'it reads as before' holds own "$T/full"
json 'map(.name) == ["own2", "own@t"]' sd key users alias/other --json

note 'a new data key for a disk'
sd import "$T/full" re --key alias/app
sd snapshot re@old
sd clone re@old re-clone
lineage=$(field re .lineage)
refuse 2 'status alone' sd reencrypt re --status --rate 1M
refuse 2 'rate 1X' sd reencrypt re --rate 1X
refuse 2 'DISK is needed' sd reencrypt re@old
refuse 3 'no such disk' sd reencrypt none
refuse 5 'no such key' sd reencrypt re --key alias/none
refuse 1 'the store is not mounted' sd reencrypt re --background
expect 0 '^idle$' sd reencrypt re --status
json '.state == "idle" and .holders == []' sd reencrypt re --status --json
expect 0 '^re-clone has the old data key
re@old has the old data key$' sd reencrypt re --key alias/other
json '.key_id == "'"$other"'" and (.data_keys | length) == 1 and
	.lineage != "'"$lineage"'" and (has("reencrypt_rate") | not)' \
	sd info re --json
check 'it reads as before' holds re "$T/full"
check 'so does its snapshot' holds re@old "$T/full"
sd rm --yes re@old
sd rm --yes re-clone
check_not 'with the last that had it the old lineage goes' \
	test -e "$STORE/lineages/$lineage"
json '.state == "done" and .holders == [] and .done == .total' \
	sd reencrypt re --json --rate 10M
sd rm --yes re

note 'a clone that needs its own key alone'
sd clone db@s own3 --own-key
expect 0 '^2$' lineages own3
expect 0 'db has the old data key' sd reencrypt own3
expect 0 '^1$' lineages own3
check 'it reads as before' holds own3 "$T/full"
sd rm --yes own3

note 'it outlives what it comes from'
sd rm --yes db
sd rm --yes db@s
sd rm --yes image:golden
check 'its snapshot' holds own@t "$T/full"
sd rm --yes own
sd rm --yes own@t
check 'its clone' holds own2 "$T/full"

note 'it travels with both'
sd snapshot own2@u
sd send own2@u >"$T/stream"
sd init "$T/second" >/dev/null
STORE=$T/second
make_config
expect 0 '^$' sd receive back@u <"$T/stream"
expect 0 '^2$' lineages back@u
check 'as it was' holds back@u "$T/full"
