#!/bin/bash
# kmsd.sh - the key server: its commands, and a server over TLS and a Unix
# socket.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

: "${top_builddir:=$PWD}"
KMSD=$top_builddir/kmsd
[ -x "$KMSD" ] || skip 'kmsd is not built'
require certtool curl jq

make_config
mkdir "$T/tls"
cat >"$T/kmsd.ini" <<END
[kmsd]
listen = unix:$T/sock 127.0.0.1:0
tls_cert = $T/tls/cert.pem
tls_key = $T/tls/key.pem
timeout = 2
[keystore]
path = $T/kmsd.db
root_file = $T/kmsd.root
END
export KMSD_CONFIG=$T/kmsd.ini
kmsd='' port=''

kmsd() {
	timeout 20 "$KMSD" "$@"
}

# authority NAME: a certificate that vouches for others.
authority() {
	printf 'cn = "%s"\nca\ncert_signing_key\nexpiration_days = 2\n' "$1" \
		>"$T/tls/tmpl"
	certtool --generate-privkey --ecc --outfile "$T/tls/$1.key" 2>/dev/null
	certtool --generate-self-signed --load-privkey "$T/tls/$1.key" \
		--template "$T/tls/tmpl" --outfile "$T/tls/$1.pem" 2>/dev/null
}

# certificate NAME: for this machine, from an authority.
certificate() {
	cat >"$T/tls/tmpl" <<-END
		cn = "kmsd"
		dns_name = "localhost"
		ip_address = "127.0.0.1"
		tls_www_server
		signing_key
		expiration_days = 2
	END
	certtool --generate-privkey --ecc --outfile "$T/tls/key.pem" 2>/dev/null
	certtool --generate-certificate --load-privkey "$T/tls/key.pem" \
		--load-ca-certificate "$T/tls/$1.pem" \
		--load-ca-privkey "$T/tls/$1.key" --template "$T/tls/tmpl" \
		--outfile "$T/tls/cert.pem" 2>/dev/null
}

start() {
	: >"$T/kmsd.log"
	"$KMSD" serve 2>"$T/kmsd.log" &
	kmsd=$!
	wait_for 10 grep -q 'listening on' "$T/kmsd.log"
	port=$(sed -n 's/.*listening on 127.0.0.1://p' "$T/kmsd.log")
}

stop() {
	kill "$kmsd"
	wait "$kmsd" || :
	kmsd=''
}

# ask ACTION [NAME=VALUE...]: over the Unix socket.
ask() {
	local args=(--data-urlencode "Action=$1"
		--data-urlencode Version=2016-01-20) a

	shift
	for a; do
		args+=(--data-urlencode "$a")
	done
	curl -s --max-time 10 --unix-socket "$T/sock" "${args[@]}" http://kms/
}

# remote ENDPOINT: sealdisk with the server for its key service.
remote() {
	cat >"$SEALDISK_CONFIG" <<-END
		[sealdisk]
		store = $STORE
		[kms]
		endpoint = $1
		timeout = 1
		ca_file = $T/tls/ca.pem
		access_key_file = $T/access
	END
}

note 'commands'
"$KMSD" --list-commands >"$T/commands"
check 'they are sorted' sort -c "$T/commands"
while read -r c; do
	# shellcheck disable=SC2086 # "access-key ls" is two words
	"$KMSD" help $c >"$T/help"
	check "help $c says what it does" test "$(wc -l <"$T/help")" -ge 3
done <"$T/commands"
expect 0 'usage: kmsd serve' kmsd serve --help
expect 0 'kmsd 0' kmsd --version
expect 0 'connections_per_address' kmsd help config
expect 2 'which command' kmsd
expect 2 'no command nonsense' kmsd nonsense
expect 2 'no option --nonsense' kmsd init --nonsense
expect 2 'usage: kmsd backup' kmsd backup
expect 2 'not unix:' kmsd serve --listen nonsense
expect 2 'config.*needs a value' kmsd --config

