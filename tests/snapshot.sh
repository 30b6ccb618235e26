#!/bin/bash
# snapshot.sh - snapshots, images, clones and what comes of what, on a store
# that is not mounted.
#
# Without a mount nothing can be written into a disk but by an import.  What
# changes a disk here is that it is shrunk and grown again: then its end reads
# as zeros.
# shellcheck disable=SC2016 # backquotes stand in messages
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

: "${top_srcdir:=${0%/*}/..}"
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

# holds NAME FILE: the disk, snapshot or image has the content of FILE.
holds() {
	rm -f "$T/out"
	sd export "$1" "$T/out" && cmp "$T/out" "$2"
}

# lose_end DISK: its second half reads as zeros from now on.
lose_end() {
	sd resize "$1" 512K --yes && sd resize "$1" 1M
}

# files: how many there are below lineages/, of whatever.
files() {
	find "$STORE/lineages" -type f | wc -l
}

# next_second: ages are told apart by seconds.
next_second() {
	sleep 1.1
}

head -c 1M /dev/urandom >"$T/full"
head -c 1M /dev/urandom >"$T/other"
head -c 512K "$T/full" >"$T/half"
truncate -s 1M "$T/half"
truncate -s 3M "$T/zeros"
cp "$T/full" "$T/full3"
truncate -s 3M "$T/full3"
sd import "$T/full" db --kind system --category cloud_ssd
sd import "$T/other" other
KEY=$(field db .key_id)

note 'used wrongly'
refuse 2 'too few' sd snapshot
for name in '' a/b @s db@ db@s@t db@.s db@-s db@a:b 'db@a b/c' db:s .db \
	image: Image:x:y; do
	refuse 2 'snapshot: name' sd snapshot -- "$name"
	refuse 2 'info: name' sd info -- "$name"
	refuse 2 'rm: name' sd rm --yes -- "$name"
done
refuse 2 'that is an image, and DISK or DISK@SNAPSHOT' sd snapshot image:x
refuse 2 'image: name .*image, and DISK or DISK@S' sd image image:x y
for name in image:y db@y a/b '' .y; do
	refuse 2 'name' sd image db "$name"
	refuse 2 'name' sd clone db "$name"
	refuse 2 'name' sd rename db "$name"
	refuse 2 'name' sd create "$name" --from db
done
refuse 2 'too few' sd resize db@s
refuse 2 'a snapshot, and DISK is needed' sd resize db@s 1G
refuse 2 'an image, and DISK is needed' sd resize image:x 1G
refuse 2 'a snapshot, and DISK is needed' sd set db@s kind=data
refuse 2 'an image, and DISK is needed' sd unlock image:x
refuse 2 'a disk, and DISK@SNAPSHOT is needed' sd rollback db
refuse 2 'an image, and DISK@SNAPSHOT is needed' sd rollback image:x
refuse 2 'this disk is named twice' sd snapshot db other db
refuse 2 'have one name' sd snapshot db@a other@b
refuse 2 'have one name' sd snapshot db@a other
refuse 2 'have one name' sd snapshot db other@b
refuse 2 'at most 32' sd snapshot d{1..33}
refuse 2 'disks, snapshots, images or all' sd ls nonsense
refuse 3 'no such disk.*`sealdisk ls`' sd snapshot none
refuse 3 'no such disk' sd snapshot db none
refuse 3 'no such disk' sd image none x
refuse 3 'no such disk' sd clone none x
for command in info 'rm --yes' 'rollback --yes' attach detach rotate; do
	# shellcheck disable=SC2086 # "rm --yes" is two words
	refuse 3 'no such snapshot.*`sealdisk ls snapshots`' sd $command db@none
done
for command in info 'rm --yes' attach detach rotate; do
	# shellcheck disable=SC2086
	refuse 3 'no such image.*`sealdisk ls images`' sd $command image:none
done
refuse 3 'no such snapshot' sd image db@none x
refuse 3 'no such image' sd clone image:none x
refuse 3 'no such snapshot' sd clone none@none x
refuse 3 'no such snapshot' sd export db@none "$T/none"
refuse 3 'no such snapshot' sd rename db@none x
refuse 3 'no such image' sd rename image:none x
check_not 'nothing was made' test -e "$T/none"
json '. == []' sd ls snapshots --json
json '. == []' sd ls images --json

