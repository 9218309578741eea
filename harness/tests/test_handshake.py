"""TLS handshakes of another manner: OpenSSL's own client, and curl, get through all the same."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.certificates import Authority, KeyKind
from harness.handshake import USUAL, Cutter, Manner, accept, context_for
from harness.process import run
from harness.tasks import TaskKeeper

NAME = "localhost"
SOON_S = 20.0


def record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def records(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        end = 5 + int.from_bytes(data[3:5], "big")
        found.append((data[0], data[5:end]))
        data = data[end:]
    return found


@given(
    st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=4),
    st.integers(1, 300),
    st.integers(0, 50),
    st.lists(st.integers(1, 200), max_size=20),
)
def test_a_cut_handshake_is_the_same_handshake(
    messages: list[bytes], size: int, segments: int, chunks: list[int]
) -> None:
    encrypted = record(20, b"\1") + record(22, b"finished" * 60)
    whole = b"".join(record(22, one) for one in messages) + encrypted
    cutter = Cutter(Manner(records=size, segments=segments))
    pieces: list[bytes] = []
    rest = whole
    for chunk in chunks:
        pieces += cutter.feed(rest[:chunk])
        rest = rest[chunk:]
    pieces += cutter.feed(rest)
    assert all(0 < len(piece) <= (segments or len(piece)) for piece in pieces)
    sent = b"".join(pieces)
    assert sent.endswith(encrypted)
    cut = records(sent.removesuffix(encrypted))
    assert all(kind == 22 and 0 < len(body) <= size for kind, body in cut)
    assert b"".join(body for _, body in cut) == b"".join(messages)


class Echo(asyncio.Protocol):
    """Answers one HTTP request with the TLS version that it came over."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        version = self.transport.get_extra_info("ssl_object").version().encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(version)}\r\n\r\n".encode()
        self.transport.write(head + version)


@asynccontextmanager
async def serving(manner: Manner, authority: Authority) -> AsyncIterator[int]:
    context = context_for(authority.issue(NAME, "127.0.0.1", keys=manner.keys), manner)
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    tasks = TaskKeeper()

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(sock)
            try:
                await accept(connection, Echo, context, manner=manner, within_s=SOON_S)
            except OSError:
                connection.close()

    tasks.spawn(listen(), name="listen")
    try:
        yield sock.getsockname()[1]
    finally:
        await tasks.close()
        sock.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


async def heard(port: int, client: ssl.SSLContext) -> tuple[str, str, bytes]:
    """Return what a client learns: version, the key's cipher, and all octets it read in clear."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client.wrap_bio(to_client, to_server, server_hostname=NAME)
        read = b""
        async with asyncio.timeout(SOON_S):
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await loop.sock_sendall(sock, to_server.read())
                    octets = await loop.sock_recv(sock, 1 << 16)
                    if not octets:
                        raise ConnectionAbortedError from None
                    read += octets
                    to_client.write(octets)
        cipher = tls.cipher()
        assert cipher is not None
        return tls.version() or "", cipher[0], read


def client_of(authority: Authority, most: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    if most:
        context.maximum_version = most
    return context


async def test_records_and_segments_are_as_small_as_asked_for(authority: Authority) -> None:
    async with serving(Manner(most="TLSv1.2", records=100, segments=33), authority) as port:
        version, _, read = await heard(port, client_of(authority))
    assert version == "TLSv1.2"
    clear = [body for kind, body in records(read) if kind == 22][:-1]  # the last is Finished
    assert len(clear) > 10
    assert max(map(len, clear)) == 100


async def test_the_server_hello_of_tls_1_3(authority: Authority) -> None:
    async with serving(Manner(records=40), authority) as port:
        version, _, read = await heard(port, client_of(authority))
    assert version == "TLSv1.3"
    sizes = [len(body) for kind, body in records(read) if kind == 22]
    assert sizes[:2] == [40, 40]  # some 120 octets: RFC 8446 §4.1.3
    assert max(sizes) == 40


async def test_versions(authority: Authority) -> None:
    async with serving(Manner(least="TLSv1.3"), authority) as port:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            await heard(port, client_of(authority, ssl.TLSVersion.TLSv1_2))
        assert (await heard(port, client_of(authority)))[0] == "TLSv1.3"
    async with serving(Manner(most="TLSv1.2"), authority) as port:
        assert (await heard(port, client_of(authority)))[0] == "TLSv1.2"
    async with serving(Manner(most="TLSv1.1"), authority) as port:
        with pytest.raises(ssl.SSLError):
            await heard(port, client_of(authority))
        old = client_of(authority)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = ssl.TLSVersion.TLSv1
        assert (await heard(port, old))[0] == "TLSv1.1"


async def test_keys(authority: Authority) -> None:
    """An RSA authority signs an EC key: a client that knows no ECDSA has nothing to choose."""
    manner = Manner(most="TLSv1.2", keys=KeyKind.ECDSA)
    async with serving(manner, authority) as port:
        assert "ECDSA" in (await heard(port, client_of(authority)))[1]
        rsa_only = client_of(authority)
        rsa_only.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            await heard(port, rsa_only)
    async with serving(Manner(most="TLSv1.2"), authority) as port:
        assert "RSA" in (await heard(port, client_of(authority)))[1]


@pytest.mark.parametrize(
    "manner",
    [
        USUAL,
        Manner(most="TLSv1.2", records=1),
        Manner(segments=1),
        Manner(least="TLSv1.3", records=7, segments=20),
    ],
    ids=["usual", "records of one", "segments of one", "both"],
)
async def test_curl_gets_through(authority: Authority, manner: Manner) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    async with serving(manner, authority) as port:
        url = f"https://127.0.0.1:{port}/"
        said = await run(["curl", "-sSk", "--noproxy", "*", "--max-time", "20", url])
    assert said.stdout.decode() == (manner.most or "TLSv1.3")
