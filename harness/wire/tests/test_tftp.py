"""TFTP packets against themselves and scapy; transfers against a model client."""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.events import EVENTS
from harness.wire import tftp
from harness.wire.commands import Command, LockStep, Note, Send, SetTimer
from harness.wire.tftp import Ack, Data, Error, Oack, Opcode, Packet, Request
from harness.wire.tftp_server import Refusal, Solo, TftpServer, unknown_file
from harness.wire.tftp_transfer import FAST, Content, TftpPolicy, Transfer

PEER = ("192.168.77.10", 2070)
WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
ASCII = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=30)
NAMES = st.dictionaries(ASCII.map(str.lower), WORD, min_size=1, max_size=5)
PACKETS = st.one_of(
    st.builds(
        Request,
        opcode=st.sampled_from([Opcode.RRQ, Opcode.WRQ]),
        file=WORD,
        mode=ASCII.map(str.lower),
        options=NAMES,
    ),
    st.builds(Data, block=st.integers(0, 0xFFFF), payload=st.binary(max_size=1500)),
    st.builds(Ack, block=st.integers(0, 0xFFFF)),
    st.builds(Error, code=st.integers(0, 0xFFFF), text=WORD),
    st.builds(Oack, options=NAMES),
)


@given(PACKETS)
def test_a_packet_survives_the_wire(packet: Packet) -> None:
    assert tftp.decode(tftp.encode(packet)) == packet


@given(st.binary(max_size=600))
def test_arbitrary_octets_are_a_packet_or_a_decode_error(datagram: bytes) -> None:
    with contextlib.suppress(DecodeError):
        tftp.decode(datagram)


@given(st.binary(max_size=600))
def test_arbitrary_octets_never_break_the_server(datagram: bytes) -> None:
    server = TftpServer(open=lambda file, peer: b"content")
    with contextlib.suppress(DecodeError):
        server.receive(datagram, PEER, 0.0)


def test_netascii_is_that_of_telnet() -> None:
    assert tftp.netascii(b"a\nb\rc\r\n") == b"a\r\nb\r\0c\r\0\r\n"


# -- scapy ----------------------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.sampled_from(["blksize", "tsize", "windowsize"]), st.integers(0, 99999).map(str)
    )
)
def test_scapy_reads_and_writes_the_same_requests(options: dict[str, str]) -> None:
    from scapy.layers.tftp import TFTP, TFTP_RRQ, TFTP_Option, TFTP_Options

    theirs = TFTP() / TFTP_RRQ(filename="ipxe.efi", mode="octet")
    if options:
        theirs /= TFTP_Options(
            options=[TFTP_Option(oname=name, value=value) for name, value in options.items()]
        )
    ours = Request(opcode=Opcode.RRQ, file="ipxe.efi", mode="octet", options=options)
    assert tftp.encode(ours) == bytes(theirs)
    assert tftp.decode(bytes(theirs)) == ours


@pytest.mark.parametrize(
    ("ours", "layer", "fields"),
    [
        (Ack(block=7), "TFTP_ACK", {"block": 7}),
        (Data(block=65535, payload=b"x"), "TFTP_DATA", {"block": 65535}),
        (Error(code=1, text="gone"), "TFTP_ERROR", {"errorcode": 1, "errormsg": b"gone"}),
    ],
)
def test_scapy_reads_the_other_packets(ours: Packet, layer: str, fields: dict[str, Any]) -> None:
    from scapy.layers.tftp import TFTP

    read = TFTP(tftp.encode(ours))
    assert layer in read
    assert {name: read[layer].getfieldval(name) for name in fields} == fields


# -- transfers ------------------------------------------------------------------------------------


def packets(commands: list[Command]) -> list[Packet]:
    return [tftp.decode(command.data) for command in commands if isinstance(command, Send)]


def notes(commands: list[Command]) -> list[str]:
    for command in commands:
        if isinstance(command, Note):
            assert set(command.fields) <= set(EVENTS[command.name].fields)
    return [command.name for command in commands if isinstance(command, Note)]


def transfer(
    content: Content, *, policy: TftpPolicy | None = None, mode: str = "octet", **options: object
) -> Transfer:
    wishes = {name: str(value) for name, value in options.items()}
    request = Request(opcode=Opcode.RRQ, file="f", mode=mode, options=wishes)
    return Transfer(
        id="t1", request=request, content=content, peer=PEER, policy=policy or TftpPolicy()
    )


