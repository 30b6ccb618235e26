#!/bin/bash
# root_rollback.sh - a disk's files are put back to an older state, as by a
# backup of the store that is restored.
# shellcheck disable=SC2119 # mount_store's arguments are not the script's
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require_loop
require_fuse
require jq

make_store
mount_store
sd create db --size 64M

# attached OPTION...: sets dev.
# shellcheck disable=SC2120 # mostly there are none
attached() {
	dev=$(sd attach db "$@")
}

# put FILE BLOCK
put() {
	dd if="$1" of="$dev" bs=64K count=1 seek="$2" conv=fsync,notrunc \
		status=none
}

# has FILE BLOCK
has() {
	dd if="$dev" bs=64K count=1 skip="$2" status=none | cmp - "$1"
}

head -c 64K /dev/urandom >"$T/a"
head -c 64K /dev/urandom >"$T/b"
attached
put "$T/a" 0
put "$T/a" 100
sd detach db
cp -a "$STORE/lineages" "$T/old"
attached
put "$T/b" 0
sd detach db
cp -a "$STORE/lineages" "$T/new"

# put_back FROM
put_back() {
	rm -rf "$STORE/lineages"
	cp -a "$1" "$STORE/lineages"
}

note 'all of it'
put_back "$T/old"
refuse 6 'rolled back.*--ro to look at it, --accept-rollback' sd attach db
check 'it can be looked at' attached --ro
check 'and is what it was' has "$T/a" 0
refuse 4 'already' sd attach db --accept-rollback
sd detach db
refuse 6 'rolled back' sd attach db
refuse 2 'of a disk only' sd attach db@s --accept-rollback
check 'it is taken where that is said' attached --accept-rollback
check 'and goes on' put "$T/a" 1
sd detach db
check 'the next attach has nothing to say' attached
check 'it is what it was' has "$T/a" 100
sd detach db

note 'one chunk'
attached
put "$T/b" 0
sd detach db
chunk=$(cd "$STORE" && echo lineages/*/chunks/0000/0000000-*.chunk)
cp "$STORE/$chunk" "$T/chunk"
attached
put "$T/a" 0
sd detach db
cp "$T/chunk" "$STORE/$chunk"
check 'it is attached' attached
expect 1 'Input/output error' \
	dd if="$dev" of="$T/out" bs=4096 count=1 status=none
check 'the rest is' has "$T/a" 100
check 'and it was counted' test \
	"$(sd info db --json | jq .counters.faults)" -gt 0
sd detach db
check 'it is taken, too' attached --accept-rollback
check 'as it is' has "$T/b" 0
sd detach db
