"""The registry on a real port; skopeo and curl are its clients and oracles."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.clock import Deadline
from harness.errors import ServiceCrashed, SetupFailed
from harness.faults.deeds import Close, Deed
from harness.oci.content import Mount
from harness.oci.image import Flavour, Image, ImageConfig, write_layout
from harness.oci.layer import Compression, File, layer_from_files
from harness.process import CommandFailed, run
from harness.services.registry import RegistryService
from harness.tasks import TaskKeeper
from harness.tests.programs import require
from harness.timeline import Event, Timeline, named
from harness.wire.oci import Digest, Platform
from harness.wire.registry_auth import Auth, AuthKind

MAC = "02:00:00:00:00:10"
BIG_BYTES = 6 << 20
SOON = timedelta(seconds=20)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with one image of each format, one of two platforms, and one with a big layer."""
    folder = tmp_path_factory.mktemp("images")
    small = layer_from_files({"a": File(content=b"small")})
    big = layer_from_files(
        {"big": File(content=os.urandom(BIG_BYTES))},
        into=folder / "blobs",
        compression=Compression.NONE,
    )
    platforms = [ImageConfig(platform=Platform(architecture=name)) for name in ("amd64", "arm64")]
    images = [
        Image(ref="lab/oci:v1", config=ImageConfig(cmd=["x"]), layers=[small]),
        Image(ref="docker:latest", config=ImageConfig(), layers=[small], flavour=Flavour.DOCKER),
        *(Image(ref="multi:v1", config=config, layers=[small]) for config in platforms),
        Image(ref="big:v1", config=ImageConfig(), layers=[big]),
    ]
    write_layout(folder / "layout", images)
    return folder / "layout"


def biggest_blob(layout: Path) -> Path:
    return max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)


def request_for(blob: Path) -> bytes:
    return f"GET /v2/big/blobs/sha256:{blob.name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class Lab:
    """A started registry, its timeline, and clients for it."""

    def __init__(self, service: RegistryService, timeline: Timeline, tasks: TaskKeeper) -> None:
        self.service = service
        self.timeline = timeline
        self.tasks = tasks

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.service.port}"

    @property
    def url(self) -> str:
        return f"{self.service.scheme}://{self.at}"

    async def skopeo(self, *words: str) -> bytes:
        require("skopeo")
        return (await run(["skopeo", *words])).stdout

    async def curl(self, *words: str) -> bytes:
        require("curl")
        return (await run(["curl", "-sS", "--noproxy", "*", *words])).stdout

    def events(self, *names: str) -> list[Event]:
        return named(self.timeline, *names)

    async def wait_for(self, name: str) -> Event:
        return await self.tasks.race(
            self.timeline.wait_for(lambda event: event.name == name),
            Deadline.after(SOON),
            waiting_for=name,
        )


Start = Callable[..., AbstractAsyncContextManager[Lab]]


@pytest.fixture
def start(layout: Path) -> Start:
    @contextlib.asynccontextmanager
    async def started(**options: Any) -> AsyncIterator[Lab]:
        timeline, tasks = Timeline(None), TaskKeeper()
        service = RegistryService(
            timeline=timeline,
            tasks=tasks,
            bind="127.0.0.1",
            port=0,
            identify=lambda address: MAC if address == "127.0.0.1" else None,
            **({"layouts": [layout]} | options),
        )
        await service.start()
        try:
            yield Lab(service, timeline, tasks)
            assert not tasks.failure.done()
        finally:
            await service.stop()
            await service.stop()
            await tasks.close()
        assert [event.name for event in timeline][-1] == "service.stopped"

    return started


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Chain, key, and the authority's certificate."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key, root = folder / "chain.pem", folder / "key.pem", folder / "ca.crt"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(root)
    return chain, key, root


