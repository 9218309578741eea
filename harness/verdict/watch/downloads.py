"""Files that can't be through in time, whatever happens next."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Final

from harness.timeline import Event
from harness.verdict.phases import megabytes
from harness.verdict.watch.ending import Ending, Rule, Sight

_LOOKED_AT_S: Final = 30.0
_MARGIN: Final = 3.0
"""A transfer is hopeless when it would take so many times the time that is left."""
_ENDS: Final = (
    "http.response.finished",
    "http.response.aborted",
    "http.response.cut",
    "tftp.transfer.finished",
    "tftp.transfer.aborted",
    "tftp.transfer.timed_out",
    "registry.blob.served",
    "registry.request.aborted",
    "registry.response.cut",
)


@dataclass(slots=True)
class _Transfer:
    first: Event
    first_s: float
    last: Event
    last_s: float


class TooSlow(Rule):
    """At its pace a download takes several times the time that is left."""

    name: ClassVar = "too-slow"
    source: ClassVar = "arithmetic: iPXE, TFTP clients and docker fetch files from start to end"

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Transfer] = {}

    def feed(self, event: Event, sight: Sight) -> None:
        key = (event.source, event.get("id"))
        if event.name.endswith(".progressed"):
            transfer = self._under_way.setdefault(
                key, _Transfer(event, sight.now, event, sight.now)
            )
            transfer.last, transfer.last_s = event, sight.now
        elif event.name in _ENDS:
            self._under_way.pop(key, None)
        elif event.name == "machine.reset":
            self.forget(sight)

    def ending(self, sight: Sight) -> Ending | None:
        left_s = sight.deadline_s - sight.now
        for transfer in self._under_way.values():
            took_s = transfer.last_s - transfer.first_s
            octets = transfer.last.get("bytes", 0) - transfer.first.get("bytes", 0)
            length = transfer.last.get("length") or 0
            if took_s < _LOOKED_AT_S * sight.patience or octets <= 0 or not length:
                continue
            needed_s = (length - transfer.last.get("bytes", 0)) * took_s / octets
            if needed_s > _MARGIN * left_s:
                what = transfer.last.get("path") or transfer.last.get("file") or "a layer"
                return Ending(
                    rule=self.name,
                    because=(
                        f"{what} comes with {_pace(octets / took_s)} a second: it would take"
                        f" {needed_s:.0f} s more, and {left_s:.0f} s are left"
                    ),
                    evidence=(transfer.first, transfer.last),
                )
        return None

    def forget(self, sight: Sight) -> None:
        self._under_way.clear()


def _pace(octets_per_s: float) -> str:
    return f"{octets_per_s:.0f} octets" if octets_per_s < 1000 else megabytes(int(octets_per_s))
