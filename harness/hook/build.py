"""Builds the embedded Hook: Debian packages and Go programs, assembled by LinuxKit.

Everything that goes in has a digest; the outputs lie under the digest of all of them, so that an
unchanged build is a look at a folder. Below that, each part has a digest of its own, so that a
changed component costs its own compilation, LinuxKit's run and one compressed segment.
"""

from __future__ import annotations

import asyncio
import json
import platform
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import BuildFailed, HostUnfit
from harness.hook.debian import DebianArchive, Package
from harness.hook.files import HookFiles
from harness.hook.golang import find_go, go_build, required_version, sources_of
from harness.hook.initramfs import (
    Segment,
    describe,
    extract_file,
    join_segments,
    write_segments,
)
from harness.hook.kernel import Kernel, build_kernel
from harness.hook.prelink import prelink_programs
from harness.hook.rootfs import Recipe, Trees, entries_of, read_recipe, unpack
from harness.hook.store import (
    digest_of,
    digest_of_file,
    digest_of_tree,
    exclusive,
    mark_used,
    new_folder,
    remove_unused,
    write_json,
)
from harness.hook.tools import ensure_tool, pin_of
from harness.oci.image import Image, ImageConfig, write_layout, write_layout_tar
from harness.oci.layer import (
    Compression,
    Entry,
    File,
    Layer,
    layer_from_files,
    tree_entries,
)
from harness.paths import source_root
from harness.process import CommandFailed, run
from harness.progress import Progress
from harness.tasks import together
from harness.wire.oci import Digest, Platform

ARCH = "x86_64"
_KERNEL_PACKAGE = "linux-image-amd64"
_BUSYBOX = "busybox-static"
_ALWAYS = (_KERNEL_PACKAGE, "kmod", _BUSYBOX)
_IMAGE = re.compile(r"\bhooklab/(?P<name>[a-z0-9-]+)\b")
_KEPT_BUILDS = 6
_BUILDERS = (
    "build", "deb", "debian", "elf", "golang", "initramfs", "kernel", "modules", "prelink",
    "rootfs", "store",
)  # fmt: skip
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """Everything a build depends on, read and hashed but not yet worked on."""

    root: Path
    recipes: tuple[Recipe, ...]
    packages: tuple[Package, ...]
    sources: Mapping[str, str]
    """Digests of our own files, by part."""
    go: str

    @property
    def digest(self) -> str:
        return digest_of(
            self.sources, self.go, sorted((p.name, p.version, p.sha256) for p in self.packages)
        )

    @property
    def names(self) -> list[str]:
        """What apt is asked for."""
        return _package_names(self.recipes)

    @property
    def useful(self) -> list[Package]:
        """The packages that files can come from: those named, libraries, and the kernel."""
        return [
            package
            for package in self.packages
            if package.name in self.names
            or package.name.startswith(("lib", "zlib", "linux-image-"))
        ]

    @property
    def components(self) -> Path:
        return self.root / "components"


