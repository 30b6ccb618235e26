#!/bin/bash
# root_fuse.sh - the mounted tree: every operation on disks/ and info/, with the
# errno that each refusal has to have, and how a mount ends.
# shellcheck disable=SC2119 # start_daemon's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_root
require_fuse
require jq fallocate mountpoint

make_store
DISKS=$MNT/disks INFO=$MNT/info/disks

# try REGEX COMMAND...: it fails, for that reason.
try() {
	expect 1 "$@"
}

# state DISK WORD
is() {
	[ "$(field "$1" .state)" = "$2" ]
}

# stat_is FORMAT VALUE FILE
stat_is() {
	check "$3: $1 is $2" test "$(stat -c "$1" "$3")" = "$2"
}

session() {
	field "$1" .session
}

# first FILE: its first word.
first() {
	head -c 5 "$1"
}

longest=$(printf 'x%.0s' {1..200})

note 'the tree'
start_daemon -o linger=0,allow_other
expect 0 $'^disks\nimages\ninfo\nsnapshots$' ls "$MNT"
expect 0 $'^disks\nimages\nsnapshots\nstore$' ls "$MNT/info"
stat_is %a 755 "$MNT"
stat_is %a 755 "$DISKS"
expect 0 "^$STORE fuse.sealdisk rw.*allow_other" findmnt -n \
	-o SOURCE,FSTYPE,OPTIONS "$MNT"
stat_is %u:%g 0:0 "$DISKS"
check 'the block size is what is discarded' \
	test "$(stat -f -c %s "$MNT")" = 4096
note 'a disk made by a file operation'
truncate -s 10G "$DISKS/a"
stat_is %s 10737418240 "$DISKS/a"
stat_is %a 600 "$DISKS/a"
stat_is %b 0 "$DISKS/a"
check 'under the default key' test "$(field a .key_alias)" = alias/acs/ecs
check 'with sectors of 512' test "$(field a .sector_size)" = 512
(umask 0; : >"$DISKS/open")
stat_is %a 600 "$DISKS/open"
stat_is %s 0 "$DISKS/open"
rm "$DISKS/open"
expect 0 '^a$' ls "$DISKS"
expect 0 '^a$' ls "$INFO"
check 'node ids are those of the next process' \
	test "$(stat -c %i "$DISKS/a")" -gt 15
ino=$(stat -c %i "$DISKS/a")
check 'an info file is another node' \
	test "$(stat -c %i "$INFO/a")" = $((ino + 1))

note 'names'
try 'Invalid argument' touch "$DISKS/a@b"
try 'Invalid argument' touch "$DISKS/a:b"
try 'Invalid argument' touch "$DISKS/.a"
try 'Invalid argument' touch -- "$DISKS/-a"
try 'Invalid argument' touch "$DISKS/"$'\xff'
try 'Invalid argument' touch "$DISKS/"$'a\nb'
try 'too long' touch "$DISKS/${longest}x"
try 'No such file' cat "$DISKS/${longest:1}"
expect 0 '^$' touch "$DISKS/$longest"
expect 0 '^$' rm "$DISKS/$longest"
try 'not permitted' mkdir "$DISKS/d"
try 'not permitted' ln -s a "$DISKS/s"
try 'not permitted' mknod "$DISKS/p" p
try 'not permitted' touch "$MNT/x"
try 'not permitted' touch "$INFO/x"
try 'not permitted' ln "$INFO/a" "$INFO/b"
try 'not permitted' rmdir "$DISKS"
try 'not permitted' rm "$INFO/a"
try 'not permitted' mv "$DISKS/a" "$MNT/a"

note 'sizes'
try 'Invalid argument' truncate -s 1000 "$DISKS/a"
try 'too large' truncate -s 121T "$DISKS/a"
expect 0 '^$' truncate -s 120T "$DISKS/a"
expect 0 '^$' truncate -s 1M "$DISKS/a"
stat_is %s 1048576 "$DISKS/a"
printf 'x%.0s' {1..700} >>"$DISKS/a"
stat_is %s $((1048576 + 1024)) "$DISKS/a"
truncate -s 0 "$DISKS/a"
printf 'hello' >"$DISKS/a"
stat_is %s 512 "$DISKS/a"
check 'what was written is there' test "$(first "$DISKS/a")" = hello

