#!/bin/bash
# root_snapshot.sh - snapshots/ and images/ of the mounted tree: what ln, rm and
# mv do there, with the errno that each refusal has to have.  Snapshots of a
# file system in use: root_snapshot_fs.sh.
# shellcheck disable=SC2016 # perl has variables of its own
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_root
require_fuse
require jq perl mountpoint

make_store
DISKS=$MNT/disks SNAPS=$MNT/snapshots IMAGES=$MNT/images INFO=$MNT/info

# try REGEX COMMAND...: it fails, for that reason.
try() {
	expect 1 "$@"
}

ok() {
	expect 0 '^$' "$@"
}

# stat_is FORMAT VALUE FILE
stat_is() {
	check "$3: $1 is $2" test "$(stat -c "$1" "$3")" = "$2"
}

# ls_is FOLDER NAMES: of what is there.
ls_is() {
	check "$1 holds: $2" test "$(ls -x -w 0 "$1")" = "$2"
}

# fill FILE WORD: what it begins with; and is FILE WORD.
fill() {
	printf %s "$2" | dd of="$1" conv=notrunc,fsync status=none
}

is() {
	check "$1 begins with $2" test "$(head -c ${#2} "$1")" = "$2"
}

# said FILE KEY VALUE: of an info file.
said() {
	grep -qxE "$2 =( $3)?" "$1"
}

# rename FROM TO: what mv does before it copies.
ren() {
	perl -e 'rename($ARGV[0], $ARGV[1]) or print("$!\n"), exit 1' "$@"
}

