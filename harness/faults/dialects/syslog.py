"""Syslog, as faults see it. Nobody answers, so there is only what comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.faults.deeds import Deed
from harness.wire import syslog
from harness.wire.commands import Address, Note


class SyslogDialect:
    """Reads messages."""

    def __init__(self, identify: Callable[[str], str | None]) -> None:
        self._identify = identify

    def request(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return the facts of a message."""
        said = syslog.parse(datagram)
        return {
            "mac": self._identify(peer[0]),
            "length": len(datagram),
            "tag": said.tag if said else None,
            "severity": said.severity if said else None,
            "facility": said.facility if said else None,
            "message": said.message if said else syslog.text_of(datagram),
        }

    def reply(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return nothing: there are no replies."""
        del datagram, peer
        return {}

    def bend(self, deed: Deed, datagram: bytes, occasion: str) -> bytes:
        """Return the message as it is: it has no fields that are bent."""
        del deed, occasion
        return datagram

    def retell(self, note: Note, datagram: bytes) -> Note:
        """Return the note as it is."""
        del datagram
        return note