class ModelClient:
    """Reads as RFC 1350 and RFC 7440 say, over a lossy wire with a seeded random source."""

    def __init__(self, source: Transfer, *, window: int, blksize: int, loss: float, seed: int):
        self.source = source
        self.window = window
        self.blksize = blksize
        self.loss = loss
        self.random = random.Random(seed)
        self.received = b""
        self.block = 0
        self.done = False

    def run(self) -> None:
        now = 0.0
        commands = self.source.start(now)
        for _ in range(100_000):
            if self.source.over:
                return
            answers = self.take(packets(commands))
            commands = []
            for answer in answers:
                if self.random.random() >= self.loss:
                    commands += self.source.receive(answer, now)
            if not commands:
                now += 10
                commands = self.source.timed_out(now)
                self.source._retried = 0  # patience of the server is tested elsewhere
        raise AssertionError("the transfer does not end")

    def take(self, incoming: list[Packet]) -> list[Packet]:
        answers: list[Packet] = []
        fresh = 0
        gap = False
        for packet in incoming:
            if self.random.random() < self.loss:
                continue
            match packet:
                case Oack():
                    answers.append(Ack(block=0))
                case Data() if packet.block == (self.block + 1) % 65536:
                    if not self.done:
                        self.received += packet.payload
                        self.block += 1
                        fresh += 1
                    self.done = self.done or len(packet.payload) < self.blksize
                    if fresh == self.window or self.done:
                        answers.append(Ack(block=self.block % 65536))
                        fresh = 0
                case Data() if not gap:
                    gap = True
                    answers.append(Ack(block=self.block % 65536))
        return answers


@settings(max_examples=60)
@given(
    size=st.integers(0, 9000),
    window=st.sampled_from([1, 1, 2, 4, 16]),
    blksize=st.sampled_from([512, 1428]),
    loss=st.sampled_from([0.0, 0.1, 0.4]),
    seed=st.integers(0, 999),
)
def test_content_arrives_whole_over_a_lossy_wire(
    size: int, window: int, blksize: int, loss: float, seed: int
) -> None:
    content = os.urandom(size)
    source = transfer(content, policy=FAST, blksize=blksize, windowsize=window)
    client = ModelClient(source, window=window, blksize=blksize, loss=loss, seed=seed)
    client.run()
    assert client.received == content


def test_block_numbers_roll_over() -> None:
    content = bytes(8 * 70_000 + 3)
    source = transfer(content, policy=FAST, blksize=8, windowsize=64)
    client = ModelClient(source, window=64, blksize=8, loss=0.0, seed=1)
    client.run()
    assert client.received == content


