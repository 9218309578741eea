"""The forms a value can have in a fault: how YAML writes it, and what is kept of it.

What is kept is plain data of JSON's types (seconds, octets, lower-case hexadecimal), so that a
fault can be locked, pickled and read back without this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any, Final, Literal

from harness.values import parse_duration, parse_size

Form = Literal[
    "duration",
    "offset",
    "size",
    "count",
    "number",
    "flag",
    "text",
    "texts",
    "octets",
    "time",
    "address",
    "addresses",
    "choice",
    "code",
    "list",
    "names",
    "fields",
]

_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}[\s:]?)*")
_PLAIN_DURATION: Final = r"^\d+(\.\d+)?\s*(ms|s|min|m|h|d)$|^0$"


@dataclass(frozen=True, slots=True, kw_only=True)
class FormKind:
    """How values of one form are read, and what JSON Schema says of them."""

    words: str
    """As in "expected …"."""
    read: Callable[[Any], Any]
    """Returns what is kept. Raises ``ValueError``."""
    schema: Mapping[str, Any]


def read_form(form: Form, value: Any) -> Any:
    """Return the normal form of ``value``. Raises ``ValueError`` with a whole sentence."""
    return FORMS[form].read(value)


def _wrong(words: str, value: Any) -> ValueError:
    shown = "nothing" if value is None else repr(value)
    return ValueError(f"expected {words}, found {shown}")


def _duration(value: Any) -> float:
    return parse_duration(value).total_seconds()


def _offset(value: Any) -> float:
    return parse_duration(value, negative=True).total_seconds()


def _size(value: Any) -> int:
    if value == 0 and not isinstance(value, bool):
        return 0
    return parse_size(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong("a whole number", value)
    return int(value)


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong("a number", value)
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong("true or false", value)
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong("a text", value)
    return str(value)


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong("a mapping", value)
    return {str(key): _text(each) for key, each in value.items()}


def _octets(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _wrong("octets in hexadecimal, such as '0a 00 ff'", value)
    text = str(value).strip()
    if not _HEX.fullmatch(text):
        raise _wrong("octets in hexadecimal, such as '0a 00 ff'", value)
    return re.sub(r"[\s:]", "", text).lower()


def _time(value: Any) -> str:
    try:
        read = datetime.fromisoformat(str(value))
    except ValueError:
        raise _wrong(_TIME_WORDS, value) from None
    if read.tzinfo is not None:
        read = read.astimezone(UTC).replace(tzinfo=None)
    if read.year < 1970:  # QEMU's clock counts from there
        raise _wrong(_TIME_WORDS, value)
    return read.isoformat(timespec="seconds")


def _address(value: Any) -> str:
    try:
        return str(IPv4Address(value if isinstance(value, str) else ""))
    except ValueError:
        raise _wrong("an IPv4 address", value) from None


def _addresses(value: Any) -> list[str]:
    return [_address(one) for one in (value if isinstance(value, list) else [value])]


def _code(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise _wrong("a code: its number or name", value)
    return value


def _names(value: Any) -> list[str]:
    return [_text(one) for one in (value if isinstance(value, list) else [value])]


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong("a mapping of fields to values", value)
    return {str(key): each for key, each in value.items()}


_DURATION_SCHEMA: Final = {
    "anyOf": [{"type": "string", "pattern": _PLAIN_DURATION}, {"const": 0}],
}
_SCALAR: Final = {"type": ["string", "integer", "number"]}
_TIME_WORDS: Final = "a time from 1970 on, such as '2001-01-01' or '2030-05-01T12:00:00'"
_ADDRESS: Final = {"type": "string", "format": "ipv4", "pattern": r"^\d+(\.\d+){3}$"}

FORMS: Final[Mapping[Form, FormKind]] = {
    "duration": FormKind(
        words="a duration such as '250ms' or '30 s'", read=_duration, schema=_DURATION_SCHEMA
    ),
    "offset": FormKind(
        words="a duration, behind when it is negative: '-2 h'",
        read=_offset,
        schema={
            "anyOf": [
                {"type": "string", "pattern": r"^[+-]?\d+(\.\d+)?\s*(ms|s|min|m|h|d)$|^0$"},
                {"const": 0},
            ]
        },
    ),
    "size": FormKind(
        words="octets: a number, or a size such as '2 MiB'",
        read=_size,
        schema={
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([KMGkmg]([Ii]?[Bb])?|[Bb])?$"},
            ]
        },
    ),
    "count": FormKind(
        words="a whole number", read=_count, schema={"type": "integer", "minimum": 0}
    ),
    "number": FormKind(words="a number", read=_number, schema={"type": "number"}),
    "flag": FormKind(words="true or false", read=_flag, schema={"type": "boolean"}),
    "text": FormKind(words="a text", read=_text, schema=_SCALAR),
    "texts": FormKind(
        words="a mapping of texts",
        read=_texts,
        schema={"type": "object", "additionalProperties": _SCALAR},
    ),
    "octets": FormKind(
        words="octets in hexadecimal", read=_octets, schema={"type": ["string", "integer"]}
    ),
    "time": FormKind(
        words=_TIME_WORDS,
        read=_time,
        schema={"type": "string", "pattern": r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?Z?)?$"},
    ),
    "address": FormKind(words="an IPv4 address", read=_address, schema=_ADDRESS),
    "addresses": FormKind(
        words="IPv4 addresses",
        read=_addresses,
        schema={"anyOf": [_ADDRESS, {"type": "array", "items": _ADDRESS}]},
    ),
    "choice": FormKind(words="one of a few words", read=_text, schema={"type": "string"}),
    "code": FormKind(
        words="a code: its number or name", read=_code, schema={"type": ["integer", "string"]}
    ),
    "list": FormKind(
        words="a text, or a list of them",
        read=_names,
        schema={"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]},
    ),
    "names": FormKind(
        words="a name, or a list of them",
        read=_names,
        schema={"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]},
    ),
    "fields": FormKind(
        words="a mapping of fields to values",
        read=_fields,
        schema={"type": "object", "minProperties": 1},
    ),
}
