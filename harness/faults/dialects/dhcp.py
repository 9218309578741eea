"""DHCP, as faults see and bend it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from harness.faults.deeds import Deed, Remove, Replace, SecondServer
from harness.faults.places.dhcp import PLACE
from harness.wire import dhcp4
from harness.wire.commands import Address, Note
from harness.wire.dhcp4 import Code, Message, MessageType, Option
from harness.wire.dhcp_reply import told
from harness.wire.netboot import NetbootConfig, classify

_HEADER: Final = frozenset(field.name for field in fields(Message)) - {"options"}
_OPTIONS: Final[Mapping[str, int]] = {
    field.name: Code[field.name.upper().replace(" ", "_")]
    for field in PLACE.fields
    if field.name not in _HEADER
}
_EMPTY: Final = Message()
_ANSWERS: Final = ("OFFER", "ACK", "NAK")


class DhcpDialect:
    """Remembers by transaction what a request said, for the facts of its reply."""

    def __init__(self, config: NetbootConfig) -> None:
        self._config = config
        self._asked: dict[bytes, dict[str, Any]] = {}

    def request(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return the facts of a request."""
        del peer
        message = dhcp4.decode(datagram)
        client = classify(message, self._config)
        arch = message.option(Code.ARCHITECTURE)
        asked: dict[str, Any] = {
            "mac": client.mac,
            "stage": client.stage.value,
            "vendor class": message.text(Code.VENDOR_CLASS),
            "user class": message.text(Code.USER_CLASS),
            "arch": int.from_bytes(arch[:2], "big") if arch else None,
            "requested": message.address(Code.REQUESTED_ADDRESS),
        }
        if len(self._asked) > 1024:
            self._asked.clear()
        self._asked[message.xid] = asked
        return {**asked, "message": _type(message), "from": asked["stage"]}

    def reply(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        """Return the facts of a reply."""
        del peer
        message = dhcp4.decode(datagram)
        asked = self._asked.get(message.xid, {"mac": message.mac})
        return {
            **asked,
            "message": _type(message),
            "to": asked.get("stage"),
            "file": message.boot_file,
            "address": message.yiaddr,
        }

    def bend(self, deed: Deed, datagram: bytes, occasion: str) -> bytes:
        """Return the message with other fields."""
        del occasion
        message = dhcp4.decode(datagram)
        match deed:
            case Replace(fields=changed):
                message = _changed(message, changed)
            case Remove(fields=names):
                for name in names:
                    message = _without(message, name)
            case SecondServer(address=address, fields=changed):
                own = {"server identifier": address, "siaddr": address}
                message = _changed(message, {**own, **changed})
        return dhcp4.encode(message)

    def retell(self, note: Note, datagram: bytes) -> Note:
        """Return ``dhcp.….sent`` as it is on the wire: what it is, and what it tells."""
        message = dhcp4.decode(datagram)
        name = f"dhcp.{kind.lower()}.sent" if (kind := _type(message)) in _ANSWERS else note.name
        return replace(note, name=name, fields={**note.fields, **told(message)})


def _type(message: Message) -> str | None:
    kind = message.type
    return kind.name if isinstance(kind, MessageType) else None


def _changed(message: Message, changed: Mapping[str, Any]) -> Message:
    for name, value in changed.items():
        if name in _HEADER:
            message = replace(message, **{name: _header_value(name, value)})
        else:
            message = message.with_option(_code(name), _option_value(name, value))
    return message


def _without(message: Message, name: str) -> Message:
    if name in _HEADER:
        return replace(message, **{name: getattr(_EMPTY, name)})
    code = _code(name)
    kept = tuple(option for option in message.options if option.code != code)
    return replace(message, options=tuple(Option(*option) for option in kept))


def _code(name: str) -> int:
    return _OPTIONS[name] if name in _OPTIONS else int(name.removeprefix("option "))


def _header_value(name: str, value: Any) -> Any:
    if name in ("xid", "chaddr"):
        return bytes.fromhex(value)
    if name in ("sname", "file"):
        return str(value).encode()
    return value


def _option_value(name: str, value: Any) -> bytes:
    if name == "message type":
        return bytes((MessageType[str(value).upper()],))
    field = PLACE.field(name)
    assert field is not None
    match field.form:
        case "address":
            return dhcp4.packed(value)
        case "addresses":
            return dhcp4.addresses(value)
        case "duration":
            return struct.pack("!I", int(value))
        case "text":
            return str(value).encode()
        case _:
            return bytes.fromhex(value)