async def build_hook(cache: Path, *, progress: Progress) -> HookFiles:
    """Return the embedded Hook's kernel and initramfs, building what changed since last time.

    The first build needs a Debian archive and a Go module proxy; a build of unchanged inputs
    needs neither, and well under a second. Raises ``BuildFailed`` and ``HostUnfit``.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        raise HostUnfit(
            f"the embedded Hook is built on x86_64, this is {platform.machine()}",
            hint="give a folder with a kernel and an initramfs as hook:",
        )
    debian = DebianArchive(cache, progress)
    inputs = await _read_inputs(debian)
    target = cache / "hook" / inputs.digest[:32]
    if not target.is_dir():
        try:
            await debian.download(inputs.useful)
        except BuildFailed:
            # What was decided on another day may be gone from the archive: decide again, once.
            debian.forget(inputs.names)
            inputs = await _read_inputs(debian)
            target = cache / "hook" / inputs.digest[:32]
        async with exclusive(cache / "hook" / "lock"):
            if not target.is_dir():
                with progress.step("building Hook"):
                    await _Build(inputs, debian, cache, progress).run(target)
                _forget_old_builds(target)
                for folder in ("layers", "segments"):
                    remove_unused(cache / folder)
    return HookFiles(
        kernel=target / f"vmlinuz-{ARCH}",
        initramfs=target / f"initramfs-{ARCH}",
        arch=ARCH,
        origin=f"embedded {inputs.digest[:12]}",
        manifest=target / "manifest.json",
    )


async def _read_inputs(debian: DebianArchive) -> _Inputs:
    root = source_root() / "linuxkit"
    folders = sorted(path.parent for path in (root / "images").glob("*/image.yaml"))
    if not folders:
        raise BuildFailed(f"{root / 'images'} holds no image.yaml")
    recipes = tuple(read_recipe(folder) for folder in folders)
    builder = _HERE
    images = [path for path in (root / "images").rglob("*") if path.is_file()]
    oci = builder.parent / "oci"
    sources = {
        "yaml": digest_of_file(root / "hook.yaml"),
        "modules": digest_of_file(root / "kernel" / "modules.txt"),
        "images": digest_of_tree(root, images),
        "components": digest_of_tree(root / "components", sources_of(root / "components", "./...")),
        "linuxkit": digest_of_tree(root / "tools", (root / "tools" / "linuxkit").glob("*.*")),
        "builder": digest_of_tree(builder, (builder / f"{name}.py" for name in _BUILDERS)),
        "oci": digest_of_tree(oci, oci.glob("*.py")),
    }
    go = await find_go(required_version(root / "components"))
    packages = await debian.resolve(_package_names(recipes))
    return _Inputs(
        root=root, recipes=recipes, packages=tuple(packages), sources=sources, go=go.name
    )


def _package_names(recipes: Sequence[Recipe]) -> list[str]:
    return sorted({*_ALWAYS, *(name for recipe in recipes for name in recipe.debian_packages)})


def _forget_old_builds(newest: Path) -> None:
    """Remove all but the latest few outputs; a lab that runs has its files open or copied."""
    others = [path for path in newest.parent.iterdir() if path.is_dir() and path != newest]
    for path in sorted(others, key=lambda p: p.stat().st_mtime)[: -(_KEPT_BUILDS - 1)]:
        shutil.rmtree(path, ignore_errors=True)


class _Build:
    """One run of the build, from inputs to outputs."""

    def __init__(
        self, inputs: _Inputs, debian: DebianArchive, cache: Path, progress: Progress
    ) -> None:
        self._inputs = inputs
        self._debian = debian
        self._cache = cache
        self._progress = progress
        self._from_debian: dict[str, frozenset[str]] = {}

    async def run(self, target: Path) -> None:
        """Make the folder ``target``: kernel, initramfs and manifest."""
        async with together() as group:
            compiled = group.create_task(self._compile())
            prepared = group.create_task(self._prepare_debian())
        (linuxkit, programs), (trees, kernel, applets) = compiled.result(), prepared.result()
        images = await asyncio.to_thread(self._images, programs, trees, kernel, applets)
        for image in images.values():
            await self._import(linuxkit, image)
        tags = {name: image.ref for name, image in images.items()}
        with new_folder(target) as scratch:
            tree = await self._assemble(linuxkit, tags, scratch)
            segments = await asyncio.to_thread(
                write_segments,
                tree,
                self._component_of(),
                self._cache / "segments",
                self._progress,
                level_of=_level_of,
            )
            extract_file(tree, "boot/kernel", scratch / f"vmlinuz-{ARCH}")
            join_segments(segments, scratch / f"initramfs-{ARCH}")
            write_json(scratch / "manifest.json", self._manifest(scratch, kernel, images, segments))
            tree.unlink()

    async def _compile(self) -> tuple[Path, dict[str, Path]]:
        names = sorted({name for r in self._inputs.recipes for name in r.programs.values()})
        # One after the other: a Go knows nothing of what another is at, and the first, which is the
        # largest, compiles the packages that the others share.
        linuxkit = await ensure_tool("linuxkit", self._cache, self._progress)
        return linuxkit, {
            name: await go_build(
                self._inputs.components,
                f"./cmd/{name}",
                name,
                cache=self._cache,
                progress=self._progress,
            )
            for name in names
        }

    async def _prepare_debian(self) -> tuple[Trees, Kernel, list[str]]:
        debs = await self._debian.download(self._inputs.useful)
        trees = Trees(
            {
                name: await asyncio.to_thread(unpack, deb, self._cache)
                for name, deb in debs.items()
                if not name.startswith("linux-image-")
            }
        )
        kernel = await build_kernel(
            self._kernel_of(debs),
            (self._inputs.root / "kernel" / "modules.txt").read_text(),
            depmod=trees.command("kmod", "bin/kmod", argv0="depmod"),
            cache=self._cache,
            progress=self._progress,
        )
        done = await run([trees.program(_BUSYBOX, "bin/busybox"), "--list"])
        return trees, kernel, done.stdout.decode().split()

    def _kernel_of(self, debs: Mapping[str, Path]) -> Path:
        versioned = [n for n in debs if n.startswith("linux-image-") and n != _KERNEL_PACKAGE]
        if len(versioned) != 1:
            raise BuildFailed(f"{_KERNEL_PACKAGE} brings {len(versioned)} kernels: {versioned}")
        return debs[versioned[0]]

    def _images(
        self,
        programs: Mapping[str, Path],
        trees: Trees,
        kernel: Kernel,
        applets: Sequence[str],
    ) -> dict[str, Image]:
        images = {"kernel": self._image("kernel", [self._kernel_entries(kernel)], ImageConfig())}
        for recipe in self._inputs.recipes:
            config = ImageConfig(
                cmd=recipe.command, env=recipe.env, platform=Platform(architecture="amd64")
            )
            entries = entries_of(recipe, trees, programs, applets)
            entries |= prelink_programs(
                recipe.name,
                recipe.prelink,
                entries,
                cache=self._cache / "debian" / "prelinked",
                progress=self._progress,
            )
            debian = self._from_debian[recipe.name] = self._debian_paths(entries)
            # Two layers, so that a change of ours leaves Debian's megabytes alone.
            layers = [
                {path: entry for path, entry in entries.items() if (path in debian) is below}
                for below in (True, False)
            ]
            images[recipe.name] = self._image(recipe.name, list(filter(None, layers)), config)
        return images

    def _debian_paths(self, entries: Mapping[str, Entry]) -> frozenset[str]:
        debian = self._cache / "debian"
        return frozenset(
            path
            for path, entry in entries.items()
            if isinstance(entry, File)
            and isinstance(entry.content, Path)
            and entry.content.is_relative_to(debian)
        )

    def _kernel_entries(self, kernel: Kernel) -> dict[str, Entry]:
        modules = self._layer(tree_entries(kernel.tree, "/"), Compression.NONE)
        assert isinstance(modules.content, Path)
        return {"/kernel": File(content=kernel.image), "/kernel.tar": File(content=modules.content)}

    def _image(
        self, name: str, contents: Sequence[Mapping[str, Entry]], config: ImageConfig
    ) -> Image:
        layers = [self._layer(entries) for entries in contents]
        tag = digest_of([str(layer.diff_id) for layer in layers], config.to_json(layers))[:16]
        # LinuxKit keeps the first image it saw under a tag, so a tag has to mean its content.
        return Image(ref=f"docker.io/hooklab/{name}:{tag}", config=config, layers=layers)

    def _layer(
        self, entries: Mapping[str, Entry], compression: Compression = Compression.GZIP
    ) -> Layer:
        """Write ``entries`` as a layer.

        LinuxKit unpacks every layer as gzip, and takes one that is not for an empty one; level 0
        only wraps.
        """
        folder = self._cache / "layers"
        folder.mkdir(parents=True, exist_ok=True)
        remembered = folder / f"{digest_of(self._identity(entries), compression)}.json"
        if remembered.is_file():
            known = json.loads(remembered.read_text())
            content = folder / known["content"]
            if content.is_file():
                mark_used(content)
                return Layer(
                    content=content,
                    digest=Digest.parse(known["digest"]),
                    diff_id=Digest.parse(known["diff_id"]),
                    size=known["size"],
                    compression=compression,
                )
        layer = layer_from_files(entries, into=folder, compression=compression, level=0)
        assert isinstance(layer.content, Path)
        write_json(
            remembered,
            {
                "content": layer.content.name,
                "digest": str(layer.digest),
                "diff_id": str(layer.diff_id),
                "size": layer.size,
            },
        )
        return layer

    def _identity(self, entries: Mapping[str, Entry]) -> list[list[str]]:
        """Return what tells one set of entries from another without reading what is large.

        A file in the cache lies under the digest of its origin, so that its path says it all.
        """
        found = []
        for path, entry in sorted(entries.items()):
            told = repr(entry)
            if isinstance(entry, File) and isinstance(entry.content, Path):
                in_cache = entry.content.is_relative_to(self._cache)
                told += "" if in_cache else digest_of_file(entry.content)
            found.append([path, told])
        return found

    async def _import(self, linuxkit: Path, image: Image) -> None:
        """Put ``image`` into LinuxKit's cache, unless it is there."""
        stamp = self._cache / "linuxkit-imported" / image.ref.rpartition("/")[2]
        if stamp.is_file():
            return
        stamp.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(self._cache / "layouts" / stamp.name) as scratch:
            layout, tar = scratch / "layout", scratch / "layout.tar"
            await asyncio.to_thread(write_layout, layout, [image], index_each=True)
            await asyncio.to_thread(write_layout_tar, tar, layout)
            await self._linuxkit(linuxkit, "import", tar)
        shutil.rmtree(self._cache / "layouts" / stamp.name)
        stamp.touch()

    async def _assemble(self, linuxkit: Path, tags: Mapping[str, str], scratch: Path) -> Path:
        """Let LinuxKit assemble the file tree; returns it as a tar archive."""

        def tagged(match: re.Match[str]) -> str:
            if match["name"] not in tags:
                raise BuildFailed(f"hook.yaml names {match[0]}, which linuxkit/images has not")
            return tags[match["name"]]

        text = (self._inputs.root / "hook.yaml").read_text()
        (scratch / "hook.yaml").write_text(_IMAGE.sub(tagged, text))
        tree = scratch / "hook.tar"
        with self._progress.step("LinuxKit assembles"):
            await self._linuxkit(linuxkit, "build", scratch / "hook.yaml", tree)
        return tree

    async def _linuxkit(self, linuxkit: Path, verb: str, *files: Path) -> None:
        try:
            await run([linuxkit, verb, self._cache / "linuxkit", *files])
        except CommandFailed as error:
            raise BuildFailed(f"linuxkit {verb} failed\n{error.output.strip()}") from error

    def _component_of(self) -> Callable[[str], str | None]:
        """Return the function that names the segment of a path.

        Debian's files seldom change and are compressed hard, docker's for themselves since they
        are most of it; what is ours is in one segment that is compressed in a second.
        """
        owners = _owners((self._inputs.root / "hook.yaml").read_text())

        def component_of(path: str) -> str | None:
            parts = path.split("/")
            if parts[0] == "boot":
                return None
            if path.startswith(("lib/modules/", "usr/lib/modules/")):
                return "modules"
            image, inside = "init", f"/{path}"
            if parts[0] == "containers" and len(parts) > 4:
                image = owners.get(re.sub(r"^\d\d\d-", "", parts[2]), "")
                inside = "/" + "/".join(parts[4:])
            if inside not in self._from_debian.get(image, ()):
                return "hook"
            return "docker" if image == "hook-docker" and inside != "/bin/busybox" else "debian"

        return component_of

    def _manifest(
        self,
        outputs: Path,
        kernel: Kernel,
        images: Mapping[str, Image],
        segments: list[Segment],
    ) -> dict[str, Any]:
        """Return every input with version and digest, and what came out."""
        vmlinuz = outputs / f"vmlinuz-{ARCH}"
        pin = pin_of("linuxkit")
        return {
            "inputs_digest": self._inputs.digest,
            "inputs": {
                "debian": [asdict(package) for package in self._inputs.useful],
                "sources": dict(self._inputs.sources),
                "go": self._inputs.go,
                "go_modules": _go_modules(self._inputs.components),
                "linuxkit": asdict(pin),
                "images": {
                    name: {
                        "tag": image.ref.rpartition(":")[2],
                        "layers": [str(layer.diff_id) for layer in image.layers],
                    }
                    for name, image in sorted(images.items())
                },
            },
            "kernel_release": kernel.release,
            "outputs": {
                "kernel": {
                    "file": vmlinuz.name,
                    "sha256": digest_of_file(vmlinuz),
                    "size": vmlinuz.stat().st_size,
                },
                "initramfs": describe(outputs / f"initramfs-{ARCH}", segments),
            },
        }


def _owners(yaml: str) -> dict[str, str]:
    """Return the image of each container that a LinuxKit YAML names."""
    owners: dict[str, str] = {}
    name = ""
    for line in yaml.splitlines():
        if match := re.match(r"\s+- name: (\S+)", line):
            name = match[1]
        elif name and (match := re.match(r"\s+image: hooklab/(\S+)", line)):
            owners[name] = match[1]
    return owners


def _level_of(segment: str) -> int:
    """Return zstd's level for a segment: what changes while somebody works on it must be quick.

    The others are packed once for a Debian release, in a minute, and go over the wire at each cold
    boot: a tenth less is 2 s of a BIOS machine's, whose UNDI takes 0.4 s for a megabyte.
    """
    return 12 if segment == "hook" else 19


def _go_modules(module: Path) -> dict[str, str]:
    """Return the hashes of the Go modules that ``module`` is built with, by name and version."""
    sums = module / "go.sum"
    if not sums.is_file():
        return {}
    lines = (line.split() for line in sums.read_text().splitlines())
    return {
        f"{name} {version}": hashed for name, version, hashed in lines if "/go.mod" not in version
    }