note 'settings'
for line in '[kmsd]|nonsense = 1|no setting' '[kmsd]|timeout = 0|from 1' \
	'[kmsd]|socket_mode = 0999|not a mode' '[mount]|linger = 1|sealdisk.ini' \
	'[keystore]|path = x|absolute' '[nonsense]|a = b|nonsense'; do
	IFS='|' read -r section entry why <<<"$line"
	printf '%s\n%s\n' "$section" "$entry" >"$T/bad.ini"
	expect 1 "bad.ini:2: .*$why" kmsd --config "$T/bad.ini" init
done
expect 3 'none.ini' kmsd --config "$T/none.ini" init

note 'the keystore'
expect 3 'kmsd init' kmsd serve --listen "unix:$T/sock"
expect 0 '' kmsd init
check 'it is for its owner alone' test "$(stat -c %a "$T/kmsd.root")" = 600
expect 0 '' kmsd init
expect 3 'cert.pem' kmsd serve
expect 1 'loopback interface only' kmsd serve --listen http:0.0.0.0:0

note 'serving'
authority ca
authority other
certificate ca
start
check 'who listens is told' test -n "$port"
check 'it says that it is in use' test "$(stat -c %F "$T/sock")" = socket
expect 4 'is it served' kmsd restore --yes "$T/kmsd.db"
check 'over the socket the uid is asked for' quiet jq -e .KeyMetadata.KeyId \
	<<<"$(ask CreateKey Description=first)"
check 'an error has its code' quiet jq -e '.Code == "InvalidAction.NotFound" and
	.HttpStatus == 404 and (.RequestId | length) == 36' \
	<<<"$(ask Nonsense)"

note 'access keys'
kmsd access-key create alice >"$T/access"
check 'id and secret are two lines' test "$(wc -l <"$T/access")" = 2
chmod 600 "$T/access"
id=$(sed -n 1p "$T/access") secret=$(sed -n 2p "$T/access")
check 'it is listed' grep -q "^$id .*Active" <(kmsd access-key ls)
check_not 'its secret is not' grep -qF "$secret" <(kmsd access-key ls --json)
remote "https://127.0.0.1:$port"
sd init "$STORE" >/dev/null
expect 5 'refused' sd create a --size 1M
printf '%s' '{"Version":"1","Statement":[{"Effect":"Allow",
"Action":"kms:*","Resource":"*"}]}' >"$T/policy"
expect 0 '' kmsd policy set alice "$T/policy"
check 'it is kept as it was' test "$(kmsd policy get alice)" = \
	"$(cat "$T/policy")"
check 'and listed' grep -q alice <(kmsd policy ls)
expect 0 '' sd create a --size 1M
expect 0 'Enabled' sd key ls
key=$(sd key create --alias alias/app)
expect 0 '' sd create b --size 1M --key alias/app
expect 0 '' sd key rotate alias/app
expect 0 'b .*1 .*rewrapped|b ' sd rotate b
check 'the new version is that of the key' test "$(field b .key_version_id)" = \
	"$(ask DescribeKey KeyId=alias/app |
		jq -r .KeyMetadata.PrimaryKeyVersion)"
expect 0 '' sd key disable alias/app --yes
expect 5 'disabled' sd create c --size 1M --key alias/app
expect 0 '' sd key enable "$key"
expect 0 '' sd key schedule-deletion alias/app --days 7 --yes
expect 5 'deletion' sd create c --size 1M --key alias/app
expect 0 '' sd key cancel-deletion alias/app
expect 0 '' kmsd access-key disable "$id"
expect 5 'refused' sd key ls
check 'the server says so' grep -q 'refused: Forbidden.AccessKey' "$T/kmsd.log"
expect 0 '' kmsd access-key enable "$id"
expect 0 'Enabled' sd key ls

note 'what must not get through'
sed -i "s|^ca_file.*|ca_file = $T/tls/other.pem|" "$SEALDISK_CONFIG"
expect 5 'refused' sd key ls
remote "https://127.0.0.2:$port"
expect 5 '' sd key ls
remote "https://127.0.0.1:$port"
printf '%s\n%s\n' "$id" "${secret%?}x" >"$T/access"
expect 5 'refused' sd key ls
check 'a wrong secret is told by the server' \
	grep -q 'refused: SignatureDoesNotMatch' "$T/kmsd.log"
