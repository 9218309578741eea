"""The docker engine's stand-in, asked over its socket."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from fake_tink_server.conformance.containers import Program, Status, normal
from fake_tink_server.conformance.engine import DockerEngine
from harness.timeline import Timeline, named


class Client:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, str]:
        url = f"http://docker{path}"
        async with self._session.request(method, url, json=body, headers=headers) as response:
            return response.status, (await response.read()).decode()

    async def make(self, name: str, image: str = "a:1", **config: Any) -> str:
        path = f"/v1.41/containers/create?name={name}"
        status, text = await self.call("POST", path, {"Image": image, **config})
        assert status == 201, text
        return str(json.loads(text)["Id"])


@asynccontextmanager
async def docker(
    folder: Path, *programs: Program
) -> AsyncIterator[tuple[DockerEngine, Client, Timeline]]:
    timeline = Timeline(None)

    def record(name: str, /, **fields: Any) -> None:
        timeline.record("docker", name, **fields)

    engine = DockerEngine(socket=folder / "d.sock", programs=programs, record=record)
    async with engine:
        connector = aiohttp.UnixConnector(str(engine.socket))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield engine, Client(session), timeline


async def test_a_container_from_pull_to_removal(tmp_path: Path) -> None:
    program = Program(image="reg/a:1", exit_code=3, output=["one", "two"])
    async with docker(tmp_path, program) as (engine, client, timeline):
        auth = {"username": "u", "password": "p", "serveraddress": "reg"}
        header = base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()
        path = "/v1.41/images/create?fromImage=reg/a&tag=1"
        status, text = await client.call("POST", path, **{"X-Registry-Auth": header})
        assert status == 200
        assert "Pulling from reg/a" in text
        [pulled] = named(timeline, "docker.image.pulled")
        assert (pulled["user"], pulled["password"], pulled["registry"]) == ("u", "p", "reg")
        id = await client.make(
            "one", "reg/a:1", Tty=True, Cmd=["x"], HostConfig={"Binds": ["/a:/b"]}
        )
        assert (await client.call("POST", f"/v1.41/containers/{id}/start"))[0] == 204
        status, text = await client.call("POST", f"/v1.41/containers/{id}/wait")
        assert json.loads(text) == {"StatusCode": 3}
        _, logs = await client.call("GET", f"/v1.41/containers/{id}/logs?follow=1&stdout=1")
        assert logs == "one\r\ntwo\r\n"
        assert (await client.call("DELETE", "/v1.41/containers/one"))[0] == 204
        assert (await client.call("GET", "/v1.41/containers/one/json"))[0] == 404
        assert engine.containers[0].binds == ["/a:/b"]
        assert [e.name.rpartition(".")[2] for e in timeline if "container" in e.name] == [
            "created",
            "started",
            "ended",
            "removed",
        ]


async def test_what_never_ends_is_stopped_or_killed(tmp_path: Path) -> None:
    programs = [
        Program(image="a:1", seconds=None, present=True),
        Program(image="b:1", seconds=None, present=True, ignores_sigterm=True),
    ]
    async with docker(tmp_path, *programs) as (engine, client, _):
        for image, stop, code in (("a:1", "stop", 143), ("b:1", "stop?t=0", 137)):
            name = image[0]
            await client.make(name, image)
            await client.call("POST", f"/v1.41/containers/{name}/start")
            status, text = await client.call("DELETE", f"/v1.41/containers/{name}")
            assert (status, "cannot remove a running" in text) == (409, True)
            assert (await client.call("POST", f"/v1.41/containers/{name}/{stop}"))[0] == 204
            container = engine.containers[-1]
            assert (container.status, container.exit_code) == (Status.EXITED, code)
        await client.make("c", "a:1")
        await client.call("POST", "/v1.41/containers/c/start")
        assert (await client.call("DELETE", "/v1.41/containers/c?force=1"))[0] == 204
        assert engine.containers[-1].exit_code == 137


async def test_what_is_refused_is_refused_as_dockerd_does(tmp_path: Path) -> None:
    programs = [
        Program(image="gone:1", pull_error="manifest unknown"),
        Program(image="down:1", pull_status=500, pull_error="no route to host"),
        Program(image="secret:1", credentials=("u", "p")),
        Program(image="odd:1", present=True, create_error="no space left on device"),
    ]
    async with docker(tmp_path, *programs) as (_, client, _timeline):
        for path, expected in (
            ("gone", (200, '"error": "manifest unknown"')),
            ("down", (500, "no route to host")),
            ("secret", (500, "unauthorized")),
        ):
            url = f"/v1.41/images/create?fromImage={path}&tag=1"
            status, text = await client.call("POST", url)
            assert status == expected[0]
            assert expected[1] in text
        for method, path, body, expected in (
            ("POST", "/v1.41/containers/create", {"Image": "gone:1"}, (404, "No such image: gone")),
            ("POST", "/v1.41/containers/create", {"Image": "odd:1"}, (500, "no space left")),
            ("POST", "/v1.41/containers/create", [], (400, "invalid JSON")),
            ("GET", "/v1.41/images/gone:1/json", None, (404, "No such image")),
            ("GET", "/v1.99/info", None, (400, "client version 1.99 is too new")),
            ("GET", "/v1.41/swarm", None, (404, "page not found")),
        ):
            status, text = await client.call(method, path, body)
            assert status == expected[0]
            assert expected[1] in json.loads(text)["message"]
        await client.call("POST", "/v1.41/images/create?fromImage=a&tag=1")
        await client.make("same")
        status, text = await client.call(
            "POST", "/v1.41/containers/create?name=same", {"Image": "a:1"}
        )
        assert (status, "already in use" in text) == (409, True)


async def test_ping_says_the_version(tmp_path: Path) -> None:
    async with docker(tmp_path) as (engine, client, _):
        assert await client.call("GET", "/_ping") == (200, "OK")
        assert (await client.call("HEAD", "/_ping"))[0] == 200
        assert [call.path for call in engine.calls] == ["/_ping", "/_ping"]


def test_references_are_kept_as_docker_keeps_them() -> None:
    assert normal("docker.io/library/a") == "a:latest"
    assert normal("reg:5000/a") == "reg:5000/a:latest"
    assert normal("reg:5000/a@sha256:0") == "reg:5000/a@sha256:0"
