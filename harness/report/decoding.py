"""One message from the wire in words: a line that says what it is, and its fields by name.

Whatever the octets are, there is a line: what can't be decoded is told as that.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from typing import Final, NamedTuple
from uuid import UUID

from harness.errors import DecodeError
from harness.wire import dhcp4, tftp
from harness.wire.dhcp4 import Code

_LONGEST: Final = 600
"""Characters of one field's value."""
_MOST_FIELDS: Final = 60
_LONGEST_HEAD: Final = 8192


class Decoded(NamedTuple):
    """What a message says."""

    summary: str
    fields: tuple[tuple[str, str], ...] = ()


def _said(summary: str, fields: tuple[tuple[str, str], ...] = ()) -> Decoded:
    return Decoded(_cut(_printable(summary)), fields)


def decode_dhcp(data: bytes) -> Decoded:
    """Return a DHCP message in words."""
    try:
        message = dhcp4.decode(data)
    except DecodeError as error:
        return _said(f"no DHCP: {error}", (("octets", _hex(data)),))
    kind = message.type
    name = kind.name if isinstance(kind, dhcp4.MessageType) else f"type {kind}"
    parts = [name, message.mac]
    if message.yiaddr != _NONE:
        parts.append(f"gives {message.yiaddr}")
    if message.boot_file:
        parts.append(f"file {message.boot_file}")
    if user := message.text(Code.USER_CLASS):
        parts.append(f"user class {_printable(user)}")
    elif message.op == 1 and (vendor := message.text(Code.VENDOR_CLASS)):
        parts.append(vendor)
    head = [
        ("xid", message.transaction),
        ("secs, flags", f"{message.secs}, 0x{message.flags:04x}"),
        ("ciaddr", message.ciaddr),
        ("yiaddr", message.yiaddr),
        ("siaddr", message.siaddr),
        ("giaddr", message.giaddr),
        ("chaddr", message.mac),
        ("sname", _text(message.sname)),
        ("file", message.boot_file),
    ]
    fields = [(key, value) for key, value in head if value not in ("", _NONE)]
    for option in message.options:
        fields.append((f"{option.code} {_option_name(option.code)}", _option(*option)))
    return _said(" · ".join(parts), _bounded(fields))


def decode_tftp(data: bytes) -> Decoded:
    """Return a TFTP packet in words."""
    try:
        packet = tftp.decode(data)
    except DecodeError as error:
        return _said(f"no TFTP: {error}", (("octets", _hex(data)),))
    match packet:
        case tftp.Request():
            asked = " ".join(f"{name}={value}" for name, value in packet.options.items())
            return _said(
                f"{packet.opcode.name} {packet.file}" + (f" · {asked}" if asked else ""),
                _bounded([("mode", packet.mode), *packet.options.items()]),
            )
        case tftp.Oack():
            agreed = " ".join(f"{name}={value}" for name, value in packet.options.items())
            return _said(f"OACK {agreed}")
        case tftp.Error():
            return _said(f"ERROR {packet.code} {packet.text}")
        case tftp.Data():
            return _said(f"DATA block {packet.block}, {len(packet.payload)} octets")
        case tftp.Ack():
            return _said(f"ACK block {packet.block}")


