"""What this host must offer a lab, checked one by one: ``hooklab doctor``, and before each run.

A check looks at the host itself and never changes it. ``require`` is for who starts a lab: the
same checks, made against what that lab needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from harness.errors import HostUnfit
from harness.hook.sources import RELEASE, debian_sources, hint_for, names_our_release
from harness.host.capacity import OVERHEAD_BYTES, Capacity, runtime_folder
from harness.host.usage import LinuxUsage
from harness.machine.firmware import Firmware
from harness.paths import cache_root, runs_root

OLDEST_PYTHON = (3, 11)
OLDEST_QEMU = (7, 2)
"""The first with ``-netdev dgram``, which carries frames to the wire segment."""
TESTED_ON = {("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")}

_SLOW_FACTOR = 2.0
_LISTS = Path(__file__).resolve().parent


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """A lab runs, but slower or less like the field."""
    FAIL = "fail"
    """No lab runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check came to."""

    check: str
    status: Status
    found: str
    """What is there, or what is wrong: one line."""
    hint: str | None = None
    """What to do about it; None when all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a lab asks of its host. The defaults are those of ``scenarios/hello.yaml``."""

    memory_mib: int = 2048
    """Of all machines that run at one time."""
    firmwares: frozenset[Firmware] = frozenset(Firmware)
    segments: frozenset[str] = frozenset({"auto"})
    """``bridge``, ``wire`` or ``auto``: whichever works here."""
    runs: Path = field(default_factory=runs_root)
    """Where the run folders are made."""
    run_bytes: int = 512 << 20
    """Room for one: capture, consoles, disks."""
    cache_bytes: int = 3 << 30
    """For the first build; asked for only when ``builds`` and nothing has been built yet."""
    devices: frozenset[str] = frozenset()
    """Names of devices that QEMU must know, as its ``-device help`` lists them."""
    builds: bool = True
    """Whether the embedded Hook is built here."""


Check = Callable[[Needs], Finding]


def doctor_command(*, json_file: Path | None = None, needs: Needs | None = None) -> int:
    """Print a line a check; return 0, or 3 when one fails. ``json_file`` gets a list of them."""
    findings = examine(needs or Needs())
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        print(f"{finding.status.value:4}  {finding.check:{width}}  {finding.found}")
        if finding.hint and finding.status is not Status.OK:
            print(f"{'':4}  {'':{width}}  -> {finding.hint}")
    failed = _with(Status.FAIL, findings)
    warned = _with(Status.WARN, findings)
    if failed:
        print(f"this host is unfit: {', '.join(finding.check for finding in failed)}")
    elif warned:
        print(f"this host will do, with a limit: {', '.join(f.check for f in warned)}")
    else:
        print("this host will do")
    if json_file:
        text = json.dumps([asdict(finding) for finding in findings], indent=2)
        json_file.write_text(text + "\n", encoding="utf-8")
    return 3 if failed else 0


def require(needs: Needs) -> list[Finding]:
    """Raise ``HostUnfit`` unless this host offers ``needs``; return what it offers with a limit.

    The error names everything that is missing, with what to do about each. The accelerator is
    chosen elsewhere, by the kernel that will run.
    """
    findings = examine(needs, REQUIRED)
    failed = _with(Status.FAIL, findings)
    if failed:
        raise HostUnfit(
            "; ".join(f"{finding.check}: {finding.found}" for finding in failed),
            hint="\n    ".join(finding.hint for finding in failed if finding.hint) or None,
        )
    return _with(Status.WARN, findings)


def examine(needs: Needs, names: Iterable[str] | None = None) -> list[Finding]:
    """Return what each check (or those called ``names``) finds, in the order of ``CHECKS``."""
    chosen = CHECKS if names is None else {name: CHECKS[name] for name in names}
    return [check(needs) for check in chosen.values()]


def _with(status: Status, findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.status is status]


def _ok(check: str, found: str) -> Finding:
    return Finding(check=check, status=Status.OK, found=found)


def _warn(check: str, found: str, hint: str) -> Finding:
    return Finding(check=check, status=Status.WARN, found=found, hint=hint)


def _fail(check: str, found: str, hint: str) -> Finding:
    return Finding(check=check, status=Status.FAIL, found=found, hint=hint)


# -- the checks


def check_system(_: Needs) -> Finding:
    """The distribution: some are tested, the rest may do."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    name = facts.get("PRETTY_NAME", "an unknown system")
    if (facts.get("ID"), facts.get("VERSION_ID")) in TESTED_ON:
        return _ok("system", name)
    tested = "Debian 12, 13 and Ubuntu 24.04 are tested; package names may differ elsewhere"
    return _warn("system", name, tested)


