"""The packets of a run that matter, decoded one by one: one pass over the capture.

DHCP, DNS, requests and errors of TFTP, heads of HTTP, handshakes of TLS, the frames of gRPC's
HTTP/2, refusals (TCP RST, ICMP) and connections that nobody answered. Each kind is bounded: a
page is to be read, the capture has all of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, NamedTuple

from harness.facts import began_at
from harness.net.captured import CapturedFrames, Frame
from harness.report.decoding import (
    HTTP2_PREFACE,
    Decoded,
    decode_dhcp,
    decode_dns,
    decode_http,
    decode_http2,
    decode_tftp,
    decode_tls,
)
from harness.timeline import Event, named

PROTOCOLS: Final = ("DHCP", "TFTP", "DNS", "HTTP", "TLS", "gRPC", "refused")
_FIRST, _LAST = 90, 60
"""How many of a kind are shown, from its beginning and from its end."""
_HEAD: Final = struct.Struct("!H9xB2x4s4sHH")
"""From octet 12: EtherType, protocol, addresses and ports of IPv4 without options."""
_IPV4, _ICMP, _TCP, _UDP = 0x0800, 1, 6, 17
_SYN, _RST, _ACK = 2, 4, 16
_METHODS: Final = (b"GET ", b"HEAD", b"POST", b"PUT ", b"PATC", b"DELE", b"HTTP", b"OPTI")
_UNREACHABLE: Final = {0: "network", 1: "host", 2: "protocol", 3: "port", 4: "fragmentation needed"}


class Packet(NamedTuple):
    """One packet, decoded."""

    number: int
    """The frame's number in the capture."""
    t: float
    """Seconds since the run began, as events count."""
    protocol: str
    source: str
    destination: str
    summary: str
    fields: tuple[tuple[str, str], ...]
    mark: str = ""
    """``bad`` for an error or a refusal."""


@dataclass(slots=True)
class Kept:
    """The packets of one kind: the first ones, the last ones, and how many there were."""

    first: list[Packet] = field(default_factory=list)
    last: list[Packet] = field(default_factory=list)
    count: int = 0

    def add(self, packet: Packet) -> None:
        """Keep ``packet`` for now."""
        self.count += 1
        if len(self.first) < _FIRST:
            self.first.append(packet)
        else:
            self.last.append(packet)
            if len(self.last) > 2 * _LAST:
                del self.last[:_LAST]

    @property
    def packets(self) -> list[Packet]:
        """What is shown."""
        return [*self.first, *self.last[-_LAST:]]

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.count - len(self.packets)


@dataclass(slots=True)
class Packets:
    """What a capture holds."""

    frames: int = 0
    kinds: dict[str, Kept] = field(default_factory=dict)
    error: str = ""
    """Why there is nothing, when there should be."""

    def __bool__(self) -> bool:
        return any(kept.count for kept in self.kinds.values())


def run_began_ns(events: Iterable[Event]) -> int | None:
    """Return the wall clock, ns since 1970, at which the run's clock was 0."""
    try:
        return int(datetime.fromisoformat(began_at(events)).timestamp() * 1e9)
    except ValueError:
        return None


def service_ports(events: Iterable[Event]) -> dict[int, str]:
    """Return which service listens on which port, as they said when they started."""
    ports = {67: "dhcp", 68: "dhcp", 4011: "dhcp", 69: "tftp", 53: "dns"}
    for event in named(events, "service.started"):
        port = event.get("port")
        if isinstance(port, int):
            ports[port] = str(event.get("service")).partition("-")[0]
    return ports


def read_packets(path: Path, events: Iterable[Event]) -> Packets:
    """Return the packets of the capture at ``path``; none, and why, when it can't be read."""
    events = list(events)
    if not path.is_file():
        return Packets()
    try:
        with CapturedFrames(path) as capture:
            return _Reader(capture, run_began_ns(events), service_ports(events)).read()
    except (OSError, ValueError) as error:
        return Packets(error=str(error))


