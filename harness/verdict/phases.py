"""Which phase of a netboot a timeline has reached, and how long each took.

Phases follow each other without gaps; one begins when the wire, or failing that a console, first
shows it. Fed event by event, so that live progress and the verdict agree.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from harness.facts import (
    is_artifact,
    is_boot_program,
    is_initramfs,
    is_script,
    named_file,
    state_of,
)
from harness.phases import Phase
from harness.timeline import Event

ORDER: Final = tuple(Phase)
WORKER_ENDED: Final = "tink-worker container is not running"
"""What hook-bootkit says of a worker that ended within three seconds."""


@dataclass(slots=True, kw_only=True)
class Span:
    """One phase of one boot. Times are seconds since power-on."""

    phase: Phase
    start_s: float
    end_s: float | None = None
    """None while it lasts, and when the run ended within it."""
    first_seq: int
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Transfer:
    """A download under way. ``length`` is None when it is not known."""

    name: str
    done_bytes: int = 0
    length_bytes: int | None = None


@dataclass(slots=True)
class PhaseTracker:
    """Follows one machine from power-on to the end of its workflow."""

    spans: list[Span] = field(default_factory=list)
    power_on_s: float | None = None
    machine: Event | None = None
    """The ``machine.powered_on`` event."""
    last_s: float = 0.0
    """Seconds since power-on of the latest event."""
    transfer: Transfer | None = None
    """What is being downloaded just now."""
    actions: dict[str, str] = field(default_factory=dict)
    """Action name → latest state, in the order of the workflow once it is known."""
    awaits_disk: bool = False
    """Whether the run goes on, after its workflow, to the first boot from disk."""
    _artifacts: dict[str, int] = field(default_factory=dict)
    _resolved: dict[str, int] = field(default_factory=dict)
    _digest: str = ""
    _address: str | None = None
    _named: set[str] = field(default_factory=set)
    """Boot files that DHCP named to the firmware, whatever they are called."""
    _file: str = ""
    _medium: str = ""

    @property
    def phase(self) -> Phase:
        """The phase reached: the latest that has begun."""
        return self.spans[-1].phase if self.spans else Phase.POWER_ON

    @property
    def span(self) -> Span | None:
        """The span of the phase reached."""
        return self.spans[-1] if self.spans else None

    def feed(self, event: Event) -> Span | None:
        """Take in the next event; return the span that it ended, if it did."""
        if event.name == "machine.powered_on" and self.power_on_s is None:
            self.power_on_s = event.t
            self.machine = event
        if event.name == "run.awaits.disk":
            self.awaits_disk = True
        if self.power_on_s is None:
            if event.name == "machine.medium.inserted":
                self._medium = posixpath.basename(str(event.get("url", "")))
            return None
        self.last_s = max(self.last_s, event.t - self.power_on_s)
        begins = _BEGINS.get(event.name)
        wanted = begins(event) if begins else None
        if event.get("file") in self._named:
            wanted = _NAMED_FILE.get(event.name, wanted)
        if wanted is Phase.DONE and self.awaits_disk:
            wanted = Phase.DISK_BOOT
        if event.name == "guest.disk.booted" and self.phase is Phase.DISK_BOOT:
            wanted = Phase.DONE
        ended = self._advance(wanted, event) if wanted else None
        self._observe(event)
        return ended

    def finish(self) -> None:
        """Close the last span at the latest event, for reports on a run that is over."""
        if self.spans and self.spans[-1].end_s is None and self.phase is Phase.DONE:
            self.spans[-1].end_s = self.spans[-1].start_s

    def durations(self) -> dict[str, float]:
        """Return seconds by phase; the phase the run ended in counts up to the last event."""
        return {
            span.phase.value: round(
                (self.last_s if span.end_s is None else span.end_s) - span.start_s, 3
            )
            for span in self.spans
            if span.phase is not Phase.DONE
        }

    def _advance(self, phase: Phase, event: Event) -> Span | None:
        assert self.power_on_s is not None
        if self.spans and ORDER.index(phase) <= ORDER.index(self.phase):
            return None
        now = event.t - self.power_on_s
        before = self.span
        if before:
            before.end_s = now
        self.spans.append(Span(phase=phase, start_s=now, first_seq=event.seq))
        self.transfer = None
        return before

    def _detail(self, phase: Phase, text: str) -> None:
        for span in self.spans:
            if span.phase is phase:
                span.detail = text

    def _observe(self, event: Event) -> None:
        observe = _OBSERVE.get(event.name)
        if observe:
            observe(self, event)

    # -- what a phase's line says

    def _powered_on(self, _event: Event) -> None:
        if self._medium:
            self._detail(Phase.FIRMWARE_DHCP, f"{self._medium} in the CD drive")

    def _leased(self, event: Event) -> None:
        if self.phase is Phase.FIRMWARE_DHCP:
            # A proxy tells the file and another server the address, in any order.
            self._address = event.get("address") or self._address
            if file := event.get("file"):
                self._named.add(named_file(str(file)))
                server = event.get("next_server")
                self._file = posixpath.basename(str(file)) + (f" from {server}" if server else "")
            parts = [str(self._address or "no address"), *([self._file] if self._file else [])]
            self._detail(Phase.FIRMWARE_DHCP, ", ".join(parts))

    def _progressed(self, event: Event) -> None:
        name = str(event.get("path") or event.get("file") or event.get("digest") or "")
        self.transfer = Transfer(
            name=posixpath.basename(name)[:24],
            done_bytes=event.get("bytes", 0),
            length_bytes=event.get("length"),
        )

    def _tftp_done(self, event: Event) -> None:
        self.transfer = None
        if is_boot_program(str(event.get("file", ""))) and self.phase is not Phase.FIRMWARE_DHCP:
            self._boot_program(str(event["file"]), event.get("bytes", 0), "TFTP")

    def _boot_program(self, path: str, size: int, protocol: str) -> None:
        name = posixpath.basename(path)
        self._detail(Phase.NBP_DOWNLOAD, f"{name} {megabytes(size)} by {protocol}")

    def _http_done(self, event: Event) -> None:
        self.transfer = None
        path, size = str(event.get("path", "")), event.get("bytes", 0)
        if event.get("status", 200) >= 300 or not size:  # UEFI asks with HEAD first
            return
        if path.startswith("/ipxe/binary/"):
            self._boot_program(path, size, "HTTP")
        elif is_artifact(path) and ORDER.index(self.phase) <= ORDER.index(Phase.HOOK_BOOT):
            self._artifacts[path] = self._artifacts.get(path, 0) + size
            total = sum(self._artifacts.values())
            self._detail(Phase.KERNEL_INITRAMFS, f"{megabytes(total)} by HTTP")

    def _script(self, event: Event) -> None:
        name = posixpath.basename(str(event.get("path", "auto.ipxe")))
        self._detail(Phase.IPXE, f"{name} for this MAC")

    def _kernel(self, event: Event) -> None:
        self._detail(Phase.HOOK_BOOT, f"Linux {event.get('version', '')}".strip())

    def _docker(self, event: Event) -> None:
        for span in self.spans:
            if span.phase is Phase.HOOK_BOOT and self.power_on_s is not None:
                up = f"docker up at {event.t - self.power_on_s:.1f}"
                span.detail = ", ".join(part for part in (span.detail, up) if part)

    def _manifest(self, event: Event) -> None:
        if self.phase not in (Phase.HOOK_BOOT, Phase.WORKER_PULL):
            return
        reference, method = str(event.get("reference", "")), str(event.get("method", "GET"))
        self._digest = self._digest or str(event.get("digest", ""))
        if not reference.startswith("sha256:"):
            # HEAD and GET of a tag belong to one pull: see harness.facts.pulls
            self._resolved[method] = self._resolved.get(method, 0) + 1
        count = max(self._resolved.values(), default=0)
        times = {0: "", 1: " once", 2: " twice"}.get(count, f" {count} times")
        digest = f"@{self._digest[:11]}…" if self._digest else ""
        name = posixpath.basename(str(event.get("repository", "")))
        self._detail(Phase.WORKER_PULL, f"{name}{digest}{times}")

    def _actions_sent(self, event: Event) -> None:
        for action in event.get("actions") or ():
            name = action.get("name") if isinstance(action, dict) else action
            self.actions.setdefault(str(name), "PENDING")

    def _action(self, event: Event) -> None:
        if event.get("accepted", True):
            self.actions[str(event.get("action"))] = state_of(event)
            self._detail(Phase.WORKFLOW, actions_text(self.actions))


_MARKS: Final = {"SUCCESS": "✓", "FAILED": "✗", "TIMEOUT": "✗ timeout", "RUNNING": "…"}


def actions_text(actions: dict[str, str]) -> str:
    """Return ``print ✓  write …`` for actions and their states; those not begun are left out."""
    return "  ".join(
        f"{name} {_MARKS.get(state, state)}"
        for name, state in actions.items()
        if state != "PENDING"
    )


def megabytes(size: int) -> str:
    """Return a size as a line of progress says it: 1.0 MB, 61 MB, 412 kB."""
    if size < 1_000_000:
        return f"{size / 1000:.0f} kB"
    return f"{size / 1e6:.1f} MB" if size < 10_000_000 else f"{size / 1e6:.0f} MB"


def _on_http_request(event: Event) -> Phase | None:
    path = str(event.get("path", ""))
    if path.startswith("/ipxe/binary/"):
        return Phase.NBP_DOWNLOAD
    if is_script(path):
        return Phase.IPXE
    return Phase.KERNEL_INITRAMFS if is_artifact(path) else None


def _on_http_done(event: Event) -> Phase | None:
    path = str(event.get("path", ""))
    if event.get("status", 200) >= 300 or not event.get("bytes", 1):
        return None
    if path.startswith("/ipxe/binary/"):
        return Phase.IPXE
    return Phase.HOOK_BOOT if is_artifact(path) and is_initramfs(path) else None


def _on_dhcp(event: Event) -> Phase | None:
    return {"tinkerbell": Phase.IPXE, "guest": Phase.HOOK_BOOT}.get(str(event.get("stage")))


def _on_tftp_request(event: Event) -> Phase | None:
    return Phase.NBP_DOWNLOAD if is_boot_program(str(event.get("file", ""))) else None


def _on_tftp_done(event: Event) -> Phase | None:
    return Phase.IPXE if is_boot_program(str(event.get("file", ""))) else None


def _always(phase: Phase) -> Callable[[Event], Phase | None]:
    return lambda _event: phase


_BEGINS: Final[dict[str, Callable[[Event], Phase | None]]] = {
    "machine.powered_on": _always(Phase.FIRMWARE_DHCP),
    "dhcp.discover.received": _on_dhcp,
    "dhcp.request.received": _on_dhcp,
    "tftp.request.received": _on_tftp_request,
    "tftp.transfer.finished": _on_tftp_done,
    "http.request.received": _on_http_request,
    "http.response.finished": _on_http_done,
    "guest.kernel.started": _always(Phase.HOOK_BOOT),
    "guest.docker.started": _always(Phase.WORKER_PULL),
    "registry.request.received": _always(Phase.WORKER_PULL),
    "registry.tls.failed": _always(Phase.WORKER_PULL),
    "guest.worker.started": _always(Phase.WORKFLOW),
    # It ran, however short: what was to be pulled is there.
    "guest.error.seen": lambda event: (
        Phase.WORKFLOW if WORKER_ENDED in str(event.get("line")) else None
    ),
    # Nothing else in Hook calls there; a kernel that is told to be quiet tells of no worker.
    "tink.connection.accepted": _always(Phase.WORKFLOW),
    "tink.rpc.received": _always(Phase.WORKFLOW),
    "tink.workflow.changed": lambda event: (
        Phase.DONE if state_of(event) in ("SUCCESS", "POST") else None
    ),
}

_NAMED_FILE: Final = {
    "tftp.request.received": Phase.NBP_DOWNLOAD,
    "tftp.transfer.finished": Phase.IPXE,
}

_OBSERVE: Final[dict[str, Callable[[PhaseTracker, Event], None]]] = {
    "machine.powered_on": PhaseTracker._powered_on,
    "dhcp.offer.sent": PhaseTracker._leased,
    "dhcp.ack.sent": PhaseTracker._leased,
    "tftp.transfer.progressed": PhaseTracker._progressed,
    "http.transfer.progressed": PhaseTracker._progressed,
    "registry.blob.progressed": PhaseTracker._progressed,
    "registry.blob.served": lambda tracker, _event: setattr(tracker, "transfer", None),
    "tftp.transfer.finished": PhaseTracker._tftp_done,
    "http.response.finished": PhaseTracker._http_done,
    "http.script.served": PhaseTracker._script,
    "guest.kernel.started": PhaseTracker._kernel,
    "guest.docker.started": PhaseTracker._docker,
    "registry.manifest.served": PhaseTracker._manifest,
    "tink.actions.sent": PhaseTracker._actions_sent,
    "tink.action.reported": PhaseTracker._action,
}


def track(events: Iterable[Event]) -> PhaseTracker:
    """Return a tracker that has seen all of ``events``."""
    tracker = PhaseTracker()
    for event in events:
        tracker.feed(event)
    tracker.finish()
    return tracker
