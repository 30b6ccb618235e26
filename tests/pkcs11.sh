#!/bin/bash
# pkcs11.sh - a keystore whose root is a key in a PKCS#11 token (SoftHSM2), from
# the command line.  Needs neither root nor a mount.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"
require softhsm2-util
module=/usr/lib/softhsm/libsofthsm2.so
[ -r "$module" ] || skip "needs $module"
grep -q '^#define HAVE_PKCS11' "${top_builddir:-.}/config.h" ||
	skip 'PKCS#11 is not built in'

# with PIN ARGS...: the program with that on descriptor 3.
# shellcheck disable=SC2317 # called by expect
with() {
	local pin=$1

	shift
	sd --passphrase-fd 3 "$@" 3<<<"$pin"
}

# with_new PIN ARGS...: the same, where it is that of a new root.
# shellcheck disable=SC2317 # called by expect
with_new() {
	local pin=$1

	shift
	sd "$@" --new-passphrase-fd 3 3<<<"$pin"
}

# settings LINE...: of [keystore].
settings() {
	{
		printf '[keystore]\npath = %s/keystore.db\n' "$T"
		printf 'root_file = %s/root.key\naudit = %s/audit/\n' "$T" "$T"
		printf '%s\n' "$@"
	} >"$SEALDISK_CONFIG"
}

export SEALDISK_CONFIG=$T/sealdisk.ini SEALDISK_STORE=$T/store
export SOFTHSM2_CONF=$T/softhsm2.conf
in_token=('root = pkcs11' "pkcs11_module = $module" 'pkcs11_token = house')
mkdir "$T/tokens"
printf 'directories.tokendir = %s\nlog.level = ERROR\n' "$T/tokens" \
	>"$SOFTHSM2_CONF"
softhsm2-util --init-token --free --label house --so-pin 12345678 \
	--pin 'correct horse' >/dev/null

note 'a root in a token'
settings "${in_token[@]}"
refuse 5 'the PIN is wrong' with 'wrong horse' init "$SEALDISK_STORE"
check_not 'nothing was made' test -e "$T/keystore.db"
expect 0 'PKCS#11 token house' with 'correct horse' init "$SEALDISK_STORE"
check_not 'there is no key file' test -e "$T/root.key"
expect 0 '' with 'correct horse' create d --size 1M
refuse 5 'the PIN is wrong' with 'wrong horse' set d kind=data
expect 0 '^$' with 'correct horse' set d kind=data
refuse 5 'PKCS#11 token house' setsid -w "$SEALDISK" set d kind=data
expect 0 'root +PKCS#11 token house' with 'correct horse' kms status

note 'as a credential'
mkdir "$T/credentials"
(umask 077 && printf 'correct horse\n' >"$T/credentials/sealdisk.root")
CREDENTIALS_DIRECTORY=$T/credentials expect 0 '^$' sd set d kind=system

note 'what is not there'
settings "${in_token[@]/house/hut}"
refuse 5 'no such module, token or key' with 'correct horse' set d kind=data
settings "${in_token[@]/libsofthsm2/none}"
refuse 5 'no such module, token or key' with 'correct horse' set d kind=data

note 'from a token, and back'
settings "${in_token[@]}"
expect 0 'root = keyfile' with 'correct horse' kms change-root --to keyfile
refuse 5 'its root is another' with 'correct horse' set d kind=data
settings
expect 0 '^$' sd set d kind=data
refuse 2 '--token is for' sd kms change-root --token house
refuse 5 'the PIN is wrong' with_new 'wrong horse' kms change-root \
	--to pkcs11 --module "$module" --token house
expect 0 '^$' sd set d kind=system
expect 0 'pkcs11_token = house' with_new 'correct horse' kms change-root \
	--to pkcs11 --module "$module" --token house
settings "${in_token[@]}"
expect 0 '^$' with 'correct horse' set d kind=data
