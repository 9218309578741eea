"""Cold boots: the lab's by phase, and the same boot by hand beside it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.bench.measured import Boot, boot
from harness.bench.table import Row, ratio
from harness.errors import BuildFailed, HostUnfit
from harness.machine.firmware import Firmware, find_uefi
from harness.machine.qemu import cpu_model
from harness.namespaces import namespace_options
from harness.paths import source_root
from harness.process import minimal_environment, send_signal, start_program
from harness.progress import Progress

COLD_GOAL_S = 75.0
MEMORY_GOAL_MB = 150.0
BESIDE_GUEST_GOAL_MB = 200.0
BY_HAND_GOAL = 1.0

_BY_HAND = Path(__file__).resolve().parent / "by_hand.sh"
_AT_MOST_S = 300
_NEEDS = ("dnsmasq", "ip", "qemu-system-x86_64")


async def measure_boots(*, times: int, scratch: Path, progress: Progress) -> list[Row]:
    """Boot hello with UEFI ``times`` times by the lab and by hand, in turns.

    In turns, because a shared host is noisy in minutes, not in seconds: both get the same share.
    """
    hello = source_root() / "scenarios" / "hello.yaml"
    boots: list[Boot] = []
    by_hand: list[float] = []
    for number in range(1, times + 1):
        with progress.step(f"boot {number} of {times}: the lab"):
            boots.append(await boot(hello, only=Firmware.UEFI.value, scratch=scratch))
        with progress.step(f"boot {number} of {times}: by hand"):
            work = tempfile.mkdtemp(prefix="by-hand-", dir=scratch)
            by_hand.append(await boot_by_hand(boots[-1], Path(work)))
    return rows_of(boots, by_hand)


def rows_of(boots: Sequence[Boot], by_hand: Sequence[float]) -> list[Row]:
    """Return the table of these samples."""
    phases: dict[str, list[float]] = {}
    for each in boots:
        for phase, seconds in each.result["durations"].items():
            phases.setdefault(phase, []).append(float(seconds))
    total = phases.pop("total", [])
    rows = [
        Row(what=f"phase {phase}", samples=tuple(samples))
        for phase, samples in phases.items()
        if len(samples) == len(boots)
    ]
    rows.append(
        Row(
            what="cold hello [uefi], all of it",
            samples=tuple(total),
            goal=COLD_GOAL_S,
            how="power-on to four actions done and the disk compared",
        )
    )
    lab = Row(
        what="to the first registry request, lab",
        samples=tuple(_to_registry(each) for each in boots),
        how="from the start of QEMU's CPU",
    )
    hand = Row(
        what="to the first registry request, by hand",
        samples=tuple(by_hand),
        how="by_hand.sh: the same QEMU, firmware, iPXE, kernel and initramfs; dnsmasq, http.server",
    )
    rows += [lab, hand]
    rows.append(ratio("lab / by hand", lab, hand, goal=BY_HAND_GOAL))
    rows.append(
        Row(
            what="memory of the lab's process",
            samples=tuple(each.command.sealed_peak_bytes / 1e6 for each in boots),
            unit="MB",
            goal=MEMORY_GOAL_MB,
            how="VmHWM of the sealed process: all services, monitor, gRPC server",
        )
    )
    guest_mb = max((each.first("machine.powered_on")["memory_mib"] << 20) / 1e6 for each in boots)
    rows.append(
        Row(
            what="memory of all of the lab, its guest's included",
            samples=tuple(each.command.tree_peak_bytes / 1e6 for each in boots),
            unit="MB",
            goal=guest_mb + BESIDE_GUEST_GOAL_MB,
            how=f"peak PSS of the process tree; the guest has {guest_mb:.0f} MB",
        )
    )
    rows.append(
        Row(
            what="memory of the command",
            samples=tuple(each.command.outer_peak_bytes / 1e6 for each in boots),
            unit="MB",
            how="VmHWM of hooklab run",
        )
    )
    return rows


def _to_registry(each: Boot) -> float:
    return each.first("registry.request.received").t - each.first("machine.powered_on").t


async def boot_by_hand(like: Boot, work: Path) -> float:
    """Boot by hand, in folder ``work``, what ``like`` booted; return seconds to the milestone.

    Raises ``HostUnfit`` without the programs that a person would use, ``BuildFailed`` when the
    guest did not get that far.
    """
    if absent := [name for name in _NEEDS if shutil.which(name) is None]:
        raise HostUnfit(f"the boot by hand needs {', '.join(absent)}")
    powered_on = like.first("machine.powered_on")
    script = like.first("http.script.served")["script"]
    item = _lock(like.run_dir)
    flash = find_uefi()
    environment = {
        "WORK": str(work),
        "KERNEL": item["kernel"],
        "INITRAMFS": item["initramfs"],
        "IPXE": item["ipxe"],
        "CMDLINE": kernel_arguments(script),
        "MAC": powered_on["mac"],
        "ACCEL": powered_on["accel"],
        "CPU": cpu_model(powered_on["accel"]),
        "CPUS": str(powered_on["cpus"]),
        "MEMORY_MIB": str(powered_on["memory_mib"]),
        "CODE": str(flash.code),
        "VARIABLES": str(flash.variables),
        "SECONDS_AT_MOST": str(_AT_MOST_S),
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
    }
    process = await start_program(
        "unshare", *namespace_options(), "sh", _BY_HAND,
        env=minimal_environment(environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        stdout, stderr = await process.communicate()
    except BaseException:
        send_signal(process)  # --kill-child takes the rest with it
        await process.wait()
        raise
    if process.returncode != 0:
        raise BuildFailed(
            f"the boot by hand failed: {stderr.decode(errors='replace').strip()}",
            hint=f"see the logs in {work}",
        )
    return float(stdout)


def kernel_arguments(script: str) -> str:
    """Return the kernel's arguments from the iPXE script that the lab served.

    ``initrd=`` is left out: it names a file by iPXE's settings, and by hand the file is another.
    """
    found = re.search(r"^\s*kernel\s+\S+\s+(.*)$", script.replace("\\\n", ""), re.M)
    if found is None:
        raise BuildFailed("the lab's boot script has no kernel line")
    command = re.split(r"\s(?:&&|\|\|)(?:\s|$)", found[1])[0]
    return " ".join(word for word in command.split() if not word.startswith("initrd="))


def _lock(run_dir: Path) -> dict[str, Any]:
    """Return where the run took its kernel, initramfs and ipxe.efi from."""
    from harness.scenario.lock import read_lock

    item: Any = read_lock(run_dir / "scenario.lock.yaml")
    return {
        "kernel": str(item.hook.kernel),
        "initramfs": str(item.hook.initramfs),
        "ipxe": str(Path(item.ipxe) / "ipxe.efi"),
    }
