"""The lab's images hold what they should, and a user's own come in every usual form."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from harness.errors import BuildFailed
from harness.hook.golang import find_go, go_build, go_environment, required_version
from harness.hook.images import (
    action_names,
    build_images,
    ensure_image,
    known_images,
    program_image,
)
from harness.oci.content import Mount, load_content
from harness.oci.image import Image, ImageConfig, write_layout
from harness.oci.layer import File, layer_from_files
from harness.paths import cache_root, source_root
from harness.process import CommandFailed, run
from harness.progress import SilentProgress

ACTIONS = source_root() / "fixtures" / "actions"


class Counted(SilentProgress):
    """Counts the steps it was told of."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, what: str):  # type: ignore[no-untyped-def]
        self.steps.append(what)
        return super().step(what)


async def umoci(layout: Path, reference: str, into: Path) -> Path:
    if shutil.which("umoci") is None:
        pytest.skip("umoci is not installed")
    await run(["umoci", "unpack", "--rootless", "--image", f"{layout}:{reference}", into])
    return into / "rootfs"


async def skopeo(*words: str) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    await run(["skopeo", "copy", "-q", *words])


async def test_the_actions_pass_their_own_tests() -> None:
    go = await find_go(required_version(ACTIONS))
    environment = go_environment(cache_root())
    await run([go.program, "vet", "./..."], cwd=ACTIONS, env=environment)
    await run([go.program, "test", "./..."], cwd=ACTIONS, env=environment)


async def test_the_lab_has_a_worker_and_actions(tmp_path: Path) -> None:
    progress = Counted()
    layout = await build_images(cache_root(), progress=progress)
    content = load_content([Mount(layout=layout)])
    offered = {f"{name}:{tag}" for name, one in content.repositories.items() for tag in one.tags}
    assert offered == set(known_images())
    assert offered >= {"tink-worker:latest", "tink-worker:v0.12.2", "print:v1", "disk:v1"}
    progress.steps.clear()
    assert await build_images(cache_root(), progress=progress) == layout
    assert progress.steps == []
    root = await umoci(layout, "tink-worker:v0.12.2", tmp_path / "worker")
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["tink-worker"]
    with pytest.raises(CommandFailed, match="tinkerbell-grpc-authority"):
        await run([root / "usr/bin/tink-worker"])


async def test_an_action_image_runs(tmp_path: Path) -> None:
    assert "print" in action_names()
    program = await go_build(
        ACTIONS, "./print", "print", cache=tmp_path / "cache", progress=SilentProgress()
    )
    image = program_image("print:v1", program, name="print")
    first = write_layout(tmp_path / "layout", [image])
    assert write_layout(tmp_path / "again", [image]) == first
    root = await umoci(tmp_path / "layout", "print:v1", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_bytes())
    assert config["process"]["args"] == ["/usr/bin/print"]
    done = await run([root / "usr/bin/print", "hello", "lab"], env={"GREETING": "hi"})
    assert done.stdout.startswith(b"hello lab\n")
    assert b"GREETING=hi\n" in done.stdout


