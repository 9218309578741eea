"""A stand-in for a docker engine: it answers as dockerd does, and runs nothing.

It exists so that the real tink-worker and tink-agent, which need a docker engine, can be started as
plain processes on any host, and so that what they ask of it can be judged. What becomes of an image
is data (``containers.Program``). In the lab, the guest's real docker engine is used instead.

The part of the API (v1.41, as Debian 12's docker.io) that those two programs and ``docker run``
use: ping, version, info, image pull, inspect and list; container create, inspect, list, start,
wait, logs, attach, stop, kill, remove.

``docker run`` pulls, runs, returns the right status and prints nothing: it closes its half of an
attached connection at once, which ends the connection here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web

from fake_tink_server.conformance.containers import (
    SIGKILL_STATUS,
    SIGTERM_STATUS,
    Container,
    Program,
    Status,
    image_id,
    normal,
)
from harness.errors import SetupFailed
from harness.tasks import TaskKeeper

Record = Callable[..., object]
"""Called as ``record(name, **fields)`` with a name of ``harness.events.EVENTS``."""

API_VERSION: Final = "1.41"
DEFAULT_GRACE_S: Final = 10.0

_VERSIONED: Final = re.compile(r"/v(\d+)\.(\d+)(/.*)")
_HEADERS: Final = {
    "Api-Version": API_VERSION,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": "Docker/20.10.24 (linux)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that was made, whatever became of it."""

    method: str
    path: str
    """Without the version."""
    query: dict[str, str]
    status: int


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DockerEngine:
    """Serves the API on a unix socket while it is entered."""

    def __init__(
        self, *, socket: Path, programs: Sequence[Program] = (), record: Record | None = None
    ) -> None:
        """Prepare to listen on ``socket`` (at most 107 octets long).

        ``programs`` says what images do; one that none matches exits 0 at once.
        """
        self.socket = socket
        self.programs = [*programs, Program()]
        self.calls: list[Call] = []
        """Every call that was answered, in order."""
        self.containers: list[Container] = []
        """Every container ever made, removed ones too, in order."""
        self.pulled: set[str] = set()
        self._record = record or (lambda *_, **__: None)
        self._tasks: TaskKeeper | None = None
        self._runner: web.AppRunner | None = None

    @property
    def host(self) -> str:
        """The value of ``DOCKER_HOST`` for clients."""
        return f"unix://{self.socket}"

    async def __aenter__(self) -> DockerEngine:
        application = web.Application()
        application.router.add_route("*", "/{rest:.*}", self._answer)
        runner = web.AppRunner(
            application,
            handle_signals=False,
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=0.1,
        )
        await runner.setup()
        try:
            await web.UnixSite(runner, str(self.socket)).start()
        except OSError as error:
            await runner.cleanup()
            raise SetupFailed(f"the docker engine's stand-in can't listen: {error}") from error
        self._tasks, self._runner = TaskKeeper(), runner
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._tasks is not None:
            await self._tasks.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._tasks = self._runner = None

    def forget(self) -> None:
        """Lose every image and container at once, as a machine does that keeps them in memory."""
        self.pulled.clear()
        for container in self._alive():
            container.removed = True
            container.asked_to_end.set()

    # -- HTTP

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        status = 500
        try:
            if version := _VERSIONED.fullmatch(path):
                path = version[3]
                if (int(version[1]), int(version[2])) > (1, 41):
                    raise _Refused(
                        400,
                        f"client version {version[1]}.{version[2]} is too new. "
                        f"Maximum supported API version is {API_VERSION}",
                    )
            response = await self._route(request, path)
            status = response.status
            return response
        except _Refused as refused:
            status = refused.status
            return _json({"message": str(refused)}, status)
        except ConnectionError:  # the client is gone, killed perhaps: nobody is left to answer
            return web.Response(status=status)
        finally:
            self.calls.append(
                Call(
                    method=request.method, path=path, query=dict(request.query), status=status
                )
            )  # fmt: skip
            self._record("docker.call.answered", method=request.method, path=path, status=status)

    async def _route(self, request: web.Request, path: str) -> web.StreamResponse:
        query = request.query
        match [request.method, *path.strip("/").split("/")]:
            case ["GET" | "HEAD", "_ping"]:
                return web.Response(text="OK", headers=_HEADERS)
            case ["GET", "version"]:
                return _json({"Version": "20.10.24", "ApiVersion": API_VERSION,
                              "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64"})  # fmt: skip
            case ["GET", "info"]:
                return _json({"ID": "stand-in", "Name": "stand-in", "OSType": "linux",
                              "ServerVersion": "20.10.24", "Containers": len(self._alive()),
                              "Images": len(self.pulled)})  # fmt: skip
            case ["POST", "images", "create"]:
                return await self._pull(request)
            case ["GET", "images", "json"]:
                return _json([_image(name) for name in sorted(self.pulled)])
            case ["GET", "images", *name, "json"]:
                return self._inspect_image("/".join(name))
            case ["POST", "containers", "create"]:
                return await self._create(request)
            case ["GET", "containers", "json"]:
                every = query.get("all") in ("1", "true")
                shown = [c for c in self._alive() if every or c.status is Status.RUNNING]
                return _json([_listed(container) for container in shown])
            case ["GET", "containers", name, "json"]:
                return _json(self._find(name).inspected())
            case ["POST", "containers", name, "start"]:
                return await self._start(self._find(name))
            case ["POST", "containers", name, "wait"]:
                condition = query.get("condition", "")
                return await self._wait(request, self._find(name), condition)
            case ["POST", "containers", name, "stop"]:
                grace = float(query.get("t", DEFAULT_GRACE_S))
                return await self._stop(self._find(name), grace)
            case ["POST", "containers", name, "kill"]:
                return await self._kill(self._find(name), query.get("signal", "SIGKILL"))
            case ["POST", "containers", name, "resize"]:
                self._find(name)
                return web.Response(status=200)
            case ["POST", "containers", name, "attach"]:
                return await self._attach(request, self._find(name))
            case ["GET", "containers", name, "logs"]:
                return await self._logs(request, self._find(name))
            case ["DELETE", "containers", name]:
                return await self._remove(self._find(name), query.get("force") in ("1", "true"))
        raise _Refused(404, "page not found")

    # -- images

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        name, tag = request.query.get("fromImage", ""), request.query.get("tag", "")
        reference = f"{name}@{tag}" if ":" in tag else f"{name}:{tag}" if tag else normal(name)
        program = self._program(normal(reference))
        credentials = _credentials(request.headers.get("X-Registry-Auth", ""))
        error, status = program.pull_error, program.pull_status
        if program.credentials is not None and credentials[:2] != program.credentials:
            status = 500
            error = f"Head https://{name}: unauthorized: authentication required"
        failed = bool(error) or status != 200
        if failed:
            error = error or f"manifest for {reference} not found: manifest unknown"
        self._record(
            "docker.image.pulled",
            image=reference,
            user=credentials[0],
            password=credentials[1],
            registry=credentials[2],
            error=error or None,
        )
        if status != 200:
            raise _Refused(status, error)
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "application/json", **_HEADERS})
        await response.prepare(request)
        await _say(response, {"status": f"Pulling from {name}", "id": tag})
        if program.pull_seconds:
            await asyncio.sleep(program.pull_seconds)
        if failed:
            await _say(response, {"errorDetail": {"message": error}, "error": error})
            return response
        self.pulled.add(normal(reference))
        await _say(response, {"status": f"Status: Downloaded newer image for {reference}"})
        return response

    def _inspect_image(self, name: str) -> web.StreamResponse:
        if not self._has(name):
            raise _Refused(404, f"No such image: {normal(name)}")
        # the one number of a list that is text here; Go's client refuses the other
        return _json(_image(normal(name)) | {"Created": "1970-01-01T00:00:00Z"})

    def _has(self, name: str) -> bool:
        return normal(name) in self.pulled or self._program(normal(name)).present

    def _program(self, image: str, command: Sequence[str] | None = None) -> Program:
        return next(program for program in self.programs if program.matches(image, command))

    # -- containers

    def _alive(self) -> list[Container]:
        return [container for container in self.containers if not container.removed]

    def _find(self, name: str) -> Container:
        named = [container for container in self._alive() if container.name == name]
        known = [container for container in self._alive() if container.id.startswith(name)]
        if not named and not known:
            raise _Refused(404, f"No such container: {name}")
        return [*named, *known][0]

    async def _create(self, request: web.Request) -> web.StreamResponse:
        try:
            config = json.loads(await request.read())
            image = str(config["Image"])
        except (ValueError, TypeError, KeyError) as error:
            raise _Refused(400, f"invalid JSON: {error}") from None
        container = Container(
            name=request.query.get("name", ""), image=image, config=config, program=Program()
        )
        container.name = container.name or f"stand_in_{container.id[:12]}"
        try:
            self._check_creation(container)
        except _Refused as refused:
            self._tell("created", container, error=str(refused))
            raise
        self.containers.append(container)
        self._tell("created", container)
        return _json({"Id": container.id, "Warnings": []}, 201)

    def _check_creation(self, container: Container) -> None:
        for other in self._alive():
            if other.name == container.name:
                raise _Refused(
                    409,
                    f'Conflict. The container name "/{container.name}" is already in use by '
                    f'container "{other.id}". You have to remove (or rename) that container '
                    "to be able to reuse that name.",
                )
        if not self._has(container.image):
            raise _Refused(404, f"No such image: {normal(container.image)}")
        container.program = self._program(normal(container.image), container.command)
        if container.program.create_error:
            raise _Refused(500, container.program.create_error)

    async def _start(self, container: Container) -> web.StreamResponse:
        if container.status is Status.RUNNING:
            return web.Response(status=304)
        if container.program.start_error:
            raise _Refused(500, container.program.start_error)
        assert self._tasks is not None
        container.asked_to_end.clear()
        await self._move(container, Status.RUNNING)
        self._record("docker.container.started", container=container.name, image=container.image)
        self._tasks.spawn(self._live(container), name=f"container {container.name}")
        return web.Response(status=204)

    async def _live(self, container: Container) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(container.program.seconds):
                await container.asked_to_end.wait()
        if not container.asked_to_end.is_set():
            container.exit_code = container.program.exit_code
        await self._move(container, Status.EXITED)
        self._record(
            "docker.container.ended",
            container=container.name,
            image=container.image,
            code=container.exit_code,
        )
        if container.host_config.get("AutoRemove"):
            await self._remove(container, force=False)

    async def _move(self, container: Container, status: Status) -> None:
        async with container.changed:
            container.status = status
            container.changed.notify_all()

    async def _end(self, container: Container, exit_code: int) -> None:
        if container.status is not Status.RUNNING:
            return
        container.exit_code = exit_code
        container.asked_to_end.set()
        async with container.changed:
            await container.changed.wait_for(lambda: container.status is Status.EXITED)

    async def _stop(self, container: Container, grace_s: float) -> web.StreamResponse:
        self._record("docker.container.stopped", container=container.name, signal="SIGTERM")
        if container.status is not Status.RUNNING:
            return web.Response(status=304)
        if not container.program.ignores_sigterm:
            await self._end(container, SIGTERM_STATUS)
            return web.Response(status=204)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s), container.changed:
                await container.changed.wait_for(lambda: container.status is Status.EXITED)
        await self._end(container, SIGKILL_STATUS)
        return web.Response(status=204)

    async def _kill(self, container: Container, signal: str) -> web.StreamResponse:
        self._record("docker.container.stopped", container=container.name, signal=signal)
        if container.status is not Status.RUNNING:
            raise _Refused(409, f"Container {container.id} is not running")
        kills = signal in ("9", "KILL", "SIGKILL")
        if kills or not container.program.ignores_sigterm:
            await self._end(container, SIGKILL_STATUS if kills else SIGTERM_STATUS)
        return web.Response(status=204)

    async def _remove(self, container: Container, force: bool) -> web.StreamResponse:
        if container.status is Status.RUNNING:
            if not force:
                raise _Refused(
                    409,
                    f"You cannot remove a running container {container.id}. Stop the container "
                    "before attempting removal or force remove",
                )
            await self._end(container, SIGKILL_STATUS)
        async with container.changed:
            container.removed = True
            container.changed.notify_all()
        self._record("docker.container.removed", container=container.name, force=force)
        return web.Response(status=204)

    async def _wait(
        self, request: web.Request, container: Container, condition: str
    ) -> web.StreamResponse:
        def over() -> bool:
            if condition == "removed":
                return container.removed
            if condition == "next-exit":
                return container.status is Status.EXITED
            return container.status is not Status.RUNNING

        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "application/json", **_HEADERS})
        # the head comes at once, as dockerd does it: a client that still waits for it when its
        # time is over can't tell "the engine is silent" from "the container still runs"
        await response.prepare(request)
        async with container.changed:
            await container.changed.wait_for(lambda: over() or container.removed)
        await _say(response, {"StatusCode": container.exit_code})
        return response

    async def _logs(self, request: web.Request, container: Container) -> web.StreamResponse:
        kind = "raw-stream" if container.tty else "multiplexed-stream"
        response = web.StreamResponse(
            headers={hdrs.CONTENT_TYPE: f"application/vnd.docker.{kind}", **_HEADERS}
        )
        await response.prepare(request)
        follow = request.query.get("follow") in ("1", "true")
        await self._print(response, container, follow=follow)
        return response

    async def _attach(self, request: web.Request, container: Container) -> web.StreamResponse:
        upgrades = bool(request.headers.get(hdrs.UPGRADE))
        headers = {hdrs.CONTENT_TYPE: "application/vnd.docker.raw-stream", **_HEADERS}
        if upgrades:
            headers |= {hdrs.CONNECTION: "Upgrade", hdrs.UPGRADE: "tcp"}
        response = web.StreamResponse(status=101 if upgrades else 200, headers=headers)
        response.force_close()
        await response.prepare(request)
        await self._print(response, container, follow=request.query.get("stream") in ("1", "true"))
        return response

    async def _print(
        self, response: web.StreamResponse, container: Container, *, follow: bool
    ) -> None:
        """Write a container's output; with ``follow`` wait for its start, and for its end."""
        if follow:
            async with container.changed:
                await container.changed.wait_for(
                    lambda: container.status is not Status.CREATED or container.removed
                )
        with contextlib.suppress(ConnectionError):
            await response.write(container.printed())
        if follow:
            async with container.changed:
                await container.changed.wait_for(
                    lambda: container.status is Status.EXITED or container.removed
                )

    def _tell(self, what: str, container: Container, error: str | None = None) -> None:
        self._record(
            f"docker.container.{what}",
            container=container.name,
            image=container.image,
            command=container.command,
            entrypoint=container.entrypoint or None,
            environment=container.environment,
            binds=container.binds,
            privileged=container.privileged,
            pid=container.pid_mode or None,
            network=container.network_mode or None,
            error=error,
        )


