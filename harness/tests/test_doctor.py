"""Every fault of a host is provoked for real: another PATH, an empty /dev/net, a full disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.doctor import CHECKS, Finding, Needs, Status, check_qemu, examine, require
from harness.errors import HostUnfit
from harness.paths import source_root


def finding_in(
    check: str,
    tmp_path: Path,
    *,
    before: str = ":",
    env: dict[str, str] | None = None,
    needs: str = "Needs()",
) -> Finding:
    """Return what ``check`` finds in a namespace in which the shell text ``before`` has run."""
    program = (
        "import json, sys; from dataclasses import asdict; from harness.doctor import *;"
        f"print(json.dumps([asdict(f) for f in examine({needs}, [{check!r}])]))"
    )
    script = f'{before} && exec "$0" -c "$1"'
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            sys.executable,
            program,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source_root()), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (data,) = json.loads(done.stdout)
    return Finding(**{**data, "status": Status(data["status"])})


@pytest.fixture
def bare_path(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose PATH has a shell and unshare, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "unshare", "mount"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(folder)}


@pytest.mark.parametrize(
    "check", [name for name in CHECKS if name not in {"system", "accelerator"}]
)
def test_a_host_that_will_do_passes(check: str) -> None:
    (finding,) = examine(Needs(memory_mib=1, cache_bytes=1 << 20), [check])
    assert finding.check == check
    assert finding.found
    assert finding.status is not Status.FAIL, finding


def test_no_qemu(tmp_path: Path, bare_path: dict[str, str]) -> None:
    finding = finding_in("qemu", tmp_path, env=bare_path)
    assert finding.status is Status.FAIL
    assert "not on PATH" in finding.found
    assert finding.hint
    assert "qemu-system-x86" in finding.hint


@pytest.mark.parametrize(
    ("words", "said"),
    [("QEMU emulator version 5.2.0 (Debian)", "5.2.0"), ("Illegal instruction", "does not run")],
)
def test_a_qemu_that_will_not_do(
    tmp_path: Path, bare_path: dict[str, str], words: str, said: str
) -> None:
    program = tmp_path / "bin" / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\necho '{words}'\n")
    program.chmod(0o755)
    finding = finding_in("qemu", tmp_path, env=bare_path)
    assert finding.status is Status.FAIL
    assert said in finding.found


def test_no_firmware(tmp_path: Path) -> None:
    hide = "for d in /usr/share/OVMF /usr/share/ovmf /usr/share/qemu/firmware; do "
    hide += '[ ! -d "$d" ] || mount -t tmpfs tmpfs "$d"; done'
    finding = finding_in("firmware", tmp_path, before=hide)
    assert finding.status is Status.FAIL
    assert finding.hint
    assert "ovmf" in finding.hint


def test_no_tun(tmp_path: Path) -> None:
    finding = finding_in("tun", tmp_path, before="mount -t tmpfs tmpfs /dev/net")
    assert finding.status is Status.FAIL
    assert "/dev/net/tun" in finding.found
    assert finding.hint
    assert "modprobe tun" in finding.hint


def test_no_tun_for_who_asked_for_taps(tmp_path: Path) -> None:
    finding = finding_in(
        "tun",
        tmp_path,
        before="mount -t tmpfs tmpfs /dev/net",
        needs="Needs(segments=frozenset({'bridge'}))",
    )
    assert finding.status is Status.FAIL


def test_no_namespaces(tmp_path: Path) -> None:
    forbid = "echo 0 >/proc/sys/user/max_net_namespaces"
    forbid += " && echo 0 >/proc/sys/user/max_user_namespaces"
    finding = finding_in("namespaces", tmp_path, before=forbid)
    assert finding.status is Status.FAIL
    assert finding.hint


def test_no_room(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    finding = finding_in(
        "disk",
        tmp_path,
        before=f"mount -t tmpfs -o size=1m tmpfs '{small}'",
        env={"HOOKLAB_CACHE": str(small / "cache")},
    )
    assert finding.status is Status.FAIL
    assert f"0.0 GiB free in {small}" in finding.found
    assert finding.hint
    assert "HOOKLAB_CACHE" in finding.hint


def test_no_place_to_write(tmp_path: Path) -> None:
    fixed = tmp_path / "fixed"
    fixed.mkdir()
    finding = finding_in(
        "disk",
        tmp_path,
        before=f"mount -t tmpfs -o ro tmpfs '{fixed}'",
        env={"HOOKLAB_RUNS": str(fixed / "runs")},
    )
    assert finding.status is Status.FAIL
    assert finding.hint
    assert "HOOKLAB_RUNS" in finding.hint


def test_no_go_is_no_failure_and_old_go_is_named(tmp_path: Path, bare_path: dict[str, str]) -> None:
    assert finding_in("go", tmp_path, env=bare_path).status is Status.WARN
    program = tmp_path / "bin" / "go"
    program.write_text("#!/bin/sh\necho go1.19.8\n")
    program.chmod(0o755)
    finding = finding_in("go", tmp_path, env=bare_path)
    assert finding.status is Status.WARN
    assert "go1.19.8" in finding.found


def test_no_apt(tmp_path: Path, bare_path: dict[str, str]) -> None:
    finding = finding_in("apt", tmp_path, env=bare_path)
    assert finding.status is Status.FAIL
    assert finding.hint
    assert "hook:" in finding.hint


def test_an_apt_that_knows_no_archive_of_debians(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOKLAB_DEBIAN_MIRROR", raising=False)
    folder = tmp_path / "apt"
    folder.mkdir()
    (folder / "sources.list").write_text("deb http://a.test/ubuntu noble main universe\n")
    other = f"mount --bind '{folder}' /etc/apt"
    finding = finding_in("apt", tmp_path, before=other)
    assert finding.status is Status.WARN
    assert finding.hint
    assert "HOOKLAB_DEBIAN_MIRROR=" in finding.hint
    keyless = f"{other} && mount -t tmpfs tmpfs /usr/share/keyrings"
    mirror = {"HOOKLAB_DEBIAN_MIRROR": "http://m.test/debian"}
    finding = finding_in("apt", tmp_path, before=keyless, env=mirror)
    assert finding.status is Status.FAIL
    assert finding.hint == "apt-get install debian-archive-keyring"


def test_too_little_memory_is_named_with_what_to_do() -> None:
    (finding,) = examine(Needs(memory_mib=1 << 40), ["memory"])
    assert finding.status is Status.FAIL
    assert finding.hint


def test_an_unfit_host_is_refused_with_all_that_is_missing() -> None:
    needs = Needs(memory_mib=1 << 40, run_bytes=1 << 60)
    with pytest.raises(HostUnfit, match=r"memory: .* needed.*disk: .* needed") as refused:
        require(needs)
    assert refused.value.hint
    assert "HOOKLAB_RUNS" in refused.value.hint


def test_the_command_names_the_check_and_exits_3(tmp_path: Path, bare_path: dict[str, str]) -> None:
    written = tmp_path / "doctor.json"
    done = subprocess.run(
        [sys.executable, "-m", "harness", "doctor", "--json", str(written)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(source_root()), **bare_path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "this host is unfit:" in done.stdout
    found = {entry["check"]: entry["status"] for entry in json.loads(written.read_text())}
    assert list(found) == list(CHECKS)
    assert found["qemu"] == "fail"
    assert "Traceback" not in done.stderr


def test_a_device_that_this_qemu_lacks_makes_the_host_unfit() -> None:
    assert check_qemu(Needs(devices=frozenset({"e1000e", "nvme"}))).status is Status.OK
    found = check_qemu(Needs(devices=frozenset({"e1000e", "warp-net"})))
    assert found.status is Status.FAIL
    assert found.found.endswith("has no warp-net")
