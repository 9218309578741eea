"""Pushing on a real port: what skopeo pushes can be pulled again, and is the same."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.oci.image import Image, ImageConfig, write_layout
from harness.oci.layer import File, layer_from_files
from harness.process import CommandFailed, run
from harness.services import registry_store
from harness.services.registry import RegistryService
from harness.tasks import TaskKeeper, together
from harness.tests.programs import require
from harness.timeline import Timeline, named
from harness.wire import registry_push
from harness.wire.oci import Digest
from harness.wire.registry_auth import Auth, AuthKind
from harness.wire.registry_push import PushLimits


@dataclass
class Lab:
    service: RegistryService
    timeline: Timeline
    layout: Path

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.service.port}"

    async def push(self, ref: str, to: str, *options: str) -> None:
        await run(
            ["skopeo", "copy", "-q", "--dest-tls-verify=false", *options,
             f"oci:{self.layout}:{ref}", f"docker://{self.at}/{to}"]
        )  # fmt: skip

    async def pull(self, ref: str, to: Path, *options: str) -> None:
        await run(
            ["skopeo", "copy", "-q", "--src-tls-verify=false", *options,
             f"docker://{self.at}/{ref}", f"dir:{to}"]
        )  # fmt: skip


@pytest.fixture
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    require("skopeo")
    options = getattr(request, "param", {})
    layers = [layer_from_files({name: File(content=name.encode() * 9999)}) for name in "ab"]
    images = [
        Image(ref="tool:v1", config=ImageConfig(cmd=["x"]), layers=layers),
        Image(ref="old:v1", config=ImageConfig(cmd=["y"]), layers=layers),
    ]
    write_layout(tmp_path / "layout", images)
    timeline, tasks = Timeline(None), TaskKeeper()
    service = RegistryService(
        timeline=timeline,
        tasks=tasks,
        layouts=[],
        bind="127.0.0.1",
        port=0,
        push_to=tmp_path / "pushed",
        **options,
    )
    await service.start()
    yield Lab(service, timeline, tmp_path / "layout")
    await service.stop()
    await tasks.close()
    assert not tasks.failure.done(), tasks.failure.exception()
    timeline.close()


BEARER = {"auth": Auth(kind=AuthKind.BEARER, users={"u": "p"})}
BASIC = {"auth": Auth(kind=AuthKind.BASIC, users={"u": "p"})}


@pytest.mark.parametrize("lab", [{}, BEARER, BASIC], ids=["open", "bearer", "basic"], indirect=True)
async def test_what_is_pushed_can_be_pulled(lab: Lab, tmp_path: Path) -> None:
    await lab.push("tool:v1", "team/tool:new", "--dest-creds=u:p")
    assert lab.service.repositories == {"team/tool": ["new"]}
    await lab.pull("team/tool:new", tmp_path / "copy", "--src-creds=u:p")
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    blobs = lab.layout / "blobs/sha256"
    for part in (manifest["config"], *manifest["layers"]):
        name = part["digest"].removeprefix("sha256:")
        assert (tmp_path / "copy" / name).read_bytes() == (blobs / name).read_bytes()
    pushed = {event["digest"] for event in named(lab.timeline, "registry.blob.pushed")}
    assert pushed == {p["digest"] for p in (manifest["config"], *manifest["layers"])}
    [told] = named(lab.timeline, "registry.manifest.pushed")
    assert (told["repository"], told["reference"]) == ("team/tool", "new")
    await lab.push("tool:v1", "team/tool:again", "--dest-creds=u:p")
    assert len(named(lab.timeline, "registry.blob.pushed")) == len(pushed)  # all was there
    await run(
        ["skopeo", "delete", "--tls-verify=false", "--creds=u:p",
         f"docker://{lab.at}/team/tool:again"]
    )  # fmt: skip
    assert lab.service.repositories == {"team/tool": []}


async def test_the_old_format_is_taken_too(lab: Lab, tmp_path: Path) -> None:
    await lab.push("old:v1", "old:v1", "--format=v2s2")
    await lab.pull("old:v1", tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


@pytest.mark.parametrize("lab", [BEARER], indirect=True)
async def test_who_is_not_known_may_not_push(lab: Lab) -> None:
    with pytest.raises(CommandFailed, match=r"unauthorized|authentication required"):
        await lab.push("tool:v1", "tool:v1", "--dest-creds=u:wrong")
    assert lab.service.repositories == {}


@pytest.mark.parametrize("lab", [{"limits": PushLimits(blob_bytes=10)}], indirect=True)
async def test_what_is_too_large_is_refused(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"size invalid"):
        await lab.push("tool:v1", "tool:v1")
    assert lab.service.repositories == {}
    uploads = tmp_path / "pushed/uploads"
    assert sum(path.stat().st_size for path in uploads.iterdir()) <= 30


async def test_of_an_upload_that_had_to_go_no_file_is_left(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_push, "UPLOADS_LIMIT", 2)
    url = f"http://{lab.at}/v2/tool/blobs/uploads/"
    curl = ["curl", "-sS", "--noproxy", "*", "-o", "/dev/null"]

    async def begin() -> str:
        words = ["-X", "POST", "-w", "%header{location}", url]
        return (await run([*curl, *words])).stdout.decode()

    def kept() -> list[bytes]:
        return sorted(file.read_bytes() for file in tmp_path.rglob("uploads/*"))

    for body in ("first", "second"):
        place = await begin()
        await run([*curl, "-X", "PATCH", "--data-binary", body, place])
    assert kept() == [b"first", b"second"]
    await begin()
    assert kept() == [b"second"]


def slow_hash(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have a hash told of when it begins, and wait until it may go on."""
    hashing, go_on = threading.Event(), threading.Event()
    real = registry_store._hash

    def slow(path: Path, algorithm: str) -> Digest | None:
        hashing.set()
        go_on.wait(30)
        return real(path, algorithm)

    monkeypatch.setattr(registry_store, "_hash", slow)
    return hashing, go_on


async def test_a_client_that_leaves_while_its_upload_is_hashed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing, go_on = slow_hash(monkeypatch)
    _, out = await asyncio.open_connection("127.0.0.1", lab.service.port)
    target = f"/v2/tool/blobs/uploads/?digest={Digest.of(b'x')}"
    out.write(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".encode())
    await asyncio.to_thread(hashing.wait, 30)
    out.transport.abort()
    for _ in range(20):  # the server is in this loop, too: it sees the end before it may go on
        await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(30):
        await lab.timeline.wait_for(lambda event: event.name == "registry.request.aborted")


@pytest.mark.parametrize("how", ["it is cancelled", "others are begun", "one at one go"])
async def test_an_upload_that_has_to_go_while_it_is_hashed_is_unknown(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(registry_push, "UPLOADS_LIMIT", 1)
    hashing, go_on = slow_hash(monkeypatch)
    url = f"http://{lab.at}/v2/tool/blobs/uploads/"
    curl = ["curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w"]
    place = url
    if how != "one at one go":
        done = await run([*curl, "%header{location}", "-X", "POST", url])
        place = done.stdout.decode()
    method = "POST" if place == url else "PUT"
    finish = [*curl, "%{http_code}", "-X", method, "--data-binary", "x"]
    async with together() as group:
        finished = group.create_task(run([*finish, f"{place}?digest={Digest.of(b'x')}"]))
        await asyncio.to_thread(hashing.wait, 30)
        if how == "it is cancelled":
            await run([*curl, "", "-X", "DELETE", place])
        else:
            await run([*curl, "", "-X", "POST", url])
        go_on.set()
    assert finished.result().stdout == b"404"
    assert not lab.service.repositories
