"""What becomes of an image and of its containers: behaviour as data, and a container's state."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

SIGKILL_STATUS: Final = 137
SIGTERM_STATUS: Final = 143


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What an image does when it is pulled and run. The first that matches counts."""

    image: str = "*"
    """Glob over the reference as it was asked for, registry and tag included."""
    command: str = "*"
    """Glob over the container's command, its words joined by single spaces."""
    exit_code: int = 0
    seconds: float | None = 0.0
    """How long a container runs; None: until it is stopped, killed or removed."""
    output: Sequence[str] = ()
    """Lines that a container prints as soon as it starts."""
    ignores_sigterm: bool = False
    """Whether ``stop`` has to wait for its grace period and kill."""
    present: bool = False
    """Whether the image is there without a pull."""
    pull_seconds: float = 0.0
    pull_error: str = ""
    """The registry's complaint, within a pull that began (HTTP 200), as dockerd streams it."""
    pull_status: int = 200
    """Anything else than 200: the pull is refused at once with this HTTP status."""
    credentials: tuple[str, str] | None = None
    """User and password without which the pull is refused."""
    create_error: str = ""
    """Why no container can be made of it (HTTP 500)."""
    start_error: str = ""
    """Why its containers can't start (HTTP 500)."""

    def matches(self, image: str, command: Sequence[str] | None = None) -> bool:
        """Tell whether this is what ``image`` does; ``command`` None: whatever its command."""
        if not fnmatchcase(image, self.image):
            return False
        return command is None or fnmatchcase(" ".join(command), self.command)


class Status(StrEnum):
    """A container's state, by docker's names."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(slots=True, kw_only=True, eq=False)
class Container:
    """A container that never ran anything: it behaves as its ``program`` says."""

    name: str
    image: str
    config: Mapping[str, Any]
    """The body of the request that created it."""
    program: Program
    id: str = field(default_factory=lambda: secrets.token_hex(32))
    status: Status = Status.CREATED
    exit_code: int = 0
    removed: bool = False
    asked_to_end: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def host_config(self) -> Mapping[str, Any]:
        """The request's ``HostConfig``; empty when it has none."""
        return self.config.get("HostConfig") or {}

    @property
    def command(self) -> list[str]:
        """Arguments of the container, without the entrypoint."""
        return _words(self.config.get("Cmd"))

    @property
    def entrypoint(self) -> list[str]:
        """The entrypoint that the request sets; empty: the image's own."""
        return _words(self.config.get("Entrypoint"))

    @property
    def environment(self) -> list[str]:
        """``key=value`` lines."""
        return list(self.config.get("Env") or [])

    @property
    def binds(self) -> list[str]:
        """``source:target[:options]`` lines."""
        return list(self.host_config.get("Binds") or [])

    @property
    def privileged(self) -> bool:
        """Whether it may do anything to the machine."""
        return bool(self.host_config.get("Privileged"))

    @property
    def pid_mode(self) -> str:
        """The PID namespace that was asked for; empty: one of its own."""
        return str(self.host_config.get("PidMode") or "")

    @property
    def network_mode(self) -> str:
        """The network that was asked for; empty or ``default``: the engine's own."""
        return str(self.host_config.get("NetworkMode") or "")

    @property
    def tty(self) -> bool:
        """Whether its output is one plain stream."""
        return bool(self.config.get("Tty"))

    def printed(self) -> bytes:
        """Return its output as docker streams it: plain with a terminal, else in frames."""
        if self.status is Status.CREATED:
            return b""
        chunks = []
        for line in self.program.output:
            data = line.encode() + (b"\r\n" if self.tty else b"\n")
            # one byte of stream (1: stdout), three of padding, four of length
            chunks.append(data if self.tty else b"\1\0\0\0" + len(data).to_bytes(4, "big") + data)
        return b"".join(chunks)

    def inspected(self) -> dict[str, Any]:
        """Return what ``GET /containers/ID/json`` tells, as far as clients look at it."""
        created = self.created_at.isoformat().replace("+00:00", "Z")
        never = "0001-01-01T00:00:00Z"
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Created": created,
            "Path": next(iter([*self.entrypoint, *self.command]), ""),
            "Args": [*self.entrypoint, *self.command][1:],
            "Image": image_id(self.image),
            "State": {
                "Status": str(self.status),
                "Running": self.status is Status.RUNNING,
                "Paused": False,
                "Restarting": False,
                "OOMKilled": False,
                "Dead": False,
                "Pid": 0,
                "ExitCode": self.exit_code,
                "Error": "",
                "StartedAt": never if self.status is Status.CREATED else created,
                "FinishedAt": never,
            },
            "Config": {key: value for key, value in self.config.items() if key != "HostConfig"},
            "HostConfig": dict(self.host_config),
            "Mounts": [],
            "NetworkSettings": {},
        }


def image_id(reference: str) -> str:
    """Return a made-up, stable id for an image."""
    import hashlib

    return "sha256:" + hashlib.sha256(reference.encode()).hexdigest()


def normal(reference: str) -> str:
    """Return ``reference`` as the engine keeps it: ``docker.io/library/`` gone, a tag there."""
    reference = reference.removeprefix("docker.io/").removeprefix("library/")
    if "@" in reference or ":" in reference.rpartition("/")[2]:
        return reference
    return f"{reference}:latest"


def _words(value: Any) -> list[str]:
    return value.split() if isinstance(value, str) else list(value or [])
