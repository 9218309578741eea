"""What aiohttp would print about a request that is no HTTP, as a call instead of a traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

_LONGEST: Final = 200

OnMalformed = Callable[[str, str], None]
"""Called with the client's address and what is wrong with its request."""
OnBug = Callable[[Exception], None]


def aiohttp_logger(on_malformed: OnMalformed, on_bug: OnBug) -> logging.Logger:
    """Return the ``logger`` to build an aiohttp server with; it prints nothing.

    aiohttp tells of both kinds of trouble through its log only: bytes it can't parse, which it
    answers 400 before any handler runs, and exceptions, which it answers 500.
    """
    logger = logging.Logger("hooklab.aiohttp", level=logging.DEBUG)  # private: never in the tree
    logger.propagate = False
    logger.addHandler(_Complaints(on_malformed, on_bug))
    return logger


class _Complaints(logging.Handler):
    def __init__(self, on_malformed: OnMalformed, on_bug: OnBug) -> None:
        super().__init__()
        self._on_malformed = on_malformed
        self._on_bug = on_bug

    def emit(self, record: logging.LogRecord) -> None:
        from aiohttp.http_exceptions import HttpProcessingError

        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            address = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
            reason = " ".join(error.message.split()) or type(error).__name__
            self._on_malformed(address, reason[:_LONGEST])
        elif isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self._on_bug(error)