# sd_ioctl FILE NUMBER [BYTES AS HEX]
sd_ioctl() {
	perl -e 'open(my $f, "<", $ARGV[0]) or die;
		my $b = pack("H*", $ARGV[2] // "");
		ioctl($f, hex($ARGV[1]), $b) or print("$!\n"), exit 1' "$@"
}
IOC_SET=4100e501 IOC_STATS=8100e502 IOC_DETACH=e503
IOC_REWRAP=c128e505 IOC_SNAPSHOT=5af8e506

# together NAME DISK...: SD_IOC_SNAPSHOT
together() {
	sd_ioctl "$MNT" "$IOC_SNAPSHOT" "$(perl -e 'my $n = shift;
		print unpack("H*", pack("L x36 a208 a6656", scalar @ARGV, $n,
			join("", map { pack("a208", $_) } @ARGV)))' "$@")"
}

detached() {
	said "$1" attached_by ''
}

no_lineages() {
	[ -z "$(ls "$STORE/lineages")" ]
}

longest=$(printf 'x%.0s' {1..200})

note 'the tree'
start_daemon -o linger=0,allow_other
ls_is "$MNT" 'disks  images  info  snapshots'
ls_is "$INFO" 'disks  images  snapshots  store'
ls_is "$SNAPS" ''
truncate -s 8M "$DISKS/a" "$DISKS/z"
ls_is "$SNAPS" 'a  z'
ls_is "$INFO/snapshots" 'a  z'
ls_is "$SNAPS/a" ''
stat_is %a:%u:%g:%F 755:0:0:directory "$SNAPS/a"
try 'No such file' stat "$SNAPS/b"
try 'No such file' stat "$SNAPS/a/s"
check 'the block size is what is discarded' \
	test "$(stat -f -c %s "$SNAPS/a")" = 4096

note 'a snapshot'
fill "$DISKS/a" one
ino=$(stat -c %i "$DISKS/a")
ok ln "$DISKS/a" "$SNAPS/a/s"
stat_is %h:%i:%s "1:$ino:8388608" "$DISKS/a"
stat_is %h:%s:%a:%u 1:8388608:600:0 "$SNAPS/a/s"
check_not 'it is another file' test "$SNAPS/a/s" -ef "$DISKS/a"
fill "$DISKS/a" two
is "$SNAPS/a/s" one
is "$DISKS/a" two
ls_is "$SNAPS/a" s
ls_is "$INFO/snapshots/a" s
exec 9<>"$DISKS/a"
printf THREE >&9
ok ln "$DISKS/a" "$SNAPS/a/used"
is "$SNAPS/a/used" THREE
stat_is %h:%i "1:$ino" "$DISKS/a"
printf FOUR >&9
check "a write after it is not in it" \
	cmp -n 8 -i 5:0 "$SNAPS/a/used" /dev/zero
exec 9>&-
truncate -s 4M "$DISKS/a"
truncate -s 16M "$DISKS/a"
stat_is %s 8388608 "$SNAPS/a/s"
is "$SNAPS/a/s" one

note 'images, clones, copies'
ok ln "$DISKS/a" "$IMAGES/of-disk"
ok ln "$SNAPS/a/s" "$IMAGES/i"
ok ln "$SNAPS/a/s" "$DISKS/of-snap"
ok ln "$IMAGES/i" "$DISKS/of-image"
ok ln "$DISKS/a" "$DISKS/copy"
is "$IMAGES/of-disk" THREE
is "$IMAGES/i" one
is "$DISKS/of-snap" one
is "$DISKS/of-image" one
is "$DISKS/copy" THREE
fill "$DISKS/of-snap" xxx
fill "$DISKS/of-image" yyy
fill "$DISKS/copy" zzz
is "$DISKS/a" THREE
is "$SNAPS/a/s" one
is "$IMAGES/i" one
stat_is %s 16777216 "$DISKS/copy"
stat_is %s 8388608 "$DISKS/of-image"
truncate -s 4K "$DISKS/of-image"
truncate -s 8M "$DISKS/of-image"
check 'what a clone gave up is zeros' \
	cmp -n 8384512 -i 4096:0 "$DISKS/of-image" /dev/zero
check 'and there in its parent' cmp "$SNAPS/a/s" "$IMAGES/i"
check 'all share one wrapped key' test 1 = \
	"$(grep -h ^wrapped_dk "$INFO"/disks/{a,copy,of-*} \
		"$INFO"/images/* "$INFO"/snapshots/a/* | sort -u | wc -l)"

note 'owner and mode'
chmod 440 "$IMAGES/i"
chown 12:34 "$IMAGES/i"
stat_is %a:%u:%g 440:12:34 "$IMAGES/i"
stat_is %a:%u:%g 400:12:34 "$INFO/images/i"
ok ln "$IMAGES/i" "$DISKS/owned"
stat_is %a:%u:%g 640:12:34 "$DISKS/owned"
exec 8<"$SNAPS/a/s"
chmod 6604 "$SNAPS/a/s"
stat_is %a 604 "$SNAPS/a/s"
exec 8<&-
check 'chmod of an open one is kept' said "$INFO/snapshots/a/s" mode 0604
ok ln "$SNAPS/a/s" "$IMAGES/m"
stat_is %a 604 "$IMAGES/m"
chmod 600 "$SNAPS/a/s"

note 'what is refused'
try 'File exists' ln "$DISKS/a" "$SNAPS/a/s"
try 'File exists' ln "$DISKS/a" "$IMAGES/i"
try 'File exists' ln "$SNAPS/a/s" "$IMAGES/i"
try 'File exists' ln "$SNAPS/a/s" "$DISKS/a"
try 'File exists' ln "$IMAGES/i" "$DISKS/a"
try 'File exists' ln "$DISKS/a" "$DISKS/copy"
try 'cross-device' ln "$DISKS/a" "$SNAPS/z/x"
try 'cross-device' ln "$SNAPS/a/s" "$SNAPS/z/x"
try 'cross-device' ln "$IMAGES/i" "$SNAPS/a/x"
try 'not permitted' ln "$SNAPS/a/s" "$SNAPS/a/x"
try 'not permitted' ln "$IMAGES/i" "$IMAGES/x"
try 'not permitted' ln "$DISKS/a" "$MNT/x"
try 'not permitted' ln "$DISKS/a" "$SNAPS/x"
try 'not permitted' ln "$DISKS/a" "$INFO/snapshots/a/x"
try 'not permitted' ln "$INFO/disks/a" "$INFO/disks/x"
try 'not permitted' ln "$INFO/snapshots/a/s" "$DISKS/x"
try 'Invalid argument' ln "$DISKS/a" "$SNAPS/a/x@y"
try 'Invalid argument' ln "$DISKS/a" "$SNAPS/a/.x"
try 'Invalid argument' ln "$SNAPS/a/s" "$DISKS/x:y"
try 'Invalid argument' ln "$SNAPS/a/s" "$IMAGES/"$'\xff'
try 'too long' ln "$DISKS/a" "$SNAPS/a/${longest}x"
ok ln "$DISKS/a" "$SNAPS/a/$longest"
ok rm "$SNAPS/a/$longest"
for f in "$SNAPS/a/s" "$IMAGES/i"; do
	try 'Read-only' dd if=/dev/null of="$f" conv=notrunc
	try 'Read-only' dd if=/dev/null of="$f"
	try 'Read-only' truncate -s 0 "$f"
	try 'Read-only' truncate -s 1G "$f"
	try 'Read-only' fallocate -p -o 0 -l 4096 "$f"
	try 'Read-only' perl -e 'truncate($ARGV[0], 0) or
		print("$!\n"), exit 1' "$f"
	try 'Read-only' perl -e 'use Fcntl; sysopen(F, $ARGV[0],
		O_RDONLY | O_TRUNC) or print("$!\n"), exit 1' "$f"
