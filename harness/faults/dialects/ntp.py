"""NTP, as faults see and bend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from harness.faults.deeds import Deed, Remove, Replace, Status
from harness.wire import ntp
from harness.wire.commands import Address, Note
from harness.wire.ntp import NtpPacket

_ERA: Final = 1 << 64


class NtpDialect:
    """Reads and writes the 48-octet header."""

    def __init__(self, identify: Callable[[str], str | None]) -> None:
        self._identify = identify

    def request(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return the facts of a question."""
        packet = ntp.decode(datagram)
        return {
            "mac": self._identify(peer[0]),
            "version": packet.version,
            "mode": packet.mode,
        }

    def reply(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return the facts of an answer."""
        return self.request(datagram, peer)

    def bend(self, deed: Deed, datagram: bytes, occasion: str) -> bytes:
        """Return the packet with another claim, or a kiss-o'-death (RFC 5905 §7.4)."""
        del occasion
        packet = ntp.decode(datagram)
        match deed:
            case Status(code=code):
                kiss = str(code).encode()[:4].ljust(4, b"\0")
                packet = replace(packet, stratum=0, leap=3, reference_id=kiss)
            case Replace(fields=changed):
                for name, value in changed.items():
                    packet = _changed(packet, name, value)
            case Remove(fields=names):
                for name in names:
                    packet = _changed(packet, name, "" if name == "reference id" else 0)
        return ntp.encode(packet)

    def retell(self, note: Note, datagram: bytes) -> Note:
        """Return ``ntp.answer.sent`` with the stratum that is on the wire."""
        return replace(note, fields={**note.fields, "stratum": ntp.decode(datagram).stratum})


def _changed(packet: NtpPacket, name: str, value: Any) -> NtpPacket:
    if name == "offset":
        step = round(float(value) * (1 << 32))
        return replace(
            packet,
            reference=(packet.reference + step) % _ERA,
            received=(packet.received + step) % _ERA,
            transmitted=(packet.transmitted + step) % _ERA,
        )
    if name == "origin":
        return replace(packet, origin=int(value))
    if name == "reference id":
        return replace(packet, reference_id=bytes.fromhex(value)[:4].ljust(4, b"\0"))
    changed: dict[str, Any] = {name: int(value)}
    return replace(packet, **changed)
