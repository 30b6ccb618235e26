#!/bin/bash
# root_badinput.sh - what is wrong, from names to stores, and what is said of it:
# the errno that a client of the mount sees, the message and exit status of a
# command, and that nothing else is harmed.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq mkfs.ext4

make_store
D=$MNT/disks

# read_at FILE MIB [COUNT]: so many KiB from there, to nowhere.
read_at() {
	dd if="$1" of=/dev/null bs=1k skip=$(($2 * 1024)) count="${3:-4}" \
		status=none
}

write_at() {
	dd if=/dev/urandom of="$1" bs=1k seek=$(($2 * 1024)) \
		count="${3:-4}" conv=notrunc,nocreat,fsync status=none
}

# file_of DISK GLOB...: of the disk's lineage.
file_of() {
	local lineage

	lineage=$(field "$1" .lineage)
	find "$STORE/lineages/$lineage" -type f -name "$2" | sort
}

# hold: keep the disk attached, so that its counters go on.  let_go: detach it.
hold() {
	exec 7<>"$D/data"
}

let_go() {
	exec 7>&-
	wait_for 5 is_detached data
}

is_detached() {
	[ "$(field "$1" .state)" = detached ]
}

# faulty TEXT: what does not verify was noticed and counted.
faulty() {
	check "$1: the counter says so" \
		test "$(field data .counters.faults)" -gt 0
	let_go
}

start_daemon

note 'names'
for name in .hidden -dash a@b a:b $'a\nb' $'a\x7fb' $'\xff\xfe' $'\xc0\xaf' \
	$'\xed\xa0\x80' $'\xc2\x85'; do
	expect 1 'Invalid argument' touch -- "$D/$name"
	expect 1 'Invalid argument' truncate -s 1M -- "$D/$name"
done
long=$(printf 'x%.0s' {1..300})
expect 1 'File name too long' touch "$D/$long"
expect 1 'File name too long' touch "$D/${long:0:201}"
expect 1 'No such file or directory' touch "$D/a/b"
expect 1 'cannot create directory .*File exists' mkdir "$D/.."
expect 1 'Operation not permitted' mkdir "$D/folder"
expect 1 'Operation not permitted' ln -s x "$D/link"
expect 1 'Operation not permitted' mkfifo "$D/fifo"
expect 1 'Operation not permitted' touch "$MNT/file"
expect 1 'Operation not permitted' touch "$MNT/info/file"
expect 1 'Operation not permitted' mkdir "$MNT/folder"
for name in '' .. a/b "$long" $'\xff\xfe'; do
	refuse 2 'create: name' sd create "$name" --size 1M
	refuse 2 'attach: name' sd attach "$name"
done
expect 0 '^$' truncate -s 1M "$D/${long:0:200}"
expect 0 '^$' mv "$D/${long:0:200}" "$D/ä ö"
expect 1 'subdirectory of itself|Invalid argument' mv "$D/ä ö" "$D/a:b"
expect 1 'File name too long' mv "$D/ä ö" "$D/$long"
expect 0 '^$' rm "$D/ä ö"
expect 1 'No such file' cat "$D/none"
refuse 3 'no such disk' sd attach none
check 'nothing was made' test -z "$(ls "$D")"

note 'sizes'
for size in 1 511 513 1000000; do
	expect 1 'Invalid argument' truncate -s "$size" "$D/size"
	refuse 2 'size' sd create other --size "$size"
done
for size in 121T 132000000000000; do
	expect 1 'File too large' truncate -s "$size" "$D/size"
	refuse 2 'size' sd create other --size "$size"
done
refuse 2 'size' sd create other --size 0
expect 0 '^$' truncate -s 120T "$D/size"
expect 1 'File too large' dd if=/dev/zero of="$D/size" bs=512 count=2 \
	seek=$(((120 << 40) / 512 - 1)) conv=notrunc
check 'it has 120 TiB' test "$(field size .size)" -eq $((120 << 40))
expect 1 'Operation not supported' fallocate -l 1M "$D/size"
expect 1 'Invalid argument' truncate -s 777 "$D/size"
check 'and still has' test "$(field size .size)" -eq $((120 << 40))
rm "$D/size"