done
for d in "$SNAPS" "$SNAPS/a" "$IMAGES" "$INFO/snapshots/a" "$INFO/images"; do
	try 'not permitted' mkdir "$d/new"
	try 'not permitted' ln -s a "$d/new"
	try 'not permitted' mknod "$d/new" p
	try 'not permitted' touch "$d/new"
done
try 'not permitted' rmdir "$SNAPS/a"
try 'not permitted' rmdir "$SNAPS/z"
try 'not permitted' rm "$INFO/snapshots/a/s"
try 'not permitted' ren "$INFO/images/i" "$INFO/images/x"
try 'not permitted' ren "$SNAPS/a" "$SNAPS/b"
try 'not permitted' ren "$SNAPS/a/s" "$SNAPS/x"
if id nobody >/dev/null 2>&1 && command -v setpriv >/dev/null; then
	as_nobody=(setpriv --reuid nobody --clear-groups)
	chmod 755 "$T"
	try 'Permission denied' "${as_nobody[@]}" cat "$SNAPS/a/s"
	try 'Permission denied' "${as_nobody[@]}" cat "$INFO/snapshots/a/s"
	try 'not permitted|denied' "${as_nobody[@]}" ln "$SNAPS/a/s" "$DISKS/x"
	try 'not permitted' "${as_nobody[@]}" chmod 666 "$SNAPS/a/s"
	try 'not permitted' "${as_nobody[@]}" perl -e '
		open(my $f, "<", $ARGV[0]) or die; my $b = "\0" x 6904;
		ioctl($f, 0x5af8e506, $b) or print("$!\n"), exit 1' "$MNT"
	expect 0 '^s$' "${as_nobody[@]}" ls --ignore used "$SNAPS/a"
fi

note 'rename'
try 'File exists' ren "$SNAPS/a/s" "$SNAPS/a/used"
try 'File exists' ren "$IMAGES/i" "$IMAGES/m"
try 'cross-device' ren "$SNAPS/a/s" "$SNAPS/z/s"
try 'cross-device' ren "$SNAPS/a/s" "$IMAGES/s"
try 'cross-device' ren "$IMAGES/i" "$DISKS/x"
try 'cross-device' ren "$DISKS/a" "$IMAGES/x"
try 'Invalid argument' ren "$SNAPS/a/s" "$SNAPS/a/.s"
ino=$(stat -c %i "$SNAPS/a/s")
ok mv "$SNAPS/a/s" "$SNAPS/a/t"
ok mv "$IMAGES/i" "$IMAGES/j"
ls_is "$SNAPS/a" 't  used'
ls_is "$IMAGES" 'j  m  of-disk'
stat_is %i "$ino" "$SNAPS/a/t"
is "$SNAPS/a/t" one
is "$IMAGES/j" one
exec 8<"$SNAPS/a/t" 9<"$IMAGES/j"
ok mv "$SNAPS/a/t" "$SNAPS/a/s"
ok mv "$IMAGES/j" "$IMAGES/i"
check 'an open snapshot is renamed' test "$(head -c 3 <&8)" = one
check 'an open image, too' test "$(head -c 3 <&9)" = one
exec 8<&- 9<&-

