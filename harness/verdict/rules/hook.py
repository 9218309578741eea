"""From the kernel's first line to a docker engine."""

from __future__ import annotations

import re
from typing import Final

from harness.facts import is_initramfs
from harness.phases import Party, Phase
from harness.timeline import Event
from harness.verdict.rules import services
from harness.verdict.rules.address import address_refused, no_address
from harness.verdict.rules.case import Case, Finding, Rule, quoted
from harness.verdict.rules.dhcp import dhcp_exchange


def _no_kernel(case: Case) -> Finding | None:
    """F33: nothing on any console, and nothing on the wire either."""
    if case.seen("guest.kernel.started") or case.seen("dhcp.discover.received", stage="guest"):
        return None
    failed = case.said("boot script failed", "ipxe error")
    if failed:
        return Finding(
            blame=Party.KERNEL,
            because=f"iPXE could not start what it fetched: {quoted(failed[0].get('line'))}",
            evidence=[*case.here[:1], *failed[:3]],
            hint="is the kernel for this architecture, and whole?",
        )
    spoke = case.in_phase("console.line.seen")
    words = f"; the console said last: {quoted(spoke[-1].get('text'))}" if spoke else ""
    halted = case.in_phase("machine.cpu.halted")
    if halted:
        return Finding(
            blame=Party.KERNEL,
            because=(
                "kernel and initramfs were fetched, and the CPU stopped for good, halted with"
                f" interrupts off, before a kernel spoke on a console{words}"
            ),
            evidence=[*case.here[:1], *spoke[-3:], halted[-1]],
            hint="Linux's decompressor stops so: is the kernel whole? compare it with its source",
        )
    return Finding(
        blame=Party.KERNEL,
        because=f"kernel and initramfs were fetched, but no kernel spoke on a console{words}",
        evidence=[*case.here[:1], *spoke[-3:]],
        hint="is the kernel for this architecture, and is there a console= for ttyS0 or ttyS1?",
    )


def no_room_for_initramfs(case: Case) -> Finding | None:
    """Judge an initramfs that was whole and did not fit: Linux unpacks it into half of its memory.

    It says "write error" of nothing else (init/initramfs.c); of a damaged one it says what is wrong
    with it.
    """
    for event in case.seen("guest.error.seen"):
        if "Initramfs unpacking failed: write error" not in str(event.get("line")):
            continue
        machine = case.tracker.machine
        has = (
            f" of {machine.get('memory_mib')} MiB" if machine and machine.get("memory_mib") else ""
        )
        return Finding(
            blame=Party.MACHINE,
            because=(
                f"the machine's memory{has} is too small for Hook: its initramfs did not fit in,"
                " and the kernel went on without the rest"
            ),
            evidence=[event],
            hint="give the machine more memory",
            conclusive=True,
        )
    return None


def damaged_initramfs(case: Case) -> Finding | None:
    """Judge an initramfs that Linux can't unpack, and that had room to be unpacked in."""
    errors = [
        event
        for event in case.said("initramfs broken")
        if "write error" not in str(event.get("line"))
    ]
    if not errors:
        return None
    line = errors[-1].get("line")
    sent = [
        event
        for event in case.seen("http.response.finished")
        if is_initramfs(str(event.get("path"))) and event.get("status") == 200
    ]
    foreign = bool(_NOT_FOR_IT.search(str(line)))
    whole = f", though HTTP sent all {sent[-1].get('bytes')} bytes of it" if sent else ""
    return Finding(
        blame=Party.HOOK if foreign or not sent else Party.HTTP,
        because=f"Linux can't unpack its initramfs{whole}: {quoted(line)}",
        evidence=[*sent[-1:], *errors[-1:]],
        hint=(
            "can this kernel unpack what the initramfs is packed with?"
            if foreign
            else "is the file on the server the one that was built? compare their digests"
        ),
    )


_NOT_FOR_IT: Final = re.compile(r"not configured|invalid magic")
"""Linux, init/initramfs.c: another packing, or something else altogether."""


def _too_little_memory(case: Case) -> Finding | None:
    """The kernel ran out of memory before anything else went wrong."""
    spoilt = no_room_for_initramfs(case) or damaged_initramfs(case)
    if spoilt:
        return spoilt
    errors = case.said("out of memory")
    if not errors:
        return None
    return Finding(
        blame=Party.MACHINE,
        because=f"Linux could not go on: {quoted(errors[0].get('line'))}",
        evidence=errors[:3],
        hint="give the machine more memory",
    )


def _no_dhcp(case: Case) -> Finding | None:
    """F32, F37, F39: Linux runs, and nothing was heard of it on the network."""
    if case.seen("dhcp.discover.received", stage="guest"):
        return dhcp_exchange(case, ("guest",), "Hook", Party.GUEST_NETWORK)
    if case.seen("guest.docker.started", "registry.request.received"):
        return None
    return no_address(case)


def docker_ends(case: Case) -> Finding | None:
    """F44, F46: the engine ends right after its start, or right after it said that it is up."""
    errors = case.ever_said("docker did not start")
    if not errors or any(_runs(event) for event in case.events if event.seq > errors[-1].seq):
        return None
    reasons = [event for event in errors if "failed to start daemon" in str(event.get("line"))]
    last = (reasons or errors)[-1]
    line = last.get("line") if reasons else _last_words(case, last) or last.get("line")
    missing = "executable file not found" in str(line)
    return Finding(
        blame=Party.DOCKER,
        because=f"the docker engine ends right after its start: {quoted(line)}",
        evidence=errors[-5:],
        hint=(
            "is the engine's container of this Hook whole?"
            if missing
            else "does a kernel argument carry a newline or a wrong value (syslog_host,"
            " insecure_registries)?"
        ),
    )


def _runs(event: Event) -> bool:
    """Whether an event shows that an engine is at work."""
    said = event.name == "guest.error.seen" and "response from daemon" in str(event.get("line"))
    return said or event.name in _AT_WORK


_AT_WORK: Final = frozenset(
    {
        "guest.docker.started",
        "guest.worker.started",
        "registry.request.received",
        "tink.rpc.received",
    }
)


def _last_words(case: Case, error: Event) -> str | None:
    """Return what the engine said last of its own accord before ``error`` told that it ended."""
    service = _SERVICE.search(str(error.get("line")))
    for event in reversed(case.seen("console.line.seen")):
        text = str(event.get("text"))
        if event.seq > error.seq or not service or service[0] not in text or text == error["line"]:
            continue
        return None if _AT_EASE.search(text) else text
    return None


_SERVICE: Final = re.compile(r"\b[a-z][\w.-]*docker[\w.-]*: ")
"""Whose line it is, as Hook's init and LinuxKit's log put it before it."""
_AT_EASE: Final = re.compile(
    r"level=(?:debug|info|warning)|error starting up|will retry|[Ss]tarting"
)


def _docker_missing(case: Case) -> Finding | None:
    """The network is there, and the engine is not."""
    last = case.in_phase("guest.service.started", "guest.init.started", "guest.error.seen")
    errors = case.in_phase("guest.error.seen")
    reason = f": {quoted(errors[-1].get('line'))}" if errors else ""
    has = case.seen("dhcp.ack.sent", stage="guest")
    return Finding(
        blame=Party.HOOK,
        because=(
            f"Hook {'has an address' if has else 'runs'}, but its docker engine never came"
            f" up{reason}"
        ),
        evidence=last[-5:] or has[-1:],
    )


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.HOOK_BOOT: (
        _no_kernel,
        _too_little_memory,
        address_refused,
        docker_ends,
        _no_dhcp,
        services.engine_ended,
        _docker_missing,
    )
}
