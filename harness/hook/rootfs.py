"""The file tree of one image, from its recipe: files of Debian packages, Go programs, own files.

A recipe is ``linuxkit/images/<name>/image.yaml``::

    packages:               # Debian package: patterns of its files
      udev: [/bin/udevadm, /lib/udev/rules.d/*]
    prelink: [/bin/udevadm] # of these, programs that get a fixed address
    busybox: [sh, mount]    # or: all
    programs:               # path in the image: program under linuxkit/components/cmd
      /usr/bin/hook-docker: hook-docker
    links: {/sbin/modprobe: /bin/kmod}
    folders: [/run, /tmp]
    command: [/usr/bin/hook-docker]

Files in ``linuxkit/images/<name>/root`` are put on top. Shared libraries are never listed: they
follow from what the programs need.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import BuildFailed
from harness.hook.deb import open_data
from harness.hook.elf import is_elf, needs_of
from harness.hook.store import new_folder
from harness.oci.layer import Directory, Entry, File, Symlink, tree_entries

_UNUSED = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/")
_LIBRARY_FOLDERS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib", "usr/lib")
_KNOWN = {"packages", "prelink", "busybox", "programs", "links", "folders", "command", "env"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What one image is made of."""

    name: str
    folder: Path
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prelink: tuple[str, ...] = ()
    """Programs of the packages that ``harness.hook.prelink`` gives a fixed address."""
    busybox: tuple[str, ...] = ()
    """Applets to link; ``("all",)`` for every one."""
    programs: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def debian_packages(self) -> set[str]:
        """Names of the Debian packages it takes files from."""
        return {*self.packages, *(["busybox-static"] if self.busybox else [])}


