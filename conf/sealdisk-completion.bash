# Completion of sealdisk for bash.  What there is to complete, the program
# itself says: commands, their options, the names in the store.
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

# bash breaks words at @ and :, so that DISK@SNAPSHOT and image:NAME come as
# several.  The whole of the one that is being written.
_sealdisk_name() {
	local i=$COMP_CWORD word=${COMP_WORDS[COMP_CWORD]}

	while ((i > 1)); do
		case ${COMP_WORDS[i - 1]}+$word in
		*[@:]+* | *+[@:]*) ;;
		*) break ;;
		esac
		i=$((i - 1))
		word=${COMP_WORDS[i]}$word
	done
	printf '%s' "$word"
}

# The names of the kinds that are said, as `ls` has them.
_sealdisk_names() {
	local kind cut name

	name=$(_sealdisk_name)
	_sealdisk_words "$(for kind; do
		"$program" ls "$kind" --names 2>/dev/null
	done)" "$name"
	# What bash puts in is what follows the last : or stands from the last @
	# on.
	cut=${name%"${name##*:}"}
	case $name in
	*@*) cut=${name%@*} ;;
	esac
	COMPREPLY=("${COMPREPLY[@]#"$cut"}")
	# A \ before @ or : would be no part of the name next time.
	compopt +o filenames 2>/dev/null || :
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
	attach | check | clone | detach | export | info | rename | rm | rotate | scrub)
		_sealdisk_names all
		;;
	image) _sealdisk_names disks snapshots ;;
	reencrypt | resize | set | snapshot | unlock) _sealdisk_names disks ;;
	receive | rollback) _sealdisk_names snapshots ;;
	send) _sealdisk_names snapshots images ;;
	ls) _sealdisk_words 'disks snapshots images all' "$cur" ;;
	'key cancel-deletion' | 'key disable' | 'key enable' | 'key grant' | \
		'key import' | 'key revoke' | 'key rotate' | \
		'key schedule-deletion' | 'key set' | 'key users')
		_sealdisk_words "$("$program" key alias 2>/dev/null |
			sed -n 's/^\(alias[^ ]*\).*/\1/p')" "$cur"
		;;
	'kms audit') _sealdisk_words verify "$cur" ;;
	mount | umount | init | import | 'kms backup' | 'kms restore')
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	esac
}

complete -F _sealdisk -o filenames sealdisk
