"""The Range header of HTTP (RFC 9110 §14), one range only."""

from __future__ import annotations

import re
from typing import Final

_RANGE: Final = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)


class Unsatisfiable(ValueError):
    """The range lies outside of the content: answer 416."""


def parse_range(header: str | None, length: int) -> tuple[int, int] | None:
    """Return the first octet and the one after the last, or None to send everything.

    A header that is malformed or names several ranges is ignored, as RFC 9110 §14.2 allows.
    Raises ``Unsatisfiable``.
    """
    found = _RANGE.fullmatch(header) if header and len(header) < 100 else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last n octets
        wanted = int(found[2])
        if wanted == 0 or length == 0:
            raise Unsatisfiable(f"no octets in {header!r}")
        return max(0, length - wanted), length
    start = int(found[1])
    end = min(int(found[2]) + 1, length) if found[2] else length
    if found[2] and int(found[2]) < start:
        return None
    if start >= length:
        raise Unsatisfiable(f"{header!r} starts behind the last of {length} octets")
    return start, end
