"""The Debian archive, against a small one of our own that the real apt reads from a folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import BuildFailed
from harness.hook.debian import DebianArchive
from harness.progress import SilentProgress

pytestmark = [
    pytest.mark.usefixtures("no_mirror"),
    pytest.mark.skipif(
        shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None, reason="no apt here"
    ),
]


class Archive:
    """A flat archive in a folder, and an /etc/apt that knows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "archive"
        self.folder.mkdir()
        self.etc = folder / "etc"
        (self.etc / "apt.conf.d").mkdir(parents=True)
        (self.etc / "sources.list").write_text(f"deb [trusted=yes] file:{self.folder} ./\n")

    def add(self, name: str, version: str, depends: str = "") -> Path:
        tree = self.folder / "tree"
        (tree / "DEBIAN").mkdir(parents=True)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
        control += f"Maintainer: x <x@example.test>\nDescription: {name}\n"
        control += f"Depends: {depends}\n" if depends else ""
        (tree / "DEBIAN" / "control").write_text(control)
        (tree / f"{name}.txt").write_text(version)
        # ":" of an epoch is "%3a" in a file name of the archive.
        deb = self.folder / f"{name}_{version.replace(':', '%3a')}_amd64.deb"
        subprocess.run(["dpkg-deb", "-b", tree, deb], check=True, capture_output=True)
        shutil.rmtree(tree)
        (self.folder / f"{name}.control").write_text(control)
        return deb

    def publish(self) -> None:
        stanzas = []
        for deb in sorted(self.folder.glob("*.deb")):
            control = subprocess.run(
                ["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True
            ).stdout
            digest = hashlib.sha256(deb.read_bytes()).hexdigest()
            stanzas.append(
                f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
            )
        (self.folder / "Packages").write_text("\n".join(stanzas))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path)
    made.add("outer", "2:1.0-1", depends="inner (>= 0.5)")
    made.add("inner", "0.7")
    made.add("stranger", "9")
    made.publish()
    return made


def debian(archive: Archive, tmp_path: Path) -> DebianArchive:
    return DebianArchive(tmp_path / "cache", SilentProgress(), etc=archive.etc)


async def test_dependencies_come_along_and_others_do_not(archive: Archive, tmp_path: Path) -> None:
    found = await debian(archive, tmp_path).ensure(["outer"])
    assert sorted(found) == ["inner", "outer"]
    for path in found.values():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


async def test_versions_with_an_epoch_are_told_as_dpkg_does(
    archive: Archive, tmp_path: Path
) -> None:
    packages = await debian(archive, tmp_path).resolve(["outer"])
    assert {package.name: package.version for package in packages} == {
        "outer": "2:1.0-1",
        "inner": "0.7",
    }


async def test_a_second_time_asks_nobody(archive: Archive, tmp_path: Path) -> None:
    first = await debian(archive, tmp_path).ensure(["outer"])
    shutil.rmtree(archive.folder)
    assert await debian(archive, tmp_path).ensure(["outer"]) == first


async def test_a_vanished_version_is_decided_anew(archive: Archive, tmp_path: Path) -> None:
    await debian(archive, tmp_path).resolve(["outer"])
    (archive.folder / "inner_0.7_amd64.deb").unlink()
    newer = archive.add("inner", "0.8")
    archive.publish()
    found = await debian(archive, tmp_path).ensure(["outer"])
    assert found["inner"].read_bytes() == newer.read_bytes()


async def test_what_a_download_left_when_it_was_cut_off_does_no_harm(
    archive: Archive, tmp_path: Path
) -> None:
    made = debian(archive, tmp_path)
    await made.resolve(["stranger"])
    left = tmp_path / "cache" / "debian" / "archives" / "inner_0.7_amd64.deb"
    shutil.copy(archive.folder / left.name, left)
    assert sorted(await made.ensure(["outer"])) == ["inner", "outer"]


async def test_an_unknown_package_is_named(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="no-such-thing"):
        await debian(archive, tmp_path).ensure(["no-such-thing"])


async def test_other_bytes_than_promised_are_refused(archive: Archive, tmp_path: Path) -> None:
    await debian(archive, tmp_path).resolve(["stranger"])
    deb = archive.folder / "stranger_9_amd64.deb"
    deb.write_bytes(deb.read_bytes()[:-1] + b"?")
    with pytest.raises(BuildFailed):
        await debian(archive, tmp_path).ensure(["stranger"])
    assert not list((tmp_path / "cache" / "debian").glob("debs/*.deb"))