note 'a master key that is disabled'
sd key create --alias app >/dev/null
sd create keyed --size 8M --key alias/app
sd create used --size 8M --key alias/app
exec 8<>"$D/used"
sd key disable alias/app --yes
expect 1 'Key has been revoked' read_at "$D/keyed" 0
expect 1 'Key has been revoked' write_at "$D/keyed" 0
refuse 5 'disabled' sd attach keyed
refuse 5 'disabled' sd create more --size 1M --key alias/app
expect 0 '^$' write_at "$D/used" 1
expect 0 '' sd info keyed
exec 8>&-
sd key enable alias/app
expect 0 '^$' read_at "$D/keyed" 0
expect 0 '^$' write_at "$D/keyed" 0

note 'a data key that is not the one of the disk'
keyed=$STORE/disks/keyed.ini
wait_for 5 grep -qx 'clean = yes' "$keyed"
cp "$keyed" "$T/keyed.ini"
wrapped=$(sed -n 's/^wrapped_dk = //p' "$STORE/disks/used.ini")
sed -i "s|^wrapped_dk = .*|wrapped_dk = $wrapped|" "$keyed"
expect 1 'Key was rejected by service' read_at "$D/keyed" 0
refuse 5 'refused or is not the right one' sd attach keyed
cp "$T/keyed.ini" "$keyed"
sed -i '/^\[key/,$ s/^\(key_id\|key_version_id\) = .*/\1 = 00000000-0000-4000-8000-000000000000/' \
	"$keyed"
expect 1 'Key was rejected by service' read_at "$D/keyed" 0
refuse 5 'refused or is not the right one' sd attach keyed
cp "$T/keyed.ini" "$keyed"
expect 0 '^$' read_at "$D/keyed" 0
rm "$D/keyed" "$D/used"

note 'descriptors'
sd create data --size 40M
dd if=/dev/urandom of="$D/data" bs=1M count=20 conv=notrunc,fsync status=none
sum=$(sha256sum <"$D/data")
sd create second --size 40M
dd if=/dev/urandom of="$D/second" bs=1M count=4 conv=notrunc,fsync status=none
wait_for 5 grep -qx 'clean = yes' "$STORE/disks/second.ini"
wait_for 5 grep -qx 'clean = yes' "$STORE/disks/data.ini"
mkdir "$T/saved"
cp -a "$STORE/disks" "$T/saved/"
put_back() {
	cp -a "$T/saved/disks/." "$STORE/disks/"
}
cp "$T/saved/disks/data.ini" "$STORE/disks/second.ini"
cp "$T/saved/disks/second.ini" "$STORE/disks/data.ini"
for name in data second; do
	expect 1 'Input/output error' read_at "$D/$name" 0
	refuse 6 'another disk' sd attach "$name"
	refuse 6 'another disk' sd info "$name"
done
expect 6 'malformed' sd ls
put_back
# The name is right, all else is that of the other.
sed 's/^name = .*/name = data/' "$T/saved/disks/second.ini" \
	>"$STORE/disks/data.ini"
expect 1 'Input/output error' read_at "$D/data" 0
refuse 6 'does not verify|malformed' sd attach data
put_back
for change in 's/^size = .*/size = 512/' 's/^clean = yes/clean = no/' \
	's/^mode = .*/mode = 0666/' 's/^session = .*/session = 99/' \
	's/^layer = .*/layer = '"$(sed -n 's/^layer = //p' \
		"$T/saved/disks/second.ini" | sed 's|/|\\/|g')/"; do
	sed -i "$change" "$STORE/disks/data.ini"
	expect 1 'Input/output error' read_at "$D/data" 0
	refuse 6 'does not verify|malformed' sd attach data
	put_back
done
: >"$STORE/disks/data.ini"
expect 1 'Input/output error' read_at "$D/data" 0
refuse 6 'malformed' sd attach data
put_back
head -c 70000 /dev/urandom >"$STORE/disks/data.ini"
expect 1 'Input/output error' read_at "$D/data" 0
refuse 6 'malformed' sd attach data
put_back
sed -i 's/^format = 1/format = 2/' "$STORE/disks/data.ini"
expect 1 'Protocol not supported|Operation not supported' read_at "$D/data" 0
refuse 1 'newer version' sd attach data
put_back
check 'put back, it is what it was' test "$(sha256sum <"$D/data")" = "$sum"

note 'chunks and maps'
wait_for 5 is_detached data
wait_for 5 is_detached second
: >"$LOG"
cp -a "$STORE/lineages" "$T/saved/"
mapfile -t chunks < <(file_of data '*.chunk')
check 'there are five chunks' test "${#chunks[@]}" -eq 5
map=$(file_of data map)

