"""The key of a checkpoint: a digest of everything that can matter before its point.

The whole item goes in, as it would into a lock, and only what is listed here is taken out. So what
somebody adds to the item one day is in the key until somebody decides that it need not be.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from harness.checkpoint.points import Point, comes_later
from harness.errors import HostUnfit
from harness.hook.store import digest_of, digest_of_file, digest_of_tree
from harness.host.per_boot import keep, kept
from harness.machine.firmware import Firmware, find_uefi
from harness.machine.qemu import QEMU
from harness.net.segment import SegmentKind, choose
from harness.scenario.item import Item

FORMAT: Final = 2
"""Of what is in a checkpoint; another number is another key."""

NEVER_MATTERS: Final = frozenset(
    {
        # names, and what is said to people
        "name", "variant", "title", "source", "report", "accel_because", "nightly",
        # what is looked at, and how long
        "expectations", "expected_verdict", "deadline_s",
        # decides what chance does in faults, and a fault that may strike before has no checkpoint
        "seed",
        # whether and where there is a checkpoint
        "start",
        # a function that may act before has no checkpoint
        "python",
        # images are known by their digests, in "pins"; those of actions come after the worker
        "layouts", "images", "action_images",
        # what the worker is told to do
        "template_yaml", "workflow_yaml",
    }
)  # fmt: skip
"""Keys of an item that nothing before any point depends on."""
AFTER_HOOK_UP: Final = frozenset({"registry", "registries", "pins"})
"""And those that matter only once a registry is asked; the guest knows of it by its arguments."""
AFTER_IPXE: Final = AFTER_HOOK_UP | {"hook", "kernel_args", "ntp_offset_s", "tink", "worker"}
"""And those that matter only once iPXE has its script."""
_SOURCES: Final = Path(__file__).resolve().parent.parent.parent
_NOT_THE_LAB: Final = (
    "harness/bench", "harness/dev", "harness/documents", "harness/hook", "harness/report",
    "harness/scenario", "harness/storm", "harness/trend", "harness/verbs", "harness/verdict",
    "fake_tink_server/conformance",
    "harness/cli.py", "harness/doctor.py", "harness/pytest_plugin.py", "harness/attach.py",
    "harness/progress.py", "harness/checkpoint/store.py",
)  # fmt: skip
"""Sources that no lab runs, or only looks at events with."""
_ROM_FOLDERS: Final = ("/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu")


def key_of(item: Item, point: Point, *, host: Mapping[str, Any]) -> str:
    """Return the key of ``item`` at ``point``; ``host`` is what ``host_facts`` found.

    The item is a prepared one. Raises ``OSError`` for a file that can't be read.
    """
    made = {
        "format": FORMAT,
        "point": str(point),
        "item": ingredients(item, point),
        "host": dict(host),
    }
    return f"{point}-{digest_of(made)[:40]}"


def ingredients(item: Item, point: Point) -> dict[str, Any]:
    """Return what of ``item`` is in its key at ``point``: its words, and what is in its files."""
    data = words(item, point)
    data["ipxe"] = _tree(item.ipxe)
    data["tftp_assets"] = _tree(item.tftp_assets)
    data["smee"] = _digest(item.smee)
    if point is not Point.IPXE:
        data["hook"] = {
            "kernel": item.hook.kernel_sha256 or _digest(item.hook.kernel),
            "initramfs": item.hook.initramfs_sha256 or _digest(item.hook.initramfs),
            "overlay": _digest(item.hook.overlay),
        }
    return data


def words(item: Item, point: Point) -> dict[str, Any]:
    """Return what ``item`` itself says that is in its key at ``point``; no file is read."""
    data = item.to_data()
    for name in NEVER_MATTERS:
        data.pop(name, None)
    data["faults"] = [
        each
        for each, fault in zip(data["faults"], item.faults, strict=True)
        if not comes_later(fault, point, firmware=item.firmware)
    ]
    if point is Point.IPXE:
        return _without(data, AFTER_IPXE)
    data["names"] = sorted(registry.name for registry in item.registries)  # in DNS
    data["worker"].pop("at", None)
    data["tink"].pop("release", None)
    if point is Point.WORKER_UP:
        data["pins"] = [pin for pin in data["pins"] if pin["reference"] == item.worker_image]
        return data
    data["worker"].pop("build", None)
    data["tink"].pop("trusted", None)
    return _without(data, AFTER_HOOK_UP)


def _without(data: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def host_facts(item: Item, *, cache: Path | None = None) -> dict[str, Any]:
    """Return what a checkpoint depends on that is not in the item: programs, firmware, CPU.

    QEMU's digest is kept in the folder ``cache``, and believed as long as its file is the same.
    """
    facts: dict[str, Any] = {"sources": _sources_digest(), "qemu": _program(QEMU, cache)}
    # A tap offers what a socket does not, and the guest's driver has taken it.
    wanted = None if item.segment == "auto" else SegmentKind(item.segment)
    with contextlib.suppress(HostUnfit):  # the lab will say so
        facts["segment"] = str(choose(wanted).kind)
    if Firmware(item.firmware).is_uefi:
        flash = find_uefi()
        facts["flash"] = [digest_of_file(flash.code), digest_of_file(flash.variables)]
    facts["roms"] = {path.name: digest_of_file(path) for path in sorted(_roms())}
    if item.accel == "kvm":
        facts["cpu"] = cpu_of(Path("/proc/cpuinfo").read_text())
        facts["kernel"] = os.uname().release
    return facts


def cpu_of(cpuinfo: str) -> dict[str, str]:
    """Return which CPU the first of ``/proc/cpuinfo`` is, and what it can do."""
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags")
    first = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    known = {name.strip(): value.strip() for name, _, value in first}
    return {name: known.get(name, "") for name in wanted}


def _roms() -> Iterator[Path]:
    for folder in map(Path, _ROM_FOLDERS):
        yield from (each for each in folder.glob("*.rom") if each.is_file())
        yield from (each for each in folder.glob("bios*.bin") if each.is_file())


def _program(name: str, cache: Path | None) -> str | None:
    """Return the digest of a program's file; None when it is not installed."""
    found = shutil.which(name)
    if found is None:
        return None
    file = Path(found).resolve()
    facts = file.stat()
    # ctime: what is written anew has another one, whatever its size and mtime are made to be
    same = f"{file} {facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"
    same += f" {facts.st_ctime_ns}"
    remembered = cache / f".{name}.json" if cache is not None else None
    known = kept(remembered, same) if remembered else None
    if known is not None and isinstance(known.get("sha256"), str):
        return str(known["sha256"])
    digest = digest_of_file(file)
    if remembered:
        keep(remembered, same, {"sha256": digest})
    return digest


def _digest(file: Path | None) -> str | None:
    return digest_of_file(file) if file else None


def _tree(folder: Path | None) -> str | None:
    if folder is None:
        return None
    return digest_of_tree(folder, (path for path in folder.rglob("*") if path.is_file()))


def _sources_digest(root: Path = _SOURCES, *, skip: Callable[[str], bool] | None = None) -> str:
    skipped = skip or (lambda name: name.startswith(_NOT_THE_LAB) or "/tests/" in name)
    found = [
        path
        for package in ("harness", "fake_tink_server")
        for path in (root / package).rglob("*")
        if path.suffix in (".py", ".txt")
        and (path.name == "item.py" or not skipped(path.relative_to(root).as_posix()))
    ]
    return digest_of_tree(root, found)
