"""Go's view of values in a template: types, truth, and how they print."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


class CallFailed(ValueError):
    """A template function can't do what it was asked. Caught by ``gotemplate``."""


class GoStruct(dict[str, Any]):
    """A Go struct: fields by Go's names, absent ones holding their zero value."""

    def __init__(self, type_name: str, fields: Mapping[str, Any], pointers: Mapping[str, str]):
        super().__init__(fields)
        self.type = type_name
        self.pointers = pointers
        """Fields that are pointers to structs → that struct's type; None means nil."""


def go_type(value: Any) -> str:
    """Return the name of a value's type as Go's messages have it."""
    match value:
        case None:
            return "nil"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case GoStruct():
            return value.type
        case list():
            return "[]interface {}"
        case Mapping():
            return "map[string]interface {}"
    return str(getattr(value, "type", "nil"))


def is_true(value: Any) -> bool:
    """Return Go's truth: zero values and empty containers are false, a struct is true."""
    return True if isinstance(value, GoStruct) else bool(value)


def to_text(value: Any) -> str:
    """Return what ``{{ value }}`` leaves. Raises ``CallFailed`` for a struct.

    Go prints structs field by field, pointers as addresses: nothing a template can want.
    """
    if value is None:
        return "<no value>"
    return _text(value)


def _text(value: Any) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return float_text(value)
        case GoStruct():
            raise CallFailed(f"a whole {value.type} can't be printed")
        case list():
            return "[" + " ".join(_text(item) for item in value) + "]"
        case Mapping():
            return "map[" + " ".join(f"{k}:{_text(value[k])}" for k in sorted(value)) + "]"
    return str(value)


def float_text(value: float) -> str:
    """Return ``value`` as Go's ``%v``: the shortest digits, an exponent below -4 or from 21."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    parts = Decimal(repr(value)).as_tuple()
    sign = "-" if parts.sign else ""
    written = "".join(map(str, parts.digits))
    digits = written.rstrip("0")
    if not digits:
        return sign + "0"
    # how many of the digits stand before the decimal point; may be negative
    point = len(written) + int(parts.exponent)
    exponent = point - 1
    if exponent < -4 or exponent >= 21:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"