async def test_the_worker_can_be_given_an_authority(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("a certificate\n")
    layout = await build_images(cache_root(), progress=SilentProgress(), worker_authority=authority)
    assert layout != await build_images(cache_root(), progress=SilentProgress())
    root = await umoci(layout, "tink-worker:latest", tmp_path / "out")
    assert (root / "etc/ssl/certs/ca-certificates.crt").read_text() == "a certificate\n"
    shutil.rmtree(layout)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A layout with an image of a user's, called ``v1`` only."""
    layer = layer_from_files({"hello": File(content=b"mine")})
    image = Image(ref="x:v1", config=ImageConfig(cmd=["/hello"]), layers=[layer])
    write_layout(tmp_path / "own", [image])
    return tmp_path / "own"


def offered(layout: Path, reference: str) -> list[str]:
    content = load_content([Mount(layout=layout, reference=reference)])
    return [f"{name}:{tag}" for name, found in content.repositories.items() for tag in found.tags]


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive"])
async def test_images_that_others_wrote(tmp_path: Path, own: Path, kind: str) -> None:
    source = tmp_path / "image"
    name = "" if kind == "oci" else ":lab/mine:v2"
    await skopeo(f"oci:{own}:x:v1", f"{kind}:{source}{name}")
    cache = tmp_path / "cache"
    layout = await ensure_image("mine:v2", source, cache=cache, progress=SilentProgress())
    assert offered(layout, "mine:v2") == ["mine:v2"]
    if kind == "docker-archive":
        root = await umoci(layout, "mine:v2", tmp_path / "out")
        assert (root / "hello").read_bytes() == b"mine"
        config = json.loads((tmp_path / "out" / "config.json").read_bytes())
        assert config["process"]["args"] == ["/hello"]
    progress = Counted()
    assert await ensure_image("mine:v2", source, cache=cache, progress=progress) == layout
    assert progress.steps == []


async def test_programs_and_folders_become_images(tmp_path: Path) -> None:
    module = tmp_path / "mytool"
    module.mkdir()
    (module / "go.mod").write_text("module mytool\n\ngo 1.21\n")
    (module / "main.go").write_text('package main\n\nfunc main() { print("mine") }\n')
    folder = tmp_path / "root"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "sh").write_text("a shell\n")
    for source, entrypoint, file in (
        (module, ["/usr/bin/mytool"], "usr/bin/mytool"),
        (folder, ["/bin/sh"], "bin/sh"),
    ):
        layout = await ensure_image(
            "my:v1", source, cache=tmp_path / "cache", progress=SilentProgress()
        )
        assert offered(layout, "my:v1") == ["my:v1"]
        out = tmp_path / f"out-{source.name}"
        root = await umoci(layout, "my:v1", out)
        assert json.loads((out / "config.json").read_bytes())["process"]["args"] == entrypoint
        assert (root / file).is_file()
    (folder / "bin" / "sh").write_text("another shell\n")
    changed = await ensure_image(
        "my:v1", folder, cache=tmp_path / "cache", progress=SilentProgress()
    )
    assert changed != layout


def broken_archive(tmp_path: Path, files: dict[str, bytes]) -> Path:
    archive = tmp_path / "broken.tar"
    with tarfile.open(archive, "w") as tar:
        for name, content in files.items():
            path = tmp_path / "member"
            path.write_bytes(content)
            tar.add(path, arcname=name)
    return archive


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"x": b""}, "holds no image"),
        ({"manifest.json": b"{"}, "is no JSON"),
        ({"manifest.json": b"{}"}, "is no list of images"),
        ({"manifest.json": b'[{"Config": "c", "Layers": []}]'}, "names what isn't there: 'c'"),
        (
            {"manifest.json": b'[{"RepoTags": ["a:1"]}, {"RepoTags": ["b:1"]}]'},
            "has 2 images, none of them called my:v1",
        ),
        (
            {"index.json": b"{}", "blobs/sha256/" + "0" * 64: b"x"},
            "has another digest",
        ),
    ],
)
async def test_a_broken_archive_is_explained(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    archive = broken_archive(tmp_path, files)
    with pytest.raises(BuildFailed, match=message):
        await ensure_image("my:v1", archive, cache=tmp_path / "c", progress=SilentProgress())
    assert [path for path in (tmp_path / "c/images").iterdir() if path.is_dir()] == []


async def test_what_is_no_image_is_explained(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    for source in (text, tmp_path / "none"):
        with pytest.raises(BuildFailed, match=str(source)):
            await ensure_image("my:v1", source, cache=tmp_path / "c", progress=SilentProgress())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "go.mod").write_text("module broken\n\ngo 1.21\n")
    (broken / "main.go").write_text("package main\n\nfunc main() { nonsense }\n")
    with pytest.raises(BuildFailed, match=r"image my:v1: (?s:.*)undefined: nonsense"):
        await ensure_image("my:v1", broken, cache=tmp_path / "c", progress=SilentProgress())
