"""Build times: nothing changed, and one component changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.bench.measured import run_command
from harness.bench.table import Row
from harness.errors import BuildFailed
from harness.paths import cache_root, source_root
from harness.progress import Progress

UNCHANGED_GOAL_S = 1.0
ONE_CHANGED_GOAL_S = 10.0

_COMPONENT = Path("linuxkit/components/cmd/hook-docker")
_SOURCES = ("harness", "fake_tink_server", "linuxkit", "fixtures")


async def measure_builds(*, times: int, scratch: Path, progress: Progress) -> list[Row]:
    """Build ``times`` times unchanged, then with a change in hook-docker each time.

    Works on a copy of the sources and on a copy (hard links) of the cache, so that neither the
    user's checkout nor what is built for it changes.
    """
    with progress.step("build: everything once"):
        await _build(source_root(), scratch, cache_root())
    unchanged = []
    for number in range(1, times + 1):
        with progress.step(f"build {number} of {times}: nothing changed"):
            unchanged.append(await _build(source_root(), scratch, cache_root()))
    sources, cache = scratch / "sources", scratch / "cache"
    for name in _SOURCES:
        shutil.copytree(source_root() / name, sources / name, symlinks=True)
    _link_tree(cache_root(), cache, leave_out=scratch)
    changed = []
    for number in range(1, times + 1):
        _change(sources / _COMPONENT, number)
        with progress.step(f"build {number} of {times}: one component changed"):
            changed.append(await _build(sources, scratch, cache))
    return [
        Row(
            what="build, nothing changed",
            samples=tuple(unchanged),
            goal=UNCHANGED_GOAL_S,
            how="hooklab build, from exec to exit",
        ),
        Row(
            what="build, one component changed",
            samples=tuple(changed),
            goal=ONE_CHANGED_GOAL_S,
            how="a new line of code in hook-docker: compiled, packed, assembled by LinuxKit",
        ),
    ]


async def _build(sources: Path, scratch: Path, cache: Path) -> float:
    done = await run_command(
        "build", cwd=scratch, sources=sources, env={"HOOKLAB_CACHE": str(cache)}
    )
    if done.status != 0:
        raise BuildFailed(f"hooklab build ended with {done.status}\n{done.output[-2000:]}")
    return done.wall_s


def _change(component: Path, number: int) -> None:
    """Add code to a Go program that its compiler can't leave out."""
    (component / "benchmark.go").write_text(
        f'package main\n\nfunc init() {{ print("build {number} of a benchmark\\n") }}\n',
        encoding="utf-8",
    )


def _link_tree(source: Path, target: Path, *, leave_out: Path) -> None:
    """Copy a folder by hard links; cached files are replaced, never written to."""

    def ignore(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if leave_out.is_relative_to(Path(folder) / name)}

    shutil.copytree(source, target, symlinks=True, ignore=ignore, copy_function=_link)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