@given(
    st.integers(0, 5000),
    st.sampled_from([8, 100, 512]),
    st.integers(1, 9),
    st.lists(st.integers(1, 30), min_size=1, max_size=9),
)
def test_in_lock_step_the_same_is_sent_noted_and_known(
    size: int, blksize: int, window: int, told: list[int]
) -> None:
    """Two transfers: one hears every ACK, the other is told of its rounds, a few at a time."""
    content = random.Random(size).randbytes(size)
    heard, counted = (
        transfer(content, policy=FAST, blksize=blksize, windowsize=window) for _ in range(2)
    )
    for source in (heard, counted):
        source.start(0.0)
    commands = heard.receive(Ack(block=0), 0.0)
    [step] = [c for c in counted.receive(Ack(block=0), 0.0) if isinstance(c, LockStep)]
    now, pauses, rounds = 0.0, iter(told * 1000), list(step.rounds)
    told_heard: list[str] = []
    told_counted: list[str] = []
    while rounds:
        some, rounds = rounds[: (count := next(pauses))], rounds[count:]
        for expected, answer in some:
            now += 0.01
            ack = tftp.decode(expected)
            commands = heard.receive(ack, now)
            assert [c.data for c in commands if isinstance(c, Send)] == answer
            told_heard += notes(commands)
        commands = list(step.over(len(some), now))
        assert not packets(commands)
        told_counted += notes(commands)
        assert counted.acknowledged_bytes == heard.acknowledged_bytes
        assert counted.timed_out(now)[:-1] == heard.timed_out(now)[:-1]
    assert len(told_counted) <= len(told_heard)
    if set(told) == {1}:
        assert told_counted == told_heard
    last = Ack(block=(size // blksize + 1) % 0x10000)
    assert notes(heard.receive(last, now)) == ["tftp.transfer.finished"]
    assert notes(counted.receive(last, now)) == ["tftp.transfer.finished"]


def test_the_end_of_a_long_transfer_in_lock_step_wraps_as_ever() -> None:
    content = random.Random(1).randbytes(8 * 70_000 + 3)
    source = transfer(content, policy=FAST, blksize=8)
    source.start(0.0)
    commands = source.receive(Ack(block=0), 0.0)
    [step] = [c for c in commands if isinstance(c, LockStep)]
    got = packets(commands)
    for block, (expected, answer) in enumerate(step.rounds, 1):
        assert tftp.decode(expected) == Ack(block=block % 0x10000)
        got += map(tftp.decode, answer)
    assert b"".join(p.payload for p in got if isinstance(p, Data)) == content


def test_smee_caps_blksize_at_512_and_ignores_windows_and_timeouts() -> None:
    commands = transfer(bytes(1000), blksize=1468, tsize=0, windowsize=4, timeout=3).start(0.0)
    assert packets(commands) == [Oack(options={"blksize": "512", "tsize": "1000"})]
    assert notes(commands) == ["tftp.oack.sent"]
    assert [c.at for c in commands if isinstance(c, SetTimer)] == [10.0]


def test_options_nobody_granted_lead_straight_to_data() -> None:
    commands = transfer(b"abc", blksize=8, multicast="").start(0.0)
    assert packets(commands) == [Data(block=1, payload=b"abc")]


def test_a_granted_window_is_sent_whole() -> None:
    source = transfer(bytes(5000), policy=FAST, blksize=1000, windowsize=3)
    assert packets(source.start(0.0)) == [Oack(options={"blksize": "1000", "windowsize": "3"})]
    assert [p.block for p in packets(source.receive(Ack(block=0), 0.0)) if isinstance(p, Data)] == [
        1,
        2,
        3,
    ]
    last = packets(source.receive(Ack(block=3), 0.0))
    assert [len(p.payload) for p in last if isinstance(p, Data)] == [1000, 1000, 0]


def test_a_lost_first_block_of_a_window_is_resent_once() -> None:
    source = transfer(bytes(5000), policy=FAST, blksize=1000, windowsize=2)
    source.start(0.0)
    source.receive(Ack(block=0), 0.0)
    assert len(packets(source.receive(Ack(block=0), 0.0))) == 2
    assert packets(source.receive(Ack(block=0), 0.0)) == []


def test_a_repeated_ack_does_not_call_the_sorcerers_apprentice() -> None:
    source = transfer(bytes(5000))
    source.start(0.0)
    assert len(packets(source.receive(Ack(block=1), 0.0))) == 1
    assert source.receive(Ack(block=1), 0.0) == []
    assert source.receive(Ack(block=0), 0.0) == []
    assert source.receive(Ack(block=9), 0.0) == []


def test_a_block_that_is_sent_again_is_told() -> None:
    source = transfer(bytes(1000), policy=TftpPolicy(retries=2))
    source.start(0.0)
    assert notes(source.timed_out(10.0)) == []  # not an octet has arrived yet
    source.receive(Ack(block=1), 11.0)
    commands = source.timed_out(21.0)
    [note] = [command for command in commands if isinstance(command, Note)]
    assert note.name == "tftp.transfer.progressed"
    assert (note.fields["bytes"], note.fields["resends"]) == (512, 2)


def test_silence_is_retransmitted_then_given_up() -> None:
    source = transfer(b"abc", policy=TftpPolicy(retries=2))
    first = packets(source.start(0.0))
    for now in (10.0, 20.0):
        assert packets(source.timed_out(now)) == first
    commands = source.timed_out(30.0)
    assert notes(commands) == ["tftp.transfer.timed_out"]
    [note] = [command for command in commands if isinstance(command, Note)]
    assert note.fields["resends"] == 2
    assert isinstance(packets(commands)[0], Error)
    assert source.over


def test_an_error_after_the_oack_is_an_abort_with_its_code() -> None:
    source = transfer(bytes(1000), tsize=0)
    source.start(0.0)
    commands = source.receive(Error(code=8, text="User aborted the transfer"), 1.0)
    assert notes(commands) == ["tftp.transfer.aborted"]
    assert packets(commands) == []
    assert source.over


def test_progress_is_told_every_half_second_at_most() -> None:
    source = transfer(bytes(512 * 100))
    source.start(0.0)
    told = []
    for block in range(1, 101):
        told += notes(source.receive(Ack(block=block), block * 0.1))
    assert 15 <= told.count("tftp.transfer.progressed") <= 20


def test_netascii_changes_the_length() -> None:
    source = transfer(b"a\nb", mode="netascii", tsize=0)
    assert packets(source.start(0.0)) == [Oack(options={"tsize": "4"})]


class Shrinking:
    """A file of ``size`` octets, of which only the first ``there`` are left."""

    def __init__(self, size: int, there: int) -> None:
        self.size = size
        self.there = there

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        return bytes(self.there)[part]


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("there", [0, 700, 5000, 19_999])
def test_a_file_that_shrinks_ends_in_an_error(window: int, there: int) -> None:
    source = transfer(Shrinking(20_000, there), policy=FAST, windowsize=window)
    client = ModelClient(source, window=window, blksize=512, loss=0.0, seed=1)
    client.run()
    assert source.over
    assert there - 512 * window < len(client.received) <= there
    assert source.timed_out(99.0) == []


def test_what_is_left_of_a_file_that_shrinks_goes_in_lock_step() -> None:
    source = transfer(Shrinking(512 * 600, 512 * 400), policy=FAST, blksize=512)
    source.start(0.0)
    [step] = [each for each in source.acknowledged(0, 0.0) if isinstance(each, LockStep)]
    rounds = list(step.rounds)
    assert 0 < len(rounds) <= 400  # the sends of block 2 and later
    step.over(len(rounds), 1.0)
    commands, acked = [], len(rounds)
    while not source.over:
        acked += 1
        commands = source.acknowledged(acked, 1.0)
    assert notes(commands) == ["tftp.error.sent"]
    assert packets(commands) == [Error(code=0, text="f has become shorter")]
    assert acked == 400


# -- the server -----------------------------------------------------------------------------------

RRQ = Request(opcode=Opcode.RRQ, file="ipxe.efi", mode="octet")


def server(content: bytes | Refusal = b"abc") -> TftpServer:
    return TftpServer(open=lambda file, peer: content, identify=lambda ip: "52:54:00:00:00:01")


def test_an_unknown_file_is_refused_in_smees_words() -> None:
    commands = server(unknown_file("x")).receive(tftp.encode(RRQ), PEER, 0.0)
    assert packets(commands) == [Error(code=1, text="file [x] unknown: file does not exist")]
    assert notes(commands) == ["tftp.request.received", "tftp.error.sent"]


def test_writes_are_refused() -> None:
    wrq = replace(RRQ, opcode=Opcode.WRQ)
    commands = server().receive(tftp.encode(wrq), PEER, 0.0)
    assert packets(commands) == [Error(code=1, text="access_violation: permission denied")]


def test_two_clients_share_the_port() -> None:
    both = server(bytes(600))
    other = (PEER[0], PEER[1] + 1)
    for peer in (PEER, other):
        assert len(packets(both.receive(tftp.encode(RRQ), peer, 0.0))) == 1
    for peer in (PEER, other):
        [data] = packets(both.receive(tftp.encode(Ack(block=1)), peer, 0.0))
        assert isinstance(data, Data)
        assert data.block == 2
        assert notes(both.receive(tftp.encode(Ack(block=2)), peer, 0.0)) == [
            "tftp.transfer.finished"
        ]
        assert both.receive(tftp.encode(Ack(block=2)), peer, 0.0) == []


def test_a_repeated_request_repeats_the_first_packet() -> None:
    one = server(bytes(600))
    first = packets(one.receive(tftp.encode(RRQ), PEER, 0.0))
    again = one.receive(tftp.encode(RRQ), PEER, 1.0)
    assert packets(again) == first
    assert notes(again) == []


def test_a_new_request_from_the_same_port_starts_anew() -> None:
    one = server(bytes(600))
    one.receive(tftp.encode(RRQ), PEER, 0.0)
    one.receive(tftp.encode(Ack(block=1)), PEER, 0.0)
    [data] = packets(one.receive(tftp.encode(replace(RRQ, file="other")), PEER, 0.0))
    assert isinstance(data, Data)
    assert data.block == 1


def test_a_timer_reaches_its_transfer_only() -> None:
    one = server(bytes(600))
    one.receive(tftp.encode(RRQ), PEER, 0.0)
    assert len(packets(one.timer("t1 retransmit", 10.0))) == 1
    assert one.timer("t9 retransmit", 10.0) == []


def test_a_stranger_on_a_transfers_own_port_gets_error_5() -> None:
    solo = Solo(transfer(bytes(600)))
    solo.transfer.start(0.0)
    stranger = ("192.168.77.66", 1)
    [error] = packets(solo.receive(tftp.encode(Ack(block=1)), stranger, 0.0))
    assert isinstance(error, Error)
    assert error.code == 5
    assert solo.receive(tftp.encode(Error(code=0, text="x")), stranger, 0.0) == []
    assert len(packets(solo.receive(tftp.encode(Ack(block=1)), PEER, 0.0))) == 1


def test_a_transfer_that_never_began_is_forgotten() -> None:
    core = TftpServer(open=lambda file, peer: Shrinking(5, 0))
    assert packets(core.receive(tftp.encode(RRQ), PEER, 0.0)) == [
        Error(code=0, text="ipxe.efi has become shorter")
    ]
    assert core.receive(tftp.encode(Ack(block=1)), PEER, 0.0) == []
    assert len(core.receive(tftp.encode(RRQ), PEER, 0.0)) > 1  # asked again: looked at anew
