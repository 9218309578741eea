"""``hooklab build``: everything a scenario boots and pulls, made ready in the cache."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.hook.build import build_hook
from harness.hook.files import HookFiles
from harness.hook.images import build_images, known_images
from harness.hook.tools import ensure_ipxe_binaries
from harness.paths import cache_root
from harness.progress import (
    BOOTSTRAP,
    Ledger,
    PlainProgress,
    Progress,
    Step,
    steps_of_bootstrap,
)
from harness.tasks import together


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Where everything is."""

    hook: HookFiles
    images: Path
    """A folder with an OCI image layout."""
    ipxe: Path
    duration_s: float
    steps: tuple[Step, ...] = ()
    """What was done, and when; none of it when nothing changed."""

    @property
    def hook_bytes(self) -> int:
        """What a machine downloads: kernel and initramfs together."""
        return self.hook.kernel.stat().st_size + self.hook.initramfs.stat().st_size

    def to_data(self) -> dict[str, Any]:
        """Return it as ``--json`` has it."""
        return {
            "hook": self.hook.origin,
            "arch": self.hook.arch,
            "kernel": str(self.hook.kernel),
            "initramfs": str(self.hook.initramfs),
            "hook_bytes": self.hook_bytes,
            "manifest": str(self.hook.manifest) if self.hook.manifest else None,
            "images": str(self.images),
            "image_references": list(known_images()),
            "ipxe": str(self.ipxe),
            "duration_s": round(self.duration_s, 3),
            "steps": [
                {"what": s.what, "began_s": round(s.began_s, 3), "ended_s": round(s.ended_s, 3)}
                for s in self.steps
            ],
        }


async def build_all(cache: Path, *, progress: Progress) -> Built:
    """Build what is not there yet. Raises ``BuildFailed`` and ``HostUnfit``."""
    began_s = time.monotonic()
    # Hook takes longest: of two that compile, it is the one that the processors work for.
    ledger = Ledger(progress)
    async with together() as group:
        hook = group.create_task(build_hook(cache, progress=ledger))
        ipxe = group.create_task(ensure_ipxe_binaries(cache, ledger))
        images = group.create_task(build_images(cache, progress=ledger, patient=True))
    ledger.tell(before=steps_of_bootstrap(os.environ.get(BOOTSTRAP, "")))
    steps = tuple(ledger.steps)
    duration_s = time.monotonic() - began_s
    return Built(
        hook=hook.result(),
        images=images.result(),
        ipxe=ipxe.result(),
        duration_s=duration_s,
        steps=steps,
    )


def build_command(*, json_file: Path | None = None) -> int:
    """Build everything and say where it is; return 0."""
    built = asyncio.run(build_all(cache_root(), progress=PlainProgress()))
    kernel, initramfs = built.hook.kernel, built.hook.initramfs
    print(f"hook       {built.hook.origin}, {_megabytes(built.hook_bytes)} to download")
    print(f"kernel     {kernel}  {_megabytes(kernel.stat().st_size)}")
    print(f"initramfs  {initramfs}  {_megabytes(initramfs.stat().st_size)}")
    if built.hook.manifest:
        print(f"manifest   {built.hook.manifest}")
    print(f"images     {', '.join(known_images())}")
    print(f"ready in {built.duration_s:.1f} s")
    if json_file:
        json_file.write_text(json.dumps(built.to_data(), indent=2) + "\n", encoding="utf-8")
    return 0


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