note 'snapshot'
expect 0 '^$' sd snapshot db@full
json '.sealed' sd info db@full --json
json '.checkpointed | type == "string"' sd info db --json
check 'lose the end' lose_end db
expect 0 '^$' sd snapshot db@half
check 'the first has what was there' holds db@full "$T/full"
check 'the second has what is there' holds db@half "$T/half"
check 'the disk has it, too' holds db "$T/half"
refuse 1 'snapshot db@full: there is a snapshot of that name' \
	sd snapshot db@full
expect 0 '^db@20[0-9]{6}T[0-9]{6}Z(-[0-9]+)?$' sd snapshot db
first=$out
for i in 1 2 3; do
	run sd snapshot db
	check "a name by the time is a new one ($i)" test "$out" != "$first"
done
json 'length == 1 and (.[0] | (.name | startswith("db@20")) and
	.disk == "db" and (.uuid | length) == 36 and .size == 1048576 and
	(.created | fromdate) > 0 and .set == null)' sd snapshot db --json
while read -r name; do
	[[ $name != db@20* ]] || sd rm --yes "$name"
done < <(sd ls snapshots --names)
expect 0 $'^db@full\ndb@half$' sd ls snapshots --names
long=$(printf 'x%.0s' {1..200})
expect 0 '^$' sd snapshot "db@$long"
check 'a name of 200 bytes' holds "db@$long" "$T/half"
sd rm --yes "db@$long"

note 'several at one instant'
json 'map(.name) == ["db@set", "other@set"] and .[0].set == .[1].set and
	(.[0].set | length) == 36' sd snapshot db@set other@set --json
check 'the first' holds db@set "$T/half"
check 'the second' holds other@set "$T/other"
json '.members == 2 and (.set | length) == 36' sd info db@set --json
json '.members == 1 and .set == null' sd info db@full --json
refuse 1 'snapshot other@set: there is' sd snapshot other@set
sd rm --yes db@set
refuse 1 'snapshot other@set: there is a snapshot of that name' \
	sd snapshot db@set other@set
refuse 3 'no such' sd info db@set
expect 0 $'^db@20[^\n]*\nother@20[^\n]*$' sd snapshot db other
check 'under one name' \
	test "$(tr '@' '\n' <<<"$out" | grep -c '^20')" -eq 2
check 'which is one' \
	test "$(tr '@' '\n' <<<"$out" | grep '^20' | uniq | wc -l)" -eq 1
for name in $out; do
	sd rm --yes "$name"
done

note 'image'
next_second
expect 0 '^$' sd image db@full golden
check 'an image of a snapshot' holds image:golden "$T/full"
expect 0 '^$' sd image db now
check 'an image of a disk' holds image:now "$T/half"
refuse 1 'image golden: there is an image of that name' sd image db@half golden
refuse 1 'image now: there is an image of that name' sd image db now
json '.name == "image:third" and (.uuid | length) == 36 and .size == 1048576 and
	.key_id == "'"$KEY"'"' sd image db@half third --json
sd rm --yes image:third

note 'clone'
next_second
expect 0 '^$' sd clone db@full web
check 'a clone of a snapshot' holds web "$T/full"
expect 0 '^$' sd clone image:golden vm
check 'a clone of an image' holds vm "$T/full"
expect 0 '^$' sd clone db copy
check 'a copy of a disk' holds copy "$T/half"
expect 0 '^$' sd create made --from db@half
check 'create --from is the same' holds made "$T/half"
refuse 1 'a disk of that name' sd clone db@full web
refuse 1 'a disk of that name' sd clone db web
refuse 1 'a disk of that name' sd clone db db
refuse 1 'a disk of that name' sd create web --from image:golden
json '.name == "large" and .size == 3145728 and .key_id == "'"$KEY"'" and
	(.uuid | length) == 36' sd clone image:golden large --size 3M \
	--kind data --category cloud_essd --sector-size 4096 --json
