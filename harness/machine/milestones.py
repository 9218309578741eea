"""What console lines mean: patterns in, ``guest.*`` events out.

Consoles are evidence, never the verdict's ground. A milestone is reported once a boot, by the
console that says it first; a failure that is said again is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.machine.bootable import MARKER
from harness.timeline import Timeline


@dataclass(frozen=True, slots=True)
class _Milestone:
    event: str
    pattern: re.Pattern[str]
    """Named groups become fields of the event."""
    repeats: bool = False
    """Reported once for each distinct set of fields, instead of once a boot."""
    prompt: bool = False
    """Whether it ends in no newline, so that a partial line is enough."""


def _once(event: str, pattern: str, *, prompt: bool = False) -> _Milestone:
    return _Milestone(event, re.compile(pattern), prompt=prompt)


def _each(event: str, pattern: str, *, prompt: bool = False) -> _Milestone:
    return _Milestone(event, re.compile(pattern), repeats=True, prompt=prompt)


_MILESTONES: Final = (
    # OVMF (NetworkPkg: UefiPxeBcDxe, HttpBootDxe) and SeaBIOS (src/boot.c) say what they try.
    _each(
        "firmware.boot.tried",
        r"^>>Start (?P<way>(?:PXE|HTTP Boot) over IPv[46])|^Booting from (?P<drive>Hard Disk)",
        prompt=True,
    ),
    _each(
        "firmware.boot.failed",
        r'^BdsDxe: failed to (?:load|start) \S+ "(?P<way>[^"]+)".*: (?P<reason>[A-Z][A-Za-z ]+)$',
    ),
    _once("firmware.gave_up", r"(?P<line>\bNo bootable (?:device|option)\b.*)"),
    # What a firmware offers when nothing can be booted; nobody is there to type.
    _each(
        "firmware.prompt.offered",
        r"^(?P<prompt>iPXE)> *$|^(?P<shell>Shell)> *$"
        r'|^BdsDxe: starting \S+ "(?P<menu>UiApp|EFI Internal Shell)"',
        prompt=True,
    ),
    _once("guest.kernel.started", r"\bLinux version (?P<version>\S+)"),
    _once("guest.cmdline.seen", r"\b(?:[Cc]ommand line): (?P<cmdline>.+)"),
    _once(
        "guest.init.started",
        r"\bRun (?P<program>/\S+) as init process|^Welcome to LinuxKit\b|\bhook: init started",
    ),
    _each(
        "guest.service.started",
        r"\bhook: starting (?:onboot|service) (?:\d+/\d+ )?(?P<service>[a-z][\w.-]*)",
    ),
    _each(
        "guest.service.ended",
        r"\bhook: service (?P<service>[a-z][\w.-]*)"
        r" (?P<reason>ended|failed with status \d+|was killed by signal \d+[^\n]*)$",
    ),
    _once("guest.docker.started", r"\bAPI listen on \S+docker\.sock|\bDaemon has completed init"),
    _once("guest.bootkit.started", r"[Ss]tarting BootKit: the tink-worker bootstrapper"),
    _once(
        "guest.worker.started",
        r"BootKit: the tink-worker bootstrapper finished|\btink-worker container started\b",
    ),
    _once("guest.login.offered", r"\blogin:\s*$|^linuxkit-[0-9a-f]+:.*# ?$", prompt=True),
    _once("guest.disk.booted", re.escape(MARKER).replace(r"\{name\}", r"(?P<disk>vd[a-z])")),
    _once("guest.panicked", r"(?P<line>Kernel panic - not syncing.*)"),
)

_UNPLACED: Final = ("guest.cmdline.seen", "guest.service.started", "guest.service.ended")
"""What does not tell on which console it was said."""
_FAILURES: Final = {
    # A UEFI iPXE always asks for autoexec.ipxe first, and shows lost frames of its start.
    "ipxe error": r"^(?!.*(?:autoexec\.ipxe|\[[TR]XE: )).*https?://ipxe\.org/[0-9a-f]{8}",
    "firmware found no network": r"\bPXE-E\d\d\b",
    "boot script failed": r"\bFailed to (?:load kernel|load initrd|boot)\b",
    "no root file system": r"\bUnable to mount root fs|\bNo working init found",
    "initramfs broken": r"\bInitramfs unpacking failed",
    "out of memory": r"\bOut of memory: Killed process|\bSystem is deadlocked on memory",
    "disk full": r"[Nn]o space left on device",
    "soft lockup": r"\bsoft lockup - CPU#\d+ stuck",
    "kernel oops": r"\b(?:Oops|BUG|general protection fault): ",
    "segmentation fault": r"\bsegfault at [0-9a-f]+ ip\b",
    "docker did not start": r"\berror starting up Docker\b|\bfailed to start daemon:",
    "containers without network": r"\bcontainers cannot reach the network\b",
    "address refused": r"\bstatic-network: .*\bipam=|\bstatic-network: .*interface"
    r"|Error: (?:MAC address, IP address|No interface found)",
    "no address": r"\bdhcpcd\b.*(?:timed out|no interfaces have a carrier|no valid interfaces)",
    "clock not set": r"\bntp call to .* failed\b|ntpd: bad address|\bAlarm Clock\b",
    "disk error": r"\bI/O error, dev \w+|\bBuffer I/O error on dev|\bcritical medium error\b",
    "worker did not start": r"\bbootstrapping tink-worker failed\b",
    "layer refused": r"\bverification failed for digest\b|\bunexpected (?:digest|EOF)\b",
    "image pull failure": r"image pull failure|[Ff]ailed to pull image",
    "pull broken off": r"\bNot continuing with pull after error: ",
    "certificate refused": r"\bx509: ",
    "program missing": r'\bexec: \\?"[^"\\]+\\?": (?:executable file not found|stat \S+ no such)',
    "exec format error": r"exec format error",
    "no workflow server": r"failed to get workflow context",
}
"""Known failure texts of firmware, kernel, docker, Hook and tink-worker, by a name for people."""
_ANY_FAILURE: Final = re.compile("|".join(f"(?:{text})" for text in _FAILURES.values()))
_KERNEL_LINE: Final = re.compile(r"\[ *\d+\.\d{6}\] ")
"""printk's time stamp; Linux, kernel/printk/printk.c, print_time."""
_CHANGING: Final = re.compile(
    r"^\[ *\d+\.\d+\] |\b\d{4}-\d\d-\d\dT[\d:.]+Z?|\b\d{10}\.\d+|:\d{4,5}(?=->|\\u003e)"
)
"""Time stamps, and the port of a client: what differs when a program says the same again."""
_COUNTED: Final = 10
"""A failure is reported each time up to this, then at every doubling."""


