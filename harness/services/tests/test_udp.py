"""The shell: what commands become, what a bug becomes, and where faults sit."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from harness.errors import DecodeError, ServiceCrashed, SetupFailed
from harness.services import udp
from harness.services.udp import UdpShell, udp_socket
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named
from harness.wire.commands import Address, CancelTimer, Command, LockStep, Note, Send, SetTimer


@dataclass
class Echo:
    """Answers every datagram as ``answer`` says."""

    answer: Callable[[bytes, Address, float], Sequence[Command]]
    timers: list[str] = field(default_factory=list)

    def receive(self, datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        return self.answer(datagram, peer, now)

    def timer(self, name: str, now: float) -> Sequence[Command]:
        self.timers.append(name)
        return [Note(name="dhcp.malformed", fields={"reason": name})]


def echo(datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
    return [Send(data=datagram, destination=peer)]


class Bench:
    """A shell around ``Echo``, and a client's socket."""

    def __init__(self, core: Echo | Counting) -> None:
        self.timeline = Timeline(None)
        self.tasks = TaskKeeper()
        self.core = core
        sock = udp_socket(service="dhcp", bind="127.0.0.1", port=0)
        self.shell = UdpShell(
            service="dhcp",
            core=core,
            sock=sock,
            timeline=self.timeline,
            tasks=self.tasks,
        )
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.client.setblocking(False)
        self.client.connect(("127.0.0.1", self.shell.port))

    async def ask(self, datagram: bytes) -> bytes:
        self.client.send(datagram)
        return await self.answer()

    async def answer(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.client, 65_535), 5)

    async def event(self, name: str) -> None:
        await asyncio.wait_for(self.timeline.wait_for(lambda event: event.name == name), 5)

    def close(self) -> None:
        self.shell.close()
        self.shell.close()
        self.client.close()


Make = Callable[..., Bench]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    benches: list[Bench] = []

    def one(core: Echo) -> Bench:
        benches.append(Bench(core))
        return benches[-1]

    yield one
    for bench in benches:
        bench.close()


async def test_a_datagram_goes_through_the_core(make: Make) -> None:
    bench = make(Echo(echo))
    assert await bench.ask(b"hello") == b"hello"
    bench.shell.close()
    assert bench.shell.closed


