"""Moments of a run that places share which no message belongs to: a time, a phase, an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.events import EVENTS
from harness.faults.vocabulary import Fact, Occasion

MOMENT: Final = "moment"
EVENT: Final = "event"
_OF_FAULTS: Final = "fault."

_FIELDS: Final[Mapping[str, str]] = {
    "text": "text of a console's line",
    "line": "a failure's line on a console",
    "service": "service that started or stopped",
    "file": "file of TFTP and DHCP",
    "path": "path of HTTP",
    "status": "status of HTTP",
    "repository": "repository in the registry",
    "rpc": "Tinkerbell's call",
    "action": "workflow's action",
    "state": "state of an action or workflow, as RUNNING or SUCCESS",
    "stage": "stage of a DHCP client",
}
"""Fields of events that a fault may ask for."""

OCCASIONS: Final = (
    Occasion(
        name=MOMENT,
        meaning="a time or phase is reached (`after`, `phase`); power-on without one",
        once=True,
    ),
    Occasion(name=EVENT, meaning="something happened that the timeline tells of"),
)
FACTS: Final = (
    Fact(
        name="event",
        meaning="which event; `hooklab schema` lists them",
        values=tuple(name for name in EVENTS if not name.startswith(_OF_FAULTS)),
        many=True,
        occasions=(EVENT,),
    ),
    *(
        Fact(name=name, meaning=f"the event's field: {meaning}", occasions=(EVENT,))
        for name, meaning in _FIELDS.items()
    ),
)


def event_facts(name: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the facts of an event; None for one that no fault may be at."""
    if name.startswith(_OF_FAULTS):
        return None
    found = {key: fields[key] for key in _FIELDS if key in fields}
    if "state" in found:
        found["state"] = str(found["state"]).removeprefix("STATE_")
    return {"event": name, **found}
