"""The machine's disks, seen from outside: sparse raw files in the run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import SetupFailed
from harness.machine.devices import Disk

_SECTOR: Final = 512
_SHOWN: Final = 64


def create_disk(
    path: Path,
    size_bytes: int,
    *,
    serial: str | None = None,
    model: str = "virtio-blk",
    bootindex: int | None = None,
    there: bool = False,
) -> Disk:
    """Make an empty disk that takes no room until it is written to; not when it is ``there``.

    ``size_bytes`` is a multiple of 512. Raises ``SetupFailed``.
    """
    if size_bytes <= 0 or size_bytes % _SECTOR:
        raise SetupFailed(f"{path.name}: {size_bytes} bytes are no whole number of sectors")
    try:
        with path.open("r+b" if there else "xb") as file:
            file.truncate(size_bytes)
    except OSError as error:
        raise SetupFailed(f"the disk {path} can't be made: {error.strerror}") from error
    return Disk(path=path, size_bytes=size_bytes, serial=serial, model=model, bootindex=bootindex)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCheck:
    """What a comparison of a disk's bytes found. ``expected`` and ``found`` are for people."""

    matched: bool
    expected: str
    found: str
    first_difference: int | None
    """Offset on the disk of the first octet that differs; None when all match."""


def check_bytes(path: Path, at_bytes: int, expected: bytes) -> DiskCheck:
    """Compare the disk at ``at_bytes`` with ``expected``. Raises ``OSError``.

    What the guest wrote is seen at once: QEMU writes through the page cache this reads from.
    """
    with path.open("rb") as file:
        file.seek(at_bytes)
        found = file.read(len(expected))
    if found == expected:
        return DiskCheck(
            matched=True, expected=_shown(expected), found=_shown(found), first_difference=None
        )
    pairs = zip(expected, found, strict=False)
    same = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(expected), len(found)))
    start = max(0, same - 8)  # show the neighbourhood of the difference, not an equal beginning
    return DiskCheck(
        matched=False,
        expected=_shown(expected[start:]),
        found=_shown(found[start:]),
        first_difference=at_bytes + same,
    )


def _shown(data: bytes) -> str:
    """Return the first octets as text where they are text, as hex where they are not."""
    head = data[:_SHOWN]
    more = f"… ({len(data)} bytes)" if len(data) > _SHOWN else ""
    try:
        text = head.decode("ascii")
    except UnicodeDecodeError:
        return head.hex(" ") + more
    if not text.replace("\n", "").replace("\t", "").isprintable():
        return head.hex(" ") + more
    return repr(text) + more
