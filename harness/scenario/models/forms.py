"""The forms that values take wherever a scenario says them: sizes, durations, addresses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    WithJsonSchema,
)

from harness.values import parse_duration, parse_mac, parse_size

_DURATION_PATTERN: Final = r"^\d+(\.\d+)?\s*(ms|s|min|m|h|d)$"


def _above_zero(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("expected a duration above 0")
    return duration


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": r"^\d+(\.\d+)?\s*([KMG]i?B|B)?$",
            "examples": ["2 GiB"],
        }
    ),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda value: f"{value.total_seconds():g} s"),
    WithJsonSchema({"type": "string", "pattern": _DURATION_PATTERN, "examples": ["30 s"]}),
]
Span = Annotated[
    Duration,
    AfterValidator(_above_zero),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(?=[^a-z]*[1-9])" + _DURATION_PATTERN[1:],
            "examples": ["30 s"],
        }
    ),
]
"""A duration that is not 0."""
Offset = Annotated[
    timedelta,
    BeforeValidator(lambda value: parse_duration(value, negative=True)),
    WithJsonSchema(
        {"type": "string", "pattern": "^[+-]?" + _DURATION_PATTERN[1:], "examples": ["-2 h"]}
    ),
]
Mac = Annotated[
    str,
    BeforeValidator(parse_mac),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"}),
]


def form_of(value: object) -> str:
    """Say which form of a key that has several is used, so that only its mistakes are told."""
    return "mapping" if isinstance(value, Mapping) else "plain"


def as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


class Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=False
    )
