#!/bin/bash
# kmsd_manual.sh - commands, options and settings of kmsd are the same in the
# program, its help, its manual and its sample.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

: "${top_srcdir:=${0%/*}/..}"
kmsd=${SEALDISK%/*}/kmsd
[ -x "$kmsd" ] || skip 'kmsd is not built'

# The options in a text of the help, and in one of the manual.
options() {
	grep -oE -e '(^|[^a-z-])--[a-z][a-z-]*' | grep -oE -e '--[a-z-]+' |
		sort -u
}
flags() {
	grep -oE 'Fl -[a-z-]+' | sed 's/^Fl /-/' | sort -u
}

# entry COMMAND: what kmsd(8) says of it.
entry() {
	sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}' "$top_srcdir/man/kmsd.8" |
		awk -v want="$1" '
		/^\.It Cm / { on = index($0 " ", ".It Cm " want " ") == 1 }
		/^\.El/ { on = 0 }
		on { print }'
}

note 'every command'
"$kmsd" --list-commands >"$T/commands"
while read -r c; do
	entry "$c" >"$T/entry"
	check "kmsd(8) has $c" test -s "$T/entry"
	# shellcheck disable=SC2086 # "policy set" is two words
	"$kmsd" help $c >"$T/help"
	check "$c: the same options" cmp <(sed 1q "$T/help" | options) \
		<(sed 1q "$T/entry" | flags)
done <"$T/commands"
check 'and the manual has no others' test "$(wc -l <"$T/commands")" -eq \
	"$(sed -n '/^\.Ss Commands/,/^Options:/p' "$top_srcdir/man/kmsd.8" |
		grep -c '^\.It Cm')"
"$kmsd" help | options >"$T/options"
while read -r o; do
	check "kmsd(8) has $o" grep -q "Fl ${o#-}" "$top_srcdir/man/kmsd.8"
done <"$T/options"

note 'every setting'
"$kmsd" help config | awk '/^  [a-z_]+ / { print $1 }' >"$T/settings"
while read -r s; do
	check "kmsd.ini(5) has $s" \
		grep -qE "^\.It Cm (.*[ ,])?$s([ ,]|$)" "$top_srcdir/man/kmsd.ini.5"
	check "the sample has $s" grep -qE "^#?$s =" "$top_srcdir/conf/kmsd.ini"
done <"$T/settings"
sed 's/^#\([a-z_]* =\)/\1/' "$top_srcdir/conf/kmsd.ini" |
	grep -vE '^[a-z_]+ =$' >"$T/kmsd.ini"
sed -i "s|^path = .*|path = $T/none|" "$T/kmsd.ini"
expect 3 'BackupKeystore' "$kmsd" --config "$T/kmsd.ini" backup "$T/saved"
