"""An image with a layer on top: umoci, which is the oracle, unpacks both layers' files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.errors import SetupFailed
from harness.oci.content import Mount, load_content
from harness.oci.derived import add_layer
from harness.oci.image import Flavour, Image, ImageConfig, write_layout
from harness.oci.layer import Compression, File, layer_from_files
from harness.tests.programs import require
from harness.wire.oci import Platform

BELOW = {"bin/tool": File(content=b"tool", mode=0o755), "etc/name": File(content=b"below")}
ABOVE = {"etc/ssl/certs/ca.pem": File(content=b"PEM"), "etc/name": File(content=b"above")}
CONFIG = ImageConfig(entrypoint=["/bin/tool"], env={"A": "b"}, working_dir="/w")


@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_the_files_of_both(tmp_path: Path, flavour: Flavour, compression: Compression) -> None:
    layer = layer_from_files(BELOW, compression=compression)
    image = Image(ref="tool:v1", config=CONFIG, layers=[layer], flavour=flavour)
    write_layout(tmp_path / "below", [image])
    add_layer(tmp_path / "below", "tool:v1", ABOVE, tmp_path / "above")
    require("umoci")
    argv = ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/above:tool:v1", "bundle"]
    subprocess.run(argv, check=True, capture_output=True, cwd=tmp_path)
    root = tmp_path / "bundle" / "rootfs"
    assert (root / "bin/tool").read_bytes() == b"tool"
    assert (root / "etc/name").read_bytes() == b"above"
    assert (root / "etc/ssl/certs/ca.pem").read_bytes() == b"PEM"
    process = json.loads((tmp_path / "bundle" / "config.json").read_text())["process"]
    assert (process["args"], process["cwd"]) == (["/bin/tool"], "/w")
    assert "A=b" in process["env"]


def test_of_several_platforms_the_machines_is_taken(tmp_path: Path) -> None:
    images = []
    for architecture in ("arm64", "amd64"):
        content = {"is": File(content=architecture.encode())}
        platform = Platform(architecture=architecture)
        config = ImageConfig(platform=platform)
        images.append(Image(ref="t:1", config=config, layers=[layer_from_files(content)]))
    write_layout(tmp_path / "below", images)
    add_layer(tmp_path / "below", "t:1", ABOVE, tmp_path / "above")
    [repository] = load_content([Mount(layout=tmp_path / "above")]).repositories.values()
    [manifest] = repository.manifests.values()
    [bottom, _top] = json.loads(manifest.data)["layers"]
    assert bottom["digest"] == str(images[1].layers[0].digest)
    with pytest.raises(SetupFailed, match="is not for linux/riscv64"):
        add_layer(tmp_path / "below", "t:1", ABOVE, tmp_path / "x", architecture="riscv64")