note 'space'
truncate -s 8M "$DISKS/a"
dd if=/dev/urandom of="$DISKS/a" bs=1M count=8 conv=notrunc status=none
stat_is %b 16384 "$DISKS/a"
expect 0 '^$' fallocate -p -o 1M -l 1M "$DISKS/a"
stat_is %b 14336 "$DISKS/a"
check 'a hole reads as zeros' cmp -n 1048576 -i 1048576:0 "$DISKS/a" /dev/zero
expect 0 '^$' fallocate -z -n -o 3M -l 1M "$DISKS/a"
check 'so does a zeroed range' \
	cmp -n 1048576 -i 3145728:0 "$DISKS/a" /dev/zero
stat_is %s 8388608 "$DISKS/a"
expect 0 '^$' fallocate -z -o 8M -l 1000 "$DISKS/a"
stat_is %s $((8388608 + 1024)) "$DISKS/a"
try 'not supported' fallocate -l 16M "$DISKS/a"
try 'not supported' fallocate -c -o 1M -l 1M "$DISKS/a"
cp --sparse=always "$DISKS/a" "$T/copy"
check 'a sparse copy is the same' cmp "$DISKS/a" "$T/copy"
check 'and has the holes' test "$(stat -c %b "$T/copy")" -le 12304

note 'owner and mode'
chmod 640 "$DISKS/a"
chown 12:34 "$DISKS/a"
stat_is %a:%u:%g 640:12:34 "$DISKS/a"
stat_is %a:%u:%g 400:12:34 "$INFO/a"
exec 8<"$DISKS/a"
chmod 6604 "$DISKS/a"
stat_is %a 604 "$DISKS/a"
exec 8<&-
stop_daemon
check 'the daemon has ended well' test "$daemon_status" -eq 0
start_daemon -o linger=0,allow_other
stat_is %a:%u:%g 604:12:34 "$DISKS/a"
stat_is %i "$ino" "$DISKS/a"
chown 0:0 "$DISKS/a"
if id nobody >/dev/null 2>&1 && command -v setpriv >/dev/null; then
	as_nobody=(setpriv --reuid nobody --clear-groups)
	chmod 755 "$T"
	chmod 600 "$DISKS/a"
	try 'Permission denied' "${as_nobody[@]}" cat "$DISKS/a"
	try 'Permission denied' "${as_nobody[@]}" touch "$DISKS/b"
	try 'Permission denied' "${as_nobody[@]}" cat "$INFO/a"
	try 'not permitted' "${as_nobody[@]}" chmod 666 "$DISKS/a"
	expect 0 '^a$' "${as_nobody[@]}" ls "$DISKS"
fi

note 'rename and remove'
touch "$DISKS/b"
try 'File exists' mv "$DISKS/a" "$DISKS/b"
expect 0 '^$' mv "$DISKS/b" "$DISKS/c"
expect 0 "^a"$'\n'"c\$" ls "$DISKS"
exec 8<"$DISKS/c"
expect 0 '^$' mv "$DISKS/c" "$DISKS/d"
try 'subdirectory of itself' mv "$DISKS/d" "$DISKS/d@e" # mv's own EINVAL
try 'busy' rm "$DISKS/d"
check 'an attached disk has its new name' is d attached
exec 8<&-
wait_for 10 is d detached
expect 0 '^$' rm "$DISKS/d"
expect 0 '^a$' ls "$DISKS"
sd create e --size 1M
expect 0 "^a"$'\n'"e\$" ls "$DISKS"
sd rename e f
try 'No such file' stat "$DISKS/e"
stat_is %s 1048576 "$DISKS/f"
sd rm --yes f
try 'No such file' stat "$DISKS/f"

note 'what is told of a disk'
expect 0 "name = a"$'\n' cat "$INFO/a"
expect 0 'attached_by ='$'\n' cat "$INFO/a"
try 'Permission denied' dd if=/dev/null of="$INFO/a"
check 'its size is that of the text' \
	test "$(stat -c %s "$INFO/a")" -eq "$(wc -c <"$INFO/a")"
