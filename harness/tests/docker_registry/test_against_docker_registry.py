"""Hundreds of requests: the lab's registry must answer as Docker's own."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from harness.clock import Deadline
from harness.hook.debian import DebianArchive
from harness.hook.rootfs import Trees, unpack
from harness.paths import cache_root
from harness.process import minimal_environment
from harness.progress import SilentProgress
from harness.services.registry import RegistryService
from harness.tasks import TaskKeeper
from harness.tests.docker_registry.requests import MANIFESTS, Ask, digest_of, session
from harness.timeline import Timeline

pytestmark = pytest.mark.service

SEED: Final = 20261121
COUNT: Final = 700
HEADERS: Final = (
    *("Content-Type", "Content-Length", "Docker-Content-Digest", "Location", "Range", "ETag"),
    *("Content-Range", "Accept-Ranges", "Link", "OCI-Subject", "WWW-Authenticate"),
    "Docker-Distribution-Api-Version",
)
_MANIFEST_DIGESTS: Final = frozenset(digest_of(data) for data, _ in MANIFESTS.values())
Told: TypeAlias = dict[str, Any]


def _only(real: Told, ours: Told, *names: str) -> bool:
    return all(real[key] == ours[key] for key in real if key not in names)


EXPLAINED: Final[dict[str, Callable[[Ask, Told, Told], bool]]] = {
    "a digest that is none, or of an algorithm that is not known, makes Docker's fail with 500": (
        lambda ask, real, ours: real["status"] == 500 and ours["status"] in (400, 404)
    ),
    "tags come in order, and by pages": lambda ask, real, ours: (
        ask.method == "GET" and "/tags/list" in ask.path and _only(real, ours, "body", "Link")
        and {*(ours["body"]["tags"] or ())} <= {*real["body"]["tags"]}
    ),
    "HEAD is answered for tags too": lambda ask, real, ours: (
        ask.method == "HEAD" and "/tags/list" in ask.path and real["status"] == 405
    ),
    "no signed state in an upload's URL: one without it is unknown, not invalid": (
        lambda ask, real, ours: _only(real, ours, "body")
        and (real["body"], ours["body"]) == (["BLOB_UPLOAD_INVALID"], ["BLOB_UPLOAD_UNKNOWN"])
    ),
    "a blob can be pushed in one request": lambda ask, real, ours: (
        ask.method == "POST" and "?digest=" in ask.path
        and (real["status"], ours["status"]) == (202, 201)
    ),
    "a tag can be deleted": lambda ask, real, ours: (
        ask.method == "DELETE" and real["body"] == ["DIGEST_INVALID"]
        and ours["body"] == ["MANIFEST_UNKNOWN"]
    ),
    "no conversion to schema 1, at which Docker's fails here": lambda ask, real, ours: (
        "/manifests/" in ask.path and ask.method in ("GET", "HEAD") and real["status"] == 400
        and (real["body"] == ["MANIFEST_INVALID"] or ask.method == "HEAD")
    ),
    "a manifest can be had as a blob": lambda ask, real, ours: (
        ask.path.rpartition("/")[2] in _MANIFEST_DIGESTS and "/blobs/" in ask.path
        and real["status"] == 404
    ),
    "there are referrers": lambda ask, real, ours: (
        "/referrers/" in ask.path and real["status"] == 404
    ),
    "ranges as RFC 9110 has them": lambda ask, real, ours: (
        dict(ask.headers).get("Range") in ("lines=0-1", "bytes=-0", "bytes=5-2", "bytes=")
        and {real["status"], ours["status"]} <= {200, 206, 416}
    ),
    "405 is told as JSON": lambda ask, real, ours: (
        real["status"] == 405 and _only(real, ours, "Content-Type", "body")
    ),
    "OPTIONS is not answered": lambda ask, real, ours: (
        ask.method == "OPTIONS" and (real["status"], ours["status"]) == (200, 405)
    ),
    "no redirect to a cleaner path": lambda ask, real, ours: (
        (real["status"], ours["status"]) == (301, 404)
        and ("//" in ask.path or ask.path.endswith("/"))
    ),
    "the version's header on API paths only": lambda ask, real, ours: (
        ask.path in ("/", "/v1/")
        and _only(real, ours, "Docker-Distribution-Api-Version", "Content-Length")
    ),
    "another error first, of a manifest with several": lambda ask, real, ours: (
        ask.method == "PUT" and "/manifests/" in ask.path and _only(real, ours, "body")
        and real["status"] == 400
    ),
    "304 has the digest, and is given by digest too": lambda ask, real, ours: (
        "If-None-Match" in dict(ask.headers) and ours["status"] == 304
        and real["status"] in (200, 304)
    ),
}  # fmt: skip
"""What may differ and why; each of them has to occur."""
_UUID: Final = re.compile(r"(?<=/uploads/)[^/?]+(\?.*)?")


@dataclass
class Side:
    """One registry, and where its uploads go on."""

    port: int
    uploads: dict[int, str] = field(default_factory=dict)

    def ask(self, ask: Ask) -> dict[str, Any]:
        """Make a request; return what can be compared."""
        target = ask.path
        if target.startswith("@"):
            number, _, query = target[1:].partition("&")
            target = self.uploads.get(int(number), "/v2/none/blobs/uploads/none")
            if query:
                target += ("&" if "?" in target else "?") + query
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = dict(ask.headers)
            if ask.body or ask.method in ("POST", "PUT", "PATCH"):
                headers["Content-Length"] = str(len(ask.body))
            connection.request(ask.method, target, body=ask.body or None, headers=headers)
            response = connection.getresponse()
            try:
                body = response.read()
            except http.client.IncompleteRead as cut:
                body = b"less than was promised: " + cut.partial
        finally:
            connection.close()
        found = {name: response.getheader(name) for name in HEADERS}
        if response.status >= 400 or (found["Content-Type"] or "").startswith("application/json"):
            found["Content-Length"] = None  # Go ends JSON with a line's end
        location = found["Location"]
        if location is not None:
            path = re.sub(r"^https?://[^/]+", "", location)
            if ask.begins is not None:
                self.uploads[ask.begins] = path
            found["Location"] = _UUID.sub("…", path)
        return {"status": response.status, **found, "body": _told(body)}


def _told(body: bytes) -> Any:
    try:
        told = json.loads(body)
    except ValueError:
        return body
    if isinstance(told, dict) and "errors" in told:
        # what else is in an error is for people
        return [error["code"] for error in told["errors"]]
    return told if isinstance(told, dict) and "schemaVersion" not in told else body


@asynccontextmanager
async def theirs(folder: Path, tasks: TaskKeeper) -> AsyncIterator[int]:
    """Run Debian's docker-registry, unpacked in the cache and never installed."""
    cache = cache_root()
    debs = await DebianArchive(cache, SilentProgress()).ensure(["docker-registry"])
    trees = Trees({name: unpack(deb, cache) for name, deb in debs.items()})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/theirs}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    argv = trees.command("docker-registry", "/usr/bin/docker-registry", argv0="docker-registry")
    process = await asyncio.create_subprocess_exec(
        *argv, "serve", str(config), env=minimal_environment(), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await tasks.race(
            _listening(port, process),
            Deadline.after(timedelta(seconds=20)),
            waiting_for="docker-registry",
        )
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            continue
        writer.close()
        return
    raise AssertionError(f"docker-registry ended with status {process.returncode}")


@asynccontextmanager
async def both(folder: Path) -> AsyncIterator[tuple[Side, Side]]:
    """Run both, empty."""
    timeline, tasks = Timeline(None), TaskKeeper()
    service = RegistryService(
        timeline=timeline, tasks=tasks, layouts=[], bind="127.0.0.1", port=0,
        push_to=folder / "ours",
    )  # fmt: skip
    await service.start()
    try:
        async with theirs(folder, tasks) as port:
            yield Side(port), Side(service.port)
    finally:
        await service.stop()
        await tasks.close()


@dataclass(slots=True)
class Tally:
    """What was compared."""

    found: list[str] = field(default_factory=list)
    explained: dict[str, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)


async def compared(real: Side, ours: Side, asks: list[Ask]) -> Tally:
    """Ask both everything."""
    tally = Tally()
    for ask in asks:
        first, second = await asyncio.gather(
            asyncio.to_thread(real.ask, ask), asyncio.to_thread(ours.ask, ask)
        )
        tally.statuses[first["status"]] = tally.statuses.get(first["status"], 0) + 1
        if first == second:
            continue
        why = next((key for key, is_so in EXPLAINED.items() if is_so(ask, first, second)), "")
        if why:
            tally.explained[why] = tally.explained.get(why, 0) + 1
            continue
        differing = {key: (first[key], second[key]) for key in first if first[key] != second[key]}
        tally.found.append(f"{ask.method} {ask.path} {dict(ask.headers)}: {differing}"[:500])
    return tally


async def test_every_request_gets_the_same_answer(tmp_path: Path) -> None:
    asks = session(SEED, COUNT)
    async with both(tmp_path) as (real, ours):
        tally = await compared(real, ours, asks)
    print(f"{len(asks)} requests, {len(tally.found)} unexplained differences (seed {SEED})")
    print(", ".join(f"{status}: {count}" for status, count in sorted(tally.statuses.items())))
    print("\n".join(f"{count:4} {why}" for why, count in tally.explained.items()))
    assert not tally.found, "\n".join(tally.found[:60])
    assert set(tally.explained) == set(EXPLAINED), set(EXPLAINED) - set(tally.explained)
    assert sum(tally.explained.values()) < len(asks) // 3
    assert tally.statuses[200] > len(asks) // 10


class Wrong(Side):
    """The lab's registry with one thing that is not as Docker's."""

    change: tuple[str, Any, Any] = ("", None, None)

    def ask(self, ask: Ask) -> dict[str, Any]:
        told = Side.ask(self, ask)
        key, before, after = self.change
        return {**told, key: after} if told[key] == before else told


@pytest.mark.parametrize(
    "change",
    [
        ("status", 201, 200),
        ("body", ["MANIFEST_UNKNOWN"], ["NAME_UNKNOWN"]),
        ("Docker-Content-Digest", digest_of(MANIFESTS["plain"][0]), None),
        ("Content-Type", "application/octet-stream", "text/plain"),
        ("Range", "0-0", None),
    ],
)
async def test_one_thing_that_is_wrong_is_found(
    tmp_path: Path, change: tuple[str, Any, Any]
) -> None:
    async with both(tmp_path) as (real, ours):
        wrong = Wrong(ours.port)
        wrong.change = change
        tally = await compared(real, wrong, session(SEED, 60))
    assert tally.found