check 'it is longer, by zeros' holds large "$T/full3"
json '.size == 3145728 and .kind == "data" and .category == "cloud_essd" and
	.sector_size == 4096' sd info large --json
json '.size == 3145728' sd clone db@full large2 --size 3M --json
check 'that, too' holds large2 "$T/full3"
json '.size == 2097152 and .key_id == "'"$KEY"'"' sd clone db large3 \
	--size 2M --kind data --category cloud_essd --sector-size 4096 --json
json '.size == 2097152 and .kind == "data" and .category == "cloud_essd" and
	.sector_size == 4096 and .clean' sd info large3 --json
json '.size == 1048576 and .kind == "system" and .sector_size == 512' \
	sd info db --json
refuse 2 'not smaller .*db@full has 1.0M' sd clone db@full x --size 512K
refuse 2 'not smaller .*db has 1.0M' sd clone db x --size 512K
refuse 2 'not smaller .*image:golden' sd create x --from image:golden --size 512
refuse 2 'multiple of 512' sd clone db@full x --size 1000001
refuse 2 'at most 120T' sd clone db@full x --size 121T
refuse 2 'kind none' sd clone db@full x --kind none
refuse 2 'sector size 1' sd clone db@full x --sector-size 1
refuse 2 'own-key is for --from' sd create x --size 1M --own-key
refuse 3 'no such disk' sd info x
sd rm --yes large
sd rm --yes large2
sd rm --yes large3
sd rm --yes made

note 'which key'
sd key create --alias app >/dev/null
app=$(sd key alias --json | jq -r '.[] | select(.alias == "alias/app").key_id')
expect 0 '^$' sd create same --from db@full --key alias/acs/ecs
expect 0 '^$' sd create same2 --from db --key "$KEY"
sd rm --yes same
sd rm --yes same2
for source in db db@full image:golden; do
	expect 0 '^$' sd create own --from "$source" --key alias/app
	json '(.data_keys | map(.key_id)) == ["'"$app"'", "'"$KEY"'"] and
		.key_id == "'"$app"'"' sd info own --json
	sd rm --yes own
	refuse 5 'key alias/none: there is no such key' \
		sd create x --from "$source" --key alias/none
done
refuse 3 'no such disk' sd info x
sd create keyed --size 1M --key alias/app
sd snapshot keyed@s
sd image keyed@s keyed
sd clone image:keyed keyed2
for name in keyed@s image:keyed keyed2; do
	json '.key_id == "'"$app"'" and .key_alias == "alias/app"' \
		sd info "$name" --json
done
json 'map(.name) == ["keyed", "keyed2", "keyed@s", "image:keyed"] and
	map(.type) == ["disk", "disk", "snapshot", "image"]' \
	sd key users alias/app --json
sd key disable alias/app --yes 2>/dev/null
refuse 5 'snapshot keyed: the key is disabled' sd snapshot keyed@t
refuse 5 'the key is disabled' sd image keyed@s x
refuse 5 'the key is disabled' sd clone keyed@s x
refuse 5 'the key is disabled' sd create x --from keyed
refuse 5 'the key is disabled' sd rollback keyed@s --yes
refuse 5 'the key is disabled' sd rename keyed@s t
refuse 5 'the key is disabled' sd export keyed@s "$T/none"
check_not 'no file is left of that' test -e "$T/none"
sd key enable alias/app
sd key rotate alias/app >/dev/null
json 'map(.name) == ["keyed@s", "image:keyed"] and all(.rewrapped)' \
	sd rotate keyed@s image:keyed --json
json 'map(select(.rewrapped) | .name) == ["keyed", "keyed2"]' \
	sd rotate --all --json
for name in keyed keyed2 keyed@s image:keyed; do
	sd rm --yes "$name"
done
json '. == []' sd key users alias/app --json

note 'what the cloud has for rules'
refuse 2 'local disks cannot be encrypted' sd clone db@full x --category local
refuse 2 'local disks cannot be encrypted' \
	sd create x --from db --category local_ssd_pro
refuse 2 'local disks cannot be encrypted' \
	sd clone db x --category local
