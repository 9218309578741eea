"""An image made of another one: the same with a layer on top, as ``FROM`` and ``COPY`` make it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.errors import DecodeError, SetupFailed
from harness.oci.content import Mount, load_content
from harness.oci.image import Image, write_layout
from harness.oci.layer import Compression, Entry, Layer, layer_from_files
from harness.wire.oci import (
    INDEX_TYPES,
    Descriptor,
    Digest,
    canonical_json,
    decode_descriptors,
    decode_object,
)
from harness.wire.registry_content import Manifest

_CREATED_BY: Final = "hooklab: a layer on top"


def add_layer(
    layout: Path,
    reference: str,
    entries: Mapping[str, Entry],
    folder: Path,
    *,
    architecture: str = "amd64",
) -> None:
    """Write ``reference`` of ``layout`` with ``entries`` laid over it to the new layout ``folder``.

    Of an image for several platforms the one for Linux on ``architecture`` is taken. Raises
    ``SetupFailed`` when the image is not there or not whole, ``BuildFailed`` for bad entries.
    """
    content = load_content([Mount(layout=layout, reference=reference)])
    [repository] = content.repositories.values()
    [digest] = repository.tags.values()
    manifest = repository.manifests[digest]
    if manifest.media_type in INDEX_TYPES:
        manifest = repository.manifests[_of_platform(manifest, architecture, reference)]
    try:
        config, layers = _parts(manifest, content.blobs)
    except (DecodeError, KeyError, ValueError) as error:
        raise SetupFailed(f"{layout}: {reference} can't be built upon: {error}") from error
    top = layer_from_files(entries)
    config["rootfs"]["diff_ids"].append(str(top.diff_id))
    config.setdefault("history", []).append({"created_by": _CREATED_BY})
    image = Image(ref=reference, config=canonical_json(config), layers=[*layers, top])
    write_layout(folder, [image])


def _of_platform(index: Manifest, architecture: str, reference: str) -> Digest:
    for child in index.children:
        platform = child.platform
        if platform and (platform.os, platform.architecture) == ("linux", architecture):
            return child.digest
    raise SetupFailed(f"the image {reference} is not for linux/{architecture}")


def _parts(manifest: Manifest, blobs: Mapping[Digest, Path]) -> tuple[dict[str, Any], list[Layer]]:
    """Return the configuration of an image, and its layers as they are stored."""
    document = decode_object(manifest.data, "manifest")
    described = Descriptor.from_json(document.get("config"))
    config = decode_object(blobs[described.digest].read_bytes(), "configuration")
    stored = decode_descriptors(document, "layers")
    diff_ids = config["rootfs"]["diff_ids"]
    layers = [
        Layer(
            content=blobs[one.digest],
            digest=one.digest,
            diff_id=Digest.parse(diff_id),
            size=one.size,
            compression=_compression(one.media_type),
        )
        for one, diff_id in zip(stored, diff_ids, strict=True)
    ]
    return config, layers


def _compression(media_type: str) -> Compression:
    if media_type.endswith("zstd"):
        return Compression.ZSTD
    return Compression.GZIP if media_type.endswith("gzip") else Compression.NONE
