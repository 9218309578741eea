"""Tries a fault before the lab starts: what no message can hold is a mistake of the scenario.

The vocabulary knows which fields there are; only a protocol's codec knows what fits into them. So
a deed that rewrites a message is done once to messages of each kind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from harness.faults.codes import grpc_status, http_status
from harness.faults.deeds import Arguments, Deed, Memory, Slow, Status, make_deed
from harness.faults.fault import Fault
from harness.wire import dhcp4, ntp, tftp

_BENDING: Final = ("replace", "remove", "status", "second server", "memory", "slow", "arguments")
_LEAST_MEMORY: Final = 64 << 20
"""With less not even a firmware starts."""
_HTTP: Final = ("http", "registry", "metadata")
_QUESTION: Final = b"\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"  # RFC 1035 §4.1: a. IN A


def objection(fault: Fault) -> str | None:
    """Return why ``fault`` can't be done whatever happens, or None when it can."""
    if fault.deed not in _BENDING:
        return None
    deed = make_deed(fault.deed, fault.parameters)
    try:
        _TRIALS.get(fault.place, _nothing)(deed)
    except KeyError as error:
        return f"{fault.place} knows no {error.args[0]!r}"
    except (ValueError, OverflowError, struct.error) as error:
        return f"{fault.place} can't say that: {error}"
    return None


def _nothing(deed: Deed) -> None:
    del deed


def _dhcp(deed: Deed) -> None:
    from harness.faults.dialects.dhcp import DhcpDialect
    from harness.wire.netboot import NetbootConfig

    dialect = DhcpDialect(NetbootConfig(server="192.0.2.1"))
    dialect.bend(deed, dhcp4.encode(dhcp4.Message()), "reply")


def _tftp(deed: Deed) -> None:
    from harness.faults.dialects.tftp import TftpDialect

    dialect = TftpDialect(lambda _: None)
    options = {"blksize": "512"}
    for packet in (
        tftp.Request(opcode=tftp.Opcode.RRQ, file="a", mode="octet", options=options),
        tftp.Oack(options=options),
        tftp.Data(block=1, payload=b""),
        tftp.Error(code=0, text=""),
    ):
        dialect.bend(deed, tftp.encode(packet), "reply")


def _dns(deed: Deed) -> None:
    from harness.faults.dialects.dns import DnsDialect

    DnsDialect(lambda _: None).bend(deed, _QUESTION, "reply")


def _ntp(deed: Deed) -> None:
    from harness.faults.dialects.ntp import NtpDialect

    NtpDialect(lambda _: None).bend(deed, ntp.encode(ntp.NtpPacket()), "reply")


def _radv(deed: Deed) -> None:
    from harness.faults.dialects.radv import advertisements

    advertisements(bytes(6), [deed])


def _machine(deed: Deed) -> None:
    match deed:
        case Memory(size=size) if size % (1 << 20) or size < _LEAST_MEMORY:
            raise ValueError("memory is whole MiB, at least 64 MiB")
        case Slow(octets_per_s=octets) if not octets:
            raise ValueError("a disk that does nothing at all is no slow one")


def _hook(deed: Deed) -> None:
    if isinstance(deed, Arguments) and not (deed.remove or deed.replace or deed.add):
        raise ValueError("what is removed, replaced or added?")


def _http(deed: Deed) -> None:
    if isinstance(deed, Status):
        http_status(deed.code)


def _grpc(deed: Deed) -> None:
    if isinstance(deed, Status) and not grpc_status(deed.code).value[0]:
        raise ValueError(f"a status that refuses is none of {deed.code}")


_TRIALS: Final[dict[str, Callable[[Deed], None]]] = {
    "dhcp": _dhcp,
    "tftp": _tftp,
    "dns": _dns,
    "ntp": _ntp,
    "tink": _grpc,
    "radv": _radv,
    "machine": _machine,
    "hook": _hook,
    **dict.fromkeys(_HTTP, _http),
}
