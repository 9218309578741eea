"""What the deeds do to datagrams between a core and its shell, without a socket or a clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.errors import DecodeError
from harness.faults.deeds import (
    Corrupt,
    Deed,
    Delay,
    Drop,
    Duplicate,
    Reorder,
    Source,
    Truncate,
)
from harness.faults.tampering import REPLY, REQUEST, Tampering, nobody, tampered
from harness.wire.commands import (
    Address,
    CancelTimer,
    Command,
    LockStep,
    Malformed,
    Note,
    Send,
    SetTimer,
)

PEER = ("192.168.77.10", 68)


class Echo:
    """Answers each datagram with itself, and notes that it did."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def receive(self, datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        del now
        self.heard.append(datagram)
        sent = Note(name="dns.answer.sent", fields={"answers": datagram})
        return [Send(data=datagram, destination=peer), sent]

    def timer(self, name: str, now: float) -> Sequence[Command]:
        del now
        return [Send(data=name.encode(), destination=PEER)]


class Plain:
    """A dialect of datagrams that are their own only fact."""

    def request(self, datagram: bytes, peer: Address) -> dict[str, Any]:
        del peer
        return {"data": datagram}

    reply = request

    def bend(self, deed: Deed, datagram: bytes, occasion: str) -> bytes:
        del deed, occasion
        return datagram

    def retell(self, note: Note, datagram: bytes) -> Note:
        del datagram
        return note


