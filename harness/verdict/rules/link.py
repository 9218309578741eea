"""What the switch's port says of the machine's cable."""

from __future__ import annotations

from harness.facts import state_of
from harness.phases import Party, Phase
from harness.timeline import Event
from harness.verdict.rules.case import Case, Finding

CABLE_HINT = "is the cable in, and the switch's port on?"
_FINAL = ("FAILED", "TIMEOUT")
_ENDS = {"link.restored": "link.lost", "link.forwarding": "link.blocked"}
_GIVE_UP = (Phase.FIRMWARE_DHCP, Phase.NBP_DOWNLOAD, Phase.IPXE)
_ASKS = (
    "dhcp.discover.received",
    "tftp.request.received",
    "tftp.transfer.finished",
    "http.request.received",
    "http.transfer.progressed",
)
"""What shows that a machine is heard: the first of all before it has an address."""
_HINTS = {
    "link.lost": CABLE_HINT,
    "link.blocked": "let the switch's port forward at once: portfast, or LACP with fallback",
}


def link_is_down(case: Case) -> Finding | None:
    """Judge a link that is down, or blocked, when the run ends."""
    began = {name: _last(case, name, end) for end, name in _ENDS.items()}
    lost, blocked = began["link.lost"], began["link.blocked"]
    if lost is not None:
        return Finding(
            blame=Party.LINK,
            because=f"the machine's link has no carrier since {lost.t:.1f} s",
            evidence=[lost],
            hint=_HINTS["link.lost"],
        )
    if blocked is not None:
        return Finding(
            blame=Party.LINK,
            because=f"the switch's port forwards nothing since {blocked.t:.1f} s",
            evidence=[blocked],
            hint=_HINTS["link.blocked"],
        )
    return None


def link_came_too_late(case: Case) -> Finding | None:
    """Judge a machine that was not heard while its port did not forward, and not after it.

    Firmware, a boot program and iPXE ask a few times and give up; what runs later goes on asking.
    """
    if case.phase not in _GIVE_UP:
        return None
    late = _of_its_nic(case, *_ENDS)
    if not late:
        return None
    last = late[-1]
    began = [e for e in _of_its_nic(case, _ENDS[last.name]) if e.seq < last.seq]
    first = case.phase is Phase.FIRMWARE_DHCP
    since = began[-1].seq if began and not first else 0
    if any(event.seq > since for event in case.seen(*(_ASKS[:1] if first else _ASKS))):
        return None
    # a block that is sent again and again is told, too
    went_on = [e.get("bytes", 0) for e in case.seen("tftp.transfer.progressed") if e.seq > since]
    if not first and went_on and went_on[-1] > went_on[0]:
        return None
    carrier = last.name == "link.restored"
    what = "the machine's link had no carrier" if carrier else "the switch's port forwarded nothing"
    frames = last.get("lost_frames")
    swallowed = f" and swallowed {frames} frames" if frames else ""
    who = "the firmware" if first else "the machine"
    return Finding(
        blame=Party.LINK,
        because=f"{what} for {last.get('duration_s', 0):.1f} s{swallowed};"
        f" {who} asked no more after it",
        evidence=[*began[-1:], last],
        hint=_HINTS[_ENDS[last.name]],
    )


def lost_between(case: Case, since: int, until: int) -> list[Event]:
    """Return how often the carrier was lost between two events, by their numbers."""
    return [event for event in _of_its_nic(case, "link.lost") if since < event.seq < until]


def _last(case: Case, name: str, end: str) -> Event | None:
    """Return the latest event ``name``, unless ``end`` came after it, or the workflow was over."""
    over = [e.seq for e in case.seen("tink.workflow.changed") if state_of(e) in _FINAL]
    found = [e for e in _of_its_nic(case, name, end) if not over or e.seq < over[-1]]
    return found[-1] if found and found[-1].name == name else None


def _of_its_nic(case: Case, *names: str) -> list[Event]:
    """Return the events with one of ``names`` that are of the NIC the machine boots from."""
    machine = case.tracker.machine
    mac = machine.get("mac") if machine else None
    return [event for event in case.seen(*names) if mac is None or event.get("mac") == mac]
