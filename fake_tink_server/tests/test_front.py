"""Connections that go wrong, and their twins that don't, with grpcio, openssl and raw sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from fake_tink_server.conduct import Conduct, Goaway, Silence
from fake_tink_server.engine import Engine
from fake_tink_server.frames import (
    PREFACE,
    SETTINGS,
    SETTINGS_ACK,
    Frame,
    FrameSplitter,
    FrameType,
)
from fake_tink_server.front import Front
from fake_tink_server.server import ServerTls, TinkServer
from fake_tink_server.tests.test_server import MAC, Client, make_workflow
from harness.certificates import Authority, KeyKind, Kind
from harness.handshake import accept
from harness.timeline import Event, Timeline, named

NAME = "localhost"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(keys=KeyKind.ECDSA)


class Bench:
    """A server that misbehaves as ``conducts`` says, one after the other, then never again."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.timeline = Timeline(None)
        self.conducts: list[Conduct] = []
        self.port = 0
        self.server: TinkServer | None = None

    def record(self, name: str, /, **fields: Any) -> Event:
        return self.timeline.record("tink", name, **fields)

    def decide(self, peer: str) -> Conduct:
        assert peer.startswith("127.0.0.1:")
        return self.conducts.pop(0) if self.conducts else Conduct()

    async def serve(self, *conducts: Conduct, tls: bool = False, mutual: bool = False) -> None:
        self.conducts = list(conducts)
        own = self.authority.issue(NAME, "127.0.0.1")
        shown = ServerTls(
            certificate_chain=own.chain,
            private_key=own.key,
            client_ca=self.authority.certificate if mutual else None,
        )
        self.server = TinkServer(
            engine=Engine([make_workflow("one")]),
            record=self.record,
            port=0,
            tls=shown if tls else None,
            decide=self.decide,
            issue=lambda kind, keys: self.authority.issue(NAME, "127.0.0.1", kind=kind),
        )
        await self.server.start()
        self.port = self.server.port

    async def call(self, *, tls: bool = False, mutual: bool = False, seconds: float = 5) -> str:
        """Return "OK", or the code and details of one call on a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        async with AsyncExitStack() as stack:
            if tls:
                own = self.authority.issue_client("worker-1") if mutual else None
                credentials = grpc.ssl_channel_credentials(
                    self.authority.certificate, own.key if own else None, own.chain if own else None
                )
                channel = grpc.aio.secure_channel(f"{NAME}:{self.port}", credentials, options)
            else:
                channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options)
            await stack.enter_async_context(channel)
            try:
                async with asyncio.timeout(seconds):
                    assert len(await Client(channel).contexts(MAC)) == 1
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name} {error.details()}"
            except TimeoutError:
                return "silence"
        return "OK"

    async def event(self, name: str) -> Event:
        async with asyncio.timeout(5):
            return await self.timeline.wait_for(lambda event: event.name == name)


@pytest.fixture
async def bench(authority: Authority) -> AsyncIterator[Bench]:
    made = Bench(authority)
    yield made
    if made.server is not None:
        await made.server.stop()


async def test_a_healthy_connection_is_told_from_beginning_to_end(bench: Bench) -> None:
    await bench.serve()
    assert await bench.call() == "OK"
    closed = await bench.event("tink.connection.closed")
    [opened] = named(bench.timeline, "tink.connection.opened")
    [received] = named(bench.timeline, "tink.rpc.received")
    assert opened["peer"] == received["peer"] == closed["peer"]
    assert opened["transport"] == "grpc"
    assert closed["received_bytes"] > len(PREFACE)
    assert closed["sent_bytes"] > 9
    assert not named(bench.timeline, "tink.connection.failed")


@pytest.mark.parametrize(
    ("conduct", "says"),
    [
        (Conduct(reset_at=0), "UNAVAILABLE"),
        (Conduct(reset_at=20), "UNAVAILABLE"),
        (Conduct(close_at=0), "UNAVAILABLE"),
        (Conduct(close_at=20), "UNAVAILABLE"),
        (Conduct(silent_from=Silence.ACCEPT), "silence"),
        (Conduct(silent_from=Silence.SETTINGS), "silence"),
        (Conduct(stall_at=40), "silence"),
        (Conduct(tls=True), "UNAVAILABLE"),
    ],
)
async def test_a_plaintext_connection_goes_wrong(bench: Bench, conduct: Conduct, says: str) -> None:
    await bench.serve(conduct)
    assert (await bench.call(seconds=1)).startswith(says)
    bench.conducts.clear()
    assert await bench.call() == "OK"


@pytest.mark.parametrize("kind", [None, Kind.RIGHT, *(kind for kind in Kind if kind != "right")])
async def test_certificates(bench: Bench, kind: Kind | None) -> None:
    await bench.serve(Conduct(certificate=kind), tls=True)
    said = await bench.call(tls=True)
    if kind in (None, Kind.RIGHT, Kind.NO_SAN):  # grpcio looks into the subject, Go does not
        assert said == "OK"
        return
    assert said.startswith("UNAVAILABLE")
    failed = await bench.event("tink.connection.failed")
    assert "alert" in failed["reason"] or "closed" in failed["reason"]
    bench.conducts.clear()
    assert await bench.call(tls=True) == "OK"


async def test_plaintext_where_tls_is_expected(bench: Bench) -> None:
    await bench.serve(Conduct(tls=False), tls=True)
    assert (await bench.call(tls=True)).startswith("UNAVAILABLE")
    assert (await bench.event("tink.connection.failed"))["reason"] == "TLS on the plaintext port"


async def test_mutual_tls(bench: Bench) -> None:
    await bench.serve(tls=True, mutual=True)
    assert (await bench.call(tls=True)).startswith("UNAVAILABLE")
    failed = await bench.event("tink.connection.failed")
    assert failed["reason"] == "peer did not return a certificate"
    assert await bench.call(tls=True, mutual=True) == "OK"
    [opened] = named(bench.timeline, "tink.connection.opened")
    assert opened["client"] == "worker-1"


async def talk(bench: Bench, said: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    writer.write(said)
    async with asyncio.timeout(5):
        heard = await reader.read()
    writer.close()
    return heard


@pytest.mark.parametrize(
    ("tls", "said", "reason"),
    [
        (False, b"GET / HTTP/1.1\r\n\r\n", "HTTP/1 on the gRPC port"),
        (False, b"\x16\x03\x01\x02\x00\x01", "TLS on the plaintext port"),
        (False, b"\xff" * 40, "no HTTP/2 preface"),
        (True, b"GET / HTTP/1.1\r\n\r\n", "plaintext on the TLS port"),
        (True, PREFACE, "plaintext on the TLS port"),
    ],
)
async def test_what_is_no_grpc_is_said(bench: Bench, tls: bool, said: bytes, reason: str) -> None:
    await bench.serve(tls=tls)
    assert await talk(bench, said) == (b"" if tls else SETTINGS)
    assert (await bench.event("tink.connection.failed"))["reason"] == reason
    assert await bench.call(tls=tls) == "OK"


async def test_a_port_check_is_no_failure(bench: Bench) -> None:
    await bench.serve()
    _, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    writer.close()
    await bench.event("tink.connection.closed")
    assert not named(bench.timeline, "tink.connection.failed")


async def test_its_death_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def exhausted(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    loop = asyncio.get_running_loop()
    died: asyncio.Future[str] = loop.create_future()
    monkeypatch.setattr(loop, "sock_accept", exhausted)
    front = Front(
        bind="127.0.0.1",
        port=0,
        record=bench.record,
        fail=lambda error: died.set_result(str(error)),
    )
    await front.start()
    async with asyncio.timeout(5):
        assert "Too many open files" in await died
    [crashed] = named(bench.timeline, "service.crashed")
    assert crashed["error"] == died.result()
    await front.stop()


async def test_a_client_that_stops_in_the_preface_leaves_nothing_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = asyncio.Event()

    async def accept_and_tell(*words: Any, **options: Any) -> None:
        await accept(*words, **options)
        taken.set()

    monkeypatch.setattr("fake_tink_server.front.accept", accept_and_tell)
    await bench.serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    writer.write(PREFACE[:3])
    assert bench.server is not None
    async with asyncio.timeout(5):
        await taken.wait()
        await bench.server.stop()
        assert await reader.read() == b""
    writer.close()
    # these get the descriptors that are free now; the loop must not think it knows one of them
    for one, other in [socket.socketpair() for _ in range(8)]:
        reader, writer = await asyncio.open_connection(sock=one)
        its_reader, its_writer = await asyncio.open_connection(sock=other)
        writer.write(b"x")
        its_writer.write(b"y")
        async with asyncio.timeout(5):
            assert (await reader.read(1), await its_reader.read(1)) == (b"y", b"x")
        writer.close()
        its_writer.close()


async def frames(bench: Bench, wanted: int) -> list[Frame]:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    writer.write(PREFACE + SETTINGS)
    splitter, found = FrameSplitter(), list[Frame]()
    async with asyncio.timeout(5):
        while not any(frame.type == wanted for frame in found):
            data = await reader.read(4096)
            assert data
            found += splitter.feed(data)
    writer.close()
    return found


async def test_settings_then_silence(bench: Bench) -> None:
    await bench.serve(Conduct(silent_from=Silence.SETTINGS))
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    writer.write(PREFACE + SETTINGS + Frame(FrameType.PING, 0, 0, b"12345678").encode())
    async with asyncio.timeout(5):
        assert await reader.readexactly(18) == SETTINGS + SETTINGS_ACK
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(1)
    writer.close()


async def test_a_call_that_nobody_answers_is_told(bench: Bench) -> None:
    await bench.serve(Conduct(silent_from=Silence.SETTINGS))
    assert await bench.call(seconds=0.5) == "silence"
    [opened] = named(bench.timeline, "tink.connection.opened")
    [ignored] = named(bench.timeline, "tink.call.ignored")
    assert ignored["peer"] == opened["peer"]
    assert not named(bench.timeline, "tink.rpc.received")


async def test_goaway(bench: Bench) -> None:
    await bench.serve(Conduct(goaway=Goaway(after_s=0.05, code=11, debug="too_many_pings")))
    found = (await frames(bench, FrameType.GOAWAY))[-1]
    assert found.payload == bytes(4) + (11).to_bytes(4, "big") + b"too_many_pings"


async def test_goaway_lets_a_client_go_on_elsewhere(bench: Bench) -> None:
    await bench.serve(Conduct(goaway=Goaway(after_s=0.05)))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{bench.port}") as channel:
        await Client(channel).contexts(MAC)
        await bench.event("tink.connection.closed")
        await Client(channel).contexts(MAC)
    assert len(named(bench.timeline, "tink.connection.opened")) == 2


async def test_timed_ends(bench: Bench) -> None:
    for conduct, reason in (
        (Conduct(reset_after_s=0.05), "reset by the server"),
        (Conduct(close_after_s=0.05), "closed by the server"),
    ):
        await bench.serve(conduct)
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(PREFACE + SETTINGS)
        async with asyncio.timeout(5):
            if conduct.reset_after_s:
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            else:
                await reader.read()
        writer.close()
        assert named(bench.timeline, "tink.connection.closed")[-1]["reason"] == reason
        assert bench.server is not None
        await bench.server.stop()


async def test_openssl_sees_the_certificate(bench: Bench, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(bench.authority.certificate)

    async def look() -> str:
        program = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"127.0.0.1:{bench.port}", "-alpn", "h2",
            "-CAfile", str(ca), "-verify_hostname", NAME,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        return (await program.communicate())[0].decode()

    await bench.serve(Conduct(), Conduct(certificate=Kind.EXPIRED), tls=True)
    right, wrong = await look(), await look()
    assert "ALPN protocol: h2" in right
    assert "Verify return code: 0 (ok)" in right
    assert "certificate has expired" in wrong