# put_file FILE: as it was.
put_file() {
	rm -f "$1"
	cp -a "$T/saved${1#"$STORE"}" "$1"
}

# only_bad TEXT MIB...: 4 KiB there are EIO, and nothing else is.
only_bad() {
	local text=$1 i

	shift
	hold
	for ((i = 0; i < 20; i++)); do
		case " $* " in
		*" $i "*)
			expect 1 'Input/output error' read_at "$D/data" "$i"
			;;
		*) check "$text: MiB $i reads" read_at "$D/data" "$i" ;;
		esac
	done
}

rm "${chunks[1]}"
only_bad 'removed chunk' 4 5 6 7
expect 1 'Input/output error' write_at "$D/data" 5
# The log has room for the first ones only, of many at once.
check 'the log says so' grep -q "disk data: integrity: .*${chunks[1]##*/}: .*not there" "$LOG"
faulty 'removed chunk'
put_file "${chunks[1]}"

truncate -s 4096 "${chunks[2]}"
only_bad 'chunk without pages' 8 9 10 11
expect 1 'Input/output error' write_at "$D/data" 9
faulty 'chunk without pages'
put_file "${chunks[2]}"

# Group g has its slots at 69632 + g MiB.
truncate -s $((69632 + (2 << 20))) "${chunks[2]}"
only_bad 'chunk cut in the middle' 9 10 11
faulty 'chunk cut in the middle'
put_file "${chunks[2]}"

: >"${chunks[3]}"
only_bad 'empty chunk' 12 13 14 15
faulty 'empty chunk'
put_file "${chunks[3]}"

cp "${chunks[0]}" "$T/chunk"
cp "${chunks[1]}" "${chunks[0]}"
cp "$T/chunk" "${chunks[1]}"
only_bad 'two chunks swapped' 0 1 2 3 4 5 6 7
faulty 'two chunks swapped'
put_file "${chunks[0]}"
put_file "${chunks[1]}"

mapfile -t others < <(file_of second '*.chunk')
cp "${others[0]}" "${chunks[0]}"
only_bad "another disk's chunk" 0 1 2 3
faulty "another disk's chunk"
put_file "${chunks[0]}"

dd if=/dev/zero of="${chunks[4]}" bs=4k seek=1 count=16 conv=notrunc status=none
only_bad 'pages of zeros' 16 17 18 19
faulty 'pages of zeros'
put_file "${chunks[4]}"

# Copy 0 alone: the other serves.
dd if=/dev/zero of="${chunks[4]}" bs=4k seek=1 count=8 conv=notrunc status=none
hold
check 'one copy of the pages is enough' test "$(sha256sum <"$D/data")" = "$sum"
check 'and that is repaired' test "$(field data .counters.repairs)" -gt 0
check 'and no fault' test "$(field data .counters.faults)" = 0
let_go
put_file "${chunks[4]}"

printf 'xxxxxxxx' | dd of="${chunks[0]}" bs=1 seek=$((69632 + 5000)) \
	conv=notrunc status=none
hold
expect 1 'Input/output error' dd if="$D/data" of=/dev/null bs=4k count=256 \
	status=none
check 'one bad block is one bad block' test "$(dd if="$D/data" of=/dev/null \
	bs=4k count=256 iflag=direct conv=noerror 2>&1 |
	grep -c 'Input/output error')" -eq 1
expect 0 '^$' write_at "$D/data" 5
faulty 'a changed byte'
put_back
put_file "${chunks[0]}"
rm -r "$STORE/lineages"
cp -a "$T/saved/lineages" "$STORE/"

for what in removed emptied 'overwritten with zeros' "another disk's"; do
	case $what in
	removed) rm "$map" ;;
	emptied) : >"$map" ;;
	overwritten*) dd if=/dev/zero of="$map" conv=notrunc \
		bs="$(stat -c %s "$map")" count=1 status=none ;;
	another*) cp "$(file_of second map)" "$map" ;;
	esac
	run dd if="$D/data" of=/dev/null bs=1M count=20 status=none
	check "map $what: it cannot be read" grep -q 'Input/output error' <<<"$out"
	refuse 6 'data' sd attach data
	check "map $what: the log says so" grep -q 'data' "$LOG"
	put_file "$map"
