"""What a registry serves, read from image layouts (OCI image-spec image-layout.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.errors import DecodeError, SetupFailed
from harness.wire.oci import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    REF_NAME,
    Descriptor,
    Digest,
    Reference,
    decode_descriptors,
    decode_object,
    is_repository,
)
from harness.wire.registry_content import Manifest, Repository

_MANIFEST_LIMIT: Final = 4 << 20  # what distribution takes
_DEPTH_LIMIT: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A layout, and under which names the registry offers its images."""

    layout: Path
    prefixes: Sequence[str] = ("",)
    """``"mirror/lab"`` offers ``tool:v1`` as ``mirror/lab/tool:v1``; ``""`` as it is."""
    reference: str | None = None
    """Offer one image only, under this name: the one that is called so, or the only one.

    A host in it stays (``quay.io/a/b:v1`` is offered as ``quay.io/a/b``), because workers of v1
    put the registry in front of an action's whole image name; one with a port can't.
    """


@dataclass(slots=True)
class _Repository:
    tags: dict[str, Digest] = field(default_factory=dict)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    blobs: dict[Digest, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Repositories by name, and where their blobs are stored."""

    repositories: dict[str, Repository]
    blobs: dict[Digest, Path]


def load_content(mounts: Sequence[Mount]) -> Content:
    """Read the layouts. A later one wins where two offer the same ``repository:tag``.

    Without ``Mount.reference`` an image is offered by its ref name without host and port:
    ``tool:v1`` as ``tool``, ``docker.io/lab/init:1`` as ``lab/init``. Raises ``SetupFailed`` naming
    the file that is missing or wrong.
    """
    repositories: dict[str, _Repository] = {}
    blobs: dict[Digest, Path] = {}
    for mount in mounts:
        for ref, descriptor in _offered(mount):
            name, tag = _name(ref, mount.layout, keep_host=mount.reference is not None)
            for prefix in mount.prefixes:
                full = f"{prefix.strip('/')}/{name}".lstrip("/")
                repository = repositories.setdefault(full, _Repository())
                repository.tags[tag] = descriptor.digest
                _add(mount.layout, descriptor, repository, blobs, depth=0)
    return Content(
        repositories={
            name: Repository(tags=found.tags, manifests=found.manifests, blobs=found.blobs)
            for name, found in repositories.items()
        },
        blobs=blobs,
    )


def has_image(layout: Path, reference: str) -> bool:
    """Return whether a layout has an image called so. Raises ``SetupFailed``."""
    wanted = _name(reference, layout)
    return any(_name(ref, layout) == wanted for ref, _ in _offered(Mount(layout=layout)))


def _offered(mount: Mount) -> list[tuple[str, Descriptor]]:
    path = mount.layout / "index.json"
    top = _read_json(path, hint="is this an OCI image layout?")
    found = _descriptors(top, path, "manifests")
    named = [(one.annotations[REF_NAME], one) for one in found if REF_NAME in one.annotations]
    if mount.reference is None:
        return named
    wanted = _name(mount.reference, mount.layout)
    # A layout may hold a tag alone (``oci:DIR:v1``), so the whole name comes first, then the tag.
    for same in (lambda ref: _name(ref, mount.layout) == wanted, lambda ref: ref == wanted[1]):
        if chosen := [one for ref, one in named if same(ref)]:
            return [(mount.reference, chosen[0])]
    if len(found) == 1:
        return [(mount.reference, found[0])]
    raise SetupFailed(
        f"{path} has {len(found)} images, none of them called {mount.reference}",
        hint="it has " + (", ".join(ref for ref, _ in named) or "no names at all"),
    )


def _name(ref: str, layout: Path, *, keep_host: bool = False) -> tuple[str, str]:
    try:
        reference = Reference.parse(ref)
    except DecodeError as error:
        raise SetupFailed(f"{layout}/index.json: {error}") from error
    name = reference.repository
    if keep_host and reference.domain and is_repository(f"{reference.domain}/{name}"):
        name = f"{reference.domain}/{name}"
    return name, reference.tag or "latest"


def _add(
    layout: Path,
    descriptor: Descriptor,
    repository: _Repository,
    blobs: dict[Digest, Path],
    *,
    depth: int,
) -> None:
    """Add a manifest or index and all it refers to."""
    path = layout / descriptor.digest.blob_path
    if descriptor.digest in repository.manifests:
        return
    if depth > _DEPTH_LIMIT:
        raise SetupFailed(f"{path}: indexes are nested more than {_DEPTH_LIMIT} deep")
    data = _read(path)
    document = _decode(data, path)
    media_type = descriptor.media_type or str(document.get("mediaType", ""))
    is_index = media_type in INDEX_TYPES
    if not is_index and media_type not in MANIFEST_TYPES:
        raise SetupFailed(f"{path}: {media_type or 'no media type'} is neither image nor index")
    children = _descriptors(document, path, "manifests") if is_index else []
    subject = document.get("subject")
    repository.manifests[descriptor.digest] = Manifest(
        data=data,
        media_type=media_type,
        digest=descriptor.digest,
        children=tuple(children),
        subject=_one(subject, path).digest if subject else None,
        artifact_type=str(document.get("artifactType") or ""),
    )
    # Docker's registry serves manifests as blobs too.
    repository.blobs[descriptor.digest] = len(data)
    blobs[descriptor.digest] = path
    for child in children:
        if (layout / child.digest.blob_path).exists():  # a sparse index is allowed
            _add(layout, child, repository, blobs, depth=depth + 1)
    if not is_index:
        parts = [_one(document.get("config"), path), *_descriptors(document, path, "layers")]
        for part in parts:
            _add_blob(layout, part, repository, blobs, path)


def _add_blob(
    layout: Path,
    part: Descriptor,
    repository: _Repository,
    blobs: dict[Digest, Path],
    manifest: Path,
) -> None:
    stored = layout / part.digest.blob_path
    try:
        size = stored.stat().st_size
    except OSError as error:
        raise SetupFailed(
            f"{manifest} refers to {part.digest}, which can't be read: {error}"
        ) from (error)
    if size != part.size:
        raise SetupFailed(f"{stored} has {size} bytes; {manifest} says {part.size}")
    repository.blobs[part.digest] = size
    blobs[part.digest] = stored


def _read(path: Path, hint: str | None = None) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MANIFEST_LIMIT + 1)
    except OSError as error:
        raise SetupFailed(f"can't read {path}: {error.strerror}", hint=hint) from error
    if len(data) > _MANIFEST_LIMIT:
        raise SetupFailed(f"{path} is longer than {_MANIFEST_LIMIT} bytes")
    return data


def _read_json(path: Path, hint: str) -> dict[str, object]:
    return _decode(_read(path, hint), path)


def _decode(data: bytes, path: Path) -> dict[str, object]:
    try:
        return decode_object(data, path.name)
    except DecodeError as error:
        raise SetupFailed(f"{path}: {error}") from error


def _descriptors(document: dict[str, object], path: Path, key: str) -> list[Descriptor]:
    try:
        return decode_descriptors(document, key)
    except DecodeError as error:
        raise SetupFailed(f"{path}: {error}") from error


def _one(value: object, path: Path) -> Descriptor:
    try:
        return Descriptor.from_json(value)
    except DecodeError as error:
        raise SetupFailed(f"{path}: {error}") from error
