#!/bin/sh
# udev.sh once: applies the rules to all devices there are, waits, and ends.
# udev.sh:      stays and watches for new ones.
if [ "$1" != once ]; then
	exec /lib/systemd/systemd-udevd
fi
/lib/systemd/systemd-udevd --daemon || exit 1
udevadm trigger --type=subsystems --action=add
udevadm trigger --type=devices --action=add
udevadm settle --timeout=30
udevadm control --exit