class Milestones:
    """Watches the consoles of one machine."""

    def __init__(
        self,
        *,
        machine: str,
        timeline: Timeline,
        on_panic: Callable[[str], None] | None = None,
    ) -> None:
        """``on_panic`` is called with the line when the guest's kernel gives up."""
        self._machine = machine
        self._timeline = timeline
        self._on_panic = on_panic
        self._seen: set[tuple[str, ...]] = set()
        self._said: Counter[tuple[str, str]] = Counter()
        """How often a console said a failure."""
        self._told: Counter[str] = Counter()
        self._broken_off: dict[str, str] = {}
        """Console → the beginning of a line that the kernel broke into."""

    def state(self) -> dict[str, Any]:
        """Return what was seen so far, of JSON's types, for ``restore``."""
        return {
            "seen": sorted(self._seen),
            "said": [[*key, times] for key, times in self._said.items()],
            "told": dict(self._told),
            "broken_off": dict(self._broken_off),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have seen what another did."""
        self._seen = {tuple(key) for key in state["seen"]}
        self._said = Counter({(key, console): times for key, console, times in state["said"]})
        self._told = Counter(state["told"])
        self._broken_off = dict(state["broken_off"])

    def reboot(self) -> None:
        """Start over: the machine was reset."""
        self._seen.clear()
        self._said.clear()
        self._told.clear()
        self._broken_off.clear()

    def read(self, console: str, text: str, partial: bool) -> None:
        """Look at one line (a ``LineReader`` for ``Console.read_lines``).

        The kernel prints in the middle of other programs' lines: both are looked at whole.
        """
        if partial:
            self._look(console, text, partial=True)
            return
        inside = _KERNEL_LINE.search(text)
        if inside and inside.start():
            self._look(console, text[inside.start() :])
            # What it broke off goes on in the next line that is not the kernel's.
            self._broken_off[console] = text[: inside.start()]
            self._look(console, text[: inside.start()])
            return
        head = "" if inside else self._broken_off.pop(console, "")
        self._look(console, text)
        if head:
            self._look(console, head + text)

    def _look(self, console: str, text: str, *, partial: bool = False) -> None:
        for milestone in _MILESTONES:
            # A partial line may go on: only a prompt is known to be complete.
            if partial and not milestone.prompt:
                continue
            if found := milestone.pattern.search(text):
                self._report(milestone, found, console)
        if not partial and _ANY_FAILURE.search(text):
            for name, pattern in _FAILURES.items():
                if re.search(pattern, text):
                    self._report_failure(name, text, console)
                    break

    def _report(self, milestone: _Milestone, found: re.Match[str], console: str) -> None:
        fields = {key: value for key, value in found.groupdict().items() if value is not None}
        for alternative, name in _ALTERNATIVES.items():
            if alternative in fields:
                fields[name] = fields.pop(alternative)
        key = (milestone.event, *(fields.values() if milestone.repeats else ()))
        if key in self._seen:
            if milestone.event != _KERNEL or (_INIT,) not in self._seen:
                return
            self.reboot()  # a kernel after the first one's init: kexec, of which QEMU tells nothing
        self._seen.add(key)
        if milestone.event not in _UNPLACED:
            fields["console"] = console
        self._timeline.record(self._machine, milestone.event, **fields)
        if milestone.event == "guest.panicked" and self._on_panic is not None:
            self._on_panic(fields["line"])

    def _report_failure(self, name: str, text: str, console: str) -> None:
        """Report a failure and how often it was said; two consoles saying it are one."""
        key = f"{name}: {_CHANGING.sub('', text)}"
        self._said[key, console] += 1
        times = self._said[key, console]
        if times <= self._told[key]:
            return
        self._told[key] = times
        if times > _COUNTED and times & (times - 1):
            return
        self._timeline.record(
            self._machine,
            "guest.error.seen",
            line=text,
            console=console,
            pattern=name,
            times=times if times > 1 else None,
        )


_KERNEL: Final = "guest.kernel.started"
_INIT: Final = "guest.init.started"
_ALTERNATIVES: Final = {"drive": "way", "shell": "prompt", "menu": "prompt"}
"""Group → field, where a pattern has several ways to say one thing."""
