"""The forward proxy, with curl for a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from harness.process import CommandFailed, run
from harness.services.proxy import ProxyService, _Refused, read_head
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Timeline, named

pytestmark = needs("curl")
BODY = b"here it is"
Told = list[bytes]


@asynccontextmanager
async def origin(told: Told) -> AsyncIterator[int]:
    """Serve one answer to anything; requests' heads are kept in ``told``."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.readuntil(b"\r\n\r\n"))
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + BODY)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def proxy(
    timeline: Timeline, credentials: tuple[str, str] | None = None
) -> AsyncIterator[int]:
    tasks = TaskKeeper()
    service = ProxyService(
        timeline=timeline,
        tasks=tasks,
        zone={"registry.lab": "127.0.0.1"},
        credentials=credentials,
        bind="127.0.0.1",
        port=0,
    )
    await service.start()
    try:
        yield service.port
    finally:
        await service.stop()
        await service.stop()
        await tasks.close()


async def curl(proxy_url: str, url: str, *options: str) -> bytes:
    words = ("curl", "-sSf", "-m", "10", "--noproxy", "", "-x", proxy_url, *options, url)
    return (await run(words)).stdout


@pytest.mark.parametrize("tunnel", [(), ("--proxytunnel",)])
@pytest.mark.parametrize("host", ["127.0.0.1", "registry.lab"])
async def test_what_is_asked_for_comes(host: str, tunnel: tuple[str, ...]) -> None:
    timeline, told = Timeline(None), list[bytes]()
    async with origin(told) as port, proxy(timeline, ("u", "p=w@:")) as own:
        url = f"http://{host}:{port}/v2/?a=b"
        assert await curl(f"http://u:p%3Dw%40%3A@127.0.0.1:{own}", url, *tunnel) == BODY
    [passed] = named(list(timeline), "proxy.request.passed")
    assert passed["target"] == f"{host}:{port}"
    assert passed["method"] == ("CONNECT" if tunnel else "GET")
    assert passed["user"] == "u"
    assert told[0].startswith(b"GET /v2/?a=b HTTP/1.1\r\n")
    assert tunnel or b"proxy-" not in told[0].lower()


@pytest.mark.parametrize(
    ("user", "target", "reason", "status"),
    [
        ("", "{origin}", "no credentials", "407"),
        ("u:wrong@", "{origin}", "other credentials", "407"),
        ("u:w@", "nobody.lab:80", "nobody.lab:80 is not known here", "502"),
        ("u:w@", "127.0.0.1:1", "127.0.0.1:1: ", "502"),
    ],
)
async def test_what_is_not_let_through(user: str, target: str, reason: str, status: str) -> None:
    timeline = Timeline(None)
    async with origin([]) as port, proxy(timeline, ("u", "w")) as own:
        url = f"http://{target.format(origin=f'127.0.0.1:{port}')}/"
        with pytest.raises(CommandFailed, match=status):
            await curl(f"http://{user}127.0.0.1:{own}", url)
    [refused] = named(list(timeline), "proxy.request.refused")
    assert refused["reason"].startswith(reason)


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff \x00 HTTP/1.1\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n",
        b"GET http://x:99999/ HTTP/1.1\r\n",
        b"GET http://x:y/ HTTP/1.1\r\n",
    ],
)
def test_what_is_no_request_to_a_proxy(head: bytes) -> None:
    with pytest.raises(_Refused):
        read_head(head)


@pytest.mark.parametrize("port", ["99999", "-1", "y", ""])
async def test_a_port_that_is_none_is_refused_and_no_crash(port: str) -> None:
    timeline = Timeline(None)
    async with proxy(timeline) as own:
        reader, writer = await asyncio.open_connection("127.0.0.1", own)
        writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        writer.close()
    assert not named(list(timeline), "service.crashed")
