"""Questions that a timeline answers and several parts ask: pulls, action reports, wire activity."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Sequence

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
        minor = event.name.endswith(".progressed") or event.name == "console.line.seen"
        family = 0 if event.name.startswith(prefixes) and not minor else 2 if minor else 1
        return family, abs(event.seq - centre)

    return sorted(sorted(events, key=rank)[:most], key=lambda event: event.seq)
