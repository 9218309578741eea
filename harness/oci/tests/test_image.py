"""Images: reproducible to the byte, and read by skopeo and umoci, which are the oracles."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from harness.errors import BuildFailed
from harness.oci.image import Flavour, Image, ImageConfig, write_layout, write_layout_tar
from harness.oci.layer import (
    Compression,
    Directory,
    Entry,
    File,
    Layer,
    Symlink,
    layer_from_files,
    layer_from_tar,
    layer_from_tree,
)
from harness.tests.programs import require
from harness.wire.oci import Digest, Platform

ENTRIES: dict[str, Entry] = {
    "/usr/bin/tool": File(content=b"#!/bin/sh\n", mode=0o755),
    "bin": Symlink(target="usr/bin"),
    "tmp": Directory(mode=0o1777),
    "etc/name": File(content=b"lab\n", uid=7, gid=8),
    "deep/" + "x" * 120 + "/" + "y" * 120: File(content=b"long"),
}


def run(*argv: str) -> bytes:
    require(argv[0])
    return subprocess.run(argv, check=True, capture_output=True).stdout


def one_layer(tmp_path: Path, **options: object) -> Layer:
    return layer_from_files(ENTRIES, into=tmp_path / "blobs", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("compression", Compression)
def test_a_layer_depends_on_its_content_alone(tmp_path: Path, compression: Compression) -> None:
    on_disk = tmp_path / "tool"
    on_disk.write_bytes(b"#!/bin/sh\n")
    turned = dict(reversed(ENTRIES.items())) | {
        "usr/bin/tool": File(content=on_disk, mode=0o755),
    }
    del turned["/usr/bin/tool"]
    first = one_layer(tmp_path, compression=compression)
    second = layer_from_files(turned, compression=compression)
    assert (first.digest, first.diff_id, first.size) == (
        second.digest,
        second.diff_id,
        second.size,
    )
    assert isinstance(first.content, Path)
    assert isinstance(second.content, bytes)
    assert first.content.read_bytes() == second.content
    assert Digest.of(second.content) == second.digest
    assert len(second.content) == second.size


def test_gzip_is_read_by_others_and_holds_the_tar() -> None:
    layer = layer_from_files(ENTRIES)
    assert isinstance(layer.content, bytes)
    tar = gzip.decompress(layer.content)
    assert Digest.of(tar) == layer.diff_id
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        members = {member.name: member for member in archive}
    assert members["tmp"].mode == 0o1777
    assert members["bin"].linkname == "usr/bin"
    assert (members["etc/name"].uid, members["etc/name"].gid) == (7, 8)
    assert members["usr"].isdir()
    assert {member.mtime for member in members.values()} == {0}
    assert list(members) == sorted(members)


@pytest.mark.parametrize(
    "path", ["../etc/passwd", "/", "", "a/../b", "etc/name/below"], ids=str.__repr__
)
def test_a_path_that_can_not_be_in_an_image_is_refused(path: str) -> None:
    with pytest.raises(BuildFailed):
        layer_from_files(ENTRIES | {path: File(content=b"")})


def test_a_missing_file_is_named() -> None:
    with pytest.raises(BuildFailed, match="/no/such/file for etc/x"):
        layer_from_files({"etc/x": File(content=Path("/no/such/file"))})


def test_a_failed_layer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed):
        layer_from_files({"x": File(content=tmp_path / "none")}, into=tmp_path / "blobs")
    assert list((tmp_path / "blobs").iterdir()) == []


def test_tree_and_tar_give_the_same_layer(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin").chmod(0o755)
    (root / "bin" / "a").write_bytes(b"a")
    (root / "bin" / "a").chmod(0o755)
    (root / "b").symlink_to("bin/a")
    layer = layer_from_tree(root, compression=Compression.NONE)
    assert isinstance(layer.content, bytes)
    (tmp_path / "x.tar").write_bytes(layer.content)
    assert layer_from_tar(tmp_path / "x.tar").diff_id == layer.diff_id
    assert (
        layer_from_files(
            {"bin/a": File(content=b"a", mode=0o755), "b": Symlink(target="bin/a")}
        ).diff_id
        == layer.diff_id
    )


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("index_each", [False, True])
def test_skopeo_and_umoci_read_a_layout(tmp_path: Path, flavour: Flavour, index_each: bool) -> None:
    layers = [one_layer(tmp_path), layer_from_files({"second": File(content=b"2")})]
    config = ImageConfig(
        cmd=["x"],
        entrypoint=["/usr/bin/tool"],
        env={"A": "1"},
        user="0:0",
        labels={"org.example": "yes"},
        platform=Platform(architecture="amd64"),
    )
    image = Image(ref="lab/tool:v1", config=config, layers=layers, flavour=flavour)
    layout = tmp_path / "layout"
    named = write_layout(layout, [image], index_each=index_each)
    assert Digest.of((layout / named["lab/tool:v1"].blob_path).read_bytes()) in named.values()
    if flavour is Flavour.DOCKER:
        return  # these tools read Docker's format from a registry only: see the registry's tests
    raw = run("skopeo", "inspect", "--raw", f"oci:{layout}:lab/tool:v1")
    assert Digest.of(raw) == named["lab/tool:v1"]
    told = json.loads(
        run("skopeo", "--override-arch=amd64", "inspect", f"oci:{layout}:lab/tool:v1")
    )
    assert told["Labels"] == {"org.example": "yes"}
    assert told["Layers"] == [str(layer.digest) for layer in layers]
    assert any(entry.startswith("PATH=") for entry in told["Env"])
    assert "A=1" in told["Env"]
    assert told["Created"] == "1970-01-01T00:00:00Z"
    if not index_each:
        run(
            *("umoci", "unpack", "--rootless", "--image", f"{layout}:lab/tool:v1"),
            str(tmp_path / "out"),
        )
        root = tmp_path / "out" / "rootfs"
        assert (root / "usr/bin/tool").read_bytes() == b"#!/bin/sh\n"
        assert (root / "second").read_bytes() == b"2"
        assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_images_of_one_name_become_an_index_of_platforms(tmp_path: Path) -> None:
    images = [
        Image(
            ref="docker.io/lab/tool:1",
            config=ImageConfig(platform=Platform(architecture=name), labels={"architecture": name}),
            layers=[layer_from_files({name: File(content=b"")})],
        )
        for name in ("amd64", "arm64")
    ]
    write_layout(tmp_path / "layout", images)
    for name in ("amd64", "arm64"):
        told = json.loads(
            run(
                *("skopeo", f"--override-arch={name}", "inspect"),
                f"oci:{tmp_path}/layout:docker.io/lab/tool:1",
            )
        )
        assert told["Labels"] == {"architecture": name}
    with pytest.raises(BuildFailed, match="two images of one platform"):
        write_layout(tmp_path / "again", [images[0], images[0]])


def test_writing_again_replaces_and_gives_the_same_bytes(tmp_path: Path) -> None:
    def write(content: bytes) -> bytes:
        layer = layer_from_files({"f": File(content=content)})
        image = Image(ref="a:1", config=ImageConfig(), layers=[layer])
        write_layout(tmp_path / "layout", [image])
        write_layout_tar(tmp_path / "layout.tar", tmp_path / "layout")
        return (tmp_path / "layout.tar").read_bytes()

    first, second, third = write(b"1"), write(b"2"), write(b"1")
    assert first == third
    assert first != second
    assert len(list((tmp_path / "layout" / "blobs" / "sha256").iterdir())) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layout", "layout.tar"]


@pytest.mark.parametrize("ref", ["a", "A:1", "a:1@sha256:00", "", ":1", "a:"])
def test_a_bad_name_is_refused(tmp_path: Path, ref: str) -> None:
    layer = layer_from_files({"f": File(content=b"")})
    with pytest.raises(BuildFailed):
        write_layout(tmp_path / "x", [Image(ref=ref, config=ImageConfig(), layers=[layer])])
    assert list(tmp_path.iterdir()) == []


def test_docker_has_no_zstd(tmp_path: Path) -> None:
    layer = layer_from_files({"f": File(content=b"")}, compression=Compression.ZSTD)
    image = Image(ref="a:1", config=ImageConfig(), layers=[layer], flavour=Flavour.DOCKER)
    with pytest.raises(BuildFailed, match="zstd"):
        write_layout(tmp_path / "x", [image])
