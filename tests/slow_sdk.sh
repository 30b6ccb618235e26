#!/bin/bash
# slow_sdk.sh - a full life of a key by the official SDKs, which npm installs
# below the test's own folder; without a registry it is skipped.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

: "${top_srcdir:=${0%/*}/..}" "${top_builddir:=$PWD}"
KMSD=$top_builddir/kmsd
[ -x "$KMSD" ] || skip 'kmsd is not built'
require node npm
script=$(readlink -f "$top_srcdir/tests/sdk.js")

mkdir "$T/npm"
cd "$T/npm"
HOME=$T timeout 120 npm install --no-audit --no-fund --ignore-scripts \
	@alicloud/pop-core@1 @alicloud/kms20160120@1 @alicloud/rpc-client@1 \
	@alicloud/openapi-client@0.4 @alicloud/tea-util@1 >"$T/npm.log" 2>&1 ||
	skip 'npm cannot install the SDKs'

cat >"$T/kmsd.ini" <<END
[kmsd]
listen = unix:$T/sock http:127.0.0.1:0
[keystore]
path = $T/kmsd.db
root_file = $T/kmsd.root
END
export KMSD_CONFIG=$T/kmsd.ini
"$KMSD" init
"$KMSD" serve 2>"$T/kmsd.log" &
kmsd=$!
wait_for 10 grep -q 'listening on http' "$T/kmsd.log"
port=$(sed -n 's/.*listening on http:127.0.0.1://p' "$T/kmsd.log")
"$KMSD" access-key create sdk >"$T/access"
printf '%s' '{"Version":"1","Statement":[{"Effect":"Allow",
"Action":"kms:*","Resource":"*"}]}' | "$KMSD" policy set sdk -
{
	read -r id
	read -r secret
} <"$T/access"

for sdk in pop-core kms20160120 openapi-client; do
	note "$sdk"
	status=0
	timeout 60 node "$script" "$sdk" "$port" "$id" "$secret" >"$T/out" \
		2>"$T/error" || status=$?
	while read -r _ step; do
		passed "$sdk: $step"
	done <"$T/out"
	[ "$status" -eq 0 ] || failed "$sdk: $(cat "$T/error")"
done
check 'nothing of it was refused for its signature' test -z \
	"$(grep refused: "$T/kmsd.log" || :)"
kill "$kmsd"
wait "$kmsd" || :
