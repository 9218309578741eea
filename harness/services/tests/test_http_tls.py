"""HTTPS of the HTTP server, against curl."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import Authority, KeyKind, Kind
from harness.clock import Deadline
from harness.faults.deeds import Deed, Handshake, Speak
from harness.handshake import Manner, context_for
from harness.process import CommandFailed, run
from harness.services.http import HttpService
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Timeline
from harness.wire.netboot import Reservations

pytestmark = needs("curl")
CONTENT = b"a kernel, of sorts" * 4000


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(keys=KeyKind.ECDSA)


class Served:
    def __init__(self, service: HttpService, timeline: Timeline, ca: Path) -> None:
        self._service = service
        self.port = service.port
        self._timeline = timeline
        self._ca = ca

    async def get(self, *words: str, scheme: str = "https") -> bytes:
        url = f"{scheme}://localhost:{self._service.port}/hook/vmlinuz"
        known = ["--cacert", str(self._ca), "--noproxy", "*"]
        try:
            return (await run(["curl", "-sSf", *known, *words, url])).stdout
        except CommandFailed as failed:
            return str(failed).encode()

    async def event(self, name: str) -> Any:
        found = self._timeline.wait_for(lambda event: event.name == name)
        limit = Deadline.after(timedelta(seconds=10))
        return await TaskKeeper().race(found, limit, waiting_for=name)


@pytest.fixture
def serve(authority: Authority, tmp_path: Path) -> Any:
    @asynccontextmanager
    async def served(*deeds: Deed, tls: bool = True) -> AsyncIterator[Served]:
        def context(kind: Kind | None, manner: Manner) -> ssl.SSLContext:
            issued = authority.issue("localhost", kind=kind or Kind.RIGHT, keys=manner.keys)
            return context_for(issued, manner, alpn=("http/1.1",))

        (tmp_path / "ca.pem").write_bytes(authority.certificate)
        (tmp_path / "vmlinuz").write_bytes(CONTENT)
        timeline, tasks = Timeline(None), TaskKeeper()
        service = HttpService(
            timeline=timeline,
            tasks=tasks,
            reservations=Reservations([]),
            artifacts={"vmlinuz": tmp_path / "vmlinuz"},
            bind="127.0.0.1",
            port=0,
            certificate=authority.issue("localhost").write(tmp_path, "own") if tls else None,
            contexts=cache(context),
            strike=lambda occasion, /, **_: deeds if occasion == "connection" else (),
        )
        await service.start()
        try:
            yield Served(service, timeline, tmp_path / "ca.pem")
        finally:
            await service.stop()
            await tasks.close()

    return served


async def test_a_file(serve: Any) -> None:
    async with serve() as lab:
        assert await lab.get() == CONTENT
        assert (await lab.event("service.started"))["transport"] == "tls"


async def test_a_file_in_small_records(serve: Any) -> None:
    async with serve(Handshake(at_most="TLSv1.2", records=64, segments=500)) as lab:
        assert await lab.get() == CONTENT


def shake_hands(port: int, ca: Path) -> None:
    context = ssl.create_default_context(cafile=str(ca))
    with socket.create_connection(("127.0.0.1", port)) as plain:
        context.wrap_socket(plain, server_hostname="localhost").close()


async def test_a_client_that_does_not_know_the_authority(serve: Any, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(Authority(keys=KeyKind.ECDSA).certificate)
    async with serve() as lab:
        # curl 8.23 looks only when it shook hands, and tells the server nothing any more
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(shake_hands, lab.port, other)
        assert "unknown ca" in (await lab.event("http.tls.failed"))["reason"]


async def test_octets_that_are_neither_tls_nor_http(serve: Any) -> None:
    async with serve() as lab:
        _, writer = await asyncio.open_connection("127.0.0.1", lab.port)
        writer.write(b"\xc3\x89" * 8)  # letters, but not of ASCII
        failed = await lab.event("http.tls.failed")
        assert "plain HTTP" not in failed["reason"]
        writer.close()


async def test_tls_on_the_plain_port(serve: Any) -> None:
    async with serve(Speak(what="tls"), tls=False) as lab:
        assert await lab.get() == CONTENT
        assert b"400" in await lab.get(scheme="http")