refuse 3 'no such disk' sd info x
check_not 'there is no way to a plain disk' \
	grep -qiE -e '--(plain|decrypt|no-encrypt|unencrypted)' <<<"$(
		for c in create clone image set rotate; do sd help "$c"; done)"
for name in db@full image:golden web vm copy; do
	json '.kind == "system" and .category == "cloud_ssd" and
		.sector_size == 512 and .key_id == "'"$KEY"'"' \
		sd info "$name" --json
done

note 'a clone shares nothing that is written'
check 'the clone loses its end' lose_end web
check 'it has' holds web "$T/half"
for name in db@full image:golden vm; do
	check "$name has not" holds "$name" "$T/full"
done
check 'the disk loses all' sd resize db 512 --yes
check 'the copy does not' holds copy "$T/half"
check 'nor its snapshot' holds db@half "$T/half"
sd resize db 1M

note 'completion'
complete_words() {
	COMP_WORDS=("$SEALDISK" "$@") COMP_CWORD=$# COMPREPLY=()
	_sealdisk
	printf '%s ' "${COMPREPLY[@]}"
}
# shellcheck source=conf/sealdisk-completion.bash
. "$top_srcdir/conf/sealdisk-completion.bash"
expect 0 '^image:golden image:now $' complete_words rm im
expect 0 '^golden $' complete_words rm image : g
expect 0 '^golden now $' complete_words info image :
expect 0 '^db db@full db@half $' complete_words clone d
expect 0 '^@full $' complete_words clone db @f
expect 0 '^@full $' complete_words clone db@f
expect 0 '^db $' complete_words snapshot d
expect 0 '^db@full db@half $' complete_words rollback d

note 'tree'
sd clone db@half web2
next_second
sd snapshot web2@w
sd image web2 webimage
# parents: NAME=PARENT of all, in order.
parents() {
	sd tree --json | jq -r '.[] | .name + "=" + (.parent // "")' | sort |
		paste -sd ' '
}
check 'what comes of what' test "$(parents)" = "copy=db db= db@full=db \
db@half=db image:golden=db@full image:now=db image:webimage=web2 other= \
other@set=other vm=image:golden web2=db@half web2@w=web2 web=image:golden"
json 'all(has("uuid") and has("size") and has("allocated") and
	(.created | fromdate) > 0 and (.type | test("disk|snapshot|image")))' \
	sd tree --json
run sd tree
# By depth, and sorted: of two that were made in one second either may be first.
check 'as text' test "$(awk '
	NR > 1 {
		sub(/ *[0-9.]+M .*/, "")
		depth = match($0, /[a-z]/) - 1
		print depth / 4 " " substr($0, depth + 1)
	}' <<<"$out" | sort)" = "\
0 db
0 other
1 copy
1 db@full
1 db@half
1 image:now
1 other@set
2 image:golden
2 web2
3 image:webimage
3 vm
3 web
3 web2@w"
check 'with lines that lead there' grep -q '^|   `-- ' <<<"$out"
refuse 2 'too many' sd tree db

note 'rollback'
refuse 2 '--yes' sd rollback db@full
check_not 'nothing has happened' holds db "$T/full"
expect 0 '^$' sd rollback db@full --yes
check 'the disk is what it was' holds db "$T/full"
check 'clean' test "$(field db '.clean, .size')" = $'true\n1048576'
expect 0 '^$' sd resize db 3M
check 'it goes on from there' holds db "$T/full3"
expect 0 '^$' sd rollback db@half --yes
check 'to a later one, with its size' holds db "$T/half"
check 'the snapshot is as it was' holds db@full "$T/full"
expect 0 '^$' sd rollback db@full --yes
check 'the tree has all of it still' \
	test "$(sd tree --json | jq length)" -eq "$(sd ls all --names | wc -l)"
sd rm --yes web2@w
sd rm --yes web2
sd rm --yes image:webimage

note 'ls and info'
expect 0 $'NAME .*\ncopy .*\ndb .*\nother .*\nvm .*\nweb [^\n]*$' sd ls
json 'map(.name) == ["copy", "db", "other", "vm", "web"] and
	all(.type == "disk")' sd ls --json
