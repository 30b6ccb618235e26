#!/bin/bash
# layers.sh - which file may include which library's header, and which folder
# may know of which.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

top=${top_srcdir:-${0%/*}/..}
folders=(include lib kms fuse)

# The only places of each library's header.  To widen one is a decision: it is
# what keeps a library replaceable and its use in one view.
declare -A owners=(
	[gcrypt.h]='lib/crypto.c lib/crypto_hash.c lib/crypto_rsa.c'
	[iniparser.h]='lib/ini.c'
	[dictionary.h]='lib/ini.c'
	[sqlite3.h]='kms/keystore_handle.h'
	[fuse.h]=''
	[fuse_lowlevel.h]='fuse/fs.c fuse/fs.h fuse/fs_private.h fuse/session.c'
	[microhttpd.h]='kms/server.c'
	[curl.h]='kms/http.c'
	[librados.h]='fuse/core/store_rados.c'
	[p11-kit.h]='kms/pkcs11.c'
	[pkcs11.h]='kms/pkcs11.c'
)

# Folders whose headers the files of a folder may include as "name.h".
declare -A neighbours=(
	[include/sealdisk]=''
	[lib]='lib'
	[kms]='kms'
	[fuse/core]='fuse/core'
	[fuse]='fuse fuse/core'
	[fuse/cmd]='fuse/cmd fuse fuse/core'
)

bad() {
	printf '%s: %s\n' "$1" "$2"
	wrong=1
}

# system_include FILE HEADER: #include <HEADER>
system_include() {
	local allowed=${owners[${2##*/}]-any}

	# The kernel's headers are everybody's.
	[[ $2 != linux/* ]] || return 0

	if [[ $1:$2 == lib/*:sealdisk/kms.h ]]; then
		bad "$1" 'lib knows nothing of the KMS'
	elif [[ $2 == sealdisk/* ]]; then
		[ -f "include/$2" ] || bad "$1" "there is no $2"
	elif [ "$allowed" != any ] && [[ " $allowed " != *" $1 "* ]]; then
		bad "$1" "includes <$2>, which only ${allowed:-nobody} may"
	fi
}

# local_include FILE HEADER: #include "HEADER"
local_include() {
	local folder=${1%/*} from

	if [[ $1:$2 == fuse/main.c:cmd/cmd.h ]]; then
		return
	fi
	for from in ${neighbours[$folder]}; do
		# What is private to a folder is seen in that folder only.
		[ "$from" = "$folder" ] || [[ $2 != *_private.h ]] || continue
		[[ $2 == */* ]] || ! [ -f "$from/$2" ] || return 0
	done
	bad "$1" "includes \"$2\" from beyond its border"
}

# layers FOLDER NAME...: whether these files and folders of a tree keep the
# borders.
layers() (
	cd "$1" || exit 1
	wrong=0
	include='^[[:space:]]*#[[:space:]]*include[[:space:]]*([<"])([^">]*)'
	while IFS=: read -r file line; do
		[[ $line =~ $include ]] || continue
		if [ "${BASH_REMATCH[1]}" = '<' ]; then
			system_include "$file" "${BASH_REMATCH[2]}"
		else
			local_include "$file" "${BASH_REMATCH[2]}"
		fi
	done < <(find "${@:2}" -name '*.[ch]' -type f \
		-exec grep -H '^[[:space:]]*#[[:space:]]*include' {} +)
	exit "$wrong"
)

# planted FILE LINE: whether the tree with this one line more is still taken.
planted() {
	local r=0

	mkdir -p "$T/tree/${1%/*}"
	cp -p "$T/tree/$1" "$T/saved" 2>/dev/null || : >"$T/saved"
	printf '%s\n' "$2" >>"$T/tree/$1"
	layers "$T/tree" "$1" >"$T/said" || r=$?
	mv "$T/saved" "$T/tree/$1"
	return "$r"
}

check 'the tree keeps its borders' layers "$top" "${folders[@]}"

# A check that cannot fail is none.
mkdir "$T/tree"
(cd "$top" && cp -R "${folders[@]}" "$T/tree/")
check 'a copy of the tree keeps them too' layers "$T/tree" "${folders[@]}"
while read -r file line; do
	check_not "$file may not: $line" planted "$file" "$line"
done <<'END'
lib/secret.c #include <gcrypt.h>
fuse/core/block.c #include <gcrypt.h>
kms/envelope.c #  include <gcrypt.h>
lib/settings.c #include <iniparser/iniparser.h>
lib/settings.c #include <iniparser.h>
kms/keys.c #include <sqlite3.h>
fuse/main.c #include <fuse_lowlevel.h>
fuse/core/disk.c #include <fuse3/fuse_lowlevel.h>
fuse/fs.c #include <fuse.h>
kms/client.c #include <microhttpd.h>
kms/front.c #include <microhttpd.h>
kms/client.c #include <curl/curl.h>
fuse/core/store_posix.c #include <rados/librados.h>
fuse/core/disk.c #include "keystore.h"
fuse/core/disk.c #include "../tree.h"
fuse/core/disk.c #include "tree.h"
fuse/core/disk.h #include "cmd/cmd.h"
fuse/cmd/info.c #include "engine_private.h"
kms/keys.c #include "store.h"
lib/io.c #include <sealdisk/kms.h>
lib/io.c #include "keystore.h"
lib/io.c #include <sealdisk/nothing.h>
include/sealdisk/kms.h #include <sqlite3.h>
END
check 'a line that is allowed is taken' \
	planted lib/io.c '#include <sealdisk/secret.h>'