def _json(data: Any, status: int = 200) -> web.Response:
    # exactly "application/json": docker's client reads an error's message of no other type
    return web.Response(
        body=json.dumps(data).encode() + b"\n",
        status=status,
        headers={hdrs.CONTENT_TYPE: "application/json", **_HEADERS},
    )


async def _say(response: web.StreamResponse, data: Any) -> None:
    with contextlib.suppress(ConnectionError):
        await response.write(json.dumps(data).encode() + b"\r\n")


def _credentials(header: str) -> tuple[str, str, str]:
    """Return user, password and registry of an ``X-Registry-Auth`` header; empty without one."""
    try:
        data = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (ValueError, binascii.Error):
        return "", "", ""
    if not isinstance(data, dict):
        return "", "", ""
    user, password, registry = (
        str(data.get(key) or "") for key in ("username", "password", "serveraddress")
    )
    return user, password, registry


def _image(reference: str) -> dict[str, Any]:
    return {
        "Id": image_id(reference),
        "RepoTags": [] if "@" in reference else [reference],
        "RepoDigests": [reference] if "@" in reference else [],
        "Created": 0,
        "Size": 0,
        "SharedSize": -1,
        "Containers": -1,
        "Labels": {},
        "Architecture": "amd64",
        "Os": "linux",
        "Config": {},
    }


def _listed(container: Container) -> dict[str, Any]:
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.image,
        "ImageID": image_id(container.image),
        "Command": " ".join([*container.entrypoint, *container.command]),
        "Created": int(container.created_at.timestamp()),
        "State": str(container.status),
        "Status": str(container.status).capitalize(),
        "Ports": [],
        "Labels": {},
        "Mounts": [],
    }
