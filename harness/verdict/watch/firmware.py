"""Firmware that gave up, prompts that nobody answers, machines that go in circles."""

from __future__ import annotations

from typing import ClassVar, Final

from harness.facts import is_boot_program, unfit_program
from harness.phases import Phase
from harness.timeline import Event
from harness.verdict.watch.ending import Ending, Rule, Sight, Streak

_CIRCLES: Final = 3
_PRESSED: Final = 4
"""A person who presses reset looks first; a watchdog does not."""
_BEFORE_LINUX: Final = ("firmware", "ipxe", "tinkerbell")


class FirmwareGaveUp(Rule):
    """The firmware found nothing to boot, or waits at a prompt."""

    name: ClassVar = "firmware-gave-up"
    source: ClassVar = (
        "SeaBIOS src/boot.c boot_fail (QEMU's etc/boot-fail-wait: for ever); edk2 OvmfPkg "
        "PlatformBootManagerUnableToBoot waits for a key; iPXE's shell has no timeout"
    )
    firm: ClassVar = True
    needs_workflow: ClassVar = False

    def __init__(self) -> None:
        self._last: Event | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in ("firmware.gave_up", "firmware.prompt.offered"):
            self._last = event
        elif event.name in ("machine.reset", "guest.kernel.started", "machine.powered_on"):
            self._last = None

    def ending(self, sight: Sight) -> Ending | None:
        if self._last is None or sight.kernel:
            return None
        if self._last.name == "firmware.gave_up":
            because = f"the firmware gave up: {self._last.get('line')}"
        else:
            because = f"the machine waits for somebody to type at “{self._last.get('prompt')}”"
        return Ending(rule=self.name, because=because, evidence=(self._last,), hang=True)

    def forget(self, sight: Sight) -> None:
        """Nothing: what happened stays true."""


class OnlyIpv6Left(Rule):
    """Every way over IPv4 failed; the lab serves no DHCPv6, so that what is left can't succeed."""

    name: ClassVar = "only-ipv6-left"
    source: ClassVar = "edk2 boots in the order PXEv4, PXEv6, HTTPv4, HTTPv6"

    def __init__(self) -> None:
        self._failed: list[Event] = []
        self._trying: Event | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "machine.reset":
            self._failed, self._trying = [], None
        elif event.name == "firmware.boot.failed":
            self._failed.append(event)
        elif event.name == "firmware.boot.tried":
            self._trying = event

    def ending(self, sight: Sight) -> Ending | None:
        ways = [str(event.get("way")) for event in self._failed]
        if (
            sight.ways > 1
            or self._trying is None
            or self._trying.get("way") != "HTTP Boot over IPv6"
            or not any("PXEv4" in way for way in ways)
            or not any("HTTPv4" in way for way in ways)
        ):
            return None
        because = "the firmware tried in vain what there is over IPv4; nobody serves IPv6 here"
        return Ending(
            rule=self.name, because=because, evidence=(*self._failed[-3:], self._trying), hang=True
        )

    def forget(self, sight: Sight) -> None:
        """Nothing: what happened stays true."""


class UnfitProgram(Rule):
    """The firmware has a boot program that it can't start, and says nothing more."""

    name: ClassVar = "unfit-program"
    source: ClassVar = (
        "iPXE (image/pxe_image.c) jumps into any file as a PXE program: a BIOS never comes back"
        " from an EFI one; edk2 refuses what is none at once, and says so"
    )
    needs_workflow: ClassVar = False
    _SECONDS: Final = 10.0

    def __init__(self) -> None:
        self._arch: int | None = None
        self._had: Event | None = None
        self._since = 0.0

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "dhcp.discover.received" and event.get("stage") in ("firmware", "ipxe"):
            self._arch, self._had = event.get("arch"), None
        elif event.name in ("tftp.transfer.finished", "http.response.finished"):
            file = str(event.get("file") or event.get("path"))
            if self._arch is not None and is_boot_program(file):
                self._had = event if unfit_program(file, self._arch) else None
                self._since = sight.now
        elif event.name.startswith(("dhcp.", "firmware.", "console.", "machine.reset")):
            self._since = sight.now
            if not event.name.startswith("console."):
                self._had = None

    def ending(self, sight: Sight) -> Ending | None:
        if self._had is None or self._arch is None or sight.kernel:
            return None
        silent = sight.now - self._since
        if silent < self._SECONDS * sight.patience:
            return None
        file = str(self._had.get("file") or self._had.get("path"))
        return Ending(
            rule=self.name,
            because=f"{unfit_program(file, self._arch)} ({file}), and nothing came of it",
            evidence=(self._had,),
            hang=True,
        )

    def forget(self, sight: Sight) -> None:
        """Nothing: what happened stays true."""


