"""The container images of the lab: the real tink-worker, the actions, and a user's own.

Everything is stored under a digest of what it was made from, so an unchanged image costs a look
at its sources. The images hold one static program each and nothing else: a guest under emulation
pays for every megabyte. There are no public certificate authorities in the worker either, since
no server of a sealed lab has a certificate of theirs; ``worker_authority`` adds the lab's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from harness.errors import BuildFailed, HostUnfit
from harness.hook.golang import go_build
from harness.hook.store import digest_of, digest_of_file, digest_of_tree, exclusive, new_folder
from harness.hook.tools import ensure_tool, pin_of
from harness.oci.archive import layout_from_archive
from harness.oci.image import Image, ImageConfig, write_layout
from harness.oci.layer import Entry, File, Layer, layer_from_files, layer_from_tree
from harness.paths import source_root
from harness.progress import Progress

WORKER: Final = "tink-worker"
ACTION_TAG: Final = "v1"
_RECIPE: Final = 1
"""Raise it when the images made of the same inputs become different."""
_AUTHORITIES: Final = "etc/ssl/certs/ca-certificates.crt"
_BINARIES: Final = "usr/bin"
_ELF: Final = b"\x7fELF"
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_TAR_MAGIC_END: Final = 262  # POSIX.1 ustar: "ustar" at offset 257
_KINDS: Final = (
    "an OCI image layout, a tar of docker save or skopeo, a static program, "
    "or a folder with a Go program or a root file system"
)


def known_images() -> tuple[str, ...]:
    """Return the references that ``build_images`` makes, without building anything."""
    actions = (f"{name}:{ACTION_TAG}" for name in action_names())
    return (f"{WORKER}:latest", f"{WORKER}:{pin_of(WORKER).version}", *actions)


def action_names() -> tuple[str, ...]:
    """Return the names of the lab's own actions."""
    return tuple(sorted(path.parent.name for path in _actions().glob("*/main.go")))


async def build_images(
    cache: Path,
    *,
    progress: Progress,
    worker_authority: Path | None = None,
    patient: bool = False,
) -> Path:
    """Return an image layout with tink-worker and all actions: the ``known_images``.

    ``worker_authority`` is a PEM file that the worker trusts for TLS to Tinkerbell's server; it
    makes a layout of its own. ``patient`` as in ``go_build``. Raises ``BuildFailed`` or
    ``HostUnfit``.
    """
    module, tool = _actions(), source_root() / "linuxkit" / "tools" / WORKER
    wanted = digest_of(
        _RECIPE,
        digest_of_tree(module, _files(module)),
        digest_of_tree(tool, _files(tool)),
        digest_of_file(worker_authority) if worker_authority else None,
    )
    layout = cache / "images" / wanted[:32]
    if layout.is_dir():
        return layout
    async with exclusive(cache / "images" / f"{wanted[:32]}.lock"):
        if layout.is_dir():
            return layout
        worker = await ensure_tool(WORKER, cache, progress, patient=patient)
        programs = {
            name: await go_build(
                module, f"./{name}", name, cache=cache, progress=progress, patient=patient
            )
            for name in action_names()
        }
        with progress.step("packing container images"):
            images = _worker_images(worker, worker_authority)
            images += [
                program_image(f"{name}:{ACTION_TAG}", program, name=name)
                for name, program in programs.items()
            ]
            write_layout(layout, images)
    return layout


class ImageKind(StrEnum):
    """What a user's own image is made of."""

    LAYOUT = "layout"
    GO = "go"
    FOLDER = "folder"
    PROGRAM = "program"
    ARCHIVE = "archive"


def image_kind(source: Path) -> ImageKind:
    """Return what ``source`` is, from its first bytes alone. Raises ``BuildFailed``."""
    if source.is_dir():
        if (source / "oci-layout").is_file() and (source / "index.json").is_file():
            return ImageKind.LAYOUT
        return ImageKind.GO if (source / "go.mod").is_file() else ImageKind.FOLDER
    try:
        with source.open("rb") as stream:
            head = stream.read(_TAR_MAGIC_END)
    except OSError as error:
        raise BuildFailed(f"can't read {source}: {error.strerror}", hint=_KINDS) from error
    if head.startswith(_ELF):
        return ImageKind.PROGRAM
    if head.startswith(_COMPRESSED) or head[-5:] == b"ustar" or source.suffix == ".tar":
        return ImageKind.ARCHIVE
    raise BuildFailed(f"{source} is no image, and nothing one is made of", hint=_KINDS)


