"""What must be true at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from harness.documents import Mistake, suggest
from harness.phases import Party, Phase
from harness.scenario.models.forms import Duration, Model, form_of

ActionState = Literal["SUCCESS", "FAILED", "TIMEOUT"]
EXPECTATIONS: Final = (
    "worker pulled",
    "actions",
    "disk NAME",
    "workflow",
    "event",
    "no event",
    "console",
    "phases within",
)
"""The keys an entry of ``expect`` may have, as a person reads them."""


class DiskExpectation(Model):
    """Bytes that a disk must hold, read from outside after the run. One of text, hex, sha256."""

    at: Annotated[int, Field(ge=0)] = 0
    """Offset in octets."""
    text: str | None = None
    """The bytes as UTF-8 text."""
    hex: Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}\s*)+$")] | None = None
    """The bytes in hexadecimal."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Digest of ``length`` octets."""
    length: Annotated[int, Field(ge=1)] | None = None
    """How many octets ``sha256`` covers."""

    @model_validator(mode="after")
    def _one_content(self) -> DiskExpectation:
        if sum(value is not None for value in (self.text, self.hex, self.sha256)) != 1:
            raise ValueError("say what the disk holds by one of text, hex or sha256")
        if (self.sha256 is None) != (self.length is None):
            raise ValueError("sha256 and length go together")
        return self


class EventExpectation(Model):
    """Events of the timeline."""

    name: str
    """An event's name, such as ``dhcp.offer.sent``; ``hooklab schema`` lists them."""
    where: dict[str, str | int | float | bool] = {}
    """Field values that must match; text may be a glob (``*ipxe*``)."""
    count: Annotated[int, Field(ge=1)] | None = None
    """How many of them exactly; left out: at least one."""


def _as_event(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _as_times(value: object) -> object:
    named = {"never": 0, "once": 1}.get(value) if isinstance(value, str) else value
    if not isinstance(named, int) or isinstance(named, bool) or named < 0:
        raise ValueError(f"expected 'once', 'never' or a number, found {value!r}")
    return named


_EventForm = Annotated[EventExpectation, BeforeValidator(_as_event)]
_Times = Annotated[
    int,
    BeforeValidator(_as_times),
    WithJsonSchema({"anyOf": [{"enum": ["once", "never"]}, {"type": "integer", "minimum": 0}]}),
]
_Actions = Annotated[
    Annotated[list[str], Tag("plain")] | Annotated[dict[str, ActionState], Tag("mapping")],
    Discriminator(form_of),
]


_TIMED: Final = tuple(phase for phase in Phase if phase not in (Phase.POWER_ON, Phase.DONE))


def _timed(phase: Phase) -> Phase:
    if phase not in _TIMED:
        raise Mistake(f"{phase.value} takes no time", hint=f"known here: {', '.join(_TIMED)}")
    return phase


_Timed = Annotated[
    Phase,
    AfterValidator(_timed),
    WithJsonSchema({"enum": [phase.value for phase in _TIMED], "type": "string"}),
]


class Expect(Model):
    """One thing that must be true at the end. Each list entry says exactly one."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, DiskExpectation]

    worker_pulled: _Times | None = Field(default=None, alias="worker pulled")
    """How often this MAC was served the worker's manifest: ``once``, ``never`` or a number."""
    actions: _Actions | None = None
    """Actions in this order, each RUNNING then SUCCESS; as a mapping, each with its last state."""
    workflow: (
        Literal["SUCCESS", "FAILED", "TIMEOUT", "RUNNING", "PENDING", "PREPARING", "POST"] | None
    ) = None
    """The workflow's last state."""
    event: _EventForm | None = None
    """Events that must be on the timeline."""
    no_event: _EventForm | None = Field(default=None, alias="no event")
    """Events that must not be on the timeline."""
    console: str | None = None
    """A line some console printed, as a glob."""
    phases_within: dict[_Timed, Duration] | None = Field(default=None, alias="phases within")
    """What phases may take at most, such as ``{hook-boot: 40 s}``. In seconds of a quiet reference
    host; what a busy host holds them up does not count."""

    @model_validator(mode="before")
    @classmethod
    def _one_known_key(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise Mistake("expected a mapping", hint=f"known here: {', '.join(EXPECTATIONS)}")
        for key in value:
            if key not in EXPECTATIONS and not _is_disk(key):
                raise Mistake(f"unknown key {key!r}", hint=suggest(key, EXPECTATIONS))
        if len(value) != 1:
            found = " and ".join(repr(key) for key in value) or "none"
            raise Mistake(
                f"each entry says one thing, found {found}", hint="start each with its own '-'"
            )
        if next(iter(value.values())) in (None, {}):
            raise Mistake(f"{next(iter(value))!r} says nothing")
        return value

    @property
    def disks(self) -> dict[str, DiskExpectation]:
        """The disks this entry speaks of, by name."""
        return {
            key.removeprefix("disk "): value
            for key, value in (self.__pydantic_extra__ or {}).items()
        }


def _is_disk(key: object) -> bool:
    return isinstance(key, str) and key.startswith("disk ") and len(key) > len("disk ")


class Verdict(Model):
    """A boot that must fail, and how."""

    failed_in: Phase = Field(alias="failed in")
    """The phase it must fail in, such as ``worker-pull``."""
    blame: Party | None = None
    """Who must be blamed, such as ``registry``."""
    because: str | None = None
    """Glob that the verdict's reason must match."""
