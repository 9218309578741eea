"""Tinkerbell's own workers, at any version that a Go module proxy has, and a user's own program.

The pinned versions have a ``go.mod`` and a ``go.sum`` in ``linuxkit/tools``. Any other version gets
both here: the ``replace`` lines are its own module's, whose relative ones (``./api``) become the
published module of the same version, and what is downloaded is verified by Go's checksum database
as far as the host asks it (``GOSUMDB``).
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from harness.errors import BuildFailed, DecodeError
from harness.hook.elf import is_elf, needs_of
from harness.hook.golang import find_go, go_build, go_environment, required_version
from harness.hook.images import program_image
from harness.hook.store import digest_of, exclusive, new_folder
from harness.hook.tools import ensure_tool, pin_of
from harness.oci.image import write_layout
from harness.process import CommandFailed, run
from harness.progress import Progress

_RECIPE: Final = 1
"""Raise it when the same inputs give other modules or images."""
_ELF_X86_64: Final = 62
_MACHINES: Final = {3: "x86 (32 bit)", 40: "ARM (32 bit)", 183: "ARM64", 243: "RISC-V"}
_VERSION: Final = re.compile(r"v\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
_STATIC: Final = "CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One of Tinkerbell's workers."""

    name: str
    module: str
    package: str
    entrypoint: str
    """Where the program lies in its image."""


WORKERS: Final = {
    worker.name: worker
    for worker in (
        Worker(
            name="tink-worker",
            module="github.com/tinkerbell/tink",
            package="github.com/tinkerbell/tink/cmd/tink-worker",
            entrypoint="usr/bin/tink-worker",
        ),
        Worker(
            name="tink-agent",
            module="github.com/tinkerbell/tinkerbell",
            package="github.com/tinkerbell/tinkerbell/cmd/agent",
            entrypoint="tink-agent",
        ),
    )
}
"""Tinkerbell's workers by name."""


def pinned_workers() -> tuple[str, ...]:
    """Return the versions that ``linuxkit/tools`` pins: ``tink-worker@v0.12.2``, …"""
    return tuple(f"{name}@{pin_of(name).version}" for name in WORKERS)


def is_version(text: str) -> bool:
    """Return whether ``text`` is a version as Go modules have them: ``v0.12.2``."""
    return _VERSION.fullmatch(text) is not None


async def worker_layout(name: str, version: str, *, cache: Path, progress: Progress) -> Path:
    """Return an image layout with ``name:version``, compiled and packed when it is not there.

    Raises ``BuildFailed`` when no proxy has that version or it does not compile, ``HostUnfit``
    without a Go that is new enough.
    """
    program = await _program(WORKERS[name], version, cache, progress)
    wanted = digest_of(_RECIPE, name, version, str(program.relative_to(cache)))
    layout = cache / "images" / wanted[:32]
    async with exclusive(cache / "images" / f"{wanted[:32]}.lock"):
        if not layout.is_dir():
            with progress.step(f"packing {name}:{version}"), new_folder(layout) as scratch:
                image = program_image(
                    f"{name}:{version}", program, name=name, path=WORKERS[name].entrypoint
                )
                write_layout(scratch, [image])
    return layout


async def _program(worker: Worker, version: str, cache: Path, progress: Progress) -> Path:
    if version == pin_of(worker.name).version:
        return await ensure_tool(worker.name, cache, progress)
    module = await _module(worker, version, cache, progress)
    return await go_build(module, worker.package, worker.name, cache=cache, progress=progress)


async def _module(worker: Worker, version: str, cache: Path, progress: Progress) -> Path:
    """Return a folder whose ``go.mod`` and ``go.sum`` fix everything ``worker`` is made of."""
    folder = cache / "workers" / digest_of(_RECIPE, worker.package, version)[:32]
    async with exclusive(cache / "workers" / "lock"):
        if folder.is_dir():
            return folder
        pinned = await find_go((1, 21, 0))
        with progress.step(f"resolving {worker.name}@{version}"), new_folder(folder) as scratch:
            theirs = await _published(pinned.program, worker, version, scratch, cache)
            (scratch / "go.mod").write_text(_go_mod(worker, version, theirs))
            (scratch / "workers.go").write_text("package workers\n")
            go = await find_go(required_version(scratch))
            try:
                await run(
                    [go.program, "list", "-mod=mod", "-deps", worker.package],
                    cwd=scratch,
                    env=_environment(cache),
                )
            except CommandFailed as error:
                raise BuildFailed(
                    f"{worker.name}@{version}: its modules can't be resolved\n"
                    f"{error.output.strip()}",
                    hint="a Go module proxy must be reachable (GOPROXY)",
                ) from error
    return folder


