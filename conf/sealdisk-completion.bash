# Completion of sealdisk for bash.  What there is to complete, the program
# itself says: commands, their options, the disks of the store.
# shellcheck shell=bash

_sealdisk_words() {
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

# The command that stands on the line so far, "key alias" if need be.
_sealdisk_command() {
	local i words=() sub

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --store | --config | --passphrase-fd | --progress)
			i=$((i + 1))
			;;
		-*) ;;
		*) words+=("${COMP_WORDS[i]}") ;;
		esac
	done
	[ "${#words[@]}" -gt 0 ] || return 0
	printf '%s' "${words[0]}"
	sub=$("$program" --list-commands "${words[0]}" 2>/dev/null)
	if [ -n "$sub" ] && [ "${#words[@]}" -gt 1 ]; then
		printf ' %s' "${words[1]}"
	fi
}

_sealdisk_options() {
	# shellcheck disable=SC2086 # "key alias" is two words
	"$program" help $1 2>/dev/null | grep -oE -e '--[a-z][a-z-]*' | sort -u
	printf '%s\n' --store --config --json --yes --progress= \
		--passphrase-fd --help
}

_sealdisk() {
	local program=${COMP_WORDS[0]} cur=${COMP_WORDS[COMP_CWORD]}
	local command sub

	COMPREPLY=()
	command=$(_sealdisk_command)
	sub=$("$program" --list-commands "${command:-}" 2>/dev/null)
	case $cur in
	-*)
		_sealdisk_words "$(_sealdisk_options "$command")" "$cur"
		return
		;;
	esac
	case $command in
	'') _sealdisk_words "$("$program" --list-commands)" "$cur" ;;
	key | kms) _sealdisk_words "$sub" "$cur" ;;
	help) _sealdisk_words "$("$program" --list-commands) config" "$cur" ;;
	attach | detach | export | info | rename | resize | rm | rotate | set | \
		unlock)
		_sealdisk_words "$("$program" ls --names 2>/dev/null)" "$cur"
		;;
	'key cancel-deletion' | 'key disable' | 'key enable' | 'key rotate' | \
		'key schedule-deletion' | 'key users')
		_sealdisk_words "$("$program" key alias 2>/dev/null |
			sed -n 's/^\(alias[^ ]*\).*/\1/p')" "$cur"
		;;
	mount | umount | init | import | 'kms backup' | 'kms restore')
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	esac
}

complete -F _sealdisk -o filenames sealdisk
