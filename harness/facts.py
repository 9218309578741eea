"""Questions that a timeline answers and several parts ask: pulls, action reports, wire activity."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.timeline import Event


def split_reference(reference: str) -> tuple[str, str]:
    """Return repository and tag or digest of an image reference without a host."""
    if "@" in reference:
        repository, _, digest = reference.partition("@")
        return repository, digest
    repository, colon, tag = reference.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (reference, "latest")


def pulls(
    events: Iterable[Event], reference: str, *, macs: Collection[str] | None = None
) -> list[Event]:
    """Return the events that each began one pull of ``reference``, by one of ``macs`` when given.

    An engine resolves the tag once a pull, by HEAD, by GET or by HEAD and then GET; what it asks
    for by digest afterwards belongs to the same pull. A reference by digest counts its GETs.
    """
    repository, wanted = split_reference(reference)
    served = [
        event
        for event in events
        if event.name == "registry.manifest.served"
        and event.get("repository") == repository
        and event.get("reference") == wanted
        and (macs is None or event.get("mac") in macs)
    ]
    by_get = [event for event in served if event.get("method", "GET") == "GET"]
    by_head = [event for event in served if event.get("method") == "HEAD"]
    return by_get if len(by_get) >= len(by_head) else by_head


def action_reports(events: Iterable[Event]) -> list[Event]:
    """Return the reports of action states that the server accepted, in order."""
    return [
        event
        for event in events
        if event.name == "tink.action.reported" and event.get("accepted", True)
    ]


def state_of(event: Event) -> str:
    """Return the state an event tells: SUCCESS, whether it was written so or as STATE_SUCCESS."""
    return str(event.get("state") or "").removeprefix("STATE_")


def workflow_state(events: Iterable[Event]) -> str | None:
    """Return the latest state of the workflow, None when it never changed."""
    changes = [event for event in events if event.name == "tink.workflow.changed"]
    return state_of(changes[-1]) if changes else None


def is_script(path: str) -> bool:
    """Whether an HTTP path is that of an iPXE script."""
    return path.endswith(".ipxe")


def is_boot_program(path: str) -> bool:
    """Whether a TFTP or HTTP path is that of a network boot program."""
    name = posixpath.basename(path).partition("-00-")[0]
    return name.endswith((".efi", ".kpxe", ".pxe", ".0", ".iso", ".img"))


def named_file(told: str) -> str:
    """Return the path by which a firmware asks TFTP for the boot file that DHCP told it."""
    scheme, url, rest = told.partition("://")
    if not url or scheme.lower() != "tftp":
        return told
    return rest.partition("/")[2]


_BIOS, _UEFI_X86, _UEFI_ARM = {0}, {6, 7, 9, 15, 16}, {10, 11, 18, 19}
_ARM = ("arm", "aarch64")


def unfit_program(path: str, arch: int) -> str | None:
    """Return why a firmware can't start a network boot program, None if its name fits.

    ``arch`` is what the firmware said in option 93 (RFC 5970, section 3.3).
    """
    name = posixpath.basename(path).lower()
    efi, arm = ".efi" in name, any(word in name for word in _ARM)
    if arch in _BIOS and efi:
        return "a BIOS starts no EFI program"
    if arch in _UEFI_X86 | _UEFI_ARM and name.endswith((".kpxe", ".pxe", ".0")):
        return "UEFI starts EFI programs only"
    if (arch in _UEFI_X86 and arm) or (arch in _UEFI_ARM and efi and not arm):
        return "it is for another processor"
    return None


def is_artifact(path: str) -> bool:
    """Whether an HTTP path is that of a kernel or an initramfs, whatever it is called."""
    if is_script(path) or path.startswith("/ipxe/binary/"):
        return False
    first = path.lstrip("/").partition("/")[0]
    return not is_metadata(path) and first not in {"healthz", "readyz", "metrics"}


def is_metadata(path: str) -> bool:
    """Whether an HTTP path is of the metadata service."""
    return path.lstrip("/").partition("/")[0] in {"2009-04-04", "metadata", "tootles"}


def is_initramfs(path: str) -> bool:
    """Whether an HTTP path is that of an initramfs."""
    name = posixpath.basename(path).lower()
    return name.startswith("init") or "initr" in name


def began_at(events: Iterable[Event]) -> str:
    """Return the time of day (ISO 8601) at which the run's clock was 0; empty when nobody says.

    In a run that was resumed it is the calendar of the lab that was saved: it goes on.
    """
    told = [event for event in events if event.name in ("run.started", "lab.resumed")]
    return str(told[-1].get("wall") or "") if told else ""


def resumed_words(events: Iterable[Event]) -> str | None:
    """Return where a run was resumed, and what that saved; None for one from power-on."""
    for event in events:
        if event.name == "lab.resumed":
            return (
                f"resumed at {event.get('point')} in {event.get('duration_s'):.1f} s,"
                f" which saved {event.get('saved_s'):.0f} s"
            )
    return None


def before_pause(events: Sequence[Event]) -> list[Event]:
    """Return the events of a run up to where its lab was only kept alive, and how it ended then.

    What somebody does with a lab that is kept alive is no part of the run.
    """
    paused = next((event for event in events if event.name == "run.paused"), None)
    if paused is None:
        return list(events)
    kept = [event for event in events if event.seq <= paused.seq]
    outcome = {"outcome": paused.get("outcome", "ended")}
    end = Event(seq=paused.seq + 1, t=paused.t, source="run", name="run.finished", fields=outcome)
    return [*kept, end]


_MINOR: Final = ("console.line.seen", "host.stalled")


def nearest(
    events: Sequence[Event], prefixes: tuple[str, ...], *, anchor: int | None = None, most: int = 10
) -> list[Event]:
    """Return the ``most`` events that say most about what is missing, in order.

    Those whose names begin with one of ``prefixes`` come first, the nearer to event number
    ``anchor`` (default: the last of them, or the end) the better; progress and single console
    lines only fill up what is left.
    """
    about = [event for event in events if event.name.startswith(prefixes)]
    centre = anchor or (about[-1].seq if about else events[-1].seq if events else 0)

    def rank(event: Event) -> tuple[int, int]:
        minor = event.name.endswith(".progressed") or event.name in _MINOR
        family = 0 if event.name.startswith(prefixes) and not minor else 2 if minor else 1
        return family, abs(event.seq - centre)

    return sorted(sorted(events, key=rank)[:most], key=lambda event: event.seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTime:
    """How long machines were on, and how long of that none of their processors had work."""

    on_s: float
    idle_s: float

    def __add__(self, other: MachineTime) -> MachineTime:
        return MachineTime(on_s=self.on_s + other.on_s, idle_s=self.idle_s + other.idle_s)

    @property
    def words(self) -> str:
        """Such as ``machines on for 312 s, 41 % of it waiting``."""
        share = 100 * self.idle_s / self.on_s if self.on_s else 0.0
        return f"machines on for {self.on_s:.0f} s, {share:.0f} % of it waiting"


def machine_time(events: Iterable[Event]) -> MachineTime | None:
    """Return the time of one run's machine, None where it is not known.

    Idle is what is left when the processor neither ran nor wanted to: it waited for an answer, a
    timer or a deadline. A firmware that polls while it waits is not idle. In a run that was resumed
    the machine was on since then.
    """
    on: Event | None = None
    for event in events:
        if event.name == "lab.resumed" or (event.name == "machine.powered_on" and on is None):
            on = event
        elif event.name == "machine.exited" and on is not None and "busy_s" in event.fields:
            on_s = event.t - on.t
            worked = float(event.get("busy_s", 0)) + float(event.get("delayed_s", 0))
            return MachineTime(on_s=on_s, idle_s=max(0.0, on_s - worked))
    return None


def detours(events: Iterable[Event]) -> list[str]:
    """Return which of a firmware's ways over the network came to nothing before another one did.

    A boot that ends well by HTTP, say, may hide that nothing came by TFTP.
    """
    failed: list[str] = []
    told: list[str] = []
    began_s = 0.0
    for event in events:
        if event.name in ("machine.powered_on", "machine.reset"):
            failed, began_s = [], event.t
        elif event.name == "firmware.boot.tried":
            began_s = event.t
        elif event.name == "firmware.boot.failed":
            way = str(event.get("way")).partition(" (")[0]
            if _OVER_NETWORK.search(way):
                failed.append(f"{way}: {event.get('reason')}, after {event.t - began_s:.0f} s")
        elif event.name in ("http.script.served", "guest.kernel.started"):
            told, failed = [*told, *failed], []
    return told


_OVER_NETWORK: Final = re.compile(r"PXE|HTTP")
