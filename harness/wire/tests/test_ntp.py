"""NTP against itself and scapy; the server's claims."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.events import EVENTS
from harness.wire import ntp
from harness.wire.commands import Note, Send
from harness.wire.ntp import Mode, NtpPacket, NtpPolicy, NtpServer

PEER = ("192.168.77.10", 123)
U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
PACKETS = st.builds(
    NtpPacket,
    leap=st.integers(0, 3),
    version=st.integers(0, 7),
    mode=st.integers(0, 7),
    stratum=st.integers(0, 255),
    poll=st.integers(-128, 127),
    precision=st.integers(-128, 127),
    root_delay=U32,
    root_dispersion=U32,
    reference_id=st.binary(min_size=4, max_size=4),
    reference=U64,
    origin=U64,
    received=U64,
    transmitted=U64,
    rest=st.binary(max_size=24),
)


@given(PACKETS)
def test_a_packet_survives_the_wire(packet: NtpPacket) -> None:
    assert ntp.decode(ntp.encode(packet)) == packet


@given(st.binary(max_size=80))
def test_arbitrary_octets_are_a_packet_or_a_decode_error(datagram: bytes) -> None:
    with contextlib.suppress(DecodeError):
        server().receive(datagram, PEER, 0.0)


def test_too_short_is_said() -> None:
    with pytest.raises(DecodeError, match="47 octets are too short"):
        ntp.decode(bytes(47))


@given(PACKETS)
def test_scapy_reads_what_we_write(packet: NtpPacket) -> None:
    from dataclasses import replace

    from scapy.layers.ntp import NTPHeader

    packet = replace(packet, mode=Mode.SERVER, rest=b"", stratum=2)
    theirs: Any = NTPHeader(ntp.encode(packet))
    fields = (theirs.leap, theirs.version, theirs.mode, theirs.stratum, theirs.poll)
    assert fields == (packet.leap, packet.version, packet.mode, packet.stratum, packet.poll)
    # scapy's time stamps are floats: compare what it writes back
    assert bytes(theirs) == ntp.encode(packet)


def test_we_read_what_scapy_writes() -> None:
    from scapy.layers.ntp import NTPHeader

    ours = ntp.decode(bytes(NTPHeader(version=3, mode=3, sent=3_900_000_000.5)))
    assert (ours.version, ours.mode) == (3, Mode.CLIENT)
    assert ntp.unix_time(ours.transmitted) == pytest.approx(3_900_000_000.5 - 2_208_988_800)


@given(st.floats(0, 2_085_978_495))
def test_time_stamps_survive(unix_s: float) -> None:
    assert ntp.unix_time(ntp.timestamp(unix_s)) == pytest.approx(unix_s, abs=1e-6)


def test_an_era_ends_in_2036() -> None:
    assert ntp.timestamp(2_085_978_496) == 0


def server(**policy: Any) -> NtpServer:
    return NtpServer(
        unix_at=lambda now: 1_700_000_000.0 + now,
        policy=NtpPolicy(**policy),
        identify=lambda address: "52:54:00:00:00:01",
    )


def ask(server: NtpServer, **fields: Any) -> tuple[NtpPacket | None, list[str]]:
    commands = server.receive(ntp.encode(NtpPacket(**fields)), PEER, 5.0)
    for command in commands:
        if isinstance(command, Note):
            assert set(command.fields) <= set(EVENTS[command.name].fields)
    names = [command.name for command in commands if isinstance(command, Note)]
    sent = [ntp.decode(command.data) for command in commands if isinstance(command, Send)]
    return (sent[0] if sent else None), names


def test_a_client_gets_the_time_and_its_own_stamp_back() -> None:
    answer, names = ask(server(), version=3, transmitted=0x1122334455667788, poll=6)
    assert answer
    assert (answer.mode, answer.version, answer.poll) == (Mode.SERVER, 3, 6)
    assert answer.origin == 0x1122334455667788
    assert ntp.unix_time(answer.transmitted) == pytest.approx(1_700_000_005.0)
    assert (answer.stratum, answer.leap) == (2, 0)
    assert names == ["ntp.request.received", "ntp.answer.sent"]


def test_the_time_can_be_wrong_on_purpose() -> None:
    answer, _ = ask(server(offset_s=-3600.5, stratum=16, leap=3))
    assert answer
    assert ntp.unix_time(answer.transmitted) == pytest.approx(1_700_000_005.0 - 3600.5)
    assert (answer.stratum, answer.leap) == (16, 3)


def test_a_peer_is_answered_as_a_peer_and_a_server_not_at_all() -> None:
    answer, _ = ask(server(), mode=Mode.SYMMETRIC_ACTIVE)
    assert answer
    assert answer.mode == Mode.SYMMETRIC_PASSIVE
    assert ask(server(), mode=Mode.SERVER) == (None, ["ntp.request.received"])