class _Reader:
    """One pass over a capture."""

    def __init__(
        self, capture: CapturedFrames, began_ns: int | None, ports: Mapping[int, str]
    ) -> None:
        self._capture = capture
        self._began_ns = began_ns
        self._kinds = {name: Kept() for name in PROTOCOLS}
        self._transfers: dict[tuple[bytes, int], _Blocks] = {}
        self._asked: dict[bytes, int] = {}
        self._ports = dict(ports)

    def read(self) -> Packets:
        count, data, unpack = 0, self._capture.data, _HEAD.unpack_from
        ports, transfers = self._ports, self._transfers
        for frame in self._capture:
            count = frame.number
            if frame.bytes < 42:
                continue
            if self._began_ns is None:
                self._began_ns = frame.time_ns
            kind, protocol, source, destination, sport, dport = unpack(data, frame.at + 12)
            if kind != _IPV4 or data[frame.at + 14] != 0x45:
                continue
            if protocol == _TCP:
                if sport in ports or dport in ports:
                    self._tcp(frame, source, destination, sport, dport)
            elif protocol == _UDP:
                if sport in ports or dport in ports or (destination, dport) in transfers:
                    self._udp(frame, source, destination, sport, dport)
                elif (source, sport) in transfers:
                    self._tftp(frame, source, destination, sport, dport)
            elif protocol == _ICMP and data[frame.at + 34] == 3:
                self._icmp(frame, source, destination)
        return Packets(frames=count, kinds=self._kinds)

    def _add(
        self, frame: Frame, kind: str, ends: tuple[str, str], said: Decoded, mark: str = ""
    ) -> None:
        assert self._began_ns is not None
        t = (frame.time_ns - self._began_ns) / 1e9
        self._kinds[kind].add(Packet(frame.number, t, kind, *ends, *said, mark))

    def _payload(self, frame: Frame, start: int) -> bytes:
        data = self._capture.data
        total = int.from_bytes(data[frame.at + 16 : frame.at + 18], "big")
        return data[frame.at + start : min(frame.at + 14 + total, frame.at + frame.bytes)]

    # -- UDP

    def _udp(self, frame: Frame, source: bytes, destination: bytes, sport: int, dport: int) -> None:
        service = self._ports.get(dport) or self._ports.get(sport)
        ends = (_end(source, sport), _end(destination, dport))
        if service == "dhcp":
            said = decode_dhcp(self._payload(frame, 42))
            self._add(frame, "DHCP", ends, said, "bad" if _is_refusal(said) else "")
        elif service == "dns":
            said = decode_dns(self._payload(frame, 42))
            good = said.summary.startswith(("asks", "NOERROR"))
            self._add(frame, "DNS", ends, said, "" if good else "bad")
        elif service == "tftp" or (destination, dport) in self._transfers:
            self._tftp(frame, source, destination, sport, dport)

    def _tftp(
        self, frame: Frame, source: bytes, destination: bytes, sport: int, dport: int
    ) -> None:
        data = self._capture.data
        opcode = data[frame.at + 43]
        if opcode in (3, 4):  # DATA and ACK: only a transfer's first ones, and its last
            client = (destination, dport) if opcode == 3 else (source, sport)
            blocks = self._transfers.setdefault(client, _Blocks())
            if not blocks.skips(opcode, frame):
                return
        elif opcode in (1, 2):
            self._transfers[source, sport] = _Blocks()
        said = decode_tftp(self._payload(frame, 42))
        if not said.summary.startswith("no TFTP"):
            ends = (_end(source, sport), _end(destination, dport))
            bad = said.summary.startswith("ERROR")
            self._add(frame, "TFTP", ends, said, "bad" if bad else "")

    # -- TCP

    def _tcp(self, frame: Frame, source: bytes, destination: bytes, sport: int, dport: int) -> None:
        data, at = self._capture.data, frame.at
        flags = data[at + 47]
        if flags & (_SYN | _RST):
            self._opened_or_refused(frame, source, destination, sport, dport, flags)
            return
        start = 34 + (data[at + 46] >> 4) * 4
        head = data[at + start : at + start + 4]
        service = self._ports.get(dport) or self._ports.get(sport)
        said: Decoded | None = None
        kind, mark = "HTTP", ""
        if not head or frame.bytes <= start:
            return
        if _is_tls(data[at + start : at + start + 6]):
            kind, said = "TLS", decode_tls(self._payload(frame, start))
            mark = "bad" if "alert fatal" in said.summary else ""
        elif service == "tink":
            kind = "gRPC"
            payload = self._payload(frame, start)
            if head in _METHODS:
                said = decode_http(payload)
            elif head[0] == 0 or payload.startswith(HTTP2_PREFACE):
                said = decode_http2(payload)
                bad = said and ("GOAWAY" in said.summary or "RST_STREAM" in said.summary)
                mark = "bad" if bad else ""
        elif head in _METHODS:
            said = decode_http(self._payload(frame, start))
            mark = "bad" if said.summary.startswith(("HTTP/1.1 4", "HTTP/1.1 5")) else ""
        if said is not None:
            self._add(frame, kind, (_end(source, sport), _end(destination, dport)), said, mark)

    def _opened_or_refused(
        self, frame: Frame, source: bytes, destination: bytes, sport: int, dport: int, flags: int
    ) -> None:
        ends = (_end(source, sport), _end(destination, dport))
        if flags & _RST:
            whose = self._ports.get(sport) or self._ports.get(dport) or "?"
            self._add(frame, "refused", ends, Decoded(f"TCP RST, {whose}"), "bad")
        elif not flags & _ACK:
            # The same SYN again: nobody answered the first.
            data, at = self._capture.data, frame.at
            key = data[at + 26 : at + 42]
            times = self._asked[key] = self._asked.get(key, 0) + 1
            if times > 1:
                whose = self._ports.get(dport, "?")
                said = Decoded(f"SYN for the {_ordinal(times)} time, {whose}")
                self._add(frame, "refused", ends, said, "bad")

    def _icmp(self, frame: Frame, source: bytes, destination: bytes) -> None:
        code = self._capture.data[frame.at + 35]
        what = _UNREACHABLE.get(code, f"code {code}")
        ends = (str(IPv4Address(source)), str(IPv4Address(destination)))
        self._add(frame, "refused", ends, Decoded(f"ICMP: {what} unreachable"), "bad")


@dataclass(slots=True)
class _Blocks:
    """Which DATA and ACK of a transfer were shown."""

    seen: set[int] = field(default_factory=set)
    size: int = 0

    def skips(self, opcode: int, frame: Frame) -> bool:
        """Whether this one is to be shown: the first of its kind, or a last, short DATA."""
        if opcode not in self.seen:
            self.seen.add(opcode)
            self.size = max(self.size, frame.bytes)
            return True
        return opcode == 3 and frame.bytes < self.size


def _is_tls(head: bytes) -> bool:
    """Whether octets begin a handshake or an alert; the middle of a file seldom looks like it."""
    if len(head) < 6 or head[0] not in (21, 22) or head[1] != 3 or head[2] > 4:
        return False
    size = int.from_bytes(head[3:5], "big")
    return 2 <= size <= 40 if head[0] == 21 else 4 <= size <= 16_384 and head[5] <= 24


def _is_refusal(said: Decoded) -> bool:
    return said.summary.startswith(("NAK", "DECLINE", "no DHCP"))


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def _end(address: bytes, port: int) -> str:
    return f"{address[0]}.{address[1]}.{address[2]}.{address[3]}:{port}"
