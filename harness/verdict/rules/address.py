"""A Hook that nobody heard ask for an address: told wrongly, without a client, or without a NIC."""

from __future__ import annotations

import re
from typing import Final

from harness.phases import Party
from harness.timeline import Event
from harness.verdict.rules import services
from harness.verdict.rules.arguments import other_program, told_not_to
from harness.verdict.rules.case import (
    Case,
    Finding,
    Rule,
    argument,
    arguments,
    lines_with,
    quoted,
)
from harness.verdict.rules.dhcp import asked_in_vain

_KEYS: Final = ("interface", "vlan_id", "ipam")
"""Kernel arguments that decide which interface Hook uses, and how."""
_IN_VAIN: Final = re.compile(r"timed out|have a carrier")
"""How dhcpcd says that it has an interface, and that nobody answers on it."""
_NO_INTERFACE: Final = re.compile(r"no valid interfaces")
"""How dhcpcd says that it has none."""


def address_refused(case: Case) -> Finding | None:
    """Judge ipam= on the kernel command line (F40) that says too little, or what is not there."""
    errors = case.said("address refused")
    if not errors or case.seen("dhcp.ack.sent", stage="guest"):
        return None
    return Finding(
        blame=Party.GUEST_NETWORK,
        because=(
            f"Hook can't set up the static address it was told: {quoted(errors[0].get('line'))}"
        ),
        evidence=[*case.command_line, *errors[:3]],
        hint="ipam=MAC:VLAN:ADDRESS:NETMASK:GATEWAY:HOST:DNS:SEARCH:NTP, the MAC with dashes",
    )


def no_address(case: Case) -> Finding | None:
    """Judge a Hook of which no DHCP was heard; None if there was, or its address is static."""
    if case.seen("dhcp.discover.received", stage="guest"):
        return None
    return next((finding for rule in _UNHEARD if (finding := rule(case))), None)


def _never_asked(case: Case) -> Finding | None:
    """Nothing of Hook ran that could ask."""
    if case.seen("guest.init.started", "guest.service.started"):
        return None
    began = case.seen("guest.kernel.started")[-1:]
    spoke = [e for e in case.seen("console.line.seen") if began and e.seq > began[0].seq]
    if spoke and not _QUIET & set(arguments(case)):
        return Finding(
            blame=Party.KERNEL,
            because=(
                "Linux began, and its first program never did; the console said last:"
                f" {quoted(spoke[-1].get('text'))}"
            ),
            evidence=[*began, *spoke[-2:]],
            hint="what does the kernel do after that line? another kernel, or its arguments, may"
            " get further",
        )
    return Finding(
        blame=Party.HOOK, because="Hook never asked for an address", evidence=case.here[:1]
    )


_QUIET: Final = frozenset({"quiet", "loglevel=0", "loglevel=1", "loglevel=2", "loglevel=3"})
"""With these a kernel does not tell that it runs its first program."""


def _another_program(case: Case) -> Finding | None:
    """What runs is not Hook's."""
    return None if case.seen("guest.service.started") else other_program(case)


def _not_begun(case: Case) -> Finding | None:
    """Hook starts one thing after the other (LinuxKit's ``onboot``), and stands still before."""
    started = case.seen("guest.service.started")
    if not started or any(_ASKS.search(str(event.get("service"))) for event in started):
        return None
    last = started[-1].get("service")
    return Finding(
        blame=Party.HOOK,
        because=f"Hook began with {last} last, and nothing that asks for an address was started",
        evidence=started[-3:],
        hint=f"what does {last} wait for? onboot containers run one after the other",
    )


_ASKS: Final = re.compile(r"dhcp|network", re.IGNORECASE)
"""Names of services that make an address: dhcpcd-once, static-network, …"""


def _told_where(case: Case) -> Finding | None:
    """F37, F39: asked where the kernel command line said, and there is nobody there."""
    told = [f"{key}={value}" for key in _KEYS if (value := argument(case, key)) is not None]
    if not told:
        return None
    return Finding(
        blame=Party.GUEST_NETWORK,
        because=f"Hook was told {' '.join(told)}, and asked for no address{_words(case)}",
        evidence=[*case.command_line, *_said(case)[:2]],
        hint="is there an interface of that name, and is the VLAN on its port?",
    )


def _no_client(case: Case) -> Finding | None:
    """The DHCP client is missing, or its service ended."""
    gone = [*case.ever_said("program missing"), *services.ended(case, "dhcp")]
    gone = [event for event in gone if "dhcp" in str(event.fields)]
    if not gone:
        return None
    how = quoted(gone[0].get("line")) if gone[0].get("line") else services.how(gone[0])
    return Finding(
        blame=Party.HOOK,
        because=f"nothing in Hook asks for an address: {how}",
        evidence=gone[:3],
        hint="is the DHCP client's container of this Hook whole?",
    )


def _asked_in_vain(case: Case) -> Finding | None:
    """The client says that it asked on an interface, and the network heard nothing."""
    in_vain = lines_with(_IN_VAIN, _said(case))
    if not in_vain or lines_with(_NO_INTERFACE, _said(case)):
        return None
    return asked_in_vain("Hook", in_vain)


def _withheld(case: Case) -> Finding | None:
    """The kernel was told to leave the bus or the driver of the NIC alone."""
    withheld = told_not_to(case)
    if not withheld:
        return None
    return Finding(
        blame=Party.BOOT_SCRIPT,
        because=(
            f"the kernel is told {' '.join(withheld)}, and Hook's network card was never heard"
            f" of{_words(case)}"
        ),
        evidence=[*case.command_line, *_said(case)[:2]],
        hint="take that out of the kernel arguments",
    )


def _no_card(case: Case) -> Finding | None:
    """F32: Linux runs, and has no network card."""
    return Finding(
        blame=Party.KERNEL,
        because=f"Hook runs, and its network card was never heard of{_words(case)}",
        evidence=[*case.seen("guest.init.started")[-1:], *_said(case)[:2]],
        hint="does this kernel have a driver for the NIC, and for the bus it is on?",
    )


def _said(case: Case) -> list[Event]:
    """Return what the client said; dhcpcd does so in Hook's boot, and docker fails later."""
    return case.ever_said("no address")


def _words(case: Case) -> str:
    said = _said(case)
    return f": {quoted(said[0].get('line'))}" if said else ""


_UNHEARD: Final[tuple[Rule, ...]] = (
    _never_asked, _another_program, _no_client, _not_begun, _told_where, _asked_in_vain, _withheld,
    _no_card,
)  # fmt: skip
