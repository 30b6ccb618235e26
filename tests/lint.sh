#!/bin/bash
# lint.sh - manual pages, shell scripts, the unit and the layout of the code,
# each by the tool for it.  A tool that is not there is passed over.
# shellcheck source=tests/lib.sh
. "${0%/*}/lib.sh"

top=$(cd "${top_srcdir:-${0%/*}/..}" && pwd -P)
cd "$top"

# with TOOL: whether it is there.
with() {
	command -v "$1" >/dev/null && return
	printf '[  SKIPPED ] 1 test(s): needs %s\n' "$1"
	return 1
}

# silent COMMAND ARGS...: it succeeds, and has nothing to say.
silent() {
	local r=0

	"$@" >"$T/said" 2>&1 || r=$?
	cat "$T/said"
	[ "$r" -eq 0 ] && ! [ -s "$T/said" ]
}

note 'manual pages'
if with mandoc; then
	for f in man/*.[1-8]; do
		check "$f is clean" silent mandoc -Tlint -W warning "$f"
	done
	printf '.Sh NAME\n.Nm x\n.Xx y\n' >"$T/bad.1"
	check_not 'one that is not is found' \
		silent mandoc -Tlint -W warning "$T/bad.1" >/dev/null
fi

note 'shell scripts'
scripts=()
for f in quickstart autogen.sh .ci/run conf/*.bash tests/*.sh tests/bench/*.sh tests/soak/*.sh; do
	[ ! -f "$f" ] || scripts+=("$f")
done
for f in "${scripts[@]}"; do
	check "$f can be read" bash -n "$f"
done
if with shellcheck; then
	check 'shellcheck is content' silent shellcheck -x "${scripts[@]}"
fi

note 'the code'
# Another version breaks lines in other places.
format=$(command -v clang-format-14 || command -v clang-format || :)
if [ -n "$format" ] && "$format" --version | grep -q 'version 14\.'; then
	check 'it is laid out by .clang-format' silent find lib kms fuse \
		include tests -name '*.[ch]' -exec "$format" --dry-run -Werror {} +
else
	with clang-format-14 || :
fi
check 'no line ends in a blank' \
	test -z "$(grep -rnE '[ 	]+$' lib kms fuse include conf man \
		tests/*.[ch] tests/*.sh quickstart | head -n 5)"

note 'the unit'
unit=${top_builddir:-.}/conf/sealdisk@.service
if [ -f "$unit" ] && with systemd-analyze; then
	# Where it will be installed nothing may be yet; nor its manual.
	sed "s|/[^ ]*/sealdisk mount|$SEALDISK mount|
		s|/[^ ]*/sealdisk umount|$SEALDISK umount|
		s|/[^ ]*/sealdisk upgrade|$SEALDISK upgrade|
		/^Documentation=/d" "$unit" >"$T/sealdisk@test.service"
	check 'systemd reads it' silent env SYSTEMD_LOG_LEVEL=warning \
		systemd-analyze verify "$T/sealdisk@test.service"
	for line in Slice=system.slice LimitCORE=0 NoNewPrivileges=yes \
		Restart=no; do
		check "it has $line" grep -qxF "$line" "$unit"
	done
	# Any of these gives the service mounts of its own: nobody else would
	# see the store.
	own='ProtectSystem|ProtectHome|PrivateTmp|PrivateDevices|PrivateMounts'
	own+='|ProtectKernelTunables|ProtectKernelModules|ProtectControlGroups'
	own+='|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths|TemporaryFileSystem'
	own+='|BindPaths|RootDirectory|DynamicUser|ProtectProc|ProcSubset'
	own+='|ProtectKernelLogs|MountFlags|PrivateUsers|StateDirectory'
	check_not 'and nothing that hides its mount' \
		grep -E "^($own)=" "$unit"
fi

note 'the scrub'
unit=${top_builddir:-.}/conf/sealdisk-scrub@.service
timer=${top_srcdir:-.}/conf/sealdisk-scrub@.timer
if [ -f "$unit" ] && with systemd-analyze; then
	sed "s|/[^ ]*/sealdisk -s|$SEALDISK -s|; /^Documentation=/d" "$unit" \
		>"$T/sealdisk-scrub@test.service"
	sed '/^Documentation=/d' "$timer" >"$T/sealdisk-scrub@test.timer"
	check 'systemd reads it, and its timer' silent \
		env SYSTEMD_LOG_LEVEL=warning systemd-analyze verify \
		"$T/sealdisk-scrub@test.service" "$T/sealdisk-scrub@test.timer"
	for line in OnCalendar=monthly Persistent=true; do
		check "the timer has $line" grep -qxF "$line" "$timer"
	done
fi

# exposed UNIT: whether it is so no more than it must be.
exposed() {
	if systemd-analyze security --offline=true --threshold=15 --no-pager \
		"$1" >"$T/said" 2>&1; then
		grep Overall "$T/said"
		return
	fi
	cat "$T/said"
	return 1
}

note "the key server's unit"
unit=${top_builddir:-.}/conf/kmsd.service
if [ -f "$unit" ] && with systemd-analyze; then
	sed 's|=/[^ ]*/kmsd |=/bin/true |; /^Documentation=/d' "$unit" \
		>"$T/kmsd.service"
	check 'systemd reads it' silent env SYSTEMD_LOG_LEVEL=warning \
		systemd-analyze verify "$T/kmsd.service"
	for line in DynamicUser=yes LimitCORE=0 NoNewPrivileges=yes \
		ProtectSystem=strict MemoryDenyWriteExecute=yes \
		CapabilityBoundingSet=; do
		check "it has $line" grep -qxF "$line" "$unit"
	done
	# Whose uid is behind a socket is who may ask for what.
	check_not 'and nothing that hides who asks' grep '^PrivateUsers=' "$unit"
	check 'systemd finds little exposed' exposed "$T/kmsd.service"
fi
