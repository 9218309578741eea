"""Images and image layouts on disk (OCI image-spec: config.md, manifest.md, image-layout.md).

A layout made here is what ``linuxkit cache import`` takes (as a tar), what skopeo and umoci read
(``oci:FOLDER:REF``), and what the lab's registry serves.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from harness.errors import BuildFailed, DecodeError
from harness.oci.layer import Compression, Layer
from harness.wire.oci import (
    REF_NAME,
    Descriptor,
    Digest,
    MediaType,
    Platform,
    Reference,
    canonical_json,
    decode_object,
)

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Flavour(StrEnum):
    """Which media types an image is written with. Docker 20.10 pulls both."""

    OCI = "oci"
    DOCKER = "docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """How the image runs. ``env`` gets a ``PATH`` if it has none: runc finds nothing without."""

    cmd: Sequence[str] = ()
    entrypoint: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: Platform = field(default_factory=lambda: Platform(architecture="amd64"))
    created: datetime = _EPOCH

    def to_json(self, layers: Sequence[Layer]) -> dict[str, Any]:
        """Return the image configuration, with ``layers`` as its root file system."""
        env = {"PATH": DEFAULT_PATH, **self.env}
        run: dict[str, Any] = {"Env": [f"{name}={value}" for name, value in env.items()]}
        if self.cmd:
            run["Cmd"] = list(self.cmd)
        if self.entrypoint:
            run["Entrypoint"] = list(self.entrypoint)
        if self.user:
            run["User"] = self.user
        if self.working_dir:
            run["WorkingDir"] = self.working_dir
        if self.labels:
            run["Labels"] = dict(self.labels)
        created = self.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            **self.platform.to_json(),
            "created": created,
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
            "history": [{"created": created, "created_by": "hooklab"} for _ in layers],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image of one platform. Images that share a ``ref`` become one multi-platform index."""

    ref: str
    """Its name in the layout: ``repo:tag``, or a full name such as ``docker.io/lab/init:1``."""
    config: ImageConfig | bytes
    """Bytes: a configuration that exists already, kept as it is."""
    layers: Sequence[Layer]
    flavour: Flavour = Flavour.OCI
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Go into the manifest; Docker's format has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """The documents of an image, ready to be stored."""

    manifest: bytes
    config: bytes
    media_type: MediaType

    @property
    def descriptor(self) -> Descriptor:
        return _describe(self.manifest, self.media_type)