class NobodyKnowsIt(Rule):
    """DHCP has told why it ignores this machine, and the firmware gave up asking."""

    name: ClassVar = "nobody-knows-it"
    source: ClassVar = (
        "smee looks the MAC up again each time; edk2 PxeBcBoot gives up after 4, 8, 16 and 32 s"
    )
    needs_workflow: ClassVar = False

    def __init__(self) -> None:
        self._ignored: list[Event] = []
        self._error: Event | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "dhcp.ignored" and event.get("stage") in _BEFORE_LINUX:
            self._ignored.append(event)
        elif event.name in ("dhcp.offer.sent", "dhcp.ack.sent", "machine.reset"):
            self.forget(sight)
        elif event.name == "firmware.boot.failed" and "v4" in str(event.get("way")):
            self._error = event

    def ending(self, sight: Sight) -> Ending | None:
        if not self._ignored or self._error is None or sight.kernel or sight.ways > 1:
            return None
        if sight.disk and not sight.workflow:
            return None  # the disk comes after the network
        return Ending(
            rule=self.name,
            because=(
                f"DHCP ignores this machine ({self._ignored[-1].get('reason')}),"
                " and the firmware gave up asking"
            ),
            evidence=(*self._ignored[-3:], self._error),
        )

    def forget(self, sight: Sight) -> None:
        self._ignored, self._error = [], None


class DhcpInVain(Rule):
    """Nobody answers: no OFFER, for longer than a firmware asks."""

    name: ClassVar = "dhcp-in-vain"
    source: ClassVar = (
        "Tinkerbell's embed.ipxe asks up to ten times, each try for some 15 s; a server that was "
        "asked six times in a minute has heard it"
    )
    _TIMES: Final = 6
    _SECONDS: Final = 60.0

    def __init__(self) -> None:
        self._asked = Streak()

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in ("dhcp.offer.sent", "dhcp.ack.sent", "machine.reset"):
            self._asked.clear()
        elif event.name == "dhcp.discover.received" and event.get("stage") in _BEFORE_LINUX:
            self._asked.add(event, sight.now, event.get("stage"))

    def ending(self, sight: Sight) -> Ending | None:
        asked = self._asked
        if asked.count < self._TIMES or asked.lasted(sight) < self._SECONDS * sight.patience:
            return None
        if sight.kernel or sight.ways > 1 or sight.tracker.phase is Phase.DISK_BOOT:
            return None
        return Ending(
            rule=self.name,
            because=f"{asked.count} DISCOVERs in {asked.lasted(sight):.0f} s got no OFFER",
            evidence=tuple(asked.events),
        )

    def forget(self, sight: Sight) -> None:
        self._asked.clear()


class BootedFromDisk(Rule):
    """The machine booted what was on its disk before; no worker will ever run there."""

    name: ClassVar = "booted-from-disk"
    source: ClassVar = "a firmware that has started a system does not come back"

    def __init__(self) -> None:
        self._booted: Event | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "guest.disk.booted":
            self._booted = event
        elif event.name in ("machine.reset", "tink.action.reported"):
            self._booted = None

    def ending(self, sight: Sight) -> Ending | None:
        if self._booted is None or sight.tracker.phase in (Phase.DISK_BOOT, Phase.DONE):
            return None
        because = f"the machine booted from {self._booted.get('disk')}, not from the network"
        return Ending(rule=self.name, because=because, evidence=(self._booted,))

    def forget(self, sight: Sight) -> None:
        """Nothing: what happened stays true."""


