"""The embedded Hook: same inputs, same bytes; nothing done twice; everything in the manifest.

These tests assemble a real Hook, with the real LinuxKit, from what an earlier build downloaded,
compiled and unpacked; without one (``./hooklab build``) they are skipped.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.hook import build
from harness.hook.build import build_hook
from harness.hook.files import HookFiles
from harness.hook.store import digest_of_file
from harness.paths import cache_root, source_root

_PARTS = ("debian", "go", "kernel")


class Steps:
    """A progress that remembers what was done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def say(self, line: str) -> None:
        pass

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        self.done.append(what)
        yield


def fresh_cache(folder: Path) -> Path:
    """Return a cache that has what was downloaded and compiled, and nothing assembled."""
    for part in _PARTS:
        shutil.copytree(
            cache_root() / part,
            folder / part,
            symlinks=True,
            copy_function=_link,
            ignore=shutil.ignore_patterns("lists", "state", "*.lock", "archives", "apt*"),
        )
    return folder


def _link(source: str, target: str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, embedded_hook: HookFiles) -> None:
    """Assemble quickly, from what the embedded Hook's own build has downloaded and compiled."""
    assert embedded_hook.manifest is not None
    monkeypatch.setattr(build, "_level_of", lambda _: 1)


async def built(cache: Path) -> tuple[HookFiles, list[str]]:
    steps = Steps()
    return await build_hook(cache, progress=steps), steps.done


def manifest_of(hook: HookFiles) -> dict[str, Any]:
    assert hook.manifest is not None
    found: dict[str, Any] = json.loads(hook.manifest.read_text())
    return found


@pytest.mark.timeout(300, func_only=True)
async def test_two_builds_in_two_places_are_the_same_and_a_third_does_nothing(
    tmp_path: Path,
) -> None:
    one, _ = await built(fresh_cache(tmp_path / "one"))
    two, _ = await built(fresh_cache(tmp_path / "elsewhere" / "two"))
    for a, b in ((one.kernel, two.kernel), (one.initramfs, two.initramfs)):
        assert digest_of_file(a) == digest_of_file(b)
    assert one.manifest is not None
    assert two.manifest is not None
    assert one.manifest.read_bytes() == two.manifest.read_bytes()
    again, steps = await built(tmp_path / "one")
    assert (again, steps) == (one, [])


@pytest.mark.timeout(300, func_only=True)
async def test_the_manifest_names_every_input_and_output(tmp_path: Path) -> None:
    hook, _ = await built(fresh_cache(tmp_path / "cache"))
    manifest = manifest_of(hook)
    outputs = manifest["outputs"]
    assert outputs["kernel"]["sha256"] == digest_of_file(hook.kernel)
    assert outputs["initramfs"]["sha256"] == digest_of_file(hook.initramfs)
    assert outputs["initramfs"]["size"] == sum(
        segment["size"] for segment in outputs["initramfs"]["segments"]
    )
    left = [path for path in hook.kernel.parent.iterdir() if tarfile.is_tarfile(path)]
    assert left == []
    inputs = manifest["inputs"]
    packages = {package["name"]: package for package in inputs["debian"]}
    assert {"docker.io", "containerd", "runc", "udev", "busybox-static"} <= set(packages)
    assert any(name.startswith("linux-image-6") for name in packages)
    for package in packages.values():
        assert package["version"]
        assert len(package["sha256"]) == 64
    recipes = {
        path.parent.name for path in (source_root() / "linuxkit").glob("images/*/image.yaml")
    }
    assert set(inputs["images"]) == recipes | {"kernel"}
    assert {"yaml", "modules", "components", "images", "linuxkit"} <= set(inputs["sources"])
    assert inputs["go"].startswith("go1.")
    assert inputs["linuxkit"]["version"].startswith("v")


@pytest.mark.timeout(300, func_only=True)
async def test_a_changed_component_leaves_debians_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = fresh_cache(tmp_path / "cache")
    before, _ = await built(cache)
    root = tmp_path / "sources"
    shutil.copytree(source_root() / "linuxkit", root / "linuxkit")
    passwd = root / "linuxkit" / "images" / "init" / "root" / "etc" / "passwd"
    passwd.write_text(passwd.read_text() + "guest:x:1:1::/:/bin/sh\n")
    for module in ("build", "tools"):
        monkeypatch.setattr(f"harness.hook.{module}.source_root", lambda: root)
    after, steps = await built(cache)
    assert after.initramfs != before.initramfs
    assert [step.split(",")[0] for step in steps if "compress" in step] == ["compressing hook"]
    assert digest_of_file(after.kernel) == digest_of_file(before.kernel)


def test_containers_have_hooks_names_in_hooks_order() -> None:
    text = (source_root() / "linuxkit" / "hook.yaml").read_text()
    onboot, services = text.partition("\nservices:")[::2]
    named = [list(build._owners(part)) for part in (onboot, services)]
    assert named == [
        ["rngd1", "sysctl", "sysfs", "modprobe", "udev", "dhcpcd-once"],
        ["rngd", "ntpd", "udev", "acpi", "getty", "hook-docker", "hook-bootkit", "dhcpcd-daemon"],
    ]
