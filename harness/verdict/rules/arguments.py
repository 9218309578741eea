"""What the boot script told the kernel, where that is at the bottom of a failure."""

from __future__ import annotations

import re
from typing import Final

from harness.phases import Party
from harness.timeline import Event
from harness.verdict.rules.case import Case, Finding, argument, arguments
from harness.verdict.rules.dhcp import absent_neighbour

_WITHHELD: Final = re.compile(
    r"pci=(?:off|noacpi)|acpi=off|(?:module_blacklist|modprobe\.blacklist|initcall_blacklist)=.+"
)
"""Linux, admin-guide/kernel-parameters.rst: what it is not to use."""
NO_REFERENCE: Final = re.compile("invalid reference format")
"""Docker's words for a name that is none."""
_SLASHES: Final = re.compile(r".*//.*|/.*|.*/").fullmatch
_REGISTRY_KEYS: Final = ("docker_registry", "tink_worker_image")
_DIALLED: Final = re.compile(r"dial tcp (?P<host>[\d.]+|\[[^\]]+\]):(?P<port>\d+): ")
_USUAL_PORTS: Final = ("443", "80")
"""Where docker asks a registry whose name has no port."""
_MAC: Final = re.compile(r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)


_HOOKS_INIT: Final = "Hook's first program is /init of its initramfs: take the argument out"


def told_not_to(case: Case) -> list[str]:
    """Return the arguments that keep the kernel from buses and drivers that it has."""
    return [word for word in arguments(case) if _WITHHELD.fullmatch(word)]


def said_by(case: Case, text: str) -> str | None:
    """Return the argument, ``key=value``, that a name or an address comes from; the last one."""
    edge = r"(?![\w.-]*\w)"
    wanted = re.compile(rf"[^=]+=(?:.*[^\w.-])?{re.escape(text)}{edge}.*", re.IGNORECASE)
    return next((word for word in reversed(arguments(case)) if wanted.fullmatch(word)), None)


def other_init(case: Case, line: str) -> Finding | None:
    """Judge a kernel that finds no first program, and was told to take another than Hook's."""
    for key, of_it in (("rdinit", "root fs"), ("init", "init"), ("noinitrd", "root fs")):
        value = argument(case, key)
        word = key if key in arguments(case) else f"{key}={value}" if value else ""
        if word and of_it in line:
            return Finding(
                blame=Party.BOOT_SCRIPT,
                because=f"the kernel is told {word}, and panicked: {line}",
                evidence=case.command_line,
                hint=_HOOKS_INIT,
            )
    return None


def other_program(case: Case) -> Finding | None:
    """Judge a kernel that runs another first program than Hook's, because it was told to."""
    started = case.seen("guest.init.started")[-1:]
    for key in ("rdinit", "init"):
        program = argument(case, key)
        if program and started and started[0].get("program") == program:
            return Finding(
                blame=Party.BOOT_SCRIPT,
                because=f"the kernel is told {key}={program}, runs that in place of Hook's first"
                " program, and nothing of Hook was heard",
                evidence=[*case.command_line, *started],
                hint=_HOOKS_INIT,
            )
    return None


def no_image_name(case: Case, evidence: list[Event]) -> Finding | None:
    """Judge a registry of which docker makes no image's name (distribution/reference, grammar)."""
    for key in _REGISTRY_KEYS:
        value = argument(case, key) or ""
        wrong = (
            "with a scheme"
            if "://" in value
            else "with a slash too many"
            if _SLASHES(value)
            else ""
        )
        if wrong:
            return Finding(
                blame=Party.BOOT_SCRIPT,
                because=f"the kernel command line says {key}={value}, {wrong}, and docker takes no"
                f" image's name from that: {NO_REFERENCE.pattern}",
                evidence=[*case.command_line, *evidence],
                hint="a registry is HOST[:PORT][/PATH]; whether it speaks TLS, insecure_registries"
                " says",
                conclusive=True,
            )
    return None


def wrong_place(case: Case, text: str, said: Event) -> Finding | None:
    """Judge arguments that name a port where nobody listens, or a neighbour that nobody is.

    ``text`` is what docker says of a connection: ``dial tcp HOST:PORT: …``.
    """
    dialled = _DIALLED.search(text)
    registries = [
        event
        for event in case.seen("service.started")
        if str(event.get("service")).startswith("registry")
    ]
    ports = sorted(int(event.get("port", 0)) for event in registries)
    if not dialled or not ports:
        return None
    absent = absent_neighbour(case, dialled["host"])
    if not absent and int(dialled["port"]) in ports:
        return None
    told = f"{dialled['host']}:{dialled['port']}"
    named = {told, dialled["host"]} if dialled["port"] in _USUAL_PORTS else {told}
    keys = [key for key in _REGISTRY_KEYS if (argument(case, key) or "").partition("/")[0] in named]
    if not keys:
        return None
    there = " and ".join(map(str, ports))
    return Finding(
        blame=Party.BOOT_SCRIPT,
        because=(
            f"Hook is told to pull from {told} ({', '.join(keys)}), and nobody has that address:"
            f" the registry is at {absent}, port {there}"
            if absent
            else f"Hook is told to pull from port {dialled['port']} ({', '.join(keys)}), where"
            f" nobody listens: the registry is at port {there}"
        ),
        evidence=[*registries, *case.command_line, said],
        hint=f"compare {told} with where the registry is",
    )


def other_worker(case: Case) -> Finding | None:
    """Judge a worker whose id is the MAC address of another machine."""
    told = argument(case, "worker_id")
    if told is None or not _MAC.fullmatch(told):
        return None
    own = {
        str(one.get("mac")).lower()
        for event in case.seen("machine.powered_on")
        for one in (event.fields, *(event.get("nics") or ()))
    }
    if not own or told.lower().replace("-", ":") in own:
        return None
    return Finding(
        blame=Party.BOOT_SCRIPT,
        because=(
            f"there is no workflow for worker {told}: the kernel command line says worker_id={told}"
            f" to the machine {', '.join(sorted(own))}"
        ),
        evidence=case.command_line,
        hint="is the script made for this machine, or one for all, or out of a cache?",
    )
