"""What ``worker:`` names: one of Tinkerbell's, an image, or a program of the user's.

====================== ===========================================================================
``tink-worker@v0.12.2`` compiled from its published Go module, as is ``tink-agent@v0.25.0``
``my-worker:v2``        an image of the lab's registry: the scenario lists it in ``images``
``../bin/my-worker``    a static x86-64 program, relative to the scenario: becomes an image
====================== ===========================================================================

Whether it speaks protocol v1 or v2 is not asked: the lab's server hears which. Templates are
rendered before that, as by the Tinkerbell that the worker came with.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.documents import suggest
from harness.errors import BuildFailed
from harness.hook.workers import WORKERS, check_program, is_version, pinned_workers
from harness.scenario.item import ImageItem, WorkerItem
from harness.scenario.loader import LoadedScenario

_KEY: Final = ("worker",)
_LOCAL_TAG: Final = "local"
_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedWorker:
    """A worker, and the image that has to be made of a program for it, if any."""

    item: WorkerItem
    images: tuple[ImageItem, ...] = ()


def resolve_worker(loaded: LoadedScenario, available: Collection[str]) -> ResolvedWorker:
    """Return the scenario's worker; ``available`` are the registry's images.

    Raises ``ScenarioError`` for what is neither a worker of Tinkerbell's, nor an image, nor a
    program that can be one.
    """
    written = loaded.scenario.worker
    at = str(loaded.document.position(_KEY))
    for image in (written, f"{written}:latest"):
        if image in available:
            return ResolvedWorker(item=WorkerItem(image=image, at=at))
    name, with_version, version = written.partition("@")
    if name in WORKERS:
        if not with_version or not is_version(version):
            known = next(each for each in pinned_workers() if each.startswith(f"{name}@"))
            raise loaded.error(
                f"worker: {written!r} has no version", _KEY, hint=f"write it as {known}"
            )
        image = f"{name}:{version}"
        built = None if image in available else written
        return ResolvedWorker(item=WorkerItem(image=image, build=built, at=at))
    program = loaded.path(_KEY)
    if program.exists() or written.startswith((".", "/", "~")):
        return _program(loaded, program, at)
    raise loaded.error(
        f"worker: there is no worker {written!r}",
        _KEY,
        hint=suggest(written, [*pinned_workers(), *(i for i in sorted(available) if "worker" in i)])
        or "a worker of Tinkerbell's (NAME@VERSION), an image listed in 'images', or a program",
    )


def release_of(loaded: LoadedScenario) -> str | None:
    """Return the Tinkerbell that the scenario names, or that its worker came with."""
    from fake_tink_server.release import Release

    known = {"tink-worker": Release.V0_12, "tink-agent": Release.V0_25}
    return loaded.scenario.tink.release or known.get(loaded.scenario.worker.partition("@")[0])


def _program(loaded: LoadedScenario, program: Path, at: str) -> ResolvedWorker:
    try:
        check_program(program)
    except BuildFailed as error:
        raise loaded.error(f"worker: {error.message}", _KEY, hint=error.hint) from error
    name = _NOT_IN_A_NAME.sub("-", program.name.lower()).strip("-") or "worker"
    reference = f"{name}:{_LOCAL_TAG}"
    return ResolvedWorker(
        item=WorkerItem(image=reference, at=at),
        images=(ImageItem(reference=reference, layout=program.absolute()),),
    )
