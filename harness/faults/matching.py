"""Whether a fact is as a fault wants it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

_COMPARED: Final = re.compile(r"(?P<sign><=|>=|<|>)\s*(?P<limit>-?\d+(?:\.\d+)?)")
_RANGE: Final = re.compile(r"(?P<low>\d+)\s*\.\.\s*(?P<high>\d+)")


def fits(wanted: Sequence[Any], found: Any) -> bool:
    """Return whether ``found`` is one of ``wanted``.

    A text is a glob (``*.efi``); against a number it may compare (``> 100``, ``2..5``). A list
    that is found fits when one of its members does. What is not known (None) never fits.
    """
    if found is None:
        return False
    if isinstance(found, list | tuple | set | frozenset):
        return any(fits(wanted, one) for one in found)
    return any(_one_fits(one, found) for one in wanted)


def _one_fits(wanted: Any, found: Any) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return wanted is found
    if isinstance(found, int | float):
        if isinstance(wanted, str):
            return _compares(wanted, found)
        return bool(wanted == found)
    return fnmatchcase(str(found), str(wanted))


def is_comparison(text: str) -> bool:
    """Whether ``text`` compares a number: ``> 100``, ``<= 5``, ``2..5``."""
    return bool(_COMPARED.fullmatch(text.strip()) or _RANGE.fullmatch(text.strip()))


def _compares(wanted: str, found: float) -> bool:
    if between := _RANGE.fullmatch(wanted.strip()):
        return int(between["low"]) <= found <= int(between["high"])
    compared = _COMPARED.fullmatch(wanted.strip())
    if compared is None:
        return fnmatchcase(str(found), wanted)
    limit = float(compared["limit"])
    match compared["sign"]:
        case "<":
            return found < limit
        case "<=":
            return found <= limit
        case ">":
            return found > limit
        case _:
            return found >= limit
