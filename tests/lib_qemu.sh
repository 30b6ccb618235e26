# lib_qemu.sh - what tests with a guest in QEMU share.  Read after lib.sh.
# shellcheck shell=bash

# The kernel to boot: it has NVMe, ext4 and the serial console built in.
find_kernel() {
	local config

	if [ -r "${SEALDISK_TEST_KERNEL:-}" ]; then
		printf '%s\n' "$SEALDISK_TEST_KERNEL"
		return
	fi
	for config in /boot/config-*; do
		if [ "$(grep -cxE 'CONFIG_(EXT4_FS|BLK_DEV_NVME)=y' \
			"$config" 2>/dev/null)" = 2 ] &&
			grep -qx CONFIG_SERIAL_8250_CONSOLE=y "$config"; then
			printf '/boot/vmlinuz-%s\n' "${config#/boot/config-}"
			return
		fi
	done
}
