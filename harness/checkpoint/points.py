"""The points at which a lab can be saved, and for which items that makes sense.

A point is a moment at which a machine asks a service for something for the first time: its SYN to
that service, which is held. All that the services did before is over, no connection spans the
point, and the machine sends the SYN again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from harness.checkpoint.memory import UNMIGRATABLE
from harness.events import EVENTS
from harness.faults.fault import Fault
from harness.faults.moments import EVENT, MOMENT
from harness.phases import Phase
from harness.scenario.item import Item
from harness.wire.generation import GENERATIONS


class Point(StrEnum):
    """A point, in the order in which a machine comes by."""

    IPXE = "ipxe"
    """iPXE asks for its script."""
    HOOK_UP = "hook-up"
    """docker runs, and asks a registry for the worker."""
    WORKER_UP = "worker-up"
    """The worker runs, and calls Tinkerbell's gRPC server."""

    @property
    def place(self) -> int:
        """Its place in the order, from 0."""
        return list(Point).index(self)


_LATER_PLACES: Final[Mapping[Point, frozenset[str]]] = {
    Point.IPXE: frozenset({"registry", "tink", "dns", "hook", "http", "metadata", "ntp"}),
    Point.HOOK_UP: frozenset({"registry", "tink"}),
    Point.WORKER_UP: frozenset({"tink"}),
}
"""Places where nothing can happen before the point."""
_LATER_EVENTS: Final[Mapping[Point, tuple[str, ...]]] = {
    Point.IPXE: (
        *(
            "registry.",
            "tink.rpc.",
            "tink.action",
            "guest.kernel.",
            "guest.cmdline.",
            "guest.init.",
        ),
        *("guest.service.", "guest.docker.", "guest.bootkit.", "guest.worker."),
    ),
    Point.HOOK_UP: ("registry.", "tink.rpc.", "tink.action", "guest.worker."),
    Point.WORKER_UP: ("tink.rpc.", "tink.action"),
}
"""How the names of events begin that can't come before the point."""
_LATER_PHASES: Final[Mapping[Point, frozenset[str]]] = {
    Point.IPXE: frozenset({Phase.HOOK_BOOT, Phase.WORKER_PULL, Phase.WORKFLOW, Phase.DISK_BOOT}),
    Point.HOOK_UP: frozenset({Phase.WORKFLOW, Phase.DISK_BOOT}),
    Point.WORKER_UP: frozenset({Phase.WORKFLOW, Phase.DISK_BOOT}),
}
_HANDS: Final = frozenset({"machine", "link"})
"""Places where things are done at moments of the timeline, and nothing is prepared for it."""


def comes_later(fault: Fault, point: Point, *, firmware: str = "") -> bool:
    """Whether ``fault`` can't do, count or prepare anything before ``point``."""
    if fault.place == "http" and firmware == "uefi-http":  # its boot program comes by HTTP, too
        return False
    if fault.occasion in (MOMENT, EVENT):
        if fault.needs_frames or fault.place not in _HANDS | _LATER_PLACES[point]:
            return False
        if fault.phases and _LATER_PHASES[point].issuperset(fault.phases):
            return True
        names = fault.facts.get("event", ()) if fault.occasion == EVENT else ()
        return bool(names) and all(
            str(name) in EVENTS and str(name).startswith(_LATER_EVENTS[point]) for name in names
        )
    return fault.place in _LATER_PLACES[point]


def refusal(item: Item, point: Point) -> str | None:
    """Return why ``item`` has no checkpoint at ``point``; None when it may have one."""
    if item.python is not None:
        if item.python.acts_from is None:
            return "a scenario in Python acts on the lab when it likes (unless it says acts_from)"
        if point.place > Point(item.python.acts_from).place:
            return f"its function acts from {item.python.acts_from} on"
    if item.iso is not None:
        return "an ISO in the CD drive belongs to one run"
    if item.proxy is not None:
        return "what a proxy asks is not what the machine asks"
    if any(each.key == "phases within" for each in item.expectations):
        return "it is about how long phases take"
    models = {disk.model for disk in item.disks} | {nic.model for nic in item.nics}
    if bad := sorted(models & UNMIGRATABLE):
        return f"QEMU can't save {', '.join(bad)}"
    for fault in item.faults:
        if not comes_later(fault, point, firmware=item.firmware):
            return f"a fault may strike before: {fault.text}"
    if point is Point.IPXE and item.stack != "lab":
        return f"stack: {item.stack} has an HTTP server that lets no SYN wait"
    if point is Point.IPXE and item.https:
        return "HTTPS has a certificate that was made for one run"
    return None


def ports(item: Item, point: Point) -> frozenset[int]:
    """Return the TCP ports to one of which the SYN goes that is the point."""
    match point:
        case Point.IPXE:
            return frozenset({GENERATIONS[item.generation].http})
        case Point.HOOK_UP:
            return frozenset(each.port for each in (item.registry, *item.registries))
        case Point.WORKER_UP:
            return frozenset({item.tink.port})
