"""A machine that booted from its CD drive."""

from __future__ import annotations

from typing import ClassVar, Final

from harness.timeline import Event
from harness.verdict.watch.ending import Ending, Rule, Sight


class UnpatchedMedium(Rule):
    """Hook came up from an ISO that smee did not patch, and turned to nobody."""

    name: ClassVar = "unpatched-medium"
    source: ClassVar = (
        "smee puts worker, server and registry into the ISO as it passes; hook-bootkit takes them"
        " from the kernel's arguments and nowhere else (H main.go)"
    )
    _SECONDS: Final = 60.0
    """From its address on; docker is up, and the first pull begun, after a third of that."""

    def __init__(self) -> None:
        self._medium: Event | None = None
        self._up: tuple[Event, float] | None = None
        self._turned = False

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "machine.medium.inserted":
            self._medium = event if event.get("placeholder") else None
        elif event.name == "machine.reset":
            self._up, self._turned = None, False
        elif event.name == "dhcp.ack.sent" and event.get("stage") == "guest":
            self._up = self._up or (event, sight.now)
        elif event.name.startswith(("registry.", "tink.rpc.", "tink.connection.", "guest.worker.")):
            self._turned = True

    def ending(self, sight: Sight) -> Ending | None:
        if self._medium is None or self._up is None or self._turned:
            return None
        event, since = self._up
        if sight.now - since < self._SECONDS * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=(
                "Hook has an address, but nobody patched the ISO that it booted from: it turns to"
                " no registry and no Tinkerbell"
            ),
            evidence=(self._medium, event),
        )

    def forget(self, sight: Sight) -> None:
        if self._up is not None:
            self._up = (self._up[0], sight.now)
