"""KVM or TCG: decided by what a guest really does, not by what ``/dev/kvm`` promises.

Nested virtualization may open ``/dev/kvm``, run the firmware, and never get a Linux kernel to its
first line. So a stock kernel is started once per host boot, and KVM is used only when that kernel
prints its banner in time.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from harness.errors import HostUnfit
from harness.host.per_boot import boot_id, keep, kept
from harness.machine.qemu import QEMU, cpu_model
from harness.process import minimal_environment, send_signal, start_program

_DEVICE: Final = "/dev/kvm"
BANNER: Final = b"Linux version "
BANNER_WITHIN_S: Final = 10.0
"""A working KVM takes under 1 s, TCG 3 to 5 s on a slow host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """How this host runs guests."""

    accel: Literal["kvm", "tcg"]
    because: str
    """One sentence for people."""


def probe_device() -> str | None:
    """Return why ``/dev/kvm`` can't be opened, or None when it can."""
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        advice = {
            errno.ENOENT: " (no virtualization, or the kvm module is not loaded)",
            errno.EACCES: " (sudo usermod -aG kvm $USER, then log in again)",
        }.get(error.errno or 0, "")
        return f"{_DEVICE}: {error.strerror}{advice}"
    return None


async def probe_kvm(kernel: Path, *, accel: str = "kvm") -> str | None:
    """Start ``kernel`` without a root; return None when it prints its banner in time.

    Otherwise return what happened instead. Takes at most ``BANNER_WITHIN_S``. ``accel`` other
    than ``kvm`` is for finding out how this probe itself behaves.
    """
    # fmt: off
    argv = [
        "setpriv", "--pdeathsig", "KILL",
        QEMU, "-machine", "q35", "-accel", accel, "-cpu", cpu_model(accel),
        "-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-serial", "stdio",
        "-kernel", os.fspath(kernel), "-append", "console=ttyS0 panic=-1",
    ]
    # fmt: on
    try:
        process = await start_program(
            *argv,
            env=minimal_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(BANNER_WITHIN_S):
            seen = b""
            while chunk := await process.stdout.read(4096):
                seen += chunk
                if BANNER in seen:
                    return None
            words = (await process.stderr.read()).decode(errors="replace").strip()
            return f"QEMU ended before Linux began: {words.splitlines()[0] if words else 'silent'}"
    except TimeoutError:
        return f"a Linux kernel printed nothing for {BANNER_WITHIN_S:.0f} s under {accel}"
    finally:
        send_signal(process)
        await process.communicate()


async def choose_accelerator(
    *, kernel: Path | None, cache: Path, wanted: str | None = None
) -> Accelerator:
    """Return how to run guests here; ``wanted`` is ``kvm``, ``tcg`` or None for the best.

    The answer is kept in ``cache`` for this boot of the host, this QEMU and this kernel. Raises
    ``HostUnfit`` when KVM is wanted and does not work.
    """
    if wanted == "tcg":
        return Accelerator(accel="tcg", because="asked for")
    found = await _find(kernel, cache)
    if wanted == "kvm" and found.accel != "kvm":
        raise HostUnfit(f"KVM does not work here: {found.because}", hint="choose accel: tcg")
    return found


async def _find(kernel: Path | None, cache: Path) -> Accelerator:
    if (reason := probe_device()) is not None:
        return Accelerator(accel="tcg", because=reason)
    if kernel is None:
        return Accelerator(accel="tcg", because="no kernel at hand to try KVM with")
    path = cache / "accelerator.json"
    key = await asyncio.to_thread(_key, kernel)
    if (known := _read(path, key)) is not None:
        return known
    before = time.monotonic()
    failure = await probe_kvm(kernel)
    if failure is None:
        took = time.monotonic() - before
        found = Accelerator(accel="kvm", because=f"a Linux kernel began within {took:.1f} s")
    else:
        found = Accelerator(accel="tcg", because=f"KVM opens but does not run: {failure}")
    keep(path, key, asdict(found))
    return found


def _key(kernel: Path) -> str:
    """Return what the answer depends on: this boot of the host, this QEMU, this kernel."""
    program = shutil.which(QEMU)
    facts = Path(program).stat() if program else None
    version = f"{facts.st_size} {facts.st_mtime_ns}" if facts else "none"
    digest = hashlib.sha256(kernel.read_bytes()).hexdigest()
    return f"{boot_id()} {version} {digest} {os.geteuid()}"


def _read(path: Path, key: str) -> Accelerator | None:
    data = kept(path, key) or {}
    accel, because = data.get("accel"), data.get("because")
    if accel in ("kvm", "tcg") and because is not None:
        return Accelerator(accel=accel, because=str(because))
    return None