exec 8<"$DISKS/a"
expect 0 "attached_by = host .*, process $daemon, on $MNT"$'\n' cat "$INFO/a"
head -c 8192 "$DISKS/a" >"$T/part"
expect 0 $'\n''reads = [1-9]' cat "$INFO/a"
exec 7<"$INFO/a"
head -c 8192 "$DISKS/a" >"$T/part"
dd iflag=direct if="$DISKS/a" of="$T/part" bs=4096 count=1 status=none
check 'an open one stays as it was' \
	test "$(stat -L -c %s /dev/fd/7)" -eq "$(wc -c </dev/fd/7)"
exec 7<&- 8<&-

note 'past the cache and through it'
printf 'first' >"$DISKS/a"
truncate -s 1M "$DISKS/a"
exec 8<"$DISKS/a"
check 'read through the cache' test "$(head -c 5 <&8)" = first
head -c 4096 /dev/zero | tr '\0' x >"$T/block"
dd if="$T/block" of="$DISKS/a" oflag=direct conv=notrunc status=none
check 'a direct write shows in it' test "$(first "$DISKS/a")" = xxxxx
exec 7<"$DISKS/a"
check 'to who had it open' test "$(head -c 5 <&7)" = xxxxx
printf 'again' | dd of="$DISKS/a" conv=notrunc status=none
check 'and a cached one past it' \
	test "$(dd if="$DISKS/a" iflag=direct bs=4096 count=1 status=none |
		head -c 5)" = again
exec 7<&- 8<&-

note 'a second daemon on the store'
mkdir "$T/mnt2"
refuse 4 'mounted there already' sd mount "$STORE" "$MNT"
expect 0 '^$' sd mount "$STORE" "$T/mnt2"
exec 8<"$DISKS/a"
try 'busy' cat "$T/mnt2/disks/a"
try 'busy' truncate -s 2M "$T/mnt2/disks/a"
try 'busy' chmod 600 "$T/mnt2/disks/a"
try 'busy' mv "$T/mnt2/disks/a" "$T/mnt2/disks/b"
try 'busy' rm "$T/mnt2/disks/a"
expect 0 "on $MNT"$'\n' cat "$T/mnt2/info/disks/a"
exec 8<&-
wait_for 10 is a detached
check 'then it is free' test "$(first "$T/mnt2/disks/a")" = again
stat_is %i "$ino" "$T/mnt2/disks/a"
expect 0 '^$' sd umount "$T/mnt2"

note 'keys and damage'
sd key create --alias alias/mine >/dev/null
sd create mine --size 1M --key alias/mine
key=$(field mine .key_id)
sd key disable "$key" --yes
try 'revoked' cat "$DISKS/mine"
try 'revoked' truncate -s 2M "$DISKS/mine"
try 'revoked' chmod 640 "$DISKS/mine"
check 'other disks are served' test "$(first "$DISKS/a")" = again
sd key enable "$key"
expect 0 '^$' cmp -n 1000 "$DISKS/mine" /dev/zero
wait_for 10 is mine detached
sd create other --size 1M
mv "$STORE/disks/mine.ini" "$T/x"
mv "$STORE/disks/other.ini" "$STORE/disks/mine.ini"
mv "$T/x" "$STORE/disks/other.ini"
expect 0 "a"$'\n'"mine"$'\n'"other" ls "$DISKS"
try 'Input/output error' cat "$DISKS/mine"
try 'Input/output error' cat "$DISKS/other"
mv "$STORE/disks/mine.ini" "$T/x"
mv "$STORE/disks/other.ini" "$STORE/disks/mine.ini"
mv "$T/x" "$STORE/disks/other.ini"
cp "$STORE/disks/other.ini" "$T/x"
sed 's/^size = .*/size = 2097152/' "$T/x" >"$STORE/disks/other.ini"
try 'Input/output error' cat "$DISKS/other"
sed 's/^format = 1/format = 2/' "$T/x" >"$STORE/disks/other.ini"
try 'not supported' cat "$DISKS/other"
cp "$T/x" "$STORE/disks/other.ini"
expect 0 '^$' cmp -n 1000 "$DISKS/other" /dev/zero
check 'the rest is served' test "$(first "$DISKS/a")" = again
stop_daemon

note 'lingering'
start_daemon -o linger=4
s=$(session a)
for _ in 1 2 3; do
	first "$DISKS/a" >/dev/null
	sleep 0.3