note 'a disk takes its snapshots along'
exec 8<"$SNAPS/a/s"
ok mv "$DISKS/a" "$DISKS/b"
ls_is "$SNAPS/b" 's  used'
try 'No such file' stat "$SNAPS/a"
check 'an open one goes on' test "$(head -c 3 <&8)" = one
stat_is %i "$ino" "$SNAPS/b/s"
check 'its state is told' said "$INFO/snapshots/b/s" attached_by \
	"host .*, process $daemon, on $MNT"
chmod 640 "$SNAPS/b/s"
check 'and changed' test "$(stat -L -c %a /dev/fd/8)" = 640
check_not 'nothing comes to lie under the old name' \
	test -e "$STORE/snapshots/a"
try 'cross-device' ln "$DISKS/b" "$SNAPS/z/x"
exec 8<&-
ok mv "$DISKS/b" "$DISKS/a"
is "$SNAPS/a/s" one

note 'remove'
exec 8<"$SNAPS/a/used" 9<"$IMAGES/of-disk"
try 'busy' rm "$SNAPS/a/used"
try 'busy' rm "$IMAGES/of-disk"
check 'they are still there' test "$(head -c 5 <&8)$(head -c 5 <&9)" = \
	THREETHREE
exec 8<&- 9<&-
ok rm "$SNAPS/a/used"
ok rm "$IMAGES/of-disk"
ls_is "$SNAPS/a" s
ok rm "$DISKS/a"
ls_is "$SNAPS" 'a  copy  of-image  of-snap  owned  z'
is "$SNAPS/a/s" one
try 'File exists' touch "$DISKS/a"
try 'File exists' ln "$SNAPS/a/s" "$DISKS/a"
try 'File exists' ln "$DISKS/z" "$DISKS/a"
ok ln "$SNAPS/a/s" "$DISKS/back"
is "$DISKS/back" one
ok rm "$SNAPS/a/s"
try 'No such file' stat "$SNAPS/a"
truncate -s 8M "$DISKS/a"
stat_is %s 8388608 "$DISKS/a"
ls_is "$SNAPS/a" ''

note 'what info tells'
fill "$DISKS/a" "$(printf 'y%.0s' {1..5000})"
for i in 1 2 3; do
	ok ln "$DISKS/a" "$SNAPS/a/$i"
	fill "$DISKS/a" "$i"
done
ok ln "$SNAPS/a/3" "$IMAGES/three"
f=$INFO/snapshots/a/2
check 'the store has all that was removed back' \
	wait_for 20 said "$INFO/store" layers 0
check 'its own file says what store.ini does' \
	grep -qx "$(grep ^uuid "$STORE/store.ini")" "$INFO/store"
check 'type' said "$f" type snapshot
check 'name' said "$f" name 2
check 'disk' said "$f" of a
check 'it is not attached' detached "$f"
check 'a snapshot counts its layers' said "$f" layers 2
check 'so does the disk' said "$INFO/disks/a" layers 4
check 'the image has those of its snapshot' \
	said "$INFO/images/three" layers 3
check 'nothing comes free of what others need' said "$f" would_free 0
check 'the first one holds what was written' \
	said "$INFO/snapshots/a/1" allocated 8192
stat_is %b 16 "$SNAPS/a/1"
check "a disk's own layer would come free" said "$INFO/disks/a" would_free 4096
check 'its size is that of the text' \
	test "$(stat -c %s "$f")" -eq "$(wc -c <"$f")"
ok rm "$DISKS/a"
check 'two names for one layer' said "$INFO/images/three" would_free 0
ok rm "$SNAPS/a/3"
check 'the last one of a layer' said "$INFO/images/three" would_free 4096
exec 8<"$SNAPS/a/2"
check 'a reader is told' said "$f" attached_by \
	"host .*, process $daemon, on $MNT"
