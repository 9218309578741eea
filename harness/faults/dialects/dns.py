"""DNS, as faults see and bend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.errors import DecodeError
from harness.faults.deeds import Deed, Remove, Replace, Status
from harness.wire.commands import Address, Note

if TYPE_CHECKING:
    import dns.message


class DnsDialect:
    """Reads and writes with dnspython, as the server does."""

    def __init__(self, identify: Callable[[str], str | None], transport: str = "udp") -> None:
        self._identify = identify
        self._transport = transport

    def request(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return the facts of a question."""
        return self._facts(_decode(datagram), peer)

    def reply(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return the facts of an answer."""
        import dns.rcode

        message = _decode(datagram)
        rcode = dns.rcode.to_text(message.rcode())
        return {**self._facts(message, peer), "rcode": rcode}

    def _facts(self, message: dns.message.Message, peer: Address) -> dict[str, Any]:
        import dns.rdatatype

        question = message.question[0] if message.question else None
        return {
            "mac": self._identify(peer[0]),
            "name": question.name.to_text(omit_final_dot=True).lower()
            if question is not None
            else None,
            "type": dns.rdatatype.to_text(question.rdtype) if question is not None else None,
            "transport": self._transport,
        }

    def bend(self, deed: Deed, datagram: bytes, occasion: str) -> bytes:
        """Return the message with another answer, flag or identifier."""
        import dns.flags
        import dns.rcode

        del occasion
        message = _decode(datagram)
        match deed:
            case Status(code=code):
                message.answer = []
                message.set_rcode(rcode_of(code))
            case Replace(fields=changed):
                for name, value in changed.items():
                    _change(message, name, value)
            case Remove(fields=names):
                for name in names:
                    match name:
                        case "answers":
                            message.answer = []
                        case "question":
                            message.question = []
                        case "aa":
                            message.flags &= ~dns.flags.AA
        return message.to_wire()

    def retell(self, note: Note, datagram: bytes) -> Note:
        """Return ``dns.answer.sent`` with the code and the answers that are on the wire."""
        import dns.rcode

        message = _decode(datagram)
        told = {
            "rcode": dns.rcode.to_text(message.rcode()),
            "answers": [str(rdata) for rrset in message.answer for rdata in rrset],
        }
        return replace(note, fields={**note.fields, **told})


def rcode_of(code: str | int) -> dns.rcode.Rcode:
    """Return a response code that is named or numbered. Raises ``ValueError``."""
    import dns.exception
    import dns.rcode

    if isinstance(code, int) or code.isdecimal():
        return dns.rcode.Rcode.make(int(code))
    try:
        return dns.rcode.from_text(code.upper())
    except dns.exception.DNSException as error:
        raise ValueError(f"there is no response code {code!r}") from error


def _decode(datagram: bytes) -> dns.message.Message:
    import dns.exception
    import dns.message

    try:
        return dns.message.from_wire(datagram, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError) as error:
        raise DecodeError(f"{type(error).__name__}: {error}", rfc="RFC 1035 §4") from error


def _change(message: dns.message.Message, name: str, value: Any) -> None:
    import dns.flags
    import dns.rrset

    match name:
        case "answers":
            found = message.question[0].name if message.question else "."
            record = dns.rrset.from_text(str(found), 60, "IN", "A", *value)
            message.answer = [record]
            message.set_rcode(rcode_of(0))
        case "id":
            message.id = (message.id + int(value)) & 0xFFFF
        case "tc":
            message.flags |= dns.flags.TC if value else 0
            message.answer = [] if value else message.answer
        case "aa":
            message.flags = message.flags & ~dns.flags.AA | (dns.flags.AA if value else 0)
