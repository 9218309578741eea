"""Images in tar archives: what ``docker save`` and ``skopeo copy`` write, made into layouts."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any, Final

from harness.errors import BuildFailed
from harness.oci.image import Image, write_layout
from harness.oci.layer import Layer, layer_from_tar

_BLOB: Final = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)")
_DOCUMENT_LIMIT: Final = 4 << 20
_CHUNK: Final = 1 << 20
_HINT: Final = "an archive as docker save, or skopeo copy … oci-archive:FILE, writes"


def layout_from_archive(archive: Path, reference: str, folder: Path) -> None:
    """Make the layout ``folder`` of ``archive``, an ``oci-archive`` or a ``docker-archive``.

    Of a ``docker-archive`` the image called ``reference`` is taken, or its only one; it gets that
    name. Raises ``BuildFailed``.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            members = {_plain(member.name): member for member in tar if member.isfile()}
            if "index.json" in members:
                _unpack(tar, members, folder)
            elif "manifest.json" in members:
                _convert(tar, members, reference, folder, archive)
            else:
                raise BuildFailed(f"{archive} holds no image", hint=_HINT)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BuildFailed(f"can't read {archive}: {error}", hint=_HINT) from error


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _unpack(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], folder: Path) -> None:
    """Unpack a layout. Blobs that aren't what their name says are refused."""
    for name, member in members.items():
        blob = _BLOB.fullmatch(name)
        if not blob and name not in ("index.json", "oci-layout"):
            continue  # docker save adds its older manifest.json and friends
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with _open(tar, member) as source, target.open("wb") as sink:
            digest = hashlib.new(blob[1] if blob else "sha256")
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                sink.write(chunk)
        if blob and digest.hexdigest() != blob[2]:
            raise BuildFailed(f"the blob {name} has another digest: {digest.hexdigest()}")


def _convert(
    tar: tarfile.TarFile,
    members: dict[str, tarfile.TarInfo],
    reference: str,
    folder: Path,
    archive: Path,
) -> None:
    entry = _choose(_read_json(tar, members["manifest.json"], archive), reference, archive)
    try:
        config_member = members[entry["Config"]]
        layer_members = [members[name] for name in entry["Layers"]]
    except (KeyError, TypeError) as error:
        raise BuildFailed(f"{archive}: manifest.json names what isn't there: {error}") from error
    config = _read(tar, config_member, archive)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".import-") as scratch:
        layers: list[Layer] = []
        for number, member in enumerate(layer_members):
            plain = Path(scratch) / f"{number}.tar"
            with _open(tar, member) as source, plain.open("wb") as sink:
                while chunk := source.read(_CHUNK):
                    sink.write(chunk)
            layers.append(layer_from_tar(plain, into=Path(scratch) / "blobs"))
            plain.unlink()
        write_layout(folder, [Image(ref=reference, config=config, layers=layers)])


def _choose(entries: Any, reference: str, archive: Path) -> dict[str, Any]:
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise BuildFailed(f"{archive}: manifest.json is no list of images", hint=_HINT)
    named = [one for one in entries if reference in (one.get("RepoTags") or [])]
    if named or len(entries) == 1:
        found: dict[str, Any] = (named or entries)[0]
        return found
    raise BuildFailed(
        f"{archive} has {len(entries)} images, none of them called {reference}",
        hint="it has " + ", ".join(tag for one in entries for tag in one.get("RepoTags") or []),
    )


def _open(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(member)
    if stream is None:
        raise tarfile.ReadError(f"{member.name} is no file")
    return stream


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> bytes:
    if member.size > _DOCUMENT_LIMIT:
        raise BuildFailed(f"{archive}: {member.name} is longer than {_DOCUMENT_LIMIT} bytes")
    with _open(tar, member) as stream:
        return stream.read()


def _read_json(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> Any:
    try:
        return json.loads(_read(tar, member, archive))
    except ValueError as error:
        raise BuildFailed(f"{archive}: {member.name} is no JSON: {error}", hint=_HINT) from error