def check_python(_: Needs) -> Finding:
    """The Python that runs this."""
    found = sys.version.split()[0]
    if sys.version_info >= OLDEST_PYTHON:
        return _ok("python", found)
    return _fail("python", found, "install Python 3.11 or newer, remove .venv, start again")


def check_namespaces(_: Needs) -> Finding:
    """User, network, PID and mount namespaces: what seals a lab."""
    from harness.namespaces import check

    try:
        check()
    except HostUnfit as unfit:
        return _from_error("namespaces", unfit)
    return _ok("namespaces", "a sealed process tree can be made")


def check_tun(needs: Needs) -> Finding:
    """Taps; without them a lab takes the userspace wire, unless it asked for taps."""
    from harness.net.segment import SegmentKind, check, probe_tun

    for segment in sorted(needs.segments):
        try:
            check(None if segment == "auto" else SegmentKind(segment))
        except HostUnfit as unfit:
            return _from_error("tun", unfit)
    reason = probe_tun()
    if reason is None:
        return _ok("tun", "/dev/net/tun opens")
    hint = "sudo modprobe tun; sudo chmod 0666 /dev/net/tun (labs use the slower wire until then)"
    return _warn("tun", reason, hint)


def check_qemu(needs: Needs) -> Finding:
    """QEMU, whether it is new enough, and has what the machines are made of."""
    from harness.machine.qemu import QEMU

    program = shutil.which(QEMU)
    if program is None:
        return _fail("qemu", f"{QEMU} is not on PATH", _install("qemu-system-x86"))
    words = _first_line([program, "--version"])
    version = re.search(r"version (\d+)\.(\d+)", words)
    if version is None:
        return _fail("qemu", f"{program} does not run: {words}", _install("qemu-system-x86"))
    if (int(version[1]), int(version[2])) < OLDEST_QEMU:
        oldest = ".".join(map(str, OLDEST_QEMU))
        return _fail("qemu", words, f"QEMU {oldest} or newer is needed; Debian 12 has it")
    if needs.devices and (absent := needs.devices - _devices(program)):
        names = ", ".join(sorted(absent))
        hint = "take another model in the scenario, or install a newer QEMU"
        return _fail("qemu", f"{words} has no {names}", hint)
    return _ok("qemu", f"{words.removeprefix('QEMU emulator ')}: {program}")


def check_firmware(needs: Needs) -> Finding:
    """The firmware files of every kind that is asked for."""
    from harness.machine.firmware import check

    for firmware in sorted(needs.firmwares):
        try:
            check(firmware)
        except HostUnfit as unfit:
            return _from_error("firmware", unfit)
    return _ok("firmware", ", ".join(sorted(needs.firmwares)))


def check_memory(needs: Needs) -> Finding:
    """Memory that is free now in this host and in this control group, or once other labs end.

    A lab waits for room before it starts (``harness.host.capacity``), so that these don't count.
    """
    needed = (needs.memory_mib << 20) + OVERHEAD_BYTES
    usage = LinuxUsage()
    try:
        labs = {holder.pid for holder in Capacity(runtime_folder()).holders()}
    except HostUnfit as unfit:
        return _from_error("memory", unfit)
    free = usage.free_memory() + usage.memory_of(labs)
    found = f"{_size(free)} free, {_size(needed)} needed"
    if free >= needed:
        return _ok("memory", found)
    hint = (
        "end other programs, or give the machine less: machine: {memory: 1 GiB} (run fewer at once)"
    )
    return _fail("memory", found, hint)


def check_disk(needs: Needs) -> Finding:
    """Room for the run folders, and for what is built."""
    wanted = {needs.runs: (needs.run_bytes, "HOOKLAB_RUNS")}
    if needs.builds:
        first = not (cache_root() / "hook").is_dir()
        wanted[cache_root()] = (needs.cache_bytes if first else needs.run_bytes, "HOOKLAB_CACHE")
    rooms: dict[int, str] = {}
    for folder, (needed, variable) in wanted.items():
        place = next(path for path in (folder, *folder.parents) if path.is_dir())
        free = shutil.disk_usage(place).free
        if not os.access(place, os.W_OK):
            return _fail("disk", f"{place} can't be written to", f"set {variable} to a folder")
        if free < needed:
            found = f"{_size(free)} free in {place}, {_size(needed)} needed"
            return _fail("disk", found, f"make room there, or set {variable} to another folder")
        rooms.setdefault(place.stat().st_dev, f"{_size(free)} free in {place}")
    return _ok("disk", "; ".join(rooms.values()))


