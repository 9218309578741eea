"""What the tests of scenarios, verdicts and reports start from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.events import EVENTS
from harness.scenario.item import Item
from harness.scenario.resolve import load_items
from harness.timeline import Event

ROOT = Path(__file__).resolve().parents[3]
HELLO = ROOT / "scenarios" / "hello.yaml"
IMAGES = frozenset({"tink-worker:v0.12.2", "print:v1", "write:v1", "read:v1", "disk:v1"})
MAC = "52:54:00:12:34:56"
DIGEST = "sha256:8348" + "0" * 60


def hello(firmware: str = "uefi") -> Item:
    """Return one item of hello."""
    items = load_items(HELLO, known_images=IMAGES)
    return next(item for item in items if item.firmware == firmware)


@dataclass
class Tape:
    """A timeline written by hand; every event is checked against the vocabulary."""

    events: list[Event] = field(default_factory=list)

    def add(self, t: float, source: str, name: str, /, **fields: Any) -> Event:
        """Append an event at ``t`` seconds."""
        unknown = fields.keys() - set(EVENTS[name].fields)
        assert not unknown, f"{name} has no field {unknown}"
        event = Event(seq=len(self.events) + 1, t=t, source=source, name=name, fields=fields)
        self.events.append(event)
        return event

    def without(self, *prefixes: str) -> Tape:
        """Return the tape with some events cut out, numbered anew."""
        kept = [event for event in self.events if not event.name.startswith(prefixes)]
        return Tape(_numbered(kept))

    def until(self, name: str, **fields: Any) -> Tape:
        """Return the tape up to and including the first event ``name`` with these fields."""
        for number, event in enumerate(self.events):
            if event.name == name and fields.items() <= event.fields.items():
                return Tape(self.events[: number + 1])
        raise AssertionError(f"there is no {name} with {fields}")


def _numbered(events: Iterable[Event]) -> list[Event]:
    return [
        Event(seq=n, t=event.t, source=event.source, name=event.name, fields=event.fields)
        for n, event in enumerate(events, 1)
    ]


def good_boot() -> Tape:
    """Return a boot of hello as a UEFI machine goes through it, from start to stop."""
    tape = Tape()
    add = tape.add
    add(0.01, "run", "run.started", scenario="hello", item="hello[uefi]", run_dir="runs/x")
    add(0.3, "lab", "lab.started", duration_s=0.29)
    add(1.0, "machine", "machine.powered_on", mac=MAC, firmware="uefi", accel="tcg", cpus=1)
    add(1.1, "machine", "console.line.seen", console="ttyS0", text="BdsDxe: starting Boot0001")
    _dhcp(tape, 5.0, "firmware", "ipxe.efi")
    add(6.1, "tftp", "tftp.request.received", id=1, mac=MAC, file="ipxe.efi", opcode="RRQ")
    add(6.1, "tftp", "tftp.transfer.aborted", id=1, file="ipxe.efi", code=8, text="User aborted")
    add(6.2, "tftp", "tftp.request.received", id=2, mac=MAC, file="ipxe.efi", opcode="RRQ")
    add(6.6, "tftp", "tftp.transfer.progressed", id=2, file="ipxe.efi", bytes=500_000)
    add(7.0, "tftp", "tftp.transfer.finished", id=2, mac=MAC, file="ipxe.efi", bytes=1_040_000)
    add(8.0, "tftp", "tftp.request.received", id=3, mac=MAC, file="autoexec.ipxe", opcode="RRQ")
    add(8.0, "tftp", "tftp.error.sent", id=3, mac=MAC, file="autoexec.ipxe", code=1, text="none")
    _dhcp(tape, 9.0, "tinkerbell", "http://192.168.77.1:7080/ipxe/script/auto.ipxe")
    path = f"/ipxe/script/{MAC}/auto.ipxe"
    add(14.0, "http", "http.request.received", id=1, mac=MAC, method="GET", path=path)
    add(14.0, "http", "http.script.served", id=1, mac=MAC, path=path, script="#!ipxe")
    add(14.0, "http", "http.response.finished", id=1, mac=MAC, path=path, status=200, bytes=900)
    _fetch(tape, 14.8, 2, "/vmlinuz-x86_64", 8_000_000)
    _fetch(tape, 15.5, 3, "/initramfs-x86_64", 53_000_000)
    add(18.0, "machine", "guest.kernel.started", version="6.1.0", console="ttyS0")
    _dhcp(tape, 25.0, "guest", "")
    add(35.9, "machine", "guest.docker.started", console="ttyS0")
    _pull(tape, 37.0, "tink-worker", "v0.12.2")
    add(42.0, "machine", "guest.worker.started", console="ttyS0")
    add(45.0, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowContexts", worker_id=MAC)
    add(45.0, "tink", "tink.contexts.sent", id=1, worker_id=MAC, workflows=["default/hello"])
    names = ["print", "write", "read", "disk"]
    add(45.1, "tink", "tink.actions.sent", id=2, workflow_id="default/hello", actions=names)
    change(tape, 45.2, "STATE_RUNNING", "STATE_PENDING")
    for number, name in enumerate(names):
        report(tape, 46.0 + 5 * number, name, "STATE_RUNNING")
        _pull(tape, 47.0 + 5 * number, name, "v1")
        report(tape, 50.0 + 5 * number, name, "STATE_SUCCESS")
    change(tape, 67.4, "STATE_SUCCESS", "STATE_RUNNING")
    add(68.0, "lab", "disk.checked", disk="vda", at_bytes=0, expected="text:LABDISK",
        found="text:LABDISK", matched=True)  # fmt: skip
    add(68.1, "run", "run.finished", outcome="ended")
    return tape


def change(tape: Tape, t: float, state: str, before: str) -> None:
    """Add a change of the workflow's state."""
    tape.add(t, "tink", "tink.workflow.changed", workflow_id="default/hello", state=state,
             before=before)  # fmt: skip


