#!/bin/sh
# udev.sh once: applies the rules to all devices there are, waits, and ends.
# udev.sh:      stays and watches for new ones.

# udevadm takes a container that shares process 1 with the host for a chroot, and does nothing.
export SYSTEMD_IGNORE_CHROOT=1
if [ "$1" != once ]; then
	exec /lib/systemd/systemd-udevd
fi
/lib/systemd/systemd-udevd --daemon || exit 1
udevadm trigger --type=subsystems --action=add
udevadm trigger --type=devices --action=add
udevadm settle --timeout=30
udevadm control --exit