done
rm "${map%map}layer.ini"
expect 1 'Input/output error' read_at "$D/data" 0
refuse 6 'data' sd attach data
put_file "${map%map}layer.ini"
check 'put back, it is what it was' test "$(sha256sum <"$D/data")" = "$sum"
exec 8<"$D/second"
expect 0 '^$' read_at "$D/second" 0 4096
check 'and nothing is held against the other' \
	test "$(field second .counters.faults)" = 0
exec 8<&-

note 'a second daemon'
mkdir "$T/mnt2"
"$SEALDISK" mount -f "$STORE" "$T/mnt2" 2>"$T/log2" &
second=$!
wait_for 10 mountpoint -q "$T/mnt2"
exec 8<>"$D/data"
expect 1 'Device or resource busy' read_at "$T/mnt2/disks/data" 0
expect 1 'Device or resource busy' write_at "$T/mnt2/disks/data" 0
check 'its log names the owner' \
	grep -q "process $daemon of host .* has it on $MNT" "$T/log2"
expect 1 'Device or resource busy' rm "$T/mnt2/disks/data"
refuse 4 "$daemon" sd rm --yes data
refuse 4 "$MNT" sd detach data
refuse 4 'mounted there already' sd mount "$STORE" "$MNT"
exec 9<"$T/mnt2/disks/second"
expect 1 'Device or resource busy' read_at "$D/second" 0
exec 9<&-
wait_for 5 read_at "$D/second" 0 2>/dev/null
expect 0 '^$' read_at "$D/second" 0
exec 8>&-
sd umount "$T/mnt2"
wait "$second"
expect 0 '^$' read_at "$D/data" 0

stop_daemon

note 'the keystore of somebody else'
sed "s|= $T/keystore.db|= $T/other.db|; s|= $T/root.key|= $T/other.key|" \
	"$SEALDISK_CONFIG" >"$T/other.ini"
sd --config "$T/other.ini" init "$T/other" >/dev/null
start_daemon -o "config=$T/other.ini"
expect 1 'Required key not available' read_at "$D/data" 0
refuse 5 'no such key' sd --config "$T/other.ini" attach data
stop_daemon

note 'the wrong root key'
mv "$T/root.key" "$T/kept.key"
refuse 5 'root key file is missing' sd mount "$STORE" "$MNT"
(umask 077 && head -c 32 /dev/urandom >"$T/root.key")
refuse 5 'does not open it' sd mount "$STORE" "$MNT"
expect 5 'does not open it' sd mount -f "$STORE" "$MNT"
(umask 077 && head -c 31 "$T/kept.key" >"$T/root.key")
run sd mount "$STORE" "$MNT"
check 'a short root key is refused' test "$status" -ne 0
cp -a "$T/kept.key" "$T/root.key"
chmod 644 "$T/root.key"
refuse 1 'others can read' sd mount "$STORE" "$MNT"
chmod 600 "$T/root.key"
check_not 'nothing was mounted' mountpoint -q "$MNT"

note 'a keystore that is taken away'
start_daemon
mv "$T/keystore.db" "$T/away.db"
expect 1 'Required key not available' read_at "$D/second" 0
refuse 5 'key' sd attach second
mv "$T/away.db" "$T/keystore.db"
expect 0 '^$' read_at "$D/second" 0
stop_daemon

note 'keystores that are none'
(umask 077 && printf 'root\n' >"$T/text")
# as LINE REGEX: with that line in place of the keystore's own.
as() {
	sed "s|^${1%% = *} = .*|$1|" "$SEALDISK_CONFIG" >"$T/other.ini"
	refuse "$2" "$3" sd mount "$STORE" "$MNT" -o "config=$T/other.ini"
	refuse "$2" "$3" sd --config "$T/other.ini" key create
}
as "path = $T/none.db" 3 'no keystore'
as "path = $T" 6 'no keystore .*kms restore'
as "path = $T/text" 6 'no keystore .*kms restore'
cp "$T/keystore.db" "$T/newer.db"
printf '\0\0\0\143' |
	dd of="$T/newer.db" bs=1 seek=60 conv=notrunc status=none
as "path = $T/newer.db" 1 'newer version .*update'
refuse 1 'newer version .*update' sd kms restore "$T/newer.db" --yes
# What the program calls wrong, its log does not repeat.
sed "s|^path = .*|path = $T/text|" "$SEALDISK_CONFIG" >"$T/other.ini"
refuse 6 'no keystore .*kms restore' \
	sd --config "$T/other.ini" mount -f "$STORE" "$MNT"
