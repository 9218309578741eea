"""The pinned Go tools, and Tinkerbell's own iPXE binaries.

Each tool is a folder of ``linuxkit/tools`` with a ``go.mod`` (pin and ``tool`` line) and its
``go.sum``; a version is changed there and nowhere else.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BuildFailed
from harness.hook.golang import find_go, go_build, go_environment, required_version
from harness.hook.store import digest_of, exclusive, new_folder
from harness.paths import source_root
from harness.process import CommandFailed, run
from harness.progress import Progress

_IPXE_FOLDER = Path("smee/internal/ipxe/binary/file")
_IPXE_FILES = ("undionly.kpxe", "ipxe.efi", "snp-x86_64.efi", "snp-arm64.efi")
_TINKERBELL = "github.com/tinkerbell/tinkerbell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A Go module at one version."""

    module: str
    version: str


def pin_of(name: str) -> Pin:
    """Return the module that the folder ``linuxkit/tools/<name>`` pins."""
    text = (source_root() / "linuxkit" / "tools" / name / "go.mod").read_text()
    tool = tool_package(text, name)
    modules = re.findall(r"^(?:require )?\s*(\S+\.\S+/\S+) (v\S+)(?: // indirect)?$", text, re.M)
    for module, version in modules:
        if tool is None or f"{tool}/".startswith(f"{module}/"):
            return Pin(module=module, version=version)
    raise BuildFailed(f"linuxkit/tools/{name}/go.mod requires no module")


def tool_package(go_mod: str, name: str) -> str | None:
    """Return the package that ``tool`` lines name: the one called ``name``, else the first.

    Both forms of the directive are read, ``tool PACKAGE`` and ``tool (`` … ``)``.
    """
    packages = re.findall(r"^tool ([^\s(]+)", go_mod, re.M)
    for block in re.findall(r"^tool \((.*?)^\)", go_mod, re.M | re.S):
        packages += block.split()
    called = [package for package in packages if package.rpartition("/")[2] == name]
    return next(iter([*called, *packages]), None)


async def ensure_tool(name: str, cache: Path, progress: Progress, *, patient: bool = False) -> Path:
    """Return the program ``name``, compiled from the module that ``linuxkit/tools/<name>`` pins.

    Known here: ``tink-worker``, and ``linuxkit`` and ``smee``, whose main packages are our own and
    lie beside their ``go.mod``. ``patient`` as in ``go_build``. Raises
    ``BuildFailed`` or ``HostUnfit``.
    """
    folder = source_root() / "linuxkit" / "tools" / name
    if not (folder / "go.mod").is_file():
        raise BuildFailed(f"no tool {name!r}: {folder} has no go.mod")
    own = (folder / "main.go").is_file()
    tool = "." if own else tool_package((folder / "go.mod").read_text(), name)
    if tool is None:
        raise BuildFailed(f"{folder / 'go.mod'} has no tool line")
    return await go_build(folder, tool, name, cache=cache, progress=progress, patient=patient)


async def tinkerbell_module(cache: Path, progress: Progress) -> Path:
    """Return the folder of Tinkerbell's sources, verified against ``go.sum``."""
    folder = source_root() / "linuxkit" / "tools" / "ipxe"
    go = await find_go(required_version(folder))
    try:
        with progress.step("fetching Tinkerbell's module"):
            done = await run(
                [go.program, "mod", "download", "-json", _TINKERBELL],
                cwd=folder,
                env=go_environment(cache),
            )
    except CommandFailed as error:
        raise BuildFailed(
            f"Tinkerbell's module could not be fetched\n{error.output.strip()}",
            hint="a Go module proxy must be reachable for the first build (GOPROXY)",
        ) from error
    return Path(json.loads(done.stdout)["Dir"])


async def ensure_ipxe_binaries(cache: Path, progress: Progress) -> Path:
    """Return a folder with the iPXE binaries that Tinkerbell ships, by the names smee serves.

    They are ``undionly.kpxe``, ``ipxe.efi``, ``snp-x86_64.efi`` and ``snp-arm64.efi``.
    """
    pin = pin_of("ipxe")
    folder = cache / "ipxe" / digest_of(pin.module, pin.version, _IPXE_FILES)[:32]
    if folder.is_dir():
        return folder
    async with exclusive(cache / "ipxe" / "lock"):
        if not folder.is_dir():
            module = await tinkerbell_module(cache, progress)
            with new_folder(folder) as scratch:
                for name in _IPXE_FILES:
                    shutil.copyfile(module / _IPXE_FOLDER / name, scratch / name)
    return folder
