"""Make ready what items need before they run: a fit host, Hook, iPXE, images.

Nothing here depends on the order of items, and everything is content-addressed: the second time
costs a look at the cache.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness.doctor import Needs, require
from harness.errors import BuildFailed, HostUnfit
from harness.faults.fault import Fault
from harness.faults.matching import fits
from harness.hook.boot_iso import ensure_boot_iso
from harness.hook.build import build_hook
from harness.hook.files import HookFiles
from harness.hook.images import build_images, ensure_image
from harness.hook.overlay import make_overlay
from harness.hook.store import digest_of_file
from harness.hook.tools import ensure_ipxe_binaries, ensure_tool
from harness.hook.workers import worker_layout
from harness.machine.accelerator import choose_accelerator
from harness.machine.devices import device_names
from harness.machine.firmware import Firmware
from harness.oci.content import Mount, load_content
from harness.paths import cache_root
from harness.progress import BOOTSTRAP, Ledger, Progress, steps_of_bootstrap
from harness.scenario.item import HookItem, ImageItem, IsoItem, Item, PinItem, WorkerItem
from harness.tasks import together

_EMBEDDED: Final = "embedded"


async def prepare(items: Sequence[Item], *, progress: Progress, runs: Path) -> list[Item]:
    """Return ``items`` with every file they need in place.

    Raises ``HostUnfit`` before anything is built when the host can't run them, and
    ``BuildFailed``.
    """
    if not items:
        return []
    limits = require(
        Needs(
            firmwares=frozenset(Firmware(item.firmware) for item in items),
            memory_mib=max(item.memory_mib for item in items),
            runs=runs,
            segments=frozenset(item.segment for item in items),
            devices=_devices(items),
            builds=any(item.hook.origin == _EMBEDDED for item in items),
        )
    )
    for limit in limits:
        if limit.check == "tun" and any(item.segment == "auto" for item in items):
            progress.say(f"note: {limit.found}; machines are wired in user space")
    cache = cache_root()
    ledger = Ledger(progress)
    built = await _build(items, cache, ledger)
    ledger.tell(before=steps_of_bootstrap(os.environ.get(BOOTSTRAP, "")))
    embedded, smee, workers = built.hook, built.smee, built.workers
    ipxe, images = built.ipxe, built.images
    digests: dict[Path, str] = _digests_of(embedded) if embedded else {}
    prepared = []
    for item in items:
        hook = await asyncio.to_thread(_hook, item.hook, embedded, digests)
        assert hook.kernel is not None
        here = [fault for fault in item.faults if fits(fault.facts.get("mac", ("*",)), item.mac)]
        hook = await asyncio.to_thread(_with_overlay, hook, here, cache)
        wanted = None if item.accel == "auto" else item.accel
        chosen = await choose_accelerator(kernel=hook.kernel, cache=cache, wanted=wanted)
        own = [
            replace(
                image,
                layout=await ensure_image(
                    image.reference, image.layout, cache=cache, progress=progress
                ),
            )
            for image in item.images
        ]
        layouts = (images, *([workers[item.worker.build]] if item.worker.build else []))
        ready = replace(
            item,
            hook=hook,
            ipxe=ipxe,
            smee=smee if item.stack == "smee" else None,
            iso=await _iso(item, hook, cache, progress),
            layouts=layouts,
            images=tuple(own),
            pins=_pins([*(Mount(layout=layout) for layout in layouts), *map(_mount, own)]),
            accel=chosen.accel,
            accel_because=chosen.because,
            cpus=replace(item, accel=chosen.accel).vcpus,
        )
        if item.profile == "fast" or item.shortcuts != ("answered routers",):
            progress.say(f"note: {item.id}: shortcuts: {', '.join(item.shortcuts) or 'none'}")
        for line in item.shortcuts_left_out:
            progress.say(f"note: {item.id}: {line}")
        for change in _changes(item, ready):
            progress.say(f"note: {item.id}: {change}")
        prepared.append(ready)
    return prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """What ``hooklab`` makes for scenarios, in the cache."""

    hook: HookFiles | None
    smee: Path | None
    workers: Mapping[str, Path]
    ipxe: Path
    images: Path


async def _build(items: Sequence[Item], cache: Path, progress: Progress) -> _Built:
    """Build all that ``items`` need, side by side.

    Hook takes longest: of two that compile, it is the one that the processors work for.
    """
    wanted = {item.worker.build: item.worker for item in items if item.worker.build}

    async def hook() -> HookFiles | None:
        if not any(item.hook.origin == _EMBEDDED for item in items):
            return None
        return await build_hook(cache, progress=progress)

    async def smee() -> Path | None:
        if not any(item.stack == "smee" for item in items):
            return None
        return await ensure_tool("smee", cache, progress, patient=True)

    async def workers() -> dict[str, Path]:
        return {build: await _worker(worker, cache, progress) for build, worker in wanted.items()}

    async with together() as group:
        made_hook = group.create_task(hook())
        made_smee = group.create_task(smee())
        made_workers = group.create_task(workers())
        ipxe = group.create_task(ensure_ipxe_binaries(cache, progress))
        images = group.create_task(build_images(cache, progress=progress, patient=True))
    return _Built(
        hook=made_hook.result(),
        smee=made_smee.result(),
        workers=made_workers.result(),
        ipxe=ipxe.result(),
        images=images.result(),
    )


async def _iso(item: Item, hook: HookItem, cache: Path, progress: Progress) -> IsoItem | None:
    """Return the item's ISO with its file; one of the Hook that boots is made when it is absent."""
    if item.iso is None or item.iso.file is not None:
        return item.iso
    assert hook.kernel
    assert hook.initramfs
    assert hook.kernel_sha256
    assert hook.initramfs_sha256
    file = await ensure_boot_iso(
        kernel=hook.kernel,
        initramfs=hook.initramfs,
        kernel_sha256=hook.kernel_sha256,
        initramfs_sha256=hook.initramfs_sha256,
        cache=cache,
        progress=progress,
    )
    return replace(item.iso, file=file)