class SwitchedOff(Rule):
    """The guest switched its machine off, or its power went; nothing switches it on again."""

    name: ClassVar = "switched-off"
    source: ClassVar = "QEMU's -no-shutdown keeps a machine that was powered off stopped"
    firm: ClassVar = True
    needs_workflow: ClassVar = False

    def __init__(self) -> None:
        self._off: Event | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if (
            event.name == "machine.shutdown" and event.get("guest")
        ) or event.name == "machine.power.lost":
            self._off = event
        elif event.name in ("machine.reset", "machine.powered_on"):
            self._off = None

    def ending(self, sight: Sight) -> Ending | None:
        if self._off is None:
            return None
        lost = self._off.name == "machine.power.lost"
        because = "the machine lost its power" if lost else "the machine switched itself off"
        return Ending(rule=self.name, because=because, evidence=(self._off,))

    def forget(self, sight: Sight) -> None:
        """Nothing: what happened stays true."""


class Halted(Rule):
    """The machine's processors stopped for good, in whatever it was doing."""

    name: ClassVar = "halted"
    source: ClassVar = (
        "Intel SDM, HLT: without interrupts only a reset ends it; Linux's decompressor and its"
        " reboot: System halted stop so"
    )
    firm: ClassVar = True
    needs_workflow: ClassVar = False

    def __init__(self) -> None:
        self._halted: Event | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "machine.cpu.halted":
            self._halted = event
        elif event.name.startswith(("machine.", "console.", "guest.", "firmware.")):
            self._halted = None

    def ending(self, sight: Sight) -> Ending | None:
        if self._halted is None:
            return None
        return Ending(
            rule=self.name,
            because="the machine's CPU stopped for good: halted, with interrupts off",
            evidence=(self._halted,),
            hang=True,
        )

    def forget(self, sight: Sight) -> None:
        """Nothing: what happened stays true."""


class CableIsOut(Rule):
    """Linux lost its carrier, or the switch's port forwards nothing; nobody will mend that."""

    name: ClassVar = "cable-is-out"
    source: ClassVar = (
        "Linux asks for its address anew when a carrier comes back, and TCP goes on; no program"
        " brings the carrier itself back"
    )
    _SECONDS: Final = 20.0
    _BLOCKED_S: Final = 60.0
    """A spanning tree takes twice 15 s to begin to forward, after up to 20 s (IEEE 802.1D)."""

    def __init__(self) -> None:
        self._lost: dict[object, tuple[Event, float]] = {}

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in ("link.lost", "link.blocked"):
            self._lost[event.get("mac")] = (event, sight.now)
        elif event.name in ("link.restored", "link.forwarding"):
            self._lost.pop(event.get("mac"), None)

    def ending(self, sight: Sight) -> Ending | None:
        if not sight.kernel or sight.ways > 1:
            return None
        for event, since in self._lost.values():
            blocked = event.name == "link.blocked"
            limit = self._BLOCKED_S if blocked else self._SECONDS
            if sight.now - since >= limit * sight.patience:
                what = (
                    "the switch's port has forwarded nothing"
                    if blocked
                    else ("the link has had no carrier")
                )
                return Ending(
                    rule=self.name,
                    because=f"{what} for {sight.now - since:.0f} s",
                    evidence=(event,),
                )
        return None

    def forget(self, sight: Sight) -> None:
        self._lost = {mac: (event, sight.now) for mac, (event, _) in self._lost.items()}


class GoesInCircles(Rule):
    """The machine is reset again and again, and never gets further than before."""

    name: ClassVar = "goes-in-circles"
    source: ClassVar = "a firmware or kernel that is reset begins with the same files and answers"

    def __init__(self) -> None:
        self._resets = Streak()
        self._pressed = Streak()

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in ("tink.action.reported", "tink.workflow.changed"):
            self.forget(sight)
        elif event.name == "machine.reset":
            # A phase that was never reached before is progress: the count begins anew.
            streak = self._resets if event.get("guest") else self._pressed
            streak.add(event, sight.now, sight.tracker.phase)

    def ending(self, sight: Sight) -> Ending | None:
        for streak, most, how in (
            (self._resets, _CIRCLES, "reset itself"),
            (self._pressed, _PRESSED, "was reset from outside"),
        ):
            if streak.count >= most:
                return Ending(
                    rule=self.name,
                    because=(
                        f"the machine {how} {streak.count} times and never got beyond"
                        f" {sight.tracker.phase.words}"
                    ),
                    evidence=tuple(streak.events),
                )
        return None

    def forget(self, sight: Sight) -> None:
        self._resets.clear()
        self._pressed.clear()