def write_layout(
    folder: Path, images: Sequence[Image], *, index_each: bool = False
) -> dict[str, Digest]:
    """Write ``images`` as an image layout; returns what each ref points to.

    The layout is made beside ``folder`` and moved into place when it is complete, replacing an
    older one. ``index_each`` wraps single-platform images in an index of their own too. Raises
    ``BuildFailed`` for a bad ref, or two images of one platform under one ref.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        fresh.chmod(0o755)
        named = _write(fresh, images, index_each)
        if folder.exists():
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-old-"))
            folder.rename(old / "layout")
            fresh.rename(folder)
            shutil.rmtree(old)
        else:
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return named


def write_layout_tar(tar: Path, folder: Path) -> None:
    """Write the layout ``folder`` as a tar archive, reproducibly: what ``cache import`` reads."""
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                info.size = path.stat().st_size
                with path.open("rb") as stream:
                    archive.addfile(info, stream)


def _write(folder: Path, images: Sequence[Image], index_each: bool) -> dict[str, Digest]:
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_bytes(canonical_json({"imageLayoutVersion": "1.0.0"}))
    by_ref: dict[str, list[Image]] = {}
    for image in images:
        _check_ref(image.ref)
        by_ref.setdefault(image.ref, []).append(image)
    top: list[Descriptor] = []
    for ref, group in by_ref.items():
        members = [_store_image(folder, image) for image in group]
        platforms = [member.platform for member in members]
        if len(set(platforms)) != len(platforms):
            raise BuildFailed(f"two images of one platform are both called {ref}")
        if len(members) > 1 or index_each:
            docker = all(image.flavour is Flavour.DOCKER for image in group)
            descriptor = _store_index(folder, members, docker=docker)
        else:
            descriptor = members[0]
        top.append(
            Descriptor(
                media_type=descriptor.media_type,
                digest=descriptor.digest,
                size=descriptor.size,
                platform=descriptor.platform,
                annotations={REF_NAME: ref},
            )
        )
    index = {
        "schemaVersion": 2,
        "mediaType": str(MediaType.OCI_INDEX),
        "manifests": [descriptor.to_json() for descriptor in top],
    }
    (folder / "index.json").write_bytes(canonical_json(index))
    return {descriptor.annotations[REF_NAME]: descriptor.digest for descriptor in top}


def _check_ref(ref: str) -> None:
    try:
        reference = Reference.parse(ref)
    except DecodeError as error:
        raise BuildFailed(str(error)) from error
    if not reference.tag:
        raise BuildFailed(f"{ref!r} has no tag", hint=f"write {ref}:latest, or another tag")


def _store_image(folder: Path, image: Image) -> Descriptor:
    built = _build(image)
    for layer in image.layers:
        _store(folder, layer.content, layer.digest)
    for document in (built.config, built.manifest):
        _store(folder, document, Digest.of(document))
    descriptor = built.descriptor
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        platform=_platform_of(image.config),
    )


def _platform_of(config: ImageConfig | bytes) -> Platform:
    if isinstance(config, ImageConfig):
        return config.platform
    found = decode_object(config, "image configuration")
    return Platform(
        architecture=str(found.get("architecture", "amd64")),
        os=str(found.get("os", "linux")),
        variant=str(found["variant"]) if found.get("variant") else None,
    )


def _build(image: Image) -> _Built:
    docker = image.flavour is Flavour.DOCKER
    config = (
        image.config
        if isinstance(image.config, bytes)
        else canonical_json(image.config.to_json(image.layers))
    )
    config_type = MediaType.DOCKER_CONFIG if docker else MediaType.OCI_CONFIG
    media_type = MediaType.DOCKER_MANIFEST if docker else MediaType.OCI_MANIFEST
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": str(media_type),
        "config": _describe(config, config_type).to_json(),
        "layers": [
            Descriptor(
                media_type=_layer_type(layer, image.flavour), digest=layer.digest, size=layer.size
            ).to_json()
            for layer in image.layers
        ],
    }
    if image.annotations and not docker:
        manifest["annotations"] = dict(image.annotations)
    return _Built(manifest=canonical_json(manifest), config=config, media_type=media_type)


def _layer_type(layer: Layer, flavour: Flavour) -> MediaType:
    if flavour is Flavour.OCI:
        return layer.media_type
    match layer.compression:
        case Compression.GZIP:
            return MediaType.DOCKER_LAYER_GZIP
        case Compression.NONE:
            return MediaType.DOCKER_LAYER
        case Compression.ZSTD:
            raise BuildFailed(
                "Docker's image format has no zstd layers", hint="use gzip, or the OCI format"
            )


def _store_index(folder: Path, members: Sequence[Descriptor], *, docker: bool) -> Descriptor:
    media_type = MediaType.DOCKER_LIST if docker else MediaType.OCI_INDEX
    index = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": str(media_type),
            "manifests": [member.to_json() for member in members],
        }
    )
    _store(folder, index, Digest.of(index))
    return _describe(index, media_type)


def _describe(document: bytes, media_type: MediaType) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(document), size=len(document))


def _store(folder: Path, content: bytes | Path, digest: Digest) -> None:
    target = folder / digest.blob_path
    if target.exists():
        return
    if isinstance(content, bytes):
        target.write_bytes(content)
        return
    try:
        os.link(content, target)  # blobs never change: one copy on disk is enough
    except OSError:
        shutil.copyfile(content, target)
