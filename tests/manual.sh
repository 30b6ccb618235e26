#!/bin/bash
# manual.sh - commands and options are the same in the program, its help, its
# manual and its completion.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

: "${top_srcdir:=${0%/*}/..}"
make_config
man=$top_srcdir/man/sealdisk.1
# shellcheck source=conf/sealdisk-completion.bash
. "$top_srcdir/conf/sealdisk-completion.bash"

# What the completion offers for a line, one a line.
offered() {
	# shellcheck disable=SC2034 # which it reads
	COMP_WORDS=("$SEALDISK" "$@") COMP_CWORD=$# COMPREPLY=()
	_sealdisk
	[ "${#COMPREPLY[@]}" -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}"
}

# The options in a text of the help.
options() {
	grep -oE -e '(^|[^a-z-])--[a-z][a-z-]*' | grep -oE -e '--[a-z-]+' | sort -u
}

# entry COMMAND: what sealdisk(1) says of it, from its own .It to the next one.
entry() {
	sed -n '/^\.Sh COMMANDS/,/^\.Sh JSON/p' "$man" |
		sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}' |
		awk -v want="$1" '
		/^\.It Cm / { on = 0
			line = $0; sub(/^\.It Cm /, "", line)
			n = split(want, w, " "); split(line, m, " ")
			on = 1
			for (i = 1; i < n; i++) if (m[i] != w[i]) on = 0
			# "enable | disable"
			last = m[n]
			if (last != w[n] &&
			    !(m[n + 1] == "|" && m[n + 2] == w[n])) on = 0
		}
		on { print }'
}

note 'every command'
sd --list-commands >"$T/commands"
for group in key kms; do
	sd --list-commands "$group" | sed "s/^/$group /" >>"$T/commands"
done
global='--config --json --passphrase-fd --progress --store --yes'
while read -r c; do
	case $c in
	key | kms) continue ;;
	esac
	entry "$c" >"$T/entry"
	check "sealdisk(1) has $c" test -s "$T/entry"
	# shellcheck disable=SC2086 # "key ls" is two words
	sd help $c >"$T/help"
	check "help $c says what it does" test "$(wc -l <"$T/help")" -ge 3
	sed 1q "$T/help" | options >"$T/usage"
	options <"$T/help" >"$T/options"
	while read -r o; do
		check "$c: sealdisk(1) has $o" \
			grep -qE -e "Fl -?${o#-}( |\$)" "$T/entry"
		# shellcheck disable=SC2086 # words
		run sd $c "$o" </dev/null
		check_not "$c: the program knows $o" \
			grep -q 'there is no option' <<<"$out"
		# shellcheck disable=SC2086 # words
		check "$c: the completion has $o" \
			grep -qxF -e "$o" <(offered $c "$o")
	done <"$T/options"
	sed 1q "$T/entry" | grep -oE 'Fl -[a-z][a-z-]+' | sed 's/Fl -/--/' |
		sort -u >"$T/told"
	while read -r o; do
		case " $global " in
		*" $o "*) continue ;;
		esac
		check "$c: its help has $o of sealdisk(1)" \
			grep -qxF -e "$o" "$T/options"
	done <"$T/told"
	case $c in
	*' '*)
		check "the completion has $c" grep -qxF "${c#* }" \
			<(offered "${c% *}" '')
		;;
	*) check "the completion has $c" grep -qxF "$c" <(offered '') ;;
	esac
done <"$T/commands"

note 'global options'
for o in $global --version --list-commands; do
	check "help has $o" grep -qE -e "$o( |=|\$)" <(sd help)
	check "sealdisk(1) has $o" grep -qE -e "^\.It Fl.*Fl -?${o#--}|^\.It Fl -${o#--}( |\$)" "$man"
done
for o in $global; do
	check "the completion has $o" grep -qE -e "^$o=?\$" \
		<(offered ls "$o")
done

note 'names'
sd init "$STORE" >/dev/null
sd key create --alias app >/dev/null
sd create first --size 1M
for c in attach info rm rotate 'export' '-s store info' '--passphrase-fd 3 rm'; do
	# shellcheck disable=SC2086 # words
	check "completion of a disk after $c" grep -qx first <(offered $c "fi")
done
for c in disable enable rotate users schedule-deletion cancel-deletion; do
	check "completion of a key after key $c" grep -qx alias/app \
		<(offered key "$c" al)
done

note 'what the code takes is in the help'
sd help mount >"$T/all"
while read -r c; do
	# shellcheck disable=SC2086 # words
	sd help $c
done <"$T/commands" >>"$T/all"
sed -n '/struct cmd_option own\[\]/,/};/p' "$top_srcdir"/fuse/cmd/*.c |
	grep -oE '\{ "[a-z-]+"' | tr -d '{ "' | sort -u >"$T/taken"
check 'the code has options' test "$(wc -l <"$T/taken")" -ge 15
while read -r o; do
	check "the help has --$o" grep -qE -e "--$o([^a-z-]|\$)" "$T/all"
done <"$T/taken"

note 'places'
# A build for a prefix of its own has others.
sd_root() (
	unset SEALDISK_CONFIG XDG_CONFIG_HOME XDG_STATE_HOME
	sd help config
)
if [ "$(id -u)" -eq 0 ] && grep -qE '^prefix = /usr(/local)?$' \
	"${top_builddir:-.}/Makefile"; then
	for s in path root_file; do
		value=$(sd_root | sed -n "s/^ *$s = //p")
		check "sealdisk.ini(5) has $value" grep -qF -e "$value" \
			"$top_srcdir/man/sealdisk.ini.5"
	done
fi

note 'settings that nothing acts on say so'
sed -n '/^\t{ "/,/},$/p' "$top_srcdir/lib/settings.c" | tr -d '\n' |
	grep -oE '\{ "[a-z]+", "[a-z_]+", [A-Z]+,[[:space:]]*MEMBER\([a-z_]+\)' |
	sed -E 's/.*"([a-z]+)", "([a-z_]+)",.*\((.*)\)/\1 \2 \3/' >"$T/members"
check 'there are settings' test "$(wc -l <"$T/members")" -ge 15
sd help config >"$T/help"
while read -r section key member; do
	! grep -rqE "[>.]$member\b" "$top_srcdir"/fuse "$top_srcdir"/kms \
		--include='*.c' || continue
	check "help config says it of $section.$key" grep -q 'not used yet' \
		<(grep -A1 "^  $key = " "$T/help")
	check "sealdisk.ini(5) says it of $section.$key" \
		grep -q '^Not used by this version' <(
			awk -v key="$key" '/^\.It Cm/ { on = index($0, key) }
				on' "$top_srcdir/man/sealdisk.ini.5")
done <"$T/members"

note 'mount options'
sed -n '/^\.Ss Options/,/^\.Sh FILES/p' "$top_srcdir/man/mount.sealdisk.8" |
	sed -n 's/^\.It Cm \([a-z_]*\) Ns = .*/\1/p' >"$T/mount"
check 'mount.sealdisk(8) has its options' test -s "$T/mount"
while read -r o; do
	run sd mount "$STORE" "$MNT" -o "$o=" </dev/null
	check_not "mount knows $o" grep -q 'no such mount option' <<<"$out"
done <"$T/mount"

note 'exit statuses'
for n in 0 1 2 3 4 5 6; do
	check "sealdisk(1) has status $n" \
		grep -qxF ".It $n" <(sed -n '/^\.Sh EXIT/,/^\.Sh EXA/p' "$man")
done
