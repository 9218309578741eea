"""What both ends of a storm agree on: addresses, ids, steps and sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

SERVER: Final = "10.77.0.1"
CLIENT: Final = "10.77.0.2"
"""Where the machines' DHCP comes from, so that smee's way to answer (to the sender) finds them."""
PREFIX_LENGTH: Final = 16
LAB_END: Final = "lab0"
MACHINES_END: Final = "machines0"
HTTP_PORT: Final = 7080
BOOT_PROGRAM: Final = "ipxe.efi"
WORKER: Final = "tink-worker"
MOST_MACHINES: Final = 4000

STEPS: Final = (
    "firmware dhcp",
    "boot program by TFTP",
    "iPXE dhcp",
    "auto.ipxe by HTTP",
    "worker manifest",
    "contexts and actions",
    "report RUNNING",
    "report SUCCESS",
    "idle poll",
)
"""What each machine does, in order; the last once all are through, at a real worker's pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StormPlan:
    """One storm. All of it is plain data: it goes to the machines' process as JSON."""

    machines: int
    """1 to ``MOST_MACHINES``."""
    over_s: float
    """They are powered on evenly over so many seconds."""
    boot_program_bytes: int = 32 << 10
    """Smaller than a real one, or its blocks of 512 octets would be all that is measured."""
    idle_s: float = 12.0
    """How long all of them go on polling for work, once the last workflow has ended."""
    registry_port: int = 5000
    tink_port: int = 42113

    def to_json(self) -> str:
        """Return the plan as one line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class StormResult:
    """What the machines saw."""

    finished: int
    """Machines whose workflow ended with SUCCESS reported and accepted."""
    wall_s: float
    seconds: Mapping[str, Sequence[float]]
    """Step → how long each machine took for it."""
    retransmits: int = 0
    """Datagrams that had to be sent again."""
    errors: Sequence[str] = field(default_factory=list)
    """The first few failures, a sentence each."""
    failed: int = 0
    """Machines that did not finish."""


def mac_of(number: int) -> str:
    """Return the MAC of machine ``number`` (0 …): locally administered, one each."""
    return bytes([0x52, 0x54, 0x00, 0x77, number >> 8, number & 255]).hex(":")


def address_of(number: int) -> str:
    """Return the IPv4 address of machine ``number``; never one that ends in .0 or .255."""
    return f"10.77.{8 + number // 250}.{1 + number % 250}"