printf '%s\n%s\n' "$id" "$secret" >"$T/access"
check 'plain HTTP is not answered' test -z \
	"$(curl -s --max-time 5 "http://127.0.0.1:$port/?Action=ListKeys" || :)"
check 'TLS 1.1 is not spoken' test -z \
	"$(curl -sk --max-time 5 --tls-max 1.1 "https://127.0.0.1:$port/" || :)"
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$T"
	check 'another uid on the socket has no rights' quiet jq -e \
		'.Code == "Forbidden.NoPermission"' <<<"$(setpriv --reuid 65534 \
			--clear-groups curl -s --unix-socket "$T/sock" \
			'http://kms/?Action=ListKeys&Version=2016-01-20')"
fi
ask CreateKey $'Description=x\nkmsd: forged "line"' >/dev/null
ask $'Evil\naction' >/dev/null
check 'no line of the log is forged' test -z \
	"$(grep forged "$T/kmsd.log" || :)"
check 'nor of the audit log' test "$(jq -es length "$T"/audit/*.log)" = \
	"$(cat "$T"/audit/*.log | wc -l)"

note 'the certificate is read again'
certificate other
kill -HUP "$kmsd"
check 'it says so' wait_for 5 grep -q 'was read again' "$T/kmsd.log"
expect 5 'refused' sd key ls
sed -i "s|^ca_file.*|ca_file = $T/tls/other.pem|" "$SEALDISK_CONFIG"
expect 0 'Enabled' sd key ls
printf 'nonsense\n' >"$T/tls/cert.pem"
kill -HUP "$kmsd"
check 'a bad one is refused' wait_for 5 grep -q 'of before stays' "$T/kmsd.log"
expect 0 'Enabled' sd key ls
certificate ca
remote "https://127.0.0.1:$port"

note 'what it has done'
expect 0 'GenerateDataKey .*alice' kmsd usage
expect 0 ' 0 of them wrong' kmsd audit verify
expect 0 '' kmsd backup "$T/backup"
expect 1 'Path' kmsd backup "$T/backup"
stop
check_not 'its socket is gone' test -e "$T/sock"
expect 0 'Decrypt|GenerateDataKey' kmsd usage
expect 0 ' 0 of them wrong' kmsd audit verify
sed -i '3s/"result":"ok"/"result":"no"/' "$T"/audit/*1.log
expect 6 'line 3' kmsd audit verify

note 'away, and back'
expect 5 'does not answer' sd key ls
expect 0 '' kmsd restore --yes "$T/backup"
start
remote "https://127.0.0.1:$port"
expect 0 'alias/app' sd key ls
remote "unix:$T/sock"
rm "$T/access"
sed -i '/^access_key_file/d' "$SEALDISK_CONFIG"
expect 0 'alias/app' sd key ls
expect 0 '' kmsd access-key rm "$id"
check_not 'the access key is gone' grep -q "$id" <(kmsd access-key ls)
expect 0 '' kmsd policy rm alice
kill -9 "$kmsd"
wait "$kmsd" 2>/dev/null || :
start
expect 0 'alias/app' sd key ls
stop

if [ "$(id -u)" -eq 0 ]; then
	note 'another user'
	mkdir "$T/state"
	chmod 755 "$T"
	cat >"$T/kmsd.ini" <<-END
		[kmsd]
		listen = unix:$T/sock
		user = nobody
		[keystore]
		path = $T/state/kmsd.db
		root_file = $T/user.root
	END
	"$KMSD" init
	chown nobody "$T/state"
	start
	check 'it is his process' grep -qE \
		"^Uid:([[:space:]]+$(id -u nobody)){4}$" "/proc/$kmsd/status"
	check 'without privileges' grep -qE 'CapEff:[[:space:]]*0+$' \
		"/proc/$kmsd/status"
	check 'the keystore is his' test "$(stat -c %U "$T/state/kmsd.db" \
		"$T/state/audit" | sort -u)" = nobody
	check 'it serves' quiet jq -e .KeyMetadata.KeyId <<<"$(ask CreateKey)"
	expect 0 ' 0 of them wrong' kmsd audit verify
	stop
fi