done
check 'a burst of opens is one attach' test "$(session a)" = $((s + 1))
check 'it lingers' is a attached
wait_for 20 is a detached
first "$DISKS/a" >/dev/null
check 'it can be removed meanwhile' is a attached
expect 0 '^$' rm "$DISKS/a"
printf 'hello' >"$DISKS/a"
check 'a new one of that name is another disk' \
	test "$(stat -c %i "$DISKS/a")" != "$ino"
expect 0 '^$' sd umount "$MNT"
wait "$daemon"
check 'unmounting detaches what lingers' is a detached
check 'with what was written' test "$(field a .clean)" = true

note 'the end of a mount'
start_daemon -o linger=0
exec 8<"$DISKS/a"
refuse 4 "process $$" sd umount "$MNT"
check 'it is still mounted' mountpoint -q "$MNT"
check 'and serves' test "$(first "$DISKS/a")" = hello
kill -TERM "$daemon"
gone() {
	! mountpoint -q "$MNT"
}
check 'SIGTERM takes the mount away' wait_for 10 gone
check 'who has a file open is served' test "$(head -c 5 <&8)" = hello
check 'the disk is attached as long' is a attached
exec 8<&-
wait "$daemon" && daemon_status=0 || daemon_status=$?
check 'the last close ends the daemon' test "$daemon_status" -eq 0
check 'which has detached the disk' is a detached
start_daemon -o linger=3600
first "$DISKS/a" >/dev/null
kill_daemon TERM
check 'SIGTERM does not let a disk linger' is a detached
start_daemon
exec 8<"$DISKS/a"
kill_daemon KILL
exec 8<&-
expect 0 '^$' sd umount "$MNT"
start_daemon
check 'a daemon that was killed does no harm' \
	test "$(first "$DISKS/a")" = hello
stop_daemon

note 'what cannot be mounted'
refuse 3 'No such file' sd mount "$STORE" "$T/none"
refuse 3 'No such file' sd mount "$T/none" "$MNT"
refuse 1 'Not a directory' sd mount "$STORE" "$T/copy"
refuse 3 'not a store' sd mount "$T/mnt2" "$MNT"
refuse 1 'lies in the store' sd mount "$STORE" "$STORE/disks"
refuse 1 'below the mount point' sd mount "$STORE" "$T"
refuse 2 'no such mount option' sd mount "$STORE" "$MNT" -o bogus
refuse 2 'linger' sd mount "$STORE" "$MNT" -o linger=soon
refuse 2 'are needed' sd mount "$STORE"
refuse 3 'no store is mounted there' sd umount "$MNT"
mv "$T/root.key" "$T/x"
(umask 077; head -c 32 /dev/urandom >"$T/root.key")
run sd mount "$STORE" "$MNT"
check 'a wrong root key is told' test "$status" -eq 5
mv "$T/x" "$T/root.key"
check 'nothing is mounted' gone
ln -s "$SEALDISK" "$T/mount.sealdisk"
expect 0 '^$' "$T/mount.sealdisk" "$STORE" "$MNT" -f -n -s -v -o rw,_netdev
check 'a faked mount is none' gone
expect 0 '^$' "$T/mount.sealdisk" "$STORE" "$MNT" -n -s -v -o \
	rw,dev,suid,nofail,user=root,x-foo=bar,comment=x,noatime,linger=0
expect 0 'noatime' findmnt -n -o OPTIONS "$MNT"
umount_store
expect 0 '^$' "$SEALDISK" "$STORE" "$MNT" -o ro
try 'Read-only' touch "$DISKS/n"
try 'Read-only' truncate -s 1M "$DISKS/a"
check 'and reads' test "$(first "$DISKS/a")" = hello
umount_store

note 'what its caller has open, and what it has closed'
exec 9>"$T/lock"
flock 9
expect 0 '^$' sd mount "$STORE" "$MNT"
exec 9>&-
check 'it keeps no lock of its caller' flock -n "$T/lock" true
umount_store
# Without the timeout it would be waited for for ever.
mount_closed() {
	timeout 10 "$SEALDISK" mount "$STORE" "$MNT" <&- >&- 2>&-
}
ls_closed() {
	sd ls >&- 2>"$T/err"
}
check 'all standard descriptors closed: it is mounted' mount_closed
check 'and reads' test "$(first "$DISKS/a")" = hello
umount_store
check_not 'a closed standard output is an error' ls_closed
check 'which is told' grep -qx \
	'sealdisk: standard output: cannot be written' "$T/err"
