"""Every way an HTTP answer can misbehave, as a client on a plain socket sees it, and its twin."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.clock import Deadline
from harness.faults.deeds import (
    Close,
    Corrupt,
    Deed,
    Delay,
    Drop,
    Redirect,
    Remove,
    Replace,
    Reset,
    Stall,
    Status,
    Trickle,
    Truncate,
)
from harness.services import sendfile
from harness.services.answer import Answer, treat
from harness.services.http import HttpService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named
from harness.wire.ipxe import ScriptConfig
from harness.wire.netboot import Reservation, Reservations

SIZE = 300_000
SOON = timedelta(seconds=20)
QUIET_S = 0.3
MAC = "52:54:00:00:00:02"


@dataclass
class Seen:
    """What a client got: head, body, and how it ended."""

    head: str = ""
    body: bytes = b""
    ended: str = "open"


@dataclass
class Site:
    service: HttpService
    timeline: Timeline
    content: bytes
    facts: list[dict[str, Any]]

    async def get(self, path: str = "/hook/vmlinuz-x86_64", *, quiet_s: float = 20.0) -> Seen:
        """Ask, and read until the connection ends, the answer is whole, or nothing comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.service.port)
        seen, received = Seen(), b""
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n".encode())
            while True:
                async with asyncio.timeout(quiet_s):
                    data = await reader.read(1 << 16)
                if not data:
                    seen.ended = "close"
                    break
                received += data
                head, _, body = received.partition(b"\r\n\r\n")
                length = [h for h in head.lower().split(b"\r\n") if h.startswith(b"content-length")]
                if length and len(body) >= int(length[0].split(b":")[1]):
                    with contextlib.suppress(TimeoutError):  # is there more than was promised?
                        async with asyncio.timeout(QUIET_S):
                            more = await reader.read(1 << 16)
                            received += more
                            seen.ended = "open" if more else "close"
                    break
        except TimeoutError:
            seen.ended = "silence"
        except ConnectionResetError:
            seen.ended = "reset"
        finally:
            writer.transport.abort()
        head, _, seen.body = received.partition(b"\r\n\r\n")
        seen.head = head.decode().lower()
        return seen

    async def event(self, name: str) -> Any:
        async with asyncio.timeout(SOON.total_seconds()):
            return await self.timeline.wait_for(lambda event: event.name == name)


Start = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    @contextlib.asynccontextmanager
    async def started(
        *deeds: Deed, occasion: str = "request", first: int = 99, size: int = SIZE
    ) -> Any:
        content = os.urandom(size)
        kernel = tmp_path / "vmlinuz"
        kernel.write_bytes(content)
        timeline, tasks = Timeline(None), TaskKeeper()
        facts: list[dict[str, Any]] = []

        def strike(what: str, /, **found: Any) -> tuple[Deed, ...]:
            if what != occasion:
                return ()
            facts.append(found)
            return deeds if len(facts) <= first else ()

        service = HttpService(
            timeline=timeline,
            tasks=tasks,
            reservations=Reservations([Reservation(mac=MAC, address="127.0.0.1", allow_pxe=True)]),
            scripts=ScriptConfig(osie_url="http://lab/hook", syslog_host="192.0.2.1"),
            binaries={},
            artifacts={"vmlinuz-x86_64": kernel},
            bind="127.0.0.1",
            port=0,
            strike=strike,
        )
        await service.start()
        try:
            yield Site(service, timeline, content, facts)
            assert not tasks.failure.done(), tasks.failure.exception()
        finally:
            deadline = Deadline.after(timedelta(seconds=3))
            await service.stop()
            assert not deadline.expired
            await tasks.close()
            timeline.close()

    return started


async def test_a_thread_that_sends_to_a_fast_client_ends_with_the_service(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sendfile, "_FAST_PER_S", 0.0)  # whoever reads is
    async with start(size=40_000_000) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.port)
        writer.write(b"GET /hook/vmlinuz-x86_64 HTTP/1.1\r\nHost: lab\r\n\r\n")
        await reader.readexactly(8_000_000)
        deadline = Deadline.after(timedelta(seconds=1))
        await site.service.stop()
        assert not deadline.expired
        aborted = await site.event("http.response.aborted")
        assert 8_000_000 <= aborted["bytes"] + 1000 < 40_000_000  # the head was read, too
        writer.transport.abort()


async def test_without_a_deed_all_is_well_and_the_facts_are_told(start: Start) -> None:
    async with start() as site:
        seen = await site.get()
        assert (seen.body, seen.ended) == (site.content, "open")
        [facts] = site.facts
        assert facts["mac"] == MAC
        assert (facts["method"], facts["file"], facts["status"]) == ("GET", "kernel", 200)


@pytest.mark.parametrize("at", [0, 1, 100_000, SIZE])
@pytest.mark.parametrize(("deed", "ended"), [(Close, "close"), (Reset, "reset")])
async def test_a_connection_ends_at_an_octet(
    start: Start, deed: Callable[..., Deed], ended: str, at: int
) -> None:
    async with start(deed(at=at), first=1) as site:
        seen = await site.get()
        assert (seen.body, seen.ended) == (site.content[:at], ended)
        assert bool(seen.head) == bool(at)
        event = await site.event("http.response.cut")
        assert (event["bytes"], event["length"], event["how"]) == (at, SIZE, ended)
        assert not named(site.timeline, "http.response.finished", "http.response.aborted")
        assert (await site.get()).body == site.content