def check_accelerator(_: Needs) -> Finding:
    """KVM, proven by a kernel that has to print its banner; TCG where it does not."""
    from harness.machine.accelerator import choose_accelerator, probe_device

    reason = probe_device()
    kernel = _some_kernel()
    slow = "guests are emulated (TCG): a boot takes about a minute longer"
    if reason is not None:
        return _warn("accelerator", reason, slow)
    if kernel is None or shutil.which("qemu-system-x86_64") is None:
        hint = "whether it runs Linux is tried when QEMU and a Hook are there: hooklab build"
        return _warn("accelerator", "/dev/kvm opens", hint)
    found = asyncio.run(choose_accelerator(kernel=kernel, cache=cache_root()))
    if found.accel == "kvm":
        return _ok("accelerator", f"kvm: {found.because}")
    hint = f"{slow}; if this host is a virtual machine, its host may offer nested virtualization"
    return _warn("accelerator", found.because, hint)


def check_speed(_: Needs) -> Finding:
    """How fast this host is against the reference host, and what that makes of deadlines."""
    from harness.host.calibration import calibrate
    from harness.machine.accelerator import choose_accelerator

    kernel = _some_kernel()
    found = calibrate(cache_root())
    accel = asyncio.run(choose_accelerator(kernel=kernel, cache=cache_root())).accel
    factor = found.factor(accel)
    disk = f"disk {found.disk_mb_s:.0f} MB/s" if found.disk_mb_s else "disk can't be written to"
    words = (
        f"one core takes {found.cpu_ratio:.2f} × the reference host's time, {disk},"
        f" {os.cpu_count()} CPUs; with {accel} deadlines × {factor:g}"
    )
    if factor <= _SLOW_FACTOR:
        return _ok("speed", words)
    return _warn("speed", words, "a slow host: boots take that much longer, and are as good")


def check_go(needs: Needs) -> Finding:
    """A Go toolchain, for what is built here."""
    if not needs.builds:
        return _ok("go", "not needed")
    oldest = _oldest_go()
    wanted = ".".join(map(str, oldest))
    hint = f"hooklab run takes Go {wanted} or newer from PATH, or installs it into .venv"
    program = shutil.which("go")
    if program is None:
        return _warn("go", "not on PATH", hint)
    words = _first_line([program, "env", "GOVERSION"])
    version = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", words)
    if version is None or tuple(int(part or 0) for part in version.groups()) < oldest:
        return _warn("go", f"{words or 'does not run'}: {program}", hint)
    return _ok("go", f"{words}: {program}")


def check_apt(needs: Needs) -> Finding:
    """apt, which Hook's Debian packages are fetched with."""
    if not needs.builds:
        return _ok("apt", "not needed")
    program = shutil.which("apt-get")
    if program is None:
        return _fail(
            "apt",
            "apt-get is not on PATH",
            "the embedded Hook is made of Debian packages: build it on a Debian or Ubuntu host, "
            "or let the scenario's hook: name a folder with a kernel and an initramfs",
        )
    words = _first_line([program, "--version"])
    try:
        sources = debian_sources()
    except HostUnfit as error:
        return _fail("apt", error.message, error.hint or "")
    if not names_our_release(sources):
        return _warn("apt", f"{words}: no archive of Debian's {RELEASE}", hint_for(sources))
    return _ok("apt", words)


CHECKS: dict[str, Check] = {
    "system": check_system,
    "python": check_python,
    "namespaces": check_namespaces,
    "tun": check_tun,
    "qemu": check_qemu,
    "firmware": check_firmware,
    "accelerator": check_accelerator,
    "speed": check_speed,
    "memory": check_memory,
    "disk": check_disk,
    "go": check_go,
    "apt": check_apt,
}

REQUIRED = ("namespaces", "tun", "qemu", "firmware", "memory", "disk", "apt")
"""What ``require`` looks at, in milliseconds."""


# -- how they look


def _from_error(check: str, unfit: HostUnfit) -> Finding:
    return _fail(check, unfit.message, unfit.hint or "")


def _install(package: str) -> str:
    return f"install it: sudo apt-get install {package} (./hooklab run does so as root)"


def _first_line(argv: list[str]) -> str:
    """Return the first line that a program prints, or why it can't be run."""
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, "GOTOOLCHAIN": "local", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return next(iter((done.stdout or done.stderr).splitlines()), "")


def _devices(program: str) -> frozenset[str]:
    """Return the names of the devices that a QEMU has."""
    done = subprocess.run(
        [program, "-device", "help"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return frozenset(re.findall(r'^name "([^"]+)"', done.stdout, re.MULTILINE))


def _some_kernel() -> Path | None:
    """Return a kernel that was built before; the host's own is for root only on most systems."""
    built = sorted((cache_root() / "hook").glob("*/vmlinuz*"))
    return next((path for path in built if os.access(path, os.R_OK)), None)


def _oldest_go() -> tuple[int, ...]:
    text = (_LISTS / "requirements-go.txt").read_text(encoding="utf-8")
    found = re.search(r"oldest Go that will do: ([\d.]+)", text)
    assert found is not None
    return tuple(map(int, found[1].split(".")))


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