async def _published(go: Path, worker: Worker, version: str, folder: Path, cache: Path) -> str:
    """Return the ``go.mod`` of the worker's module as it was published."""
    try:
        await run(
            [go, "mod", "download", f"{worker.module}@{version}"],
            cwd=folder,
            env=_environment(cache),
        )
        found = await run([go, "env", "GOMODCACHE"], cwd=folder, env=_environment(cache))
    except CommandFailed as error:
        _explain(worker, version, error)
    file = Path(found.stdout.decode().strip(), "cache/download", worker.module, "@v")
    return (file / f"{version}.mod").read_text(encoding="utf-8")


def _explain(worker: Worker, version: str, error: CommandFailed) -> NoReturn:
    pinned = f"{worker.name}@{pin_of(worker.name).version}"
    if re.search(r"unknown revision|404 Not Found|410 Gone|not found|not available", error.output):
        raise BuildFailed(
            f"there is no {worker.name}@{version}: no version {version} of {worker.module}",
            hint=f"known to work: {pinned}",
        ) from error
    raise BuildFailed(
        f"{worker.name}@{version} can't be fetched\n{error.output.strip()}",
        hint=f"a Go module proxy must be reachable (GOPROXY); {pinned} is pinned here",
    ) from error


def _environment(cache: Path) -> dict[str, str]:
    # ghw left the checksum database; Tinkerbell's own go.sum still lists it.
    return {**go_environment(cache), "GONOSUMDB": "github.com/jaypipes/ghw"}


def _go_mod(worker: Worker, version: str, theirs: str) -> str:
    """Return a ``go.mod`` that requires ``worker``'s module and replaces what it replaces.

    Replacements and exclusions count in the main module only, so ours must repeat them.
    """
    stated = re.search(r"^go (\S+)", theirs, re.M)
    lines = [
        f"module hooklab/workers/{worker.name}",
        f"go {stated[1] if stated else '1.21'}",
        f"require {worker.module} {version}",
    ]
    for verb in ("replace", "exclude"):
        for line in _directives(theirs, verb):
            path, arrow, target = line.partition("=>")
            if arrow and target.strip().startswith("."):
                line = f"{path.strip()} => {path.split()[0]} {version}"
            lines.append(f"{verb} {line}")
    return "\n".join(lines) + "\n"


def _directives(go_mod: str, verb: str) -> list[str]:
    found = re.findall(rf"^{verb} ([^(\n]+)$", go_mod, re.M)
    for block in re.findall(rf"^{verb} \((.*?)^\)", go_mod, re.M | re.S):
        found += block.splitlines()
    plain = (line.partition("//")[0].strip() for line in found)
    return [line for line in plain if line]


def check_program(program: Path) -> None:
    """Raise ``BuildFailed``, with a hint, unless ``program`` runs in an image of its own.

    That is: a file that may be executed, ELF for x86-64, linked statically.
    """
    if not program.is_file():
        what = "is a folder" if program.is_dir() else "does not exist"
        raise BuildFailed(f"{program} {what}", hint="name a static program for x86-64")
    try:
        elf = is_elf(program)
        with program.open("rb") as stream:
            head = stream.read(20)
    except OSError as error:
        raise BuildFailed(f"can't read {program}: {error.strerror}") from error
    if not elf or len(head) < 20:
        raise BuildFailed(
            f"{program} is no program (ELF file): its image would hold nothing to run it with",
            hint=f"a static program for x86-64, such as {_STATIC} makes",
        )
    if not os.access(program, os.X_OK):
        raise BuildFailed(f"{program} may not be executed", hint=f"chmod +x {program}")
    (machine,) = struct.unpack_from("<H", head, 18)
    if machine != _ELF_X86_64 or head[4] != 2:
        found = _MACHINES.get(machine, f"ELF machine {machine}")
        raise BuildFailed(f"{program} is for {found}, Hook runs on x86-64", hint=_STATIC)
    try:
        needs = needs_of(program)
    except DecodeError as error:
        raise BuildFailed(str(error)) from error
    if needs.interpreter or needs.libraries:
        wanted = ", ".join(filter(None, (needs.interpreter, *needs.libraries)))
        raise BuildFailed(
            f"{program} is linked dynamically (it needs {wanted}), and its image holds no library",
            hint=f"{_STATIC}; or give an image with the libraries a name in 'images'",
        )
