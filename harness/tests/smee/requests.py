"""DHCP requests from a seed: what real clients send, and what no client should."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from random import Random
from typing import Any, Final

from harness.tests.smee.objects import UNKNOWN, UNKNOWN_PI
from harness.wire import dhcp4
from harness.wire.dhcp4 import Code, Message, MessageType, Option

RELAYS: Final = ("192.168.77.250", "10.20.30.40")
CLIENT: Final = "192.168.77.77"
"""What a client that has an address already sends from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A datagram and how it is sent."""

    xid: int
    data: bytes
    source: tuple[str, int] = ("0.0.0.0", 68)
    destination: str = "255.255.255.255"
    about: str = ""

    def to_json(self) -> list[Any]:
        """Return it as plain data."""
        return [self.xid, self.data.hex(), self.source, self.destination, self.about]


_PXE: Final = b"PXEClient:Arch:00007:UNDI:003001"
_HTTP: Final = b"HTTPClient:Arch:00016:UNDI:003001"
_CLASSES: Final = (
    None, b"", b"MSFT 5.0", b"udhcp 1.36.1", b"PXEClient", b"HTTPClient", b"pxeclient", b"PXEClien",
    b"PXEClientX", b"HTTPClient/1", b"PXEClient\0", b"\xff\xfe",
)  # fmt: skip
_USER_CLASSES: Final = (
    b"iPXE", b"Tinkerbell", b"iPXE\0", b"\x04iPXE", b"tinkerbell", b"gPXE", b"", b"\xff",
)  # fmt: skip
_KNOWN: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 18, 19, 20)


def requests(seed: int, count: int, macs: Sequence[str]) -> list[Request]:
    """Return ``count`` requests with transaction ids from 1 on."""
    random = Random(seed)
    return [_request(random, number, macs) for number in range(1, count + 1)]


def probe(xid: int, mac: str) -> Request:
    """Return a request that every server of the comparison answers."""
    options = (
        Option(Code.MESSAGE_TYPE, bytes((MessageType.DISCOVER,))),
        Option(Code.VENDOR_CLASS, _PXE),
        Option(Code.ARCHITECTURE, b"\0\7"),
        Option(Code.NETWORK_INTERFACE, b"\1\3\1"),
    )
    message = Message(xid=xid.to_bytes(4, "big"), chaddr=_octets(mac), options=options)
    return Request(xid=xid, data=dhcp4.encode(message), about="probe")


def _request(random: Random, xid: int, macs: Sequence[str]) -> Request:
    kind = random.choice(("pxe", "http", "ipxe", "tinkerbell", "guest", "odd"))
    mac = random.choice(macs) if random.random() < 0.85 else random.choice((*UNKNOWN, UNKNOWN_PI))
    type_ = _message_type(random)
    options = [*type_, *_identity(random, kind), *_common(random, mac)]
    if random.random() < 0.2:
        random.shuffle(options)
    source, destination, addresses = _path(random)
    message = Message(
        op=random.choice((0, 2, 2, 3, 255)) if random.random() < 0.03 else 1,
        htype=random.choice((0, 6, 32, 255)) if random.random() < 0.05 else 1,
        hops=random.choice((0, 0, 0, 1, 16)),
        xid=xid.to_bytes(4, "big"),
        secs=random.choice((0, 0, 4, 65535)),
        flags=random.choice((0, 0, 0x8000, 0x8000, 0x7FFF, 0xFFFF)),
        chaddr=_chaddr(random, mac),
        sname=b"a server" if random.random() < 0.05 else b"",
        file=b"a file" if random.random() < 0.05 else b"",
        options=tuple(options),
        **addresses,
    )
    about = f"{kind} {mac}"
    try:
        data = dhcp4.encode(message, max_bytes=400 if random.random() < 0.05 else None)
    except ValueError:
        data = dhcp4.encode(message)
    if random.random() < 0.08:
        data, damage = _damaged(random, data)
        about += f", {damage}"
    return Request(xid=xid, data=data, source=source, destination=destination, about=about)


def _message_type(random: Random) -> list[Option]:
    dice = random.random()
    if dice < 0.45:
        value = bytes((MessageType.DISCOVER,))
    elif dice < 0.85:
        value = bytes((MessageType.REQUEST,))
    elif dice < 0.95:
        value = bytes((random.choice((2, 4, 5, 6, 7, 8)),))
    elif dice < 0.97:
        return []
    else:
        value = random.choice((b"", b"\0", b"\x09", b"\xff", b"\1\1", b"\3\0"))
    options = [Option(Code.MESSAGE_TYPE, value)]
    if random.random() < 0.1:
        options.append(Option(Code.MESSAGE, b"why"))
    return options


def _identity(random: Random, kind: str) -> list[Option]:
    """Return options 60, 77, 93, 94 and 97."""
    if kind == "guest":
        return [Option(Code.VENDOR_CLASS, b"dhcpcd-9.4.1")] if random.random() < 0.5 else []
    if kind == "odd":
        vendor = random.choice(_CLASSES)
        user: bytes | None = random.choice(_USER_CLASSES)
    else:
        vendor = _HTTP if kind == "http" or random.random() < 0.2 else _PXE
        user = {"ipxe": b"iPXE", "tinkerbell": b"Tinkerbell"}.get(kind)
    odd = 0.25 if kind == "odd" else 0.08
    options: list[Option] = []
    if vendor is not None:
        options.append(Option(Code.VENDOR_CLASS, vendor))
    if user is not None:
        options.append(Option(Code.USER_CLASS, user))
    if random.random() >= odd:
        options.append(Option(Code.ARCHITECTURE, _architecture(random, odd)))
    if random.random() >= odd:
        odd_ones = random.choice((b"", b"\1", b"\1\2\1\0"))
        options.append(
            Option(Code.NETWORK_INTERFACE, odd_ones if random.random() < odd else b"\1\3\x10")
        )
    guid = random.choice((b"\0" + random.randbytes(16),) * 3 + (None,))
    if random.random() < odd:
        guid = random.choice((b"", b"\1" + bytes(16), bytes(16), bytes(18), b"\0"))
    if guid is not None:
        options.append(Option(Code.MACHINE_IDENTIFIER, guid))
    return options


def _architecture(random: Random, odd: float) -> bytes:
    if random.random() < odd:
        return random.choice((b"", b"\0", b"\0\7\0", b"\xff\xff\0\7", b"\0\x29", b"\0\x29\0\7"))
    values = [random.choice(_KNOWN) if random.random() < 0.8 else random.randrange(48)]
    if random.random() < 0.1:
        values.insert(random.randrange(2), random.choice((12, 17, 21, 25, 36, 37, 255, 0, 9)))
    return b"".join(struct.pack("!H", value) for value in values)


def _common(random: Random, mac: str) -> list[Option]:
    """Return what netboot has no interest in."""
    choices = [
        Option(Code.PARAMETER_REQUEST, bytes((1, 3, 6, 66, 67, 43, 60))),
        Option(Code.PARAMETER_REQUEST, bytes(random.choices(range(256), k=80))),
        Option(Code.MAX_MESSAGE_SIZE, struct.pack("!H", random.choice((0, 300, 576, 1500)))),
        Option(Code.CLIENT_IDENTIFIER, random.choice((b"\1" + _octets(mac), b"", b"\0" * 40))),
        Option(Code.RELAY_AGENT, random.choice((b"\1\4eth0", b"\1\4eth0\2\2id", b"", b"\xff\0"))),
        Option(Code.REQUESTED_ADDRESS, IPv4Address("192.168.77.31").packed),
        Option(Code.REQUESTED_ADDRESS, b"\1"),
        Option(Code.SERVER_IDENTIFIER, random.choice((b"\xc0\xa8\x4d\1", b"\1\2\3\4"))),
        Option(Code.HOST_NAME, b"what-i-call-myself"),
        Option(Code.IPXE, bytes.fromhex("b105011af41000")),
        Option(Code.VENDOR_SPECIFIC, b"\1\1\1"),
        Option(Code.LEASE_TIME, b"\0\0\0\1"),
        Option(80, b""),
        Option(118, IPv4Address("192.168.77.0").packed),
        Option(224, random.randbytes(300)),
    ]  # fmt: skip
    taken = random.sample(choices, k=random.choice((0, 1, 2, 3, 5)))
    if taken and random.random() < 0.08:
        taken.append(random.choice(taken))
    return taken


def _path(random: Random) -> tuple[tuple[str, int], str, dict[str, Any]]:
    """Return source, destination address and the addresses in the header."""
    dice = random.random()
    if dice < 0.6:
        path: tuple[tuple[str, int], str, dict[str, Any]]
        path = (("0.0.0.0", random.choice((68, 68, 68, 1068))), "255.255.255.255", {})
    elif dice < 0.75:
        path = (
            (CLIENT, 68),
            random.choice(("192.168.77.1", "255.255.255.255")),
            {"ciaddr": CLIENT},
        )
    elif dice < 0.95:
        relay = random.choice(RELAYS)
        path = ((relay, random.choice((67, 67, 1067))), "192.168.77.1", {"giaddr": relay})
    else:
        path = ((CLIENT, 5000), "192.168.77.1", {})
    for name in ("ciaddr", "yiaddr", "siaddr"):
        if random.random() < 0.04:
            path[2].setdefault(name, "192.168.77.99")
    return path


def _chaddr(random: Random, mac: str) -> bytes:
    octets = _octets(mac)
    if random.random() < 0.97:
        return octets
    return random.choice((b"", octets[:5], octets + b"\0\0", octets + bytes(10)))


def _damaged(random: Random, data: bytes) -> tuple[bytes, str]:
    end = data.rindex(b"\xff") if b"\xff" in data else len(data) - 1
    match random.randrange(8):
        case 0:
            keep = random.choice((0, 1, 43, 235, 236, 239, 240, 241, 244, end))
            return data[:keep], f"cut after {keep} octets"
        case 1:
            return data[:end], "without END"
        case 2:
            return data + random.randbytes(20), "with more behind it"
        case 3:
            return data[:236] + b"\1\2\3\4" + data[240:], "a wrong cookie"
        case 4:
            return data[:2] + bytes((random.choice((17, 255)),)) + data[3:], "a wrong hlen"
        case 5:
            return data[:end] + b"\x0c\x40ab", "an option that runs over the end"
        case 6:
            return data[: end + 1], "without padding"
        case _:
            return data[:end] + bytes(5) + b"\x0c\3abc\xff" + data[end + 1 :], "PAD between options"


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