expect 0 $'\nsince = 20..-' cat "$f"
head -c 100 <&8 >"$T/part"
expect 0 $'\nreads = [1-9]' cat "$f"
expect 0 '^$' sd_ioctl "$f" "$IOC_STATS" "$(printf '0%.0s' {1..512})"
try 'Read-only' sd_ioctl "$f" "$IOC_SET" "$(printf '0%.0s' {1..512})"
try 'busy' sd_ioctl "$f" "$IOC_DETACH"
exec 8<&-
wait_for 10 detached "$f"
ok sd_ioctl "$f" "$IOC_DETACH"
check 'a sparse copy is the same' \
	eval "cp --sparse=always '$SNAPS/a/2' '$T/copy' &&
		cmp '$SNAPS/a/2' '$T/copy'"
check 'and has the holes' test "$(stat -c %b "$T/copy")" -le 16

note 'keys'
sd key create --alias alias/mine >/dev/null
to=$(perl -e 'print unpack("H*", pack("a296", "alias/mine"))')
exec 8<"$SNAPS/a/2"
ok sd_ioctl "$f" "$IOC_REWRAP" "$to"
exec 8<&-
wait_for 10 detached "$f"
ok sd_ioctl "$INFO/images/three" "$IOC_REWRAP" "$to"
key=$(sed -n 's/^key_id = //p' "$f")
check 'an image is under the new key, too' \
	said "$INFO/images/three" key_id "$key"
is "$SNAPS/a/2" 1yyy
sd key disable "$key" --yes
try 'revoked' cat "$SNAPS/a/2"
try 'revoked' ln "$SNAPS/a/2" "$DISKS/x"
try 'revoked' ln "$SNAPS/a/2" "$IMAGES/x"
try 'revoked' chmod 640 "$SNAPS/a/2"
try 'revoked' ren "$SNAPS/a/2" "$SNAPS/a/x"
is "$SNAPS/a/1" yyyy
ok rm "$SNAPS/a/2"
sd key enable "$key"
is "$IMAGES/three" 2yyy

note 'several disks at one instant'
for d in p q r; do
	truncate -s 1M "$DISKS/$d"
	fill "$DISKS/$d" "$d$d$d"
done
exec 8<"$DISKS/q"
ok together all p q r
exec 8<&-
for d in p q r; do
	is "$SNAPS/$d/all" "$d$d$d"
done
check 'they are one set' test 1 = \
	"$(grep -h ^set "$INFO"/snapshots/[pqr]/all | sort -u | wc -l)"
check 'of three' said "$INFO/snapshots/q/all" members 3
ok ln "$DISKS/q" "$SNAPS/q/more"
try 'File exists' together more p q r
try 'No such file' together x p nothing
try 'Invalid argument' together x p p
try 'Invalid argument' together x
try 'Invalid argument' together .x p q
ls_is "$SNAPS/p" all
ls_is "$SNAPS/q" 'all  more'
for d in p q r; do
	check "$d is not left attached" wait_for 10 detached "$INFO/disks/$d"
done
ok together one p

