"""How fast the registry gives a large layer away, against aiohttp's own way to send a file."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from harness.oci.image import Image, ImageConfig, write_layout
from harness.oci.layer import Compression, File, Layer, layer_from_files
from harness.process import run
from harness.services.registry import RegistryService
from harness.services.tcp import tcp_socket
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

_CHILD: Final = """
import http.client, ssl, sys, time
secure, port, path = sys.argv[1] == "https", int(sys.argv[2]), sys.argv[3]
began = time.monotonic()
if secure:
    trusting = ssl._create_unverified_context()
    client = http.client.HTTPSConnection("127.0.0.1", port, context=trusting)
else:
    client = http.client.HTTPConnection("127.0.0.1", port)
client.request("GET", path)
answer = client.getresponse()
assert answer.status == 200, answer.status
expected, buffer, got = int(answer.headers["Content-Length"]), bytearray(1 << 20), 0
while count := answer.readinto(buffer):
    got += count
assert got == expected, (got, expected)
print(time.monotonic() - began)
"""
"""The client: another process, since the server's must not wait for it."""


async def measure_pulls(
    scratch: Path, *, size_bytes: int = 200 << 20, repeats: int = 3
) -> Mapping[str, tuple[float, ...]]:
    """Return seconds per pull of ``size_bytes`` over loopback, by what served them.

    ``aiohttp`` is a bare server with a ``FileResponse``; ``http`` and ``https`` are the registry
    with its timeline on disk.
    """
    layer = _make_layout(scratch, size_bytes)
    path = f"/v2/big/blobs/{layer.digest}"
    pair = _certificate(scratch)
    found = {}
    async with _bare_server(scratch / "layout" / layer.digest.blob_path) as port:
        found["aiohttp"] = await _pulls("http", port, path, repeats)
    for scheme, tls in (("http", None), ("https", pair)):
        tasks = TaskKeeper()
        timeline = Timeline(scratch / "timeline.jsonl")
        registry = RegistryService(
            timeline=timeline,
            tasks=tasks,
            layouts=[scratch / "layout"],
            bind="127.0.0.1",
            port=0,
            tls=tls,
        )
        try:
            await registry.start()
            found[scheme] = await _pulls(scheme, registry.port, path, repeats)
        finally:
            await registry.stop()
            await tasks.close()
            timeline.close()
    return found


def _make_layout(scratch: Path, size_bytes: int) -> Layer:
    content = scratch / "content"
    with content.open("wb") as stream:
        for start in range(0, size_bytes, 1 << 20):
            stream.write(os.urandom(min(1 << 20, size_bytes - start)))
    layer = layer_from_files(
        {"content": File(content=content)}, into=scratch / "blobs", compression=Compression.NONE
    )
    content.unlink()
    image = Image(ref="big:v1", config=ImageConfig(), layers=[layer])
    write_layout(scratch / "layout", [image])
    return layer


def _certificate(scratch: Path) -> tuple[Path, Path]:
    import trustme

    issued = trustme.CA().issue_cert("127.0.0.1")
    chain, key = scratch / "chain.pem", scratch / "key.pem"
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    return chain, key


@asynccontextmanager
async def _bare_server(file: Path) -> AsyncIterator[int]:
    from aiohttp import web

    async def handle(_: web.BaseRequest) -> web.FileResponse:
        return web.FileResponse(file)

    sock = tcp_socket(service="bare server", bind="127.0.0.1", port=0)
    runner = web.ServerRunner(
        web.Server(handle, access_log=None), handle_signals=False, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        yield int(sock.getsockname()[1])
    finally:
        await runner.cleanup()


async def _pulls(scheme: str, port: int, path: str, repeats: int) -> tuple[float, ...]:
    argv = [sys.executable, "-I", "-c", _CHILD, scheme, str(port), path]
    return tuple([float((await run(argv)).stdout) for _ in range(repeats)])
