"""Faults of Hook's files as an archive that the kernel unpacks over its initramfs.

No rebuilding: works on any Hook whose services LinuxKit laid out (``containers/…/config.json``).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Final

from harness.errors import BuildFailed, ScenarioError
from harness.faults.deeds import Deed, File, Missing, Service, make_deed
from harness.faults.fault import Fault
from harness.faults.places.hook import INITRAMFS, PLACE
from harness.hook.ender import ender
from harness.hook.initrd import Entry, Writer, contents
from harness.hook.store import digest_of, mark_used, write_atomically

_CONFIG: Final = "config.json"
_FOLDERS: Final = ("containers/services", "containers/onboot", "containers/onshutdown")
_ROOTS: Final = ("lower", "rootfs")
_ENDER: Final = ".ends"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GLOB: Final = frozenset("*?[")
_FOLDER_MODE: Final = 0o040755


def overlaying(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return those of ``faults`` that are done to the initramfs."""
    return tuple(
        fault for fault in faults if (fault.place, fault.occasion) == (PLACE.name, INITRAMFS)
    )


def make_overlay(
    initramfs: Path, faults: Iterable[Fault], *, digest: str, folder: Path
) -> Path | None:
    """Return the archive that does ``faults`` to ``initramfs``, from ``folder`` if it is there.

    None when no fault asks for one. ``digest`` is the initramfs's. Raises ``ScenarioError`` for a
    file or service that it does not have, and ``BuildFailed`` when it can't be read.
    """
    asked = overlaying(faults)
    if not asked:
        return None
    name = digest_of(digest, [[fault.deed, dict(fault.parameters)] for fault in asked], 1)
    path = folder / f"{name}.cpio"
    if path.is_file():
        mark_used(path)
        return path
    found = contents(initramfs, wanted=f"/{_CONFIG}")
    writer, seen = Writer.new(), dict(found)
    for fault in asked:
        try:
            _apply(make_deed(fault.deed, fault.parameters), seen, writer)
        except LookupError as error:
            message, hint = error.args
            raise ScenarioError(f"{fault.at}: {message}", hint=hint) from error
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, writer.finish())
    return path


def joined(initramfs: Path, overlay: Path, target: Path) -> Path:
    """Write both to ``target``, so that the kernel unpacks one after the other; return it."""
    with target.open("wb") as file, initramfs.open("rb") as first:
        while piece := first.read(1 << 20):
            file.write(piece)
        # A bare archive begins at a multiple of four octets (init/initramfs.c).
        file.write(bytes(-file.tell() % 4) + overlay.read_bytes())
    return target


def _apply(deed: Deed, found: dict[str, Entry], writer: Writer) -> None:
    match deed:
        case File(path=path, text=text, executable=executable):
            mode = 0o755 if executable else 0o644
            for name in _named(path, found, new=True):
                _make_folders(name, found, writer)
                writer.file(name, text.encode(), mode)
                found[name] = Entry(mode=0o100000 | mode)
        case Missing(paths=paths):
            for path in paths:
                for name in _named(path, found):
                    writer.gone(name)
        case Service():
            _end_service(deed, found, writer)


def _named(path: str, found: Mapping[str, Entry], *, new: bool = False) -> list[str]:
    """Return the files that ``path`` means: below a folder all, and by a glob all that fit."""
    wanted = path.strip("/")
    files = [name for name, entry in found.items() if not entry.is_folder]
    if not _GLOB.intersection(wanted):
        below = [name for name in files if name.startswith(f"{wanted}/")]
        if wanted in files or (new and not below):
            return [wanted]
    else:
        below = [
            name
            for name in files
            if fnmatchcase(f"/{name}", path) or fnmatchcase(name, wanted)
            or any(fnmatchcase(f"/{parent}", path) for parent in PurePosixPath(name).parents)
        ]  # fmt: skip
    if not below:
        by_name = {PurePosixPath(name).name: name for name in files}
        near = difflib.get_close_matches(PurePosixPath(path).name, by_name, n=3, cutoff=0.7)
        hint = f"near: {', '.join(f'/{by_name[one]}' for one in near)}" if near else None
        raise LookupError(f"faults: Hook's initramfs has no {path}", hint)
    if new and not _GLOB.intersection(wanted):
        raise LookupError(f"faults: {path} is a folder in Hook's initramfs", None)
    return below


def _make_folders(name: str, found: dict[str, Entry], writer: Writer) -> None:
    for parent in reversed(PurePosixPath(name).parents[:-1]):
        if str(parent) not in found:
            found[str(parent)] = Entry(mode=_FOLDER_MODE)
            writer.add(str(parent), _FOLDER_MODE)


def _end_service(deed: Service, found: dict[str, Entry], writer: Writer) -> None:
    bundles = {
        str(PurePosixPath(name).parent): entry
        for name, entry in found.items()
        if name.startswith(_FOLDERS) and PurePosixPath(name).name == _CONFIG
        and str(PurePosixPath(name).parent.parent) in _FOLDERS
    }  # fmt: skip
    names = {_service_name(bundle): bundle for bundle in bundles}
    if deed.name not in names:
        hint = f"known there: {', '.join(sorted(names))}" if names else None
        raise LookupError(f"faults: Hook has no service {deed.name!r}", hint)
    bundle = names[deed.name]
    root = next((one for one in _ROOTS if f"{bundle}/{one}" in found), None)
    if root is None:
        raise BuildFailed(f"{bundle} has no root file system in Hook's initramfs")
    config: dict[str, Any] = json.loads(bundles[bundle].data or b"{}")
    process = config.setdefault("process", {})
    command, *arguments = process.get("args") or [""]
    program = _program(command, process.get("env") or (), f"{bundle}/{root}", found)
    process["args"] = [f"/{_ENDER}", program, *arguments]
    writer.file(f"{bundle}/{root}/{_ENDER}", ender(after_s=deed.after, code=deed.code), 0o755)
    writer.file(f"{bundle}/{_CONFIG}", json.dumps(config).encode())


def _program(
    command: str, environment: Iterable[str], root: str, found: Mapping[str, Entry]
) -> str:
    """Return where a container's command is: as it is written, or along its PATH."""
    if "/" in command:
        return command
    path = next((one[5:] for one in environment if one.startswith("PATH=")), _PATH)
    folders = [folder for folder in path.split(":") if folder]
    return next(
        (f"{one}/{command}" for one in folders if f"{root}{one}/{command}" in found), command
    )


def _service_name(bundle: str) -> str:
    """Return a container's name; LinuxKit puts the number of its turn before a one-shot's."""
    name = PurePosixPath(bundle).name
    number, dash, rest = name.partition("-")
    return rest if dash and number.isdecimal() else name
