"""What real workers do when the server misbehaves: ``real_misbehaviour.yaml``, read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.documents import load, validate
from harness.faults.fault import Fault
from harness.faults.reading import FaultReader

TABLE: Final = Path(__file__).with_name("real_misbehaviour.yaml")
PROGRAMS: Final = ("tink-worker", "virtual-worker", "tink-agent")


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stage(_Form):
    """What the server, the first action and TLS are like, faults aside."""

    actions: int = 1
    exits: int = 0
    hangs: bool = False
    takes_s: float = 1.2
    timeout_s: int = 60
    tls: Literal["off", "trusted", "insecure", "mutual"] = "off"
    restart: Literal["no", "kept", "lost"] = "no"


class Seen(_Form):
    """What one program did; as it is: what it does when nothing goes wrong."""

    workflow: str = "SUCCESS"
    runs: int = 1
    reports: str = "RUNNING SUCCESS"
    then: str = "asks"
    over: int | None = 1
    says: str = ""

    @property
    def settles(self) -> bool:
        """Whether one sees that it is over: otherwise the program waits or tries for ever."""
        return self.then == "asks" or self.then.startswith("ended")


class Row(_Form):
    """One deed."""

    deed: str
    each: tuple[str, ...] = ()
    stage: Stage = Stage()
    faults: Any = ()
    only: tuple[str, ...] = PROGRAMS
    note: str = ""
    seen: dict[str, Seen] = Field(default_factory=dict)

    def of(self, program: str) -> Seen:
        """Return what ``program`` does."""
        return self.seen.get(program) or self.seen.get("all") or Seen()


class Part(_Form):
    """Deeds that belong together."""

    part: str
    rows: tuple[Row, ...]


class _Table(_Form):
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One deed to be done to every program."""

    row: Row
    title: str
    faults: tuple[Fault, ...]


@cache
def parts() -> tuple[Part, ...]:
    """Return the table."""
    return validate(load(TABLE), _Table).parts


def cases() -> Iterator[Case]:
    """Return every deed, with each value that stands for several."""
    for part in parts():
        for row in part.rows:
            written = row.faults if isinstance(row.faults, list | tuple) else (row.faults,)
            for value in row.each or ("",):
                yield Case(
                    row=row,
                    title=row.deed.replace("{}", value),
                    faults=tuple(_fault(_filled(one, value)) for one in written),
                )


def _fault(written: Any) -> Fault:
    reader = FaultReader(written)
    fault = reader.read()
    assert fault is not None, reader.mistakes
    assert not reader.mistakes, reader.mistakes
    return fault


def _filled(data: Any, value: str) -> Any:
    if isinstance(data, dict):
        return {key: _filled(item, value) for key, item in data.items()}
    return value if data == "{}" else data