def decode_dns(data: bytes) -> Decoded:
    """Return a DNS message in words."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.rcode

    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError) as error:
        return _said(f"no DNS: {type(error).__name__}", (("octets", _hex(data)),))
    asked = ", ".join(_dns_text(rrset) for rrset in message.question)
    if not message.flags & dns.flags.QR:
        return _said(f"asks {asked}")
    rcode = dns.rcode.to_text(message.rcode())
    found = [_dns_text(rrset) for rrset in message.answer]
    told = "; ".join(found) or "nothing"
    return _said(f"{rcode} {asked} → {told}", _bounded([("answer", one) for one in found]))


def _dns_text(rrset: object) -> str:
    return " ".join(str(rrset).replace("\n", "; ").split())


def decode_http(data: bytes) -> Decoded:
    """Return the head of an HTTP request or answer in words; secrets in it are not shown."""
    head = data[:_LONGEST_HEAD].split(b"\r\n\r\n", 1)[0].decode("latin-1")
    first, *lines = head.split("\r\n")
    fields = []
    for line in lines:
        name, _, value = line.partition(":")
        secret = name.strip().lower() in ("authorization", "proxy-authorization", "cookie")
        shown = f"{value.split(maxsplit=1)[0]} …" if secret and value.split() else value.strip()
        fields.append((name.strip(), shown))
    return _said(_cut(first), _bounded(fields))


# -- TLS, RFC 8446 §4 and §6, RFC 5246 §7

_VERSIONS: Final = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2",
                    0x0304: "TLS 1.3"}  # fmt: skip
_ALERTS: Final = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow",
    40: "handshake_failure", 42: "bad_certificate", 43: "unsupported_certificate",
    44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
    51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security",
    80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled",
    109: "missing_extension", 112: "unrecognized_name", 116: "certificate_required",
    120: "no_application_protocol",
}  # fmt: skip
_HANDSHAKES: Final = {1: "ClientHello", 2: "ServerHello", 4: "NewSessionTicket", 11: "Certificate",
                      12: "ServerKeyExchange", 13: "CertificateRequest", 14: "ServerHelloDone",
                      15: "CertificateVerify", 16: "ClientKeyExchange", 20: "Finished"}  # fmt: skip


def decode_tls(data: bytes) -> Decoded:
    """Return the TLS records that begin in ``data`` in words, application data left out."""
    parts: list[str] = []
    fields: list[tuple[str, str]] = []
    at = 0
    while at + 5 <= len(data) and len(parts) < 12:
        kind, _version, size = struct.unpack_from("!BHH", data, at)
        body = data[at + 5 : at + 5 + size]
        if kind == 22:
            parts.append(_handshake(body, fields))
        elif kind == 21:
            parts.append(_alert(body))
        elif kind == 20:
            parts.append("ChangeCipherSpec")
        elif kind == 23 and "encrypted" not in parts:
            parts.append("encrypted")
        at += 5 + size
    return _said(" · ".join(parts) or "part of a TLS record", _bounded(fields))


def _handshake(body: bytes, fields: list[tuple[str, str]]) -> str:
    name = _HANDSHAKES.get(body[0] if body else -1)
    if name is None:
        return "handshake, encrypted"
    if name in ("ClientHello", "ServerHello"):
        try:
            name += _hello(body[4:], client=name == "ClientHello", fields=fields)
        except (IndexError, struct.error):
            name += ", cut off"
    return name


def _hello(body: bytes, *, client: bool, fields: list[tuple[str, str]]) -> str:
    (version,) = struct.unpack_from("!H", body)
    at = 34
    at += 1 + body[at]  # session id
    if client:
        (ciphers,) = struct.unpack_from("!H", body, at)
        fields.append(("cipher suites", str(ciphers // 2)))
        at += 2 + ciphers
        at += 1 + body[at]  # compression
    else:
        fields.append(("cipher suite", f"0x{body[at : at + 2].hex()}"))
        at += 3
    versions, name, protocols = [version], "", ""
    end = at + 2 + (struct.unpack_from("!H", body, at)[0] if at + 2 <= len(body) else 0)
    at += 2
    while at + 4 <= min(end, len(body)):
        kind, size = struct.unpack_from("!HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if kind == 0 and client and len(value) > 5:
            name = _text(value[5:])
        elif kind == 43:
            raw = value[1:] if client else value
            versions = [int.from_bytes(raw[n : n + 2], "big") for n in range(0, len(raw) - 1, 2)]
        elif kind == 16:
            protocols = _printable(value[2:].decode("latin-1"))
        at += 4 + size
    told = [_VERSIONS.get(v, f"0x{v:04x}") for v in versions if v & 0x0F0F != 0x0A0A]
    fields.append(("versions" if client else "version", ", ".join(told)))
    if name:
        fields.append(("server name", name))
    if protocols:
        fields.append(("ALPN", protocols))
    best = max((v for v in versions if v in _VERSIONS), default=version)
    return f" {_VERSIONS.get(best, hex(best))}" + (f" for {name}" if name else "")


def _alert(body: bytes) -> str:
    if len(body) != 2 or body[0] not in (1, 2):
        return "alert, encrypted"
    level = "fatal" if body[0] == 2 else "warning"
    return f"alert {level}: {_ALERTS.get(body[1], str(body[1]))}"


# -- HTTP/2, RFC 9113 §4 and §6

HTTP2_PREFACE: Final = b"PRI * HTTP/2.0"
_HTTP2: Final = {0: "DATA", 1: "HEADERS", 2: "PRIORITY", 3: "RST_STREAM", 4: "SETTINGS",
                 5: "PUSH_PROMISE", 6: "PING", 7: "GOAWAY", 8: "WINDOW_UPDATE",
                 9: "CONTINUATION"}  # fmt: skip
_HTTP2_ERRORS: Final = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
    "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
    "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip


def decode_http2(data: bytes) -> Decoded | None:
    """Return the HTTP/2 frames that begin in ``data`` in words; None when none do.

    None, too, for window updates and acknowledgements alone: they say nothing.
    """
    parts = []
    if data.startswith(HTTP2_PREFACE):
        parts.append("connection preface")
        data = data[24:]
    at = 0
    while at + 9 <= len(data) and len(parts) < 12:
        size, kind, flags, stream = struct.unpack_from("!IBBI", b"\0" + data[at : at + 9])
        name = _HTTP2.get(kind)
        if name is None or size > 1 << 20:
            break
        body = data[at + 9 : at + 9 + size]
        stream &= 0x7FFFFFFF
        if said := _http2_frame(name, flags, stream, size, body):
            parts.append(said)
        at += 9 + size
    return _said(" · ".join(parts)) if parts else None


def _http2_frame(name: str, flags: int, stream: int, size: int, body: bytes) -> str:
    ends = ", ends the stream" if flags & 1 and name in ("DATA", "HEADERS") else ""
    match name:
        case "WINDOW_UPDATE" | "PRIORITY":
            return ""
        case "SETTINGS" | "PING":
            return "" if flags & 1 else name
        case "DATA":
            return f"DATA on {stream}, {size} octets{ends}"
        case "RST_STREAM":
            return f"RST_STREAM on {stream}: {_http2_error(body[:4])}"
        case "GOAWAY":
            text = _printable(body[8:].decode("latin-1"))
            return f"GOAWAY {_http2_error(body[4:8])}" + (f" “{text}”" if text else "")
        case _:
            return f"{name} on {stream}{ends}"


def _http2_error(octets: bytes) -> str:
    code = int.from_bytes(octets, "big")
    return _HTTP2_ERRORS[code] if code < len(_HTTP2_ERRORS) else str(code)


# -- fields

_NONE: Final = "0.0.0.0"
_ARCHITECTURES: Final = {0: "x86 BIOS", 6: "x86 UEFI", 7: "x86-64 UEFI", 9: "EBC, x86-64 UEFI",
                         10: "arm32 UEFI", 11: "arm64 UEFI", 15: "x86 UEFI HTTP",
                         16: "x86-64 UEFI HTTP", 19: "arm64 UEFI HTTP"}  # fmt: skip
_MORE_NAMES: Final = {
    2: "time offset",
    17: "root path",
    26: "interface MTU",
    58: "renewal time",
    59: "rebinding time",
    116: "auto-configure",
    145: "forcerenew nonce",
}


def _option_name(code: int) -> str:
    try:
        return Code(code).name.lower().replace("_", " ")
    except ValueError:
        return _MORE_NAMES.get(code, "")


def _option(code: int, data: bytes) -> str:
    show = _OPTIONS.get(code)
    try:
        return _cut(show(data)) if show else _hex_or_text(data)
    except (ValueError, struct.error, IndexError):
        return _hex(data)


def _addresses(data: bytes) -> str:
    if not data or len(data) % 4:
        raise ValueError("no addresses")
    return ", ".join(str(IPv4Address(data[n : n + 4])) for n in range(0, len(data), 4))


def _seconds(data: bytes) -> str:
    (seconds,) = struct.unpack("!I", data)
    return f"{seconds} s"


def _kind(data: bytes) -> str:
    return dhcp4.MessageType(data[0]).name


def _number(data: bytes) -> str:
    return str(int.from_bytes(data, "big"))


def _architectures(data: bytes) -> str:
    codes = [int.from_bytes(data[n : n + 2], "big") for n in range(0, len(data), 2)]
    return ", ".join(f"{code} ({_ARCHITECTURES.get(code, 'unknown')})" for code in codes)


def _parameters(data: bytes) -> str:
    return " ".join(map(str, data))


def _machine(data: bytes) -> str:
    return str(UUID(bytes_le=data[1:17])) if len(data) == 17 else _hex(data)


def _hex_or_text(data: bytes) -> str:
    return _text(data) if data and all(32 <= octet < 127 for octet in data) else _hex(data)


def _hex(data: bytes) -> str:
    return data[:100].hex(" ") + (f" … {len(data)} octets" if len(data) > 100 else "")


def _text(data: bytes) -> str:
    return _printable(data.split(b"\0", 1)[0].decode("utf-8", "replace"))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "·" for c in text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _bounded(fields: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    kept = [(_cut(_printable(name)), _cut(_printable(value))) for name, value in fields]
    if len(kept) > _MOST_FIELDS:
        kept = [*kept[:_MOST_FIELDS], ("…", f"{len(kept) - _MOST_FIELDS} more")]
    return tuple(kept)


_OPTIONS: Final[dict[int, Callable[[bytes], str]]] = {
    **dict.fromkeys(
        (
            Code.SUBNET_MASK,
            Code.ROUTER,
            Code.NAME_SERVER,
            Code.LOG_SERVER,
            Code.BROADCAST_ADDRESS,
            Code.TIME_SERVER,
            Code.REQUESTED_ADDRESS,
            Code.SERVER_IDENTIFIER,
        ),
        _addresses,
    ),
    **dict.fromkeys((Code.LEASE_TIME, 58, 59), _seconds),
    **dict.fromkeys((Code.HOST_NAME, Code.DOMAIN_NAME, Code.MESSAGE, Code.TFTP_SERVER_NAME), _text),
    Code.MESSAGE_TYPE: _kind,
    Code.MAX_MESSAGE_SIZE: _number,
    Code.PARAMETER_REQUEST: _parameters,
    Code.ARCHITECTURE: _architectures,
    Code.MACHINE_IDENTIFIER: _machine,
}