note 'node ids are those of the next process'
ids() {
	stat -c '%n %i' "$SNAPS" "$SNAPS"/* "$SNAPS"/*/* "$IMAGES"/* \
		"$INFO"/snapshots/* "$INFO"/snapshots/*/* "$INFO"/images/*
}
ids >"$T/ids"
stop_daemon
check 'the daemon has ended well' test "$daemon_status" -eq 0
start_daemon -o linger=0,allow_other
ids >"$T/ids2"
check 'they are' cmp "$T/ids" "$T/ids2"

note 'a second daemon on the store'
mkdir "$T/mnt2"
ok sd mount "$STORE" "$T/mnt2"
exec 8<"$SNAPS/p/all"
check 'a snapshot is open in both' \
	test "$(head -c 3 "$T/mnt2/snapshots/p/all")$(head -c 3 <&8)" = pppppp
check 'who has it can be told here' said "$INFO/snapshots/p/all" attached_by \
	"host .*, process $daemon, on $MNT"
check 'and there that somebody has' said "$T/mnt2/info/snapshots/p/all" \
	attached_by 'another process'
try 'busy' rm "$T/mnt2/snapshots/p/all"
ok mv "$T/mnt2/disks/p" "$T/mnt2/disks/P"
ok mv "$T/mnt2/snapshots/P/all" "$T/mnt2/snapshots/P/ALL"
chmod 640 "$T/mnt2/snapshots/P/ALL"
ls_is "$SNAPS/P" 'ALL  one'
stat_is %a 640 "$SNAPS/P/ALL"
check 'it is read under whatever name' test "$(dd if="$SNAPS/P/ALL" bs=3 \
	count=1 status=none)" = ppp
exec 8<&-
wait_for 10 detached "$INFO/snapshots/P/ALL"
ok rm "$T/mnt2/snapshots/P/ALL"
ls_is "$SNAPS/P" one
exec 8<"$DISKS/q"
try 'busy' ln "$T/mnt2/disks/q" "$T/mnt2/snapshots/q/x"
exec 8<&-
ok sd umount "$T/mnt2"
stop_daemon

note 'lingering'
start_daemon -o linger=30
is "$SNAPS/q/all" qqq
check 'it lingers' said "$INFO/snapshots/q/all" attached_by 'host .*'
ok rm "$SNAPS/q/all"
is "$SNAPS/r/all" rrr
ok mv "$SNAPS/r/all" "$SNAPS/r/ALL"
ok sd_ioctl "$INFO/snapshots/r/ALL" "$IOC_DETACH"
check 'detached when it is asked' detached "$INFO/snapshots/r/ALL"
is "$IMAGES/three" 2yyy
stop_daemon
check 'the daemon has ended well' test "$daemon_status" -eq 0
start_daemon -o ro
is "$SNAPS/r/ALL" rrr
try 'Read-only' ln "$DISKS/r" "$SNAPS/r/x"
try 'Read-only' rm "$SNAPS/r/ALL"
try 'Read-only' together x r
stop_daemon

note 'what could not be merged'
merges_are() {
	grep -qx "merges = $1" "$INFO/store"
}
sd key create --alias late >/dev/null
start_daemon -o linger=0
ok sd create late --size 16M --key alias/late
fill "$DISKS/late" aaa
ok ln "$DISKS/late" "$SNAPS/late/x"
fill "$DISKS/late" bbb
wait_for 10 detached "$INFO/disks/late"
check 'its key is disabled' quiet sd key disable alias/late --yes
ok rm "$SNAPS/late/x"
check 'it waits for the key' wait_for 10 merges_are 1
ok sd key enable alias/late
is "$DISKS/late" bbb
check 'it is done when the disk comes to be used' wait_for 20 merges_are 0
is "$DISKS/late" bbb
ok sd create held --size 8M
dd if=/dev/urandom of="$DISKS/held" bs=1M count=4 conv=notrunc status=none
ok ln "$DISKS/held" "$SNAPS/held/x"
fill "$DISKS/held" bbb
ok ln "$DISKS/held" "$SNAPS/held/y"
wait_for 10 detached "$INFO/disks/held"
mkfifo "$T/slow"
sd send held@y >"$T/slow" 2>"$T/send.err" &
sender=$!
exec 7<"$T/slow"
read -r -n 1 -u 7 _ || :
ok rm "$SNAPS/held/x"
check 'it waits for who reads it' wait_for 10 merges_are 1
cat <&7 >"$T/stream"
exec 7<&-
check 'who is not disturbed' wait "$sender"
check 'it is done though nothing happens' wait_for 60 merges_are 0
is "$DISKS/held" bbb
stop_daemon

note 'the end of all of them'
start_daemon -o linger=0
rm "$DISKS"/* "$IMAGES"/* "$SNAPS"/*/*
ls_is "$SNAPS" ''
check 'nothing is left of them' wait_for 20 no_lineages
stop_daemon
check_not 'no fault in the log' grep -i integrity "$LOG"