async def test_a_decode_error_is_noted_and_the_shell_lives_on(make: Make) -> None:
    def refuse(datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        if datagram == b"bad":
            raise DecodeError("not what it should be")
        return echo(datagram, peer, now)

    bench = make(Echo(refuse))
    bench.client.send(b"bad")
    assert await bench.ask(b"good") == b"good"
    [event] = named(bench.timeline, "dhcp.malformed")
    assert (event["reason"], event["bytes"]) == ("not what it should be", 3)


async def test_a_bug_in_a_core_fails_the_lab(make: Make) -> None:
    def broken(datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        raise KeyError("bug")

    bench = make(Echo(broken))
    bench.client.send(b"x")
    with pytest.raises(ServiceCrashed, match="dhcp crashed: KeyError"):
        await asyncio.wait_for(asyncio.shield(bench.tasks.failure), 5)
    assert len(named(bench.timeline, "service.crashed")) == 1
    assert bench.shell.closed


async def test_timers_end_once_and_can_be_replaced_and_cancelled(make: Make) -> None:
    def arm(datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        return [
            SetTimer(name="a", at=now + 3600),
            SetTimer(name="a", at=now + 0.01),
            SetTimer(name="b", at=now),
            CancelTimer(name="b"),
            CancelTimer(name="never set"),
            Send(data=b"armed", destination=peer),
        ]

    bench = make(Echo(arm))
    await bench.ask(b"x")
    await bench.event("dhcp.malformed")
    assert bench.core.timers == ["a"]


async def test_a_closed_shell_sets_no_timer(make: Make) -> None:
    core = Echo(echo)
    bench = make(core)
    bench.shell.close()
    bench.shell.run([SetTimer(name="late", at=0.0)])
    loop = asyncio.get_running_loop()
    later = loop.create_future()
    loop.call_later(0.01, later.set_result, None)  # by then the late one would have ended
    await later
    assert core.timers == []


async def test_a_timer_that_is_put_off_ends_once_and_no_earlier(make: Make) -> None:
    def put_off(datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        return [SetTimer(name="a", at=now + 0.2), Send(data=datagram, destination=peer)]

    bench = make(Echo(put_off))
    for _ in range(3):
        await bench.ask(b"x")
        asked = bench.timeline.clock.now()
        await asyncio.wait([asyncio.ensure_future(bench.answer())], timeout=0.05)  # noqa: TID251
    await bench.event("dhcp.malformed")
    assert bench.timeline.clock.now() >= asked + 0.19
    assert bench.core.timers == ["a"]


@dataclass
class Counting:
    """Counts to ``last`` with its client, in lock step from the first "go" on."""

    last: int
    heard: list[bytes] = field(default_factory=list)
    told: int = 0
    timers: list[str] = field(default_factory=list)

    def receive(self, datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        self.heard.append(datagram)
        said = f"{datagram.decode()} after {self.told}".encode()
        answer = Send(data=said, destination=peer)
        if datagram != b"go":
            return [answer]
        rounds = ((b"%d" % n, [b"%d!" % n, b"%d?" % n]) for n in range(1, self.last + 1))
        return [answer, LockStep(peer=peer, rounds=rounds, over=self._over)]

    def _over(self, count: int, now: float) -> Sequence[Command]:
        self.told += count
        return [SetTimer(name="put off", at=now + 3600)]

    def timer(self, name: str, now: float) -> Sequence[Command]:
        self.timers.append(name)
        return []


async def test_a_core_in_lock_step_hears_of_its_rounds_before_anything_else(make: Make) -> None:
    core = Counting(last=3)
    bench = make(core)
    assert await bench.ask(b"go") == b"go after 0"
    for number in (b"1", b"2"):
        assert await bench.ask(number) == number + b"!"
        assert await bench.answer() == number + b"?"
    assert await bench.ask(b"2") == b"2 after 2"  # not what was expected, and the end of it
    assert await bench.ask(b"3") == b"3 after 2"
    assert core.heard == [b"go", b"2", b"3"]


async def test_lock_step_ends_with_its_last_round(make: Make) -> None:
    core = Counting(last=1)
    bench = make(core)
    await bench.ask(b"go")
    assert await bench.ask(b"1") == b"1!"
    assert core.told == 1
    assert await bench.answer() == b"1?"
    assert await bench.ask(b"1") == b"1 after 1"


async def test_a_bug_in_a_round_fails_the_lab(make: Make) -> None:
    def rounds() -> Iterator[tuple[bytes, Sequence[bytes]]]:
        yield b"1", []
        raise KeyError("bug")

    def start(datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        step = LockStep(peer=peer, rounds=rounds(), over=lambda count, now: [])
        return [step, Send(data=b"go", destination=peer)]

    bench = make(Echo(start))
    await bench.ask(b"go")
    bench.client.send(b"1")
    with pytest.raises(ServiceCrashed, match="dhcp crashed: KeyError"):
        await asyncio.wait_for(asyncio.shield(bench.tasks.failure), 5)


async def test_a_refused_datagram_is_an_event_and_no_crash(make: Make) -> None:
    def both(datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        too_long = Send(data=bytes(70_000), destination=peer)
        return [too_long, Send(data=b"still here", destination=peer)]

    bench = make(Echo(both))
    assert await bench.ask(b"x") == b"still here"
    [event] = named(bench.timeline, "service.send.failed")
    assert event["error"] == "Message too long"


async def test_many_answers_at_once_arrive_in_order(make: Make) -> None:
    def many(datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        return [Send(data=bytes([n]) * 1000, destination=peer) for n in range(100)]

    bench = make(Echo(many))
    bench.client.send(b"x")
    assert [(await bench.answer())[0] for _ in range(100)] == list(range(100))


async def test_a_taken_port_is_said_with_a_hint(make: Make) -> None:
    bench = make(Echo(echo))
    with pytest.raises(SetupFailed, match="can't listen") as raised:
        udp_socket(service="dhcp", bind="127.0.0.1", port=bench.shell.port)
    assert raised.value.hint


# -- a client that is back at once ----------------------------------------------------------------


def _count(port: int, rounds: int) -> list[bytes]:
    """Go through ``rounds`` as a client that does nothing else; return what else was said."""
    odd = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port))
        sock.send(b"go")
        if (said := sock.recv(100)) != b"go after 0":
            odd.append(said)
        for number in range(1, rounds + 1):
            sock.send(b"%d" % number)
            odd += [said for mark in b"!?" if (said := sock.recv(100)) != b"%d%c" % (number, mark)]
    return odd


async def test_the_loop_gets_its_turn_while_rounds_follow_each_other_at_once(make: Make) -> None:
    core = Counting(last=3000)
    bench = make(core)
    await bench.ask(b"go")
    for number in range(1, core.last + 1):  # none of them is ever waited for
        bench.client.send(b"%d" % number)
    loop, turns = asyncio.get_running_loop(), 0
    while core.told < core.last:
        turns += 1
        tick = loop.create_future()
        loop.call_soon(tick.set_result, None)
        await tick
    assert turns >= 5
    assert core.heard == [b"go"]


_CLIENTS = 20


async def test_clients_in_lock_step_at_once_are_each_answered_their_own(make: Make) -> None:
    """Also those beyond the number that get sockets of their own."""
    loop = asyncio.get_running_loop()
    core = Counting(last=200)
    bench = make(core)
    with ThreadPoolExecutor(_CLIENTS) as threads:
        many = [
            loop.run_in_executor(threads, _count, bench.shell.port, core.last)
            for _ in range(_CLIENTS)
        ]
        said = [odd for each in await asyncio.gather(*many) for odd in each]
    # the core counts the rounds of all of them together
    assert all(each.startswith(b"go after") for each in said)
    assert core.heard == [b"go"] * _CLIENTS
    assert core.told == _CLIENTS * core.last


async def test_a_client_that_falls_silent_holds_nothing_up(make: Make) -> None:
    core = Counting(last=10)
    bench = make(core)
    await bench.ask(b"go")
    for number in (b"1", b"2"):
        await bench.ask(number)
        await bench.answer()
    loop, began_s = asyncio.get_running_loop(), time.monotonic()
    later = loop.create_future()
    loop.call_later(0.01, later.set_result, None)
    await later
    assert time.monotonic() - began_s < 2  # an unbounded wait would never end
    assert await bench.ask(b"3") == b"3!"


async def test_a_stranger_in_between_is_heard_by_the_core(make: Make) -> None:
    core = Counting(last=300)
    bench = make(core)
    loop = asyncio.get_running_loop()
    counting = loop.run_in_executor(None, _count, bench.shell.port, core.last)
    asked = 0
    while not counting.done():
        asked += 1
        assert (await bench.ask(b"hello")).startswith(b"hello after ")
    assert await counting == []
    assert core.heard.count(b"hello") == asked
    assert core.told == core.last


async def test_a_client_that_was_idle_is_answered_by_the_first_socket(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "_TWIN_IDLE_S", 0.02)
    core = Counting(last=10)
    bench = make(core)
    await bench.ask(b"go")
    assert len(bench.shell._twins) == 1
    assert await bench.ask(b"1") == b"1!"
    await bench.answer()
    loop = asyncio.get_running_loop()
    while bench.shell._twins:
        tick = loop.create_future()
        loop.call_later(0.01, tick.set_result, None)
        await tick
    assert await bench.ask(b"2") == b"2!"
    assert await bench.answer() == b"2?"
    assert await bench.ask(b"else") == b"else after 2"
    assert core.heard == [b"go", b"else"]


async def test_a_client_whose_port_is_closed_is_no_crash(make: Make) -> None:
    core = Counting(last=10)
    bench = make(core)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.connect(("127.0.0.1", bench.shell.port))
        gone.send(b"go")
        while not core.heard:
            await bench.ask(b"hello")
            core.heard.remove(b"hello")
        gone.send(b"1")
    assert (await bench.ask(b"still here")).startswith(b"still here after")
    assert not bench.shell.closed
    assert not bench.tasks.failure.done()


async def test_what_came_while_a_twin_was_made_is_part_of_the_lock_step(make: Make) -> None:
    core = Counting(last=10)
    bench = make(core)
    await bench.ask(b"go")
    sender = bench.client.getsockname()
    bench.shell._came_early(b"1", sender)
    assert await bench.answer() == b"1!"
    assert await bench.answer() == b"1?"
    bench.shell._came_early(b"9", sender)
    assert await bench.answer() == b"9 after 1"
    assert core.heard == [b"go", b"9"]
