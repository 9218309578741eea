"""What a registry offers of a layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import SetupFailed
from harness.oci.content import Mount, load_content
from harness.oci.image import Image, ImageConfig, write_layout
from harness.oci.layer import File, layer_from_files
from harness.wire.oci import Digest, Platform


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    images = [
        Image(
            ref=ref,
            config=ImageConfig(platform=Platform(architecture=architecture)),
            layers=[layer_from_files({ref: File(content=b"")})],
        )
        for ref, architecture in (
            ("docker.io/lab/one:v1", "amd64"),
            ("two:v1", "amd64"),
            ("two:v1", "arm64"),
        )
    ]
    write_layout(tmp_path / "layout", images)
    return tmp_path / "layout"


def offered(*mounts: Mount) -> dict[str, list[str]]:
    found = load_content(mounts).repositories
    return {name: list(repository.tags) for name, repository in found.items()}


def test_names_lose_their_host(layout: Path) -> None:
    assert offered(Mount(layout=layout)) == {"lab/one": ["v1"], "two": ["v1"]}


def test_one_image_under_another_name(layout: Path) -> None:
    for reference in ("two:v1", "registry:5000/two:v1"):
        assert offered(Mount(layout=layout, reference=reference)) == {"two": ["v1"]}
    for reference in ("quay.io/two:v1", "quay.io/lab/one:v1"):
        (name,) = offered(Mount(layout=layout, reference=reference))
        assert f"{name}:v1" == reference
    with pytest.raises(SetupFailed, match="none of them called mine:v2") as failure:
        load_content([Mount(layout=layout, reference="mine:v2")])
    assert failure.value.hint == "it has docker.io/lab/one:v1, two:v1"


def test_blobs_belong_to_their_repository(layout: Path) -> None:
    content = load_content([Mount(layout=layout)])
    one, two = (set(content.repositories[name].blobs) for name in ("lab/one", "two"))
    assert len(one) == 3  # manifest, configuration, layer
    assert len(two) == 1 + 3 + 2  # index; two of each, but one layer for both
    assert not one & two
    assert set(content.blobs) == one | two
    assert all(Digest.of(path.read_bytes()) == digest for digest, path in content.blobs.items())


def edit(layout: Path, **changes: object) -> None:
    index = json.loads((layout / "index.json").read_bytes())
    index["manifests"][0] |= changes
    (layout / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "sha256:../../../etc/passwd"}, "is no digest"),
        ({"mediaType": "text/plain"}, "text/plain is neither image nor index"),
        ({"size": "1"}, "no descriptor"),
        ({"annotations": {"org.opencontainers.image.ref.name": "A B"}}, "is no image reference"),
    ],
)
def test_a_broken_layout_is_explained(
    layout: Path, changes: dict[str, object], message: str
) -> None:
    edit(layout, **changes)
    with pytest.raises(SetupFailed, match=message):
        load_content([Mount(layout=layout)])