class Bench:
    """A tampering whose faults are a mapping of (occasion, data) to deeds."""

    def __init__(self, faults: dict[tuple[str, bytes], tuple[Deed, ...]]) -> None:
        self.echo = Echo()

        def strike(occasion: str, /, **facts: Any) -> tuple[Deed, ...]:
            return faults.get((occasion, facts["data"]), ())

        self.core = Tampering(self.echo, strike=strike, dialect=Plain())
        self.timers: dict[str, float] = {}
        self.sent: list[bytes] = []
        self.sources: list[Address | None] = []
        self.notes = 0

    def ask(self, *datagrams: bytes, now: float = 0.0) -> list[bytes]:
        """Return what is sent at once."""
        self.sent.clear()
        for datagram in datagrams:
            self.run(self.core.receive(datagram, PEER, now))
        return list(self.sent)

    def run(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Send():
                    self.sent.append(command.data)
                    self.sources.append(command.source)
                case SetTimer(name=name, at=at):
                    self.timers[name] = at
                case CancelTimer(name=name):
                    self.timers.pop(name)
                case Note():
                    self.notes += 1

    def later(self) -> list[tuple[float, bytes]]:
        """Let every timer end; return when, and what was sent then."""
        out = []
        for name, at in sorted(self.timers.items(), key=lambda item: item[1]):
            self.sent.clear()
            self.run(self.core.timer(name, at))
            out += [(at, data) for data in self.sent]
        self.timers.clear()
        return out


def test_no_datagram_goes_by_in_lock_step() -> None:
    class Steps(Echo):
        def receive(self, datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
            step = LockStep(peer=peer, rounds=iter([]), over=lambda count, now: [])
            return [*super().receive(datagram, peer, now), step]

    core = Tampering(Steps(), strike=lambda occasion, /, **facts: (), dialect=Plain())
    kinds = [type(command) for command in core.receive(b"a", PEER, 0.0)]
    assert kinds == [Send, Note]


def test_without_a_fault_nothing_changes() -> None:
    bench = Bench({})
    assert bench.ask(b"a", b"b") == [b"a", b"b"]
    assert bench.timers == {}
    assert bench.notes == 2


def test_a_lost_request_is_never_heard_and_a_lost_reply_was_sent_all_the_same() -> None:
    bench = Bench({(REQUEST, b"a"): (Drop(),), (REPLY, b"b"): (Drop(),)})
    assert bench.ask(b"a", b"b", b"c") == [b"c"]
    assert bench.echo.heard == [b"b", b"c"]
    assert bench.notes == 2


def test_a_delay_on_either_way() -> None:
    faults: dict[tuple[str, bytes], tuple[Deed, ...]] = {
        (REQUEST, b"a"): (Delay(seconds=2.0),),
        (REPLY, b"b"): (Delay(seconds=1.0), Delay(seconds=0.5)),
    }
    bench = Bench(faults)
    assert bench.ask(b"a", b"b", now=10.0) == []
    assert bench.echo.heard == [b"b"]
    assert bench.later() == [(11.5, b"b"), (12.0, b"a")]


def test_duplicates_at_once_and_apart() -> None:
    assert Bench({(REPLY, b"a"): (Duplicate(times=2),)}).ask(b"a") == [b"a"] * 3
    apart = Bench({(REQUEST, b"a"): (Duplicate(times=2, seconds=1.0),)})
    assert apart.ask(b"a") == [b"a"]
    assert apart.later() == [(1.0, b"a"), (2.0, b"a")]
    assert apart.echo.heard == [b"a"] * 3


@pytest.mark.parametrize("occasion", [REQUEST, REPLY])
def test_reordering_lets_others_by_and_waits_no_longer_than_it_says(occasion: str) -> None:
    faults: dict[tuple[str, bytes], tuple[Deed, ...]] = {
        (occasion, b"a"): (Reorder(behind=2, seconds=1.0),)
    }
    bench = Bench(faults)
    assert bench.ask(b"a", b"b", b"c", b"d") == [b"b", b"c", b"a", b"d"]
    assert bench.timers == {}
    alone = Bench(faults)
    assert alone.ask(b"a") == []
    assert alone.later() == [(1.0, b"a")]


def test_octets_are_changed_or_cut_off_in_the_order_of_the_faults() -> None:
    bench = Bench({(REPLY, bytes(8)): (Corrupt(octets=1, at=2, seed=3), Truncate(octets=4))})
    (data,) = bench.ask(bytes(8))
    assert len(data) == 4
    assert data[2] != 0


def test_garbage_that_was_held_back_is_malformed_and_no_crash() -> None:
    class Picky(Echo):
        def receive(self, datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
            if datagram != b"good":
                raise DecodeError("too short")
            return super().receive(datagram, peer, now)

    deeds = {b"late": Delay(seconds=1.0), b"overtaken": Reorder(behind=1, seconds=1.0)}

    def strike(occasion: str, /, **facts: Any) -> tuple[Deed, ...]:
        deed = deeds.get(facts["data"])
        return (deed, Truncate(octets=2)) if deed and occasion == REQUEST else ()

    core = Tampering(Picky(), strike=strike, dialect=Plain())
    (timer,) = core.receive(b"late", PEER, 0.0)
    assert isinstance(timer, SetTimer)
    assert core.timer(timer.name, 1.0) == [Malformed(datagram=b"la", peer=PEER, reason="too short")]
    core.receive(b"overtaken", PEER, 2.0)
    kinds = [type(command) for command in core.receive(b"good", PEER, 2.5)]
    assert sorted(kinds, key=str) == sorted([Send, Note, CancelTimer, Malformed], key=str)


def test_another_sender() -> None:
    bench = Bench({(REPLY, b"a"): (Source(port=1234),)})
    bench.ask(b"a", b"b")
    assert bench.sources == [("", 1234), None]


def test_what_the_core_repeats_by_itself_can_be_struck_too() -> None:
    bench = Bench({(REPLY, b"again"): (Drop(),)})
    assert list(bench.core.timer("again", 1.0)) == []
    assert len(list(bench.core.timer("other", 1.0))) == 1


def test_a_core_that_no_fault_names_stays_bare() -> None:
    echo = Echo()
    assert tampered(echo, None, Plain()) is echo
    assert nobody("192.168.77.10") is None
