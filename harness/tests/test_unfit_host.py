"""``hooklab run`` on a host that can not: each lack is named before anything starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness.paths import source_root

SCENARIO = """\
scenario: Nothing of this ever starts
machine: {{mac: "52:54:00:12:34:5a", firmware: bios, memory: {memory}}}
template: {template}
{more}
"""


def run(
    folder: Path, *, before: str = ":", memory: str = "1 GiB", more: str = "", path: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a scenario in a namespace in which the shell text ``before`` has run."""
    template = source_root() / "fixtures/templates/hello.yaml"
    (folder / "nothing.yaml").write_text(
        SCENARIO.format(memory=memory, template=template, more=more)
    )
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    argv = [sys.executable, "-m", "harness", "run", str(folder / "nothing.yaml")]
    return subprocess.run(
        [*words, f'{before} && exec "$@"', "sh", *argv],
        env={
            **os.environ,
            "PYTHONPATH": str(source_root()),
            "HOOKLAB_RUNS": str(folder / "runs"),
            "HOOKLAB_CACHE": str(folder / "cache"),
            **({"PATH": path} if path else {}),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def refused(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """Return what was said by a run that ended 3 and left nothing behind."""
    assert done.returncode == 3, done
    assert done.stderr.startswith("hooklab: ")
    assert "\n    " in done.stderr, f"no hint: {done.stderr}"
    assert "Traceback" not in done.stderr
    assert not (folder / "runs").exists()
    return done.stderr


def test_no_tun(tmp_path: Path) -> None:
    words = refused(run(tmp_path, before="mount -t tmpfs tmpfs /dev/net"), tmp_path)
    assert "/dev/net/tun: No such file" in words
    assert "modprobe tun" in words
    assert "segment: wire" in words


def test_no_user_namespaces(tmp_path: Path) -> None:
    limits = "for kind in user mnt net pid; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done"
    words = refused(run(tmp_path, before=limits), tmp_path)
    assert "namespaces can't be made" in words
    assert "as root" in words


def test_no_qemu(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "unshare", "setpriv", "mount", "apt-get"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    words = refused(run(tmp_path, path=str(folder)), tmp_path)
    assert "qemu-system-x86_64 is not on PATH" in words
    assert "apt-get install qemu-system-x86" in words


def test_too_little_memory(tmp_path: Path) -> None:
    words = refused(run(tmp_path, memory="4096 GiB"), tmp_path)
    assert "memory: " in words
    assert "4096" in words


def test_too_little_room(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    small = f"mount -t tmpfs -o size=1m tmpfs '{tmp_path / 'cache'}'"
    words = refused(run(tmp_path, before=small), tmp_path)
    assert "HOOKLAB_CACHE" in words


def test_a_result_file_that_has_no_folder(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "harness", "run", "x.yaml", "--json", "nowhere/out.json"]
    done = subprocess.run(
        argv,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source_root())},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == "--json: there is no folder nowhere\n"
