"""Nothing at all, for longer than anything that is still to come takes."""

from __future__ import annotations

from typing import ClassVar, Final

from harness.phases import Phase
from harness.timeline import Event
from harness.verdict.watch.calls import ANSWERED
from harness.verdict.watch.ending import Ending, Rule, Sight

_WIRE: Final = ("dhcp.", "tftp.", "http.", "dns.", "ntp.", "syslog.", "registry.", "tink.")
_EARLY: Final = (*_WIRE, "console.", "firmware.", "guest.", "machine.", "radv.")
_PULL: Final = ("registry.", "dns.", "guest.", "tink.")
_WORK: Final = ("registry.", "tink.", "guest.")
_OF_SILENCE: Final = (".unheard", ".mute")
"""What the lab's servers tell of a machine that says nothing."""

BUDGETS: Final[dict[Phase, tuple[float, tuple[str, ...], str]]] = {
    Phase.POWER_ON: (120, _EARLY, "a firmware speaks within seconds"),
    # edk2 gives DHCPv6 66 s without a word: 90 s on a host where eight labs share two CPUs.
    Phase.FIRMWARE_DHCP: (150, _EARLY, "edk2 waits 66 s for DHCPv6, and then says so"),
    Phase.NBP_DOWNLOAD: (90, _EARLY, "TFTP clients ask again every few seconds"),
    Phase.IPXE: (90, _EARLY, "iPXE's DHCP and TCP give up within 30 s"),
    Phase.KERNEL_INITRAMFS: (90, _EARLY, "iPXE's HTTP waits for ever once it is connected"),
    Phase.HOOK_BOOT: (
        180,
        _EARLY,
        "dhcpcd gives up after 30 s; unpacking an initramfs takes 10 to 25 s",
    ),
    Phase.WORKER_PULL: (180, _PULL, "bootkit's longest back-off is 90 s"),
    Phase.DISK_BOOT: (180, _EARLY, "a machine restarts, and its firmware speaks, within seconds"),
    Phase.WORKFLOW: (150, _WORK, "both workers ask for work every few seconds"),
}
"""What was seen on such a host: 49 s in Hook's boot, 77 s in the pull, 41 s in the workflow.

Phase → seconds of silence, whose events end it, and why so many."""


class Silence(Rule):
    """Nothing was heard of the machine for longer than any wait of this phase lasts."""

    name: ClassVar = "silence"
    source: ClassVar = "; ".join(why for _, _, why in BUDGETS.values())
    needs_workflow: ClassVar = False

    def __init__(self) -> None:
        self._last: Event | None = None
        self._since = 0.0
        self._phase = Phase.POWER_ON
        self._calls: dict[object, object] = {}
        """Call → peer."""

    def feed(self, event: Event, sight: Sight) -> None:
        phase = sight.tracker.phase
        budget = BUDGETS.get(phase)
        if budget is None:
            return
        if event.name == "tink.rpc.received":
            self._calls = {event.get("id"): event.get("peer")}
        elif event.name in ANSWERED:
            self._calls.pop(event.get("id"), None)
        elif event.name == "tink.connection.closed":
            peer = event.get("peer")
            self._calls = {key: each for key, each in self._calls.items() if each != peer}
        elif event.name == "machine.reset":
            self._calls.clear()
        # A phase is kept over a reset, and yet the machine begins with its firmware again.
        heard = budget[1] if sight.kernel else _EARLY
        said = event.name.startswith(heard) and not event.name.endswith(_OF_SILENCE)
        if said or phase is not self._phase:
            self._last, self._since, self._phase = event, sight.now, phase

    def ending(self, sight: Sight) -> Ending | None:
        budget = BUDGETS.get(self._phase)
        if budget is None or self._last is None or sight.action or self._calls:
            return None
        silent = sight.now - self._since
        if silent < budget[0] * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=(
                f"nothing was heard for {silent:.0f} s in {self._phase.words}"
                f" (last: {self._last.name}); {budget[2]}"
            ),
            evidence=(self._last,),
            hang=True,
        )

    def forget(self, sight: Sight) -> None:
        self._since = sight.now