AUTHS = {
    "none": (Auth(), []),
    "basic": (Auth(kind=AuthKind.BASIC, users={"u": "p"}), ["--src-creds=u:p"]),
    "bearer": (Auth(kind=AuthKind.BEARER, users={"u": "p"}), ["--src-creds=u:p"]),
    "bearer for everybody": (Auth(kind=AuthKind.BEARER), []),
}


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("kind", AUTHS)
async def test_skopeo_copies_a_big_image(
    start: Start,
    tls: tuple[Path, Path, Path],
    tmp_path: Path,
    kind: str,
    secure: bool,
) -> None:
    auth, credentials = AUTHS[kind]
    async with start(auth=auth, tls=tls[:2] if secure else None) as lab:
        verify = f"--src-cert-dir={tls[2].parent}" if secure else "--src-tls-verify=false"
        await lab.skopeo(
            *("copy", "-q", verify, *credentials),
            *(f"docker://{lab.at}/big:v1", f"dir:{tmp_path}/copy"),
        )
        copied = {path.name for path in (tmp_path / "copy").iterdir()}
        manifest = lab.events("registry.manifest.served")[0]
        content = (tmp_path / "copy" / "manifest.json").read_bytes()
        assert manifest["digest"] == str(Digest.of(content))
        assert manifest["mac"] == MAC
        served = lab.events("registry.blob.served")
        assert {event["digest"].removeprefix("sha256:") for event in served} < copied
        biggest = max(served, key=lambda event: int(event["bytes"]))
        assert biggest["bytes"] == biggest["length"] > BIG_BYTES
        failed = lab.events("registry.request.failed")
        assert [event["status"] for event in failed] == ([] if kind == "none" else [401])
        assert bool(lab.events("registry.token.issued")) == kind.startswith("bearer")


@pytest.mark.parametrize(("image", "tags"), [("lab/oci:v1", ["v1"]), ("docker", ["latest"])])
async def test_skopeo_inspects_both_formats(start: Start, image: str, tags: list[str]) -> None:
    async with start() as lab:
        told = json.loads(
            await lab.skopeo(
                *("--override-arch=amd64", "inspect", "--tls-verify=false"),
                f"docker://{lab.at}/{image}",
            )
        )
        assert told["RepoTags"] == tags
        assert told["Architecture"] == "amd64"


async def test_skopeo_copies_all_platforms(start: Start, tmp_path: Path) -> None:
    async with start() as lab:
        await lab.skopeo(
            *("copy", "-q", "--all", "--src-tls-verify=false"),
            *(f"docker://{lab.at}/multi:v1", f"oci:{tmp_path}/copy:x:v1"),
        )
        served = lab.events("registry.manifest.served")
        assert len({event["digest"] for event in served}) == 3


async def test_wrong_credentials_are_refused(start: Start) -> None:
    for kind in (AuthKind.BASIC, AuthKind.BEARER):
        async with start(auth=Auth(kind=kind, users={"u": "p"})) as lab:
            with pytest.raises(CommandFailed, match=r"unauthorized|authentication required"):
                await lab.skopeo(
                    *("inspect", "--tls-verify=false", "--creds=u:wrong"),
                    f"docker://{lab.at}/lab/oci:v1",
                )
            assert lab.events("registry.auth.refused")[0]["user"] == "u"


async def test_curl_gets_parts_of_a_blob(start: Start, layout: Path) -> None:
    async with start() as lab:
        found = lab.service.repositories
        assert found == {
            "lab/oci": ["v1"],
            "docker": ["latest"],
            "multi": ["v1"],
            "big": ["v1"],
        }
        content = biggest_blob(layout)
        url = f"{lab.url}/v2/big/blobs/sha256:{content.name}"
        whole = content.read_bytes()
        assert await lab.curl(url) == whole
        assert await lab.curl("-r", "3000000-3999999", url) == whole[3000000:4000000]
        assert await lab.curl("-r", "-7", url) == whole[-7:]
        head = (await lab.curl("-I", url)).decode().lower()
        assert f"content-length: {len(whole)}" in head
        assert "accept-ranges: bytes" in head
        assert f'etag: "sha256:{content.name}"' in head
        assert head.startswith("http/1.1 200")
        events = lab.events("registry.blob.served")
        assert [event["bytes"] for event in events] == [len(whole), 1000000, 7, 0]
        assert [event.get("range") for event in events] == [
            None,
            "3000000-3999999",
            f"{len(whole) - 7}-{len(whole) - 1}",
            None,
        ]
        assert events[-1]["method"] == "HEAD"


