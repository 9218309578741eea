"""Faults of Hook's files: what is read of an initramfs, and what is put over it."""

from __future__ import annotations

import json
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from harness.documents import load
from harness.errors import BuildFailed, ScenarioError
from harness.faults.fault import Fault
from harness.faults.reading import FaultReader
from harness.hook.initrd import contents
from harness.hook.overlay import joined, make_overlay

FILES = {
    "bin/tool": "#!tool\n",
    "etc/resolv.conf": "nameserver 192.0.2.1\n",
    "etc/ssl/certs/a.pem": "a",
    "etc/ssl/certs/b.pem": "b",
    "lib/modules/6.1/kernel/net/virtio_net.ko.zst": "module",
    "containers/services/docker/config.json": json.dumps(
        {"process": {"args": ["dockerd", "-x"], "env": ["A=b", "PATH=/usr/sbin:/bin"]}}
    ),
    "containers/services/docker/lower/bin/dockerd": "program",
    "containers/onboot/005-dhcp/config.json": json.dumps({"process": {"args": ["/dhcp"]}}),
    "containers/onboot/005-dhcp/rootfs/dhcp": "program",
}
PACKERS: list[Callable[[bytes], bytes]] = [
    lambda data: data,
    lambda data: subprocess.run(["gzip", "-c"], input=data, capture_output=True, check=True).stdout,
    lambda data: zstandard.ZstdCompressor().compress(data),
    lzma.compress,
]


def archive(folder: Path, names: list[str]) -> bytes:
    """Return what the real cpio makes of files."""
    return subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet", "-D", str(folder)],
        input="\n".join(names).encode(),
        capture_output=True,
        check=True,
    ).stdout


@pytest.fixture
def initramfs(tmp_path: Path) -> Path:
    """Return an initramfs of four archives, each packed in another way."""
    tree = tmp_path / "tree"
    for name, text in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "etc/other.conf").hardlink_to(tree / "etc/resolv.conf")
    names = ["etc/other.conf", *FILES]
    folders = sorted({str(p) for name in names for p in Path(name).parents if str(p) != "."})
    pieces = [archive(tree, folders), archive(tree, names[:4]), archive(tree, names[4:6]),
              archive(tree, names[6:])]  # fmt: skip
    path = tmp_path / "initramfs"
    packed = [pack(piece) for pack, piece in zip(PACKERS, pieces, strict=True)]
    path.write_bytes(b"\0\0\0\0".join(packed))
    return path


def fault(text: str) -> Fault:
    reader = FaultReader(load(text).data)
    read = reader.read()
    assert read is not None, reader.mistakes
    return read


def struck(initramfs: Path, *texts: str) -> Path:
    """Return the tree that is there when the kernel has unpacked both, one after the other."""
    folder = initramfs.parent
    faults = [fault(text) for text in texts]
    overlay = make_overlay(initramfs, faults, digest="d", folder=folder / "cache")
    assert overlay is not None
    tree = folder / "tree"
    # -u and one name at a time, as the kernel does: a name of another kind is removed first.
    subprocess.run(
        ["cpio", "-i", "-u", "-d", "--quiet", "-D", str(tree)],
        input=overlay.read_bytes(),
        capture_output=True,
        check=True,
    )
    return tree


def test_everything_in_it_is_found(initramfs: Path) -> None:
    found = contents(initramfs, wanted="/config.json")
    assert {name for name, entry in found.items() if not entry.is_folder} == {
        *FILES,
        "etc/other.conf",
    }
    assert found["etc"].is_folder
    config = found["containers/services/docker/config.json"].data
    assert json.loads(config or b"")["process"]["args"] == ["dockerd", "-x"]
    assert found["etc/resolv.conf"].data is None


def test_what_is_no_initramfs_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data in (b"hello", b"\x1f\x8bhello", b"070701 no header", b"\x28\xb5\x2f\xfdhello"):
        path.write_bytes(data)
        with pytest.raises(BuildFailed, match="no initramfs that can be read"):
            contents(path)


def test_a_file_is_replaced_and_its_twin_is_not(initramfs: Path) -> None:
    tree = struck(
        initramfs,
        "{at: hook, do: {file: {path: /etc/resolv.conf, text: ''}}}",
        "{at: hook, do: {file: {path: /new/folder/tool, text: '#!x', executable: true}}}",
    )
    assert (tree / "etc/resolv.conf").read_text() == ""
    assert not (tree / "etc/resolv.conf").is_symlink()
    assert (tree / "etc/other.conf").read_text() == FILES["etc/resolv.conf"]
    assert (tree / "new/folder/tool").stat().st_mode & 0o777 == 0o755


def test_files_and_folders_are_missing(initramfs: Path) -> None:
    tree = struck(initramfs, "{at: hook, do: {missing: [/etc/ssl, '*/virtio_net.ko*', bin/tool]}}")
    gone = ["etc/ssl/certs/a.pem", "etc/ssl/certs/b.pem", "bin/tool",
            "lib/modules/6.1/kernel/net/virtio_net.ko.zst"]  # fmt: skip
    for name in gone:
        assert not (tree / name).exists()
    assert (tree / "etc/resolv.conf").exists()


def test_services_and_one_shots_end(initramfs: Path) -> None:
    tree = struck(
        initramfs,
        "{at: hook, do: {service: {name: docker, after: 5 s, code: 2}}}",
        "{at: hook, do: {service: dhcp}}",
    )
    service = tree / "containers/services/docker"
    process = json.loads((service / "config.json").read_text())["process"]
    assert process["args"] == ["/.ends", "/bin/dockerd", "-x"]
    assert process["env"] == ["A=b", "PATH=/usr/sbin:/bin"]
    assert (service / "lower/.ends").stat().st_mode & 0o111
    once = tree / "containers/onboot/005-dhcp"
    assert json.loads((once / "config.json").read_text())["process"]["args"] == ["/.ends", "/dhcp"]
    assert (once / "rootfs/.ends").read_bytes() != (service / "lower/.ends").read_bytes()


@pytest.mark.parametrize(
    ("do", "message", "hint"),
    [
        ("{missing: /usr/sbin/dockerdd}", "no /usr/sbin/dockerdd", "near: /containers/"),
        ("{missing: '*/nothing/*'}", "Hook's initramfs has no */nothing/*", None),
        ("{service: dockr}", "Hook has no service 'dockr'", "known there: dhcp, docker"),
        ("{file: {path: /etc/ssl, text: ''}}", "/etc/ssl is a folder", None),
    ],
)
def test_what_hook_has_not_is_told(
    do: str, message: str, hint: str | None, initramfs: Path, tmp_path: Path
) -> None:
    asked = [fault(f"{{at: hook, do: {do}}}")]
    with pytest.raises(ScenarioError) as caught:
        make_overlay(initramfs, asked, digest="d", folder=tmp_path / "cache")
    assert message in str(caught.value)
    assert (hint or "") in str(caught.value.hint)


def test_an_overlay_is_made_once_and_joined_where_the_kernel_looks(
    initramfs: Path, tmp_path: Path
) -> None:
    asked = [fault("{at: hook, do: {missing: bin/tool}}")]
    folder = tmp_path / "cache"
    overlay = make_overlay(initramfs, asked, digest="d", folder=folder)
    assert overlay == make_overlay(tmp_path / "unread", asked, digest="d", folder=folder)
    assert overlay is not None
    both = joined(initramfs, overlay, tmp_path / "both")
    assert both.read_bytes().index(overlay.read_bytes()) % 4 == 0
    assert contents(both)["bin/tool"].mode == 0o120777
    assert make_overlay(initramfs, [], digest="d", folder=folder) is None
