#!/bin/bash
# key.sh - master keys with material of one's own, keys that rotate by
# themselves, and keys that are protected: in the embedded service, and in one
# that is asked over a socket.  Needs neither root nor a mount.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require jq

KMSD=${KMSD:-${SEALDISK%/*}/kmsd}

# state KEY: what key ls says of it.
key_json() {
	sd key ls --json | jq -c --arg id "$1" '.[] | select(.key_id == $id)'
}

# holds KEY FILTER
holds() {
	key_json "$1" | jq -e "$2" >/dev/null
}

# All that is done to keys, whichever service has them.
life() {
	local key

	note "import: $1"
	key=$(sd key create --origin external --description 'of ours')
	check 'a key waits for its material' \
		holds "$key" '.state == "PendingImport" and .origin == "EXTERNAL"'
	expect 5 'disabled' sd create "early-$1" --size 1M --key "$key"
	sd key import "$key" --material "$T/material"
	check 'with it, it is enabled' holds "$key" '.state == "Enabled"'
	sd create "disk-$1" --size 1M --key "$key"
	refuse 1 'other material before' \
		sd key import "$key" --material "$T/other"
	sd key import "$key" --rm
	check 'without, it waits again' holds "$key" '.state == "PendingImport"'
	sd key import "$key" --material "$T/material" \
		--expires 2099-01-01T00:00:00Z
	check 'the same comes back, for a time' \
		holds "$key" '.state == "Enabled" and
			.expires_at == "2099-01-01T00:00:00Z"'
	refuse 1 'not one to rotate' sd key set "$key" rotation=30
	refuse 1 'not one to rotate' sd key rotate "$key"

	note "properties: $1"
	key=$(sd key create --alias "app-$1")
	refuse 1 'not made for imported' \
		sd key import "alias/app-$1" --material "$T/material"
	sd key set "alias/app-$1" rotation=30 protected=yes
	check 'it rotates' holds "$key" '.rotation_days == 30 and
		.rotate_at != null and .protected'
	expect 4 'protected from deletion' \
		sd key schedule-deletion "$key" --yes
	sd key set "$key" rotation=never protected=no
	check 'it does not' holds "$key" '.rotation_days == null and
		.rotate_at == null and (.protected | not)'
	sd key schedule-deletion "$key" --yes >/dev/null 2>&1
	check 'and it can go' holds "$key" '.state == "PendingDeletion"'
}

make_config
sd init "$STORE" >/dev/null
secret='material of ours, 32 bytes long.'
printf %s "$secret" >"$T/material"
head -c 32 /dev/urandom >"$T/other"
head -c 31 /dev/urandom >"$T/short"
head -c 33 /dev/urandom >"$T/long"

life embedded

note 'what makes no sense'
key=$(sd key create --origin external)
for file in short long; do
	refuse 1 '32 bytes' sd key import "$key" --material "$T/$file"
done
refuse 3 'none' sd key import "$key" --material "$T/none"
refuse 2 'material FILE' sd key import "$key"
refuse 2 'material FILE' sd key import "$key" --rm --material "$T/material"
refuse 2 'that is over' sd key import "$key" --material "$T/material" \
	--expires 2001-01-01T00:00:00Z
refuse 2 'not a time' sd key import "$key" --material "$T/material" \
	--expires tomorrow
refuse 2 'kms or external' sd key create --origin mine
refuse 2 '7 to 730' sd key set "$key" rotation=6
refuse 2 'yes or no' sd key set "$key" protected=maybe
refuse 2 'rotation=DAYS' sd key set "$key" color=red
if [ -x "$KMSD" ]; then
	note 'over a socket'
	printf '[kmsd]\nlisten = unix:%s\n' "$T/kms.socket" >"$T/kmsd.ini"
	sed -n '/^\[keystore\]/,$p' "$SEALDISK_CONFIG" >>"$T/kmsd.ini"
	"$KMSD" --config "$T/kmsd.ini" serve >"$T/kmsd.log" 2>&1 &
	kmsd=$!
	if wait_for 10 test -S "$T/kms.socket"; then
		printf '[kms]\nendpoint = unix:%s\n' "$T/kms.socket" \
			>>"$SEALDISK_CONFIG"
		life socket
	else
		failed "kmsd does not serve: $(cat "$T/kmsd.log")"
	fi
	kill "$kmsd"
	wait "$kmsd" 2>/dev/null || :
fi

check_not 'no material is anywhere in the clear' \
	grep -qraF --exclude=material "$secret" "$T"