async def ensure_image(reference: str, source: Path, *, cache: Path, progress: Progress) -> Path:
    """Return an image layout in which a user's own image is called ``reference``, or is alone.

    ``source`` is an image layout, an archive of ``docker save`` or ``skopeo``, a static program, a
    folder with a Go program, or a folder that becomes the image's root file system. Serve the
    layout as ``Mount(layout=…, reference=reference)``. Raises ``BuildFailed`` or ``HostUnfit``.
    """
    kind = image_kind(source)
    if kind is ImageKind.LAYOUT:
        return source
    if kind is ImageKind.GO:
        try:
            program = await go_build(source, ".", source.name, cache=cache, progress=progress)
        except (BuildFailed, HostUnfit) as error:
            raise type(error)(f"image {reference}: {error.message}", hint=error.hint) from error
        return await ensure_image(reference, program, cache=cache, progress=progress)
    wanted = digest_of(_RECIPE, reference, _identity(source))
    folder = cache / "images" / wanted[:32]
    if folder.is_dir():
        return folder
    async with exclusive(cache / "images" / f"{wanted[:32]}.lock"):
        if folder.is_dir():
            return folder
        with progress.step(f"packing {reference}"), new_folder(folder) as scratch:
            _pack(reference, source, kind, scratch)
    return folder


def program_image(reference: str, program: Path, *, name: str, path: str | None = None) -> Image:
    """Return the image that holds a static program as its entrypoint, and nothing else.

    It lies at ``path``; left out: ``usr/bin/NAME``.
    """
    place = path or f"{_BINARIES}/{name}"
    layer = layer_from_files({place: File(content=program, mode=0o755)})
    return _image(reference, f"/{place}", [layer])


def _actions() -> Path:
    return source_root() / "fixtures" / "actions"


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not path.name.endswith("_test.go")]


def _worker_images(worker: Path, authority: Path | None) -> list[Image]:
    version = pin_of(WORKER).version
    layers = [_program_layer(worker, WORKER)]
    if authority:
        layers.append(layer_from_files({_AUTHORITIES: File(content=authority.read_bytes())}))
    labels = {
        "org.opencontainers.image.title": WORKER,
        "org.opencontainers.image.version": version,
    }
    return [
        _image(f"{WORKER}:{tag}", f"/{_BINARIES}/{WORKER}", layers, labels)
        for tag in ("latest", version)
    ]


def _program_layer(program: Path, name: str) -> Layer:
    entries: dict[str, Entry] = {f"{_BINARIES}/{name}": File(content=program, mode=0o755)}
    return layer_from_files(entries)


def _image(
    reference: str, entrypoint: str, layers: list[Layer], labels: Mapping[str, str] | None = None
) -> Image:
    config = ImageConfig(entrypoint=[entrypoint], labels=labels or {})
    return Image(ref=reference, config=config, layers=layers)


def _identity(source: Path) -> object:
    """Return what changes when ``source`` does. Content is not read: images may be large."""
    try:
        if source.is_dir():
            return [
                [path.relative_to(source).as_posix(), *_stamp(path)]
                for path in sorted(source.rglob("*"))
            ]
        return [str(source.absolute()), *_stamp(source)]
    except OSError as error:
        raise BuildFailed(f"can't read {source}: {error.strerror}") from error


def _stamp(path: Path) -> list[int]:
    info = path.lstat()
    return [info.st_mode, info.st_size, info.st_mtime_ns]


def _pack(reference: str, source: Path, kind: ImageKind, layout: Path) -> None:
    if kind is ImageKind.FOLDER:
        layers, config = [layer_from_tree(source)], ImageConfig(cmd=["/bin/sh"])
        write_layout(layout, [Image(ref=reference, config=config, layers=layers)])
    elif kind is ImageKind.PROGRAM:
        write_layout(layout, [program_image(reference, source, name=source.name)])
    else:
        layout_from_archive(source, reference, layout)