def _devices(items: Sequence[Item]) -> frozenset[str]:
    """Return the devices that not every QEMU may have."""
    names = device_names(
        (nic.model for item in items for nic in item.nics),
        (disk.model for item in items for disk in item.disks),
    )
    return names - {"virtio-net-pci", "virtio-blk-pci"}


async def _worker(worker: WorkerItem, cache: Path, progress: Progress) -> Path:
    """Return the image layout of one of Tinkerbell's workers that is not always built."""
    assert worker.build is not None
    name, _, version = worker.build.partition("@")
    try:
        return await worker_layout(name, version, cache=cache, progress=progress)
    except (BuildFailed, HostUnfit) as error:
        message = f"{worker.at}: worker: {error.message}"
        raise type(error)(message, hint=error.hint) from error


def _digests_of(hook: HookFiles) -> dict[Path, str]:
    """Return the digests that an embedded Hook's manifest states of its two files."""
    if hook.manifest is None:
        return {}
    outputs: Mapping[str, Mapping[str, str]] = json.loads(hook.manifest.read_text())["outputs"]
    return {
        hook.kernel: outputs["kernel"]["sha256"],
        hook.initramfs: outputs["initramfs"]["sha256"],
    }


def _hook(hook: HookItem, embedded: HookFiles | None, digests: dict[Path, str]) -> HookItem:
    """Return ``hook`` with its files and their digests, each file read once for all items."""
    if hook.origin == _EMBEDDED:
        assert embedded is not None
        hook = replace(hook, kernel=embedded.kernel, initramfs=embedded.initramfs)
    assert hook.kernel is not None
    assert hook.initramfs is not None
    for file in (hook.kernel, hook.initramfs):
        if file not in digests:
            digests[file] = digest_of_file(file)
    return replace(
        hook,
        kernel_sha256=digests[hook.kernel],
        initramfs_sha256=digests[hook.initramfs],
    )


def _with_overlay(hook: HookItem, faults: Sequence[Fault], cache: Path) -> HookItem:
    """Return ``hook`` with what faults put over its initramfs."""
    assert hook.initramfs is not None
    digest = hook.initramfs_sha256 or ""
    folder = cache / "overlays"
    overlay = make_overlay(hook.initramfs, faults, digest=digest, folder=folder)
    return replace(hook, overlay=overlay)


def _mount(image: ImageItem) -> Mount:
    return Mount(layout=image.layout, reference=image.reference)


def _pins(mounts: Sequence[Mount]) -> tuple[PinItem, ...]:
    """Return what every tag in the registry will mean; a later layout's tag wins."""
    repositories = load_content(mounts).repositories
    return tuple(
        PinItem(reference=f"{name}:{tag}", digest=str(digest))
        for name, repository in sorted(repositories.items())
        for tag, digest in sorted(repository.tags.items())
    )


def _changes(before: Item, now: Item) -> Iterator[str]:
    """Yield what a locked scenario was made of and what has changed since."""
    for what, old, new in (
        ("kernel", before.hook.kernel_sha256, now.hook.kernel_sha256),
        ("initramfs", before.hook.initramfs_sha256, now.hook.initramfs_sha256),
    ):
        if old and old != new:
            yield f"its {what} is another one than the locked run's"
    pinned = {pin.reference: pin.digest for pin in before.pins}
    for pin in now.pins:
        if pinned.get(pin.reference, pin.digest) != pin.digest:
            yield f"the image {pin.reference} is another one than the locked run's"
