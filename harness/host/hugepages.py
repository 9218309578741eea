"""Whether huge pages are worth having for a machine's RAM.

Emulation is faster with them, and so they are taken where the host's memory is its own. A host that
is a virtual machine itself may give freed memory back to its hypervisor (free page reporting), in
blocks of a huge page's size. A huge page is then mostly one that must be had from there again,
4 KiB by 4 KiB, which costs two seconds a GiB. Small ones are found among what was never given back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_VIRTIO: Final = Path("/sys/bus/virtio/devices")
_BALLOON: Final = 5
"""The device ID of a memory balloon (VIRTIO 1.2 §5)."""
_REPORTING: Final = 5
"""The feature bit VIRTIO_BALLOON_F_PAGE_REPORTING (VIRTIO 1.2 §5.5.3)."""


def huge_pages_pay(devices: Path = _VIRTIO) -> bool:
    """Whether a machine is better off with them; ``devices`` is where sysfs has virtio's."""
    return not any(_reports(device) for device in devices.glob("*"))


def _reports(device: Path) -> bool:
    """Whether ``device`` is a balloon that freed memory is told to."""
    try:
        number = int((device / "device").read_text(), 16)
        features = (device / "features").read_text().strip()  # from bit 0 on
    except (OSError, ValueError):
        return False
    return number == _BALLOON and features[_REPORTING : _REPORTING + 1] == "1"
