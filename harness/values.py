"""How a scenario writes sizes, durations and MAC addresses; and JSON from anywhere.

Everything here raises ``ValueError`` with a whole sentence; pydantic and the loader put the
position in front.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any, Final

_SIZES: Final = {
    "": 1,
    "b": 1,
    "k": 1 << 10,
    "kib": 1 << 10,
    "kb": 1000,
    "m": 1 << 20,
    "mib": 1 << 20,
    "mb": 1000**2,
    "g": 1 << 30,
    "gib": 1 << 30,
    "gb": 1000**3,
}
_DURATIONS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_QUANTITY: Final = re.compile(r"(?P<sign>[+-]?)(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*)")


_MOST_OCTETS: Final = 1 << 63
_MOST_SECONDS: Final = 1000 * 366 * 86_400


def parse_size(text: object) -> int:
    """Return the octets that ``2 GiB``, ``64 MiB`` or a bare whole number of octets stand for."""
    match = _QUANTITY.fullmatch(str(text).strip())
    factor = _SIZES.get(match["unit"].lower()) if match else None
    if isinstance(text, bool) or match is None or factor is None or match["sign"]:
        raise ValueError(f"expected a size such as '2 GiB' or '64 MiB', found {text!r}")
    size = float(match["number"]) * factor
    if size > _MOST_OCTETS:
        raise ValueError(f"expected a size of at most 2^63 octets, found {text!r}")
    if size < 1 or size != int(size):
        raise ValueError(f"expected a whole number of octets above 0, found {text!r}")
    return int(size)


def format_size(size: int) -> str:
    """Return ``size`` octets as a scenario would write it."""
    for unit in ("GiB", "MiB", "KiB"):
        factor = _SIZES[unit.lower()]
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"


def parse_duration(text: object, *, negative: bool = False) -> timedelta:
    """Return the duration that ``250ms``, ``30 s``, ``5 min`` or ``2 h`` stand for.

    A bare number is refused, 0 excepted: a duration says its unit. ``negative`` allows a sign,
    for offsets.
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    factor = _DURATIONS.get(match["unit"].lower()) if match else None
    if match and not match["unit"] and float(match["number"]) == 0:
        factor = 1.0
    if match is None or factor is None or (match["sign"] == "-" and not negative):
        raise ValueError(f"expected a duration such as '250ms', '30 s' or '5 min', found {text!r}")
    seconds = float(match["number"]) * factor
    if seconds > _MOST_SECONDS:
        raise ValueError(f"expected a duration of at most a thousand years, found {text!r}")
    return timedelta(seconds=-seconds if match["sign"] == "-" else seconds)


_MAC: Final = re.compile(r"[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}")


def parse_mac(text: object) -> str:
    """Return a unicast MAC in lower case with colons. IEEE 802-2014 §8.2: the I/G bit is 0."""
    if not isinstance(text, str) or not _MAC.fullmatch(text.lower()):
        raise ValueError(
            f"expected a MAC address such as '52:54:00:12:34:56' (six octets), found {text!r}"
        )
    mac = text.lower().replace("-", ":")
    if int(mac[:2], 16) & 1:
        raise ValueError(
            f"{text} is a group address: the lowest bit of the first octet must be 0,"
            " as in 52:54:00:12:34:56"
        )
    if mac == "00:00:00:00:00:00":
        raise ValueError("00:00:00:00:00:00 is no address of a machine")
    return mac


def parse_json(text: str | bytes) -> Any:
    """Return what JSON text says, whoever wrote it; too deep for Python is no JSON, too."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
