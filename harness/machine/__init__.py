"""The machine: a QEMU with a chosen MAC address, two serial consoles, a monitor and disks.

``machine`` is the whole; ``qemu`` builds its command line, ``firmware`` and ``accelerator`` answer
what this host can offer, ``qmp`` talks to the monitor, ``console`` reads the serial ports, and
``milestones`` says what their lines mean. ``disks`` looks at disks from outside.
"""