async def test_a_client_that_leaves_early_is_told_from_one_that_does_not(
    start: Start, layout: Path
) -> None:
    async with start() as lab:
        content = biggest_blob(layout)
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.service.port)
        writer.write(
            f"GET /v2/big/blobs/sha256:{content.name} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        await reader.readexactly(1000)
        writer.transport.abort()
        event = await lab.wait_for("registry.request.aborted")
        assert 0 < event["bytes"] < event["length"] == content.stat().st_size
        assert not lab.events("registry.blob.served")


async def test_an_answer_can_be_cut_short(start: Start, layout: Path) -> None:
    def cut(_occasion: str, /, **facts: Any) -> tuple[Deed, ...]:
        return (Close(at=3000000),) if facts.get("object") == "blob" else ()

    async with start(strike=cut) as lab:
        content = biggest_blob(layout)
        with pytest.raises(CommandFailed, match="status 18"):  # curl: "transfer closed"
            await lab.curl(f"{lab.url}/v2/big/blobs/sha256:{content.name}")
        (event,) = lab.events("registry.response.cut")
        assert event["bytes"] == 3000000 < event["length"]
        assert not lab.events("registry.request.aborted", "registry.blob.served")


async def test_prefixes_and_several_layouts(start: Start, tmp_path: Path, layout: Path) -> None:
    other = tmp_path / "other"
    layer = layer_from_files({"b": File(content=b"")})
    refs = ("quay.io/tool:1", "docker:latest")
    write_layout(other, [Image(ref=ref, config=ImageConfig(), layers=[layer]) for ref in refs])
    mounts = [layout, Mount(layout=other, prefixes=["", "mirror/quay.io"])]
    async with start(layouts=mounts) as lab:
        names = json.loads(await lab.curl(f"{lab.url}/v2/_catalog"))["repositories"]
        assert names == sorted(
            ["lab/oci", "docker", "multi", "big", "tool", "mirror/quay.io/tool",
             "mirror/quay.io/docker"]
        )  # fmt: skip
        accept = "Accept: application/vnd.oci.image.manifest.v1+json"
        for name in ("docker/manifests/latest", "mirror/quay.io/tool/manifests/1"):
            served = await lab.curl("-H", accept, f"{lab.url}/v2/{name}")
            assert str(layer.digest) in served.decode()


@pytest.mark.parametrize("where", ["missing", "no-json", "lost-blob", "short-blob"])
async def test_a_broken_layout_is_named(start: Start, tmp_path: Path, where: str) -> None:
    folder = tmp_path / "layout"
    if where != "missing":
        layer = layer_from_files({"b": File(content=b"")})
        write_layout(folder, [Image(ref="a:1", config=ImageConfig(), layers=[layer])])
        blob = folder / layer.digest.blob_path
        if where == "no-json":
            (folder / "index.json").write_text("{")
        elif where == "lost-blob":
            blob.unlink()
        else:
            blob.write_bytes(b"x")
    with pytest.raises(SetupFailed, match=str(folder)):
        async with start(layouts=[folder]):
            pass


async def test_a_port_in_use_is_a_setup_failure(start: Start) -> None:
    async with start() as lab:
        timeline, tasks = Timeline(None), TaskKeeper()
        second = RegistryService(
            timeline=timeline, tasks=tasks, layouts=[], bind="127.0.0.1", port=lab.service.port
        )
        with pytest.raises(SetupFailed, match="registry can't listen"):
            await second.start()
        await second.stop()


async def test_a_bad_certificate_is_a_setup_failure(start: Start, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nonsense")
    with pytest.raises(SetupFailed, match=r"x\.pem"):
        async with start(tls=(tmp_path / "x.pem", tmp_path / "x.pem")):
            pass


async def test_what_is_no_http_is_an_event_without_a_traceback(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    async with start() as lab:
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.service.port)
        writer.write(b"GET / HTTP/9.9\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        assert (await lab.wait_for("registry.malformed"))["peer"] == "127.0.0.1"
    assert capfd.readouterr().err == ""


async def test_a_body_in_a_content_coding_is_left_as_it_is(start: Start, tmp_path: Path) -> None:
    head = "HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nConnection: close\r\n"
    async with start(push_to=tmp_path) as lab:
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.service.port)
        writer.write(f"PUT /v2/a/manifests/x {head}Content-Length: 4\r\n\r\nabcd".encode())
        assert b" 400 " in await asyncio.wait_for(reader.readline(), 5)  # a bad manifest
        writer.close()


async def test_tls_on_the_plain_port(start: Start) -> None:
    async with start() as lab:
        with pytest.raises(CommandFailed, match="server gave HTTP response to HTTPS client"):
            await lab.skopeo("inspect", f"docker://{lab.at}/lab/oci:v1")
        event = await lab.wait_for("registry.tls.failed")
        assert event["reason"] == "TLS on the plain HTTP port"


async def test_plain_http_on_the_tls_port(start: Start, tls: tuple[Path, Path, Path]) -> None:
    async with start(tls=tls[:2]) as lab:
        told = await lab.curl("--http0.9", f"http://{lab.at}/v2/")
        assert told == b"Client sent an HTTP request to an HTTPS server.\n"
        assert (await lab.wait_for("registry.tls.failed"))["reason"] == "plain HTTP on the TLS port"


async def test_a_client_without_the_authority(start: Start, tls: tuple[Path, Path, Path]) -> None:
    async with start(tls=tls[:2]) as lab:
        with pytest.raises(CommandFailed, match="certificate signed by unknown authority"):
            await lab.skopeo("inspect", f"docker://{lab.at}/lab/oci:v1")
        event = await lab.wait_for("registry.tls.failed")
        assert event["reason"] == "the client sent alert: bad certificate"


async def test_a_client_that_closes_in_the_handshake(
    start: Start, tls: tuple[Path, Path, Path]
) -> None:
    async with start(tls=tls[:2]) as lab:
        _, writer = await asyncio.open_connection("127.0.0.1", lab.service.port)
        writer.write(b"\x16\x03\x01")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        event = await lab.wait_for("registry.tls.failed")
        assert "handshake" in event["reason"]


async def test_a_port_check_leaves_no_trace(start: Start, tls: tuple[Path, Path, Path]) -> None:
    async with start(tls=tls[:2]) as lab:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", lab.service.port)
            writer.close()
            await writer.wait_closed()
        await lab.curl("--cacert", str(tls[2]), f"{lab.url}/v2/")
        names = [event.name for event in lab.timeline]
        assert names == ["service.started", "registry.request.received"]


async def test_stop_does_not_wait_for_silent_or_slow_clients(start: Start, layout: Path) -> None:
    content = biggest_blob(layout)
    async with start() as lab:
        _, silent = await asyncio.open_connection("127.0.0.1", lab.service.port)
        _, slow = await asyncio.open_connection("127.0.0.1", lab.service.port, limit=1)
        slow.write(request_for(content))
        await lab.wait_for("registry.request.received")
        deadline = Deadline.after(SOON)
        await lab.tasks.race(lab.service.stop(), deadline, waiting_for="the registry's stop")
        assert deadline.remaining_s > 15
        silent.close()
        slow.close()


async def test_a_bug_fails_the_lab(layout: Path) -> None:
    def broken(occasion: str, /, **_: Any) -> tuple[Deed, ...]:
        if occasion == "connection":
            return ()
        raise ZeroDivisionError("a bug")

    timeline, tasks = Timeline(None), TaskKeeper()
    service = RegistryService(
        timeline=timeline,
        tasks=tasks,
        layouts=[layout],
        bind="127.0.0.1",
        port=0,
        strike=broken,
    )
    await service.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /v2/ HTTP/1.0\r\n\r\n")
    await reader.read()
    writer.close()
    with pytest.raises(ServiceCrashed, match="registry crashed: ZeroDivisionError: a bug"):
        tasks.failure.result()
    await service.stop()
    await tasks.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_any_bytes_get_an_answer_or_a_close_but_no_crash(start: Start, lines: list[bytes]) -> None:
    async def talk() -> None:
        async with start() as lab:
            for line in lines:
                reader, writer = await asyncio.open_connection("127.0.0.1", lab.service.port)
                path = line.replace(b"\n", b"").replace(b"\r", b"")
                writer.write(b"GET /v2/%b HTTP/1.0\r\nUser-Agent: \xff\xfe\r\n\r\n" % path)
                answer = await reader.read()
                assert not answer.startswith(b"HTTP/1.1 5"), answer
                writer.close()
                await writer.wait_closed()
            json.dumps([event.to_json() for event in lab.timeline]).encode()
            for event in lab.timeline:
                event.to_json().encode()

    asyncio.run(talk())
