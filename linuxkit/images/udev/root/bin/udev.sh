#!/bin/sh
# udev.sh once: applies the rules to the disks there are, waits, and ends.
# udev.sh:      stays and watches for new ones.

# udevadm takes a container that shares process 1 with the host for a chroot, and does nothing.
export SYSTEMD_IGNORE_CHROOT=1
if [ "$1" != once ]; then
	exec /lib/systemd/systemd-udevd
fi
/lib/systemd/systemd-udevd --daemon || exit 1
# Modules are loaded by now: what is missing is the links to disks (/dev/disk/by-…). All other
# devices, hundreds of them, would cost seconds under emulation and bring nothing.
udevadm trigger --type=devices --action=add --subsystem-match=block
udevadm settle --timeout=30
udevadm control --exit
