"""Parts a machine can be built of, by QEMU's names: one list for scenarios and for their faults."""

from __future__ import annotations

from typing import Literal

NicModel = Literal[
    "virtio-net-pci",
    "e1000",
    "e1000e",
    "i82551",
    "igb",
    "ne2k_pci",
    "pcnet",
    "rtl8139",
    "tulip",
    "usb-net",
    "vmxnet3",
]
"""Network cards. ``igb`` needs QEMU 8; ``igb``, ``tulip`` and ``usb-net`` can't netboot."""