as "root_file = $T" 5 'does not open it'
as "root_file = $T/text" 5 'does not open it'
as "root_file = $T/none" 5 'root key file is missing'
sed 's/^root_file/root = pkcs11\n&/' "$SEALDISK_CONFIG" >"$T/other.ini"
refuse 5 'its root is another' sd --config "$T/other.ini" mount "$STORE" "$MNT"
refuse 2 'kms: "ftp://x"' sd mount "$STORE" "$MNT" -o kms=ftp://x
check_not 'nothing was mounted' mountpoint -q "$MNT"

note 'a newer store, and none'
cp -a "$STORE/store.ini" "$T/store.ini"
sed -i 's/^format = 1/format = 2/' "$STORE/store.ini"
refuse 1 'newer version' sd mount "$STORE" "$MNT"
refuse 1 'newer version' sd ls
: >"$STORE/store.ini"
refuse 6 'malformed' sd mount "$STORE" "$MNT"
rm "$STORE/store.ini"
refuse 3 'not a store' sd mount "$STORE" "$MNT"
cp -a "$T/store.ini" "$STORE/store.ini"
refuse 3 'No such file' sd mount "$T/none" "$MNT"
refuse 3 'No such file' sd mount "$STORE" "$T/none"
refuse 1 'Not a directory' sd mount "$STORE" "$T/log2"
refuse 2 'no such mount option' sd mount "$STORE" "$MNT" -o nonsense=1
check_not 'nothing was mounted' mountpoint -q "$MNT"
start_daemon
check 'all is well again' test "$(sha256sum <"$D/data")" = "$sum"
stop_daemon

# Of what the writer has, pieces of 512 KiB.
head -c 100M /dev/urandom >"$T/pieces"

write_piece() {
	dd if="$T/pieces" of="$D/small" bs=512k skip="$1" seek="$1" count=1 \
		conv=notrunc,fsync status=none
}

# has_pieces N: the first N are what was written.
has_pieces() {
	dd if="$D/small" bs=512k count="$1" iflag=direct status=none |
		cmp -n $(($1 << 19)) - "$T/pieces"
}

# no_space TYPE: a store that is full, and then is not.
no_space() {
	local type=$1 small=$T/small n

	note "no space on $type"
	mkdir -p "$small"
	if [ "$type" = tmpfs ]; then
		mount -t tmpfs -o size=48M tmpfs "$small"
	else
		truncate -s 64M "$T/small.img"
		mkfs.ext4 -q -m 0 "$T/small.img"
		mount -o loop "$T/small.img" "$small"
	fi
	STORE=$small/store
	sd init "$STORE" >/dev/null
	head -c 12M /dev/zero >"$small/ballast"
	start_daemon
	sed -i "s|^store = .*|store = $STORE|" "$SEALDISK_CONFIG"
	sd create small --size 512M
	exec 8<>"$D/small"
	for ((n = 0; n < 200; n++)); do
		write_piece "$n" 2>"$T/err" || break
	done
	check "$type: it is full in time" test "$n" -gt 20 -a "$n" -lt 150
	check "$type: the writer is told" \
		grep -q 'No space left on device' "$T/err"
	check "$type: what was flushed is there" has_pieces "$n"
	# Elsewhere, with nothing that could be given back before.
	expect 1 'No space left on device' dd if=/dev/urandom of="$D/small" \
		bs=512k seek=400 count=40 conv=notrunc,fsync status=none
	check "$type: and nothing is lost" has_pieces "$n"
	check "$type: it has not failed" \
		test "$(field small .counters.failed)" = 0

	rm "$small/ballast"
	expect 0 '^$' write_piece "$n"
	expect 0 '^$' write_piece $((n + 1))
	check "$type: with room, writing goes on" has_pieces $((n + 2))
	# A disk gives back what is discarded, in a full store too.
	expect 0 '^$' fallocate -p -o 200M -l 100M "$D/small"
	check "$type: no fault" test "$(field small .counters.faults)" = 0
	exec 8>&-
	stop_daemon
	check "$type: the daemon ended well" test "$daemon_status" -eq 0
	check "$type: clean" test "$(field small .clean)" = true
	head -c 8M /dev/zero >"$small/ballast"
	refuse 1 'copy: No space left on device' sd check small --salvage other
	check_not "$type: no half of a disk is left" test -e \
		"$STORE/disks/other.ini"
	start_daemon
	check "$type: all is there the next time" has_pieces $((n + 2))
	stop_daemon
	umount "$small"
}
no_space ext4
no_space tmpfs
