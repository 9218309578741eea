"""Reading ``.deb`` files, against dpkg-deb."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.hook.deb import open_data
from harness.tests.programs import needs

_CONTROL = (
    "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.test>\nDescription: x\n"
)

needs_dpkg = needs("dpkg-deb")


def make(tmp_path: Path, compression: str) -> Path:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(_CONTROL)
    (tree / "usr").mkdir()
    (tree / "usr" / "large").write_bytes(bytes(range(256)) * 5000)
    (tree / "usr" / "link").symlink_to("large")
    deb = tmp_path / "x.deb"
    subprocess.run(
        ["dpkg-deb", f"-Z{compression}", "-b", tree, deb], check=True, capture_output=True
    )
    return deb


@needs_dpkg
@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_every_compression_of_dpkg_is_read(tmp_path: Path, compression: str) -> None:
    with open_data(make(tmp_path, compression)) as archive:
        found = {}
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            found[member.name] = stream.read() if stream else member.linkname
    assert found["./usr/large"] == bytes(range(256)) * 5000
    assert found["./usr/link"] == "large"


@needs_dpkg
@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_a_truncated_package_is_damaged(tmp_path: Path, compression: str) -> None:
    deb = make(tmp_path, compression)
    deb.write_bytes(deb.read_bytes()[: deb.stat().st_size * 2 // 3])
    with pytest.raises(DecodeError, match=r"x\.deb"), open_data(deb) as archive:  # noqa: PT012
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream and len(stream.read()) < member.size:
                raise DecodeError(f"{deb} ends early")


@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_are_no_package(data: bytes, with_magic: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.deb"
        path.write_bytes((b"!<arch>\n" if with_magic else b"") + data)
        with pytest.raises(DecodeError), open_data(path) as archive:
            list(archive)
