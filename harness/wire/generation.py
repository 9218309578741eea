"""Tinkerbell's generations, as far as a machine sees them: ports and paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Where one generation serves what. Ports are TCP."""

    http: int
    """Scripts, iPXE binaries and the ISO."""
    metadata: int
    artifacts: int
    """Hook's kernel and initramfs, below ``/hook``."""
    script_path: str = "/ipxe/script/auto.ipxe"
    """Before it, the machine's MAC is put in front of the last element."""
    binary_path: str = "/ipxe/binary"


GENERATIONS: Final[Mapping[str, Generation]] = MappingProxyType(
    {
        "2026": Generation(http=7080, metadata=7080, artifacts=7080),
        "2025": Generation(http=7171, metadata=7172, artifacts=7173),
        "boots": Generation(
            http=80,
            metadata=50061,
            artifacts=8080,
            script_path="/auto.ipxe",
            binary_path="/ipxe",
        ),
    }
)
"""``2026``: one port for all. ``2025``: the first monorepo's. ``boots``: smee or boots with Hegel.

In ``2026`` the lab serves Hook's files on the same port, Tinkerbell on one that is configured.
"""