def read_recipe(folder: Path) -> Recipe:
    """Read ``folder/image.yaml``. Raises ``BuildFailed`` for what it can't mean."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = folder / "image.yaml"
    try:
        data: Any = YAML(typ="safe", pure=True).load(path.read_text()) or {}
    except (OSError, YAMLError) as error:
        raise BuildFailed(f"{path} can't be read: {error}") from error
    if unknown := set(data) - _KNOWN:
        raise BuildFailed(
            f"{path}: unknown key {sorted(unknown)[0]!r}",
            hint=f"known: {', '.join(sorted(_KNOWN))}",
        )
    busybox = data.get("busybox", ())
    return Recipe(
        name=folder.name,
        folder=folder,
        packages={name: tuple(found) for name, found in data.get("packages", {}).items()},
        prelink=tuple(data.get("prelink", ())),
        busybox=(busybox,) if isinstance(busybox, str) else tuple(busybox),
        programs=dict(data.get("programs", {})),
        links=dict(data.get("links", {})),
        folders=tuple(data.get("folders", ())),
        command=tuple(data.get("command", ())),
        env=dict(data.get("env", {})),
    )


def unpack(deb: Path, cache: Path) -> Path:
    """Return the folder with the files of ``deb``, documentation left out. Done once a package."""
    folder = cache / "debian" / "trees" / deb.stem
    if folder.is_dir():
        return folder
    with new_folder(folder) as scratch, open_data(deb) as archive:
        # What an argument would say; Python 3.11.2, Debian 12's, does not know the argument yet.
        archive.extraction_filter = lambda member, _: member
        for member in archive:
            name = member.name.removeprefix("./")
            if name.startswith(_UNUSED) or not (
                member.isfile() or member.issym() or member.islnk() or member.isdir()
            ):
                continue
            if not member.issym():
                # Set-id bits have no use in a guest where everybody is root.
                member.mode = 0o755 if member.isdir() else (member.mode & 0o777) | stat.S_IWUSR
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
            archive.extract(member, scratch, set_attrs=True)
    return folder


class Trees:
    """Unpacked packages, seen as one place where programs find their libraries."""

    def __init__(self, trees: Mapping[str, Path]) -> None:
        self._trees = dict(trees)
        self._libraries: dict[str, tuple[str, Path]] = {}
        for tree in self._trees.values():
            for folder in _LIBRARY_FOLDERS:
                if not (tree / folder).is_dir():
                    continue
                for path in sorted((tree / folder).iterdir()):
                    if ".so" in path.name and not path.is_dir():
                        self._libraries.setdefault(path.name, (f"/{folder}/{path.name}", path))

    def select(self, package: str, patterns: Iterable[str]) -> dict[str, Entry]:
        """Return the files of ``package`` that ``patterns`` match, at their own paths.

        Raises ``BuildFailed`` for a pattern that matches nothing.
        """
        tree = self._trees[package]
        everything = tree_entries(tree, "/")
        found: dict[str, Entry] = {}
        for pattern in patterns:
            matched = {
                path: entry
                for path, entry in everything.items()
                if fnmatchcase(path, pattern) and not isinstance(entry, Directory)
            }
            if not matched:
                raise BuildFailed(
                    f"the Debian package {package} has no file {pattern}",
                    hint="another release of Debian may have it elsewhere",
                )
            found |= matched
        return found

    def with_libraries(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """Return ``entries`` and every interpreter and library that their programs need."""
        complete = dict(entries)
        todo = [entry for entry in entries.values() if isinstance(entry, File)]
        while todo:
            content = todo.pop().content
            if not isinstance(content, Path) or not is_elf(content):
                continue
            needs = needs_of(content)
            names = [*needs.libraries]
            if needs.interpreter:
                loader = PurePosixPath(needs.interpreter).name
                names.append(loader)
                at = self._library(loader, content)[0]
                if needs.interpreter != at:
                    complete[needs.interpreter] = Symlink(target=at)
            for name in names:
                path, found = self._library(name, content)
                if path in complete:
                    continue
                real = File(content=found.resolve(), mode=0o755)
                complete[path] = real
                todo.append(real)
        return complete

    def _library(self, name: str, needed_by: Path) -> tuple[str, Path]:
        try:
            return self._libraries[name]
        except KeyError:
            raise BuildFailed(
                f"{needed_by.name} needs {name}, which no package of the recipe brings"
            ) from None

    def program(self, package: str, path: str) -> Path:
        """Return where a file of ``package`` lies on this host."""
        return self._trees[package] / path.lstrip("/")

    def command(self, package: str, path: str, *, argv0: str) -> list[str]:
        """Return the command line that runs a program of ``package`` with the trees' libraries.

        It then runs on a host of any distribution. ``argv0`` is the name it is called by.
        """
        program = self.program(package, path)
        interpreter = needs_of(program).interpreter
        if not interpreter:
            return [str(program)]
        loader = self._library(PurePosixPath(interpreter).name, program)[1]
        folders = [
            str(tree / folder)
            for tree in self._trees.values()
            for folder in _LIBRARY_FOLDERS[:2]
            if (tree / folder).is_dir()
        ]
        libraries = ":".join(folders)
        return [str(loader), "--library-path", libraries, "--argv0", argv0, str(program)]


def entries_of(
    recipe: Recipe,
    trees: Trees,
    programs: Mapping[str, Path],
    applets: Iterable[str],
) -> dict[str, Entry]:
    """Return everything that is in the image of ``recipe``, by absolute path.

    ``programs`` holds the compiled Go programs by name, ``applets`` the names busybox knows.
    """
    entries: dict[str, Entry] = {}
    for package, patterns in recipe.packages.items():
        entries |= trees.select(package, patterns)
    entries = trees.with_libraries(entries)
    if recipe.busybox:
        entries["/bin/busybox"] = File(
            content=trees.program("busybox-static", "bin/busybox"), mode=0o755
        )
        known = set(applets) - {"busybox"}
        wanted = known if recipe.busybox == ("all",) else set(recipe.busybox)
        if unknown := wanted - known:
            raise BuildFailed(f"{recipe.name}: busybox has no applet {', '.join(sorted(unknown))}")
        for applet in wanted:
            entries.setdefault(f"/bin/{applet}", Symlink(target="/bin/busybox"))
    for path, name in recipe.programs.items():
        entries[path] = File(content=programs[name], mode=0o755)
    for path, target in recipe.links.items():
        entries[path] = Symlink(target=target)
    for path in recipe.folders:
        entries.setdefault(path, Directory())
    root = recipe.folder / "root"
    if root.is_dir():
        entries |= tree_entries(root, "/")
    return entries