@pytest.mark.parametrize("at", [0, 70_000])
async def test_nothing_more_comes(start: Start, at: int) -> None:
    async with start(Stall(at=at), first=1) as site:
        seen = await site.get(quiet_s=QUIET_S)
        assert (seen.body, seen.ended) == (site.content[:at], "silence")
        event = await site.event("http.response.aborted")  # the client left
        assert event["bytes"] == at
        assert (await site.get()).body == site.content


async def test_a_stall_may_end(start: Start) -> None:
    async with start(Stall(at=10, seconds=QUIET_S)) as site:
        before = site.timeline.clock.now()
        seen = await site.get()
        assert (seen.body, seen.ended) == (site.content, "open")
        assert site.timeline.clock.now() - before >= QUIET_S


async def test_it_is_never_answered_and_the_service_still_stops(start: Start) -> None:
    async with start(Drop()) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.service.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: lab\r\n\r\n")
        await site.event("http.request.received")
        await site.service.stop()
        assert await reader.read() == b""
        writer.close()


async def test_it_is_answered_later(start: Start) -> None:
    async with start(Delay(seconds=QUIET_S)) as site:
        seen = await site.get(quiet_s=QUIET_S / 3)
        assert (seen.head, seen.ended) == ("", "silence")
        seen = await site.get()
        assert (seen.body, seen.ended) == (site.content, "open")


async def test_it_trickles(start: Start) -> None:
    async with start(Trickle(octets_per_s=100_000, at=SIZE - 50_000)) as site:
        before = site.timeline.clock.now()
        seen = await site.get()
        assert seen.body == site.content
        assert 0.45 <= site.timeline.clock.now() - before < 10


async def test_a_shorter_body_has_the_right_length(start: Start) -> None:
    async with start(Truncate(octets=1234)) as site:
        seen = await site.get()
        assert (seen.body, seen.ended) == (site.content[:1234], "open")
        assert "content-length: 1234" in seen.head
        assert (await site.event("http.response.finished"))["bytes"] == 1234


async def test_octets_are_corrupted_by_the_seed(start: Start) -> None:
    async with start(Corrupt(octets=3, seed=7), Corrupt(octets=2, at=65_535, seed=1)) as site:
        one, two = (await site.get()).body, (await site.get()).body
        changed = [n for n, (a, b) in enumerate(zip(one, site.content, strict=True)) if a != b]
        assert one == two
        assert {65_535, 65_536} < set(changed)
        assert len(changed) == 5


@pytest.mark.parametrize("told", [SIZE - 10, SIZE + 10])
async def test_the_length_is_a_lie(start: Start, told: int) -> None:
    async with start(Replace(fields={"content-length": told})) as site:
        seen = await site.get()
        assert f"content-length: {told}" in seen.head
        assert len(seen.body) > told if told < SIZE else len(seen.body) == SIZE
        assert site.content.startswith(seen.body)
        cut = await site.event("http.response.cut")
        assert (cut["bytes"], cut["length"]) == (SIZE, told)


async def test_it_is_another_answer(start: Start) -> None:
    fields = {"status": 203, "body": "<html>", "Content-Type": "text/html"}
    async with start(Replace(fields=fields), Remove(fields=("etag",))) as site:
        seen = await site.get()
        assert seen.body == b"<html>"
        assert " 203 " in seen.head
        assert "content-type: text/html" in seen.head
        assert "etag" not in seen.head


async def test_it_is_refused_so_often(start: Start) -> None:
    deed = Status(code=429, headers={"Retry-After": "5"})
    async with start(deed, first=2) as site:
        for _ in range(2):
            seen = await site.get()
            assert " 429 " in seen.head
            assert "retry-after: 5" in seen.head
        assert (await site.get()).body == site.content
        finished = named(site.timeline, "http.response.finished")
        assert [event["status"] for event in finished] == [429, 429, 200]


async def test_it_is_elsewhere(start: Start) -> None:
    async with start(Redirect(to="http://elsewhere.invalid/", code=301)) as site:
        seen = await site.get()
        assert " 301 " in seen.head
        assert "location: http://elsewhere.invalid/" in seen.head


@pytest.mark.parametrize(
    ("deed", "ended"), [(Close(), "close"), (Reset(), "reset"), (Drop(), "silence")]
)
async def test_a_connection_never_gets_to_speak(start: Start, deed: Deed, ended: str) -> None:
    async with start(deed, occasion="connection", first=1) as site:
        assert (await site.get(quiet_s=QUIET_S)).ended == ended
        assert site.facts[0]["mac"] == MAC
        assert (await site.get()).body == site.content


def test_deeds_compose() -> None:
    answer = Answer(status=200, headers=(("Content-Length", "5"),), body=b"12345")
    changed, how = treat(
        answer, [Truncate(octets=3), Delay(seconds=1), Delay(seconds=2), Close(at=2)]
    )
    assert (changed.body, changed.header("content-length")) == (b"123", "3")
    assert (how.delay_s, how.at) == (3, 2)