def report(tape: Tape, t: float, action: str, state: str, **more: Any) -> None:
    """Add the report of an action's state."""
    fields = {"workflow_id": "default/hello", "worker_id": MAC, "accepted": True, **more}
    tape.add(t, "tink", "tink.action.reported", task="hello", action=action, state=state, **fields)


def _dhcp(tape: Tape, t: float, stage: str, file: str) -> None:
    answer = {"mac": MAC, "stage": stage, "address": "192.168.77.10", "file": file}
    tape.add(t, "dhcp", "dhcp.discover.received", mac=MAC, stage=stage)
    tape.add(t, "dhcp", "dhcp.offer.sent", **answer, next_server="192.168.77.1")
    tape.add(t + 1, "dhcp", "dhcp.request.received", mac=MAC, stage=stage)
    tape.add(t + 1, "dhcp", "dhcp.ack.sent", **answer, next_server="192.168.77.1")


def _fetch(tape: Tape, t: float, number: int, path: str, size: int) -> None:
    common = {"id": number, "path": path}
    tape.add(t, "http", "http.request.received", mac=MAC, method="GET", **common)
    tape.add(t, "http", "http.response.started", status=200, length=size, **common)
    tape.add(t + 0.5, "http", "http.transfer.progressed", bytes=size // 2, length=size, **common)
    tape.add(t + 0.7, "http", "http.response.finished", mac=MAC, status=200, bytes=size, **common)


def _pull(tape: Tape, t: float, repository: str, tag: str) -> None:
    path = f"/v2/{repository}/manifests/{tag}"
    common = {"mac": MAC, "repository": repository, "digest": DIGEST}
    tape.add(t, "registry", "registry.request.received", id=1, mac=MAC, method="HEAD", path=path)
    tape.add(t, "registry", "registry.manifest.served", id=1, method="HEAD", reference=tag,
             **common)  # fmt: skip
    tape.add(t + 0.1, "registry", "registry.manifest.served", id=2, method="GET",
             reference=DIGEST, **common)  # fmt: skip
    tape.add(t + 0.3, "registry", "registry.blob.served", id=3, bytes=9_000_000, length=9_000_000,
             **common)  # fmt: skip
