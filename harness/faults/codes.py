"""The codes a ``status`` may have, by number or by name, in the protocols that have some."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc


def http_status(code: str | int) -> int:
    """Return an HTTP status by number or name (``503``, ``Service Unavailable``).

    Raises ``ValueError`` for a number without three digits, ``KeyError`` for what is no name.
    """
    text = str(code).strip()
    if text.isascii() and text.isdigit():
        if not 100 <= int(text) <= 999:
            raise ValueError(f"a status has three digits, found {text}")
        return int(text)
    try:
        return HTTPStatus[text.upper().replace(" ", "_").replace("-", "_")].value
    except KeyError:
        raise KeyError(code) from None


def grpc_status(code: str | int) -> grpc.StatusCode:
    """Return a gRPC status by number or name (``14``, ``UNAVAILABLE``); OK is one, too.

    Raises ``ValueError`` for a number, ``KeyError`` for a name that is none.
    """
    import grpc  # only where a fault names one: 0.2 s

    text = str(code).strip()
    by_number = {str(status.value[0]): status for status in grpc.StatusCode}
    if text in by_number:
        return by_number[text]
    if text.isascii() and text.isdigit():
        raise ValueError(f"a status is 0 to {len(by_number) - 1}, found {text}")
    try:
        return grpc.StatusCode[text.upper()]
    except KeyError:
        raise KeyError(code) from None