json 'map(.name) == ["copy", "db", "other", "vm", "web"]' sd ls disks --json
json 'map(.name) == ["db@full", "db@half", "other@set"] and
	all(.type == "snapshot" and .state == "detached" and
	.attached_by == null and .loop_devices == [] and .size == 1048576 and
	.key_alias == "alias/acs/ecs" and (.uuid | length) == 36 and
	(.created | fromdate) > 0 and has("allocated"))' sd ls snapshots --json
json 'map(.name) == ["image:golden", "image:now"] and
	all(.type == "image")' sd ls images --json
json 'length == 10' sd ls all --json
json 'length == 10 and index("image:now") and index("db@half")' \
	sd ls all --names --json
expect 0 'db@full +1\.0M +1\.0M +alias/acs/ecs +detached +20' sd ls snapshots
json '.name == "db@full" and .type == "snapshot" and .disk == "db" and
	.kind == "system" and .mode == "0600" and has("uid") and has("gid") and
	has("lineage") and has("layer") and has("kms") and
	has("key_version_id") and (has("session") | not)' sd info db@full --json
json '.name == "image:golden" and .type == "image" and (has("disk") | not)' \
	sd info image:golden --json
json '.type == "disk" and has("session") and (has("loop_devices") | not)' \
	sd info db --json
expect 0 'name +db@full' sd info db@full

note 'rename'
refuse 2 'name' sd rename db@full other@full
refuse 2 'name' sd rename image:golden image:silver
refuse 1 'there is a snapshot of that name' sd rename db@full half
refuse 1 'there is an image of that name' sd rename image:golden now
expect 0 '^$' sd rename db@full whole
expect 0 '^$' sd rename image:golden silver
refuse 3 'no such' sd info db@full
check 'it is the same' holds db@whole "$T/full"
check 'that, too' holds image:silver "$T/full"
expect 0 '^$' sd rename db base
check 'snapshots go with their disk' holds base@whole "$T/full"
refuse 3 'no such' sd info db@whole
json '.disk == "base"' sd info base@whole --json
check 'and the tree' test "$(sd tree --json |
	jq -r '.[] | select(.name == "web").parent')" = image:silver
expect 0 '^$' sd rename base db

note 'rm'
refuse 2 '--yes' sd rm db@whole
refuse 2 '--yes' sd rm image:silver
check 'nothing has happened' holds db@whole "$T/full"
expect 0 '^$' sd rm --yes db
for name in db@whole image:silver vm; do
	check "$name is there still" holds "$name" "$T/full"
done
for name in db@half copy image:now; do
	check "$name is there still" holds "$name" "$T/half"
done
refuse 3 'its disk has been deleted.*clone' sd rollback db@half --yes
refuse 1 'snapshots of one' sd create db --size 1M
refuse 1 'snapshots of one' sd clone db@half db
refuse 1 'snapshots of one' sd rename copy db
expect 0 '^$' sd rm --yes db@whole
check 'an image outlives its snapshot' holds image:silver "$T/full"
check 'so does a clone of that' holds vm "$T/full"
check 'and hangs on what is left' test "$(sd tree --json |
	jq -r '.[] | select(.name == "vm").parent')" = image:silver
expect 0 '^$' sd rename db@half rest
check 'without its disk, too' holds db@rest "$T/half"
expect 0 '^$' sd clone db@rest new
expect 0 '^$' sd rm --yes db@rest
check 'its clone stays' holds new "$T/half"
expect 0 '^$' sd create db --size 1M
sd ls all --names >"$T/names"
while read -r name; do
	expect 0 '^$' sd rm --yes "$name"
done <"$T/names"
check 'nothing is left of all that' test "$(files)" -eq 0
check 'no name either' test -z "$(find "$STORE/snapshots" "$STORE/disks" \
	"$STORE/images" -mindepth 1 2>/dev/null)"

note 'a disk that somebody has'
head -c 5M /dev/urandom >"$T/large"
stall import "$T/large" busy
wait_for 20 grep -qs '^clean = no' "$STORE/disks/busy.ini"
refuse 4 'snapshot busy: in use by process [0-9]+ of this host' \
	sd snapshot busy
# It does not go on: whoever waits for it waits in vain.
SECONDS=0
refuse 4 'rm busy: in use by process' sd rm --yes busy
check 'nor is it waited for for long' test "$SECONDS" -lt 30
unstall CONT
check 'and it goes on' test "$status" -eq 0
sd snapshot busy@s

note 'a snapshot that somebody reads'
rm -f "$T/out"
stall export busy@s "$T/out"
wait_for 20 test -s "$T/out"
expect 0 'busy@s .*attached' sd ls snapshots
json '.attached_by == null and .loop_devices == []' sd info busy@s --json
refuse 4 'rm busy@s: somebody reads it' sd rm --yes busy@s
refuse 4 'rename busy@s: somebody reads it' sd rename busy@s t
refuse 4 'detach busy@s: somebody reads it elsewhere' sd detach busy@s
expect 0 '^$' sd clone busy@s clone
expect 0 '^$' sd image busy@s image
expect 0 '^$' sd snapshot busy@t
expect 0 '^$' sd rollback busy@t --yes
unstall CONT
check 'the reader has seen nothing of that' test "$status" -eq 0
check 'it has what there was' cmp "$T/out" "$T/large"

note 'not mounted'
refuse 3 'not mounted' sd attach busy@s
refuse 1 'not attached' sd detach busy@s
expect 0 '^$' sd image busy@s last
refuse 3 'not mounted' sd attach image:last
refuse 1 'not attached' sd detach image:last

if command -v qemu-img >/dev/null && [ -w /dev/fuse ] &&
	[ "$(id -u)" -eq 0 ] && grep -q snapshots "$top_srcdir/fuse/tree.c"; then
	expect 0 '' sd export busy@s "$T/q.qcow2" --format qcow2
	check 'a snapshot in another format' \
		qemu-img compare -q "$T/q.qcow2" "$T/large"
fi

note 'what does not verify'
sd create one --size 1M
sd snapshot one@a
sd snapshot one@b
sd image one@a i
cp -a "$STORE" "$T/saved"
mv "$STORE/snapshots/one/b.ini" "$STORE/snapshots/one/a.ini"
refuse 6 'malformed, or that of another snapshot' sd info one@a
refuse 6 'malformed' sd clone one@a x
expect 6 'one@a +- +- +- +malformed' sd ls snapshots
expect 6 'one@a +malformed' sd tree
run sd tree --json
check 'the tree has it all the same' jq -e \
	'map(select(.name == "one@a"))[0] | .state == "malformed" and
	.parent == null and .type == "snapshot"' <<<"${out%%sealdisk:*}"
rm -rf "$STORE"
cp -a "$T/saved" "$STORE"
sed -i 's/^kind = data/kind = system/' "$STORE/snapshots/one/a.ini" \
	"$STORE/images/i.ini"
refuse 6 'clone x from one@a: does not verify' sd clone one@a x
refuse 6 'clone x from image:i: does not verify' sd clone image:i x
refuse 6 'image one@a: does not verify' sd image one@a x
refuse 6 'rollback one@a: does not verify' sd rollback one@a --yes
refuse 6 'does not verify' sd rename one@a x
refuse 6 'does not verify' sd export one@a "$T/none"
rm -rf "$STORE"
cp -a "$T/saved" "$STORE"
rm "$STORE"/lineages/*/layers/*/layer.ini
expect 6 'layers.*missing' sd tree
rm -rf "$STORE"
cp -a "$T/saved" "$STORE"

note 'a tree whose layers go round in a circle'
layer=$(field image:i '.lineage + "/layers/" + .layer')
sd image one@b j
for name in one@a one@b one image:i; do
	sd rm --yes "$name"
done
sed -i "s|^parent = -|parent = $(field image:j '.lineage + "/" + .layer')|
	s|^parent_limit = 0|parent_limit = 1048576|" \
	"$STORE/lineages/$layer/layer.ini"
json 'map(select(.name == "image:j"))[0].parent == null' \
	timeout 60 "$SEALDISK" tree --json
