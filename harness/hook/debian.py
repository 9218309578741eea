"""Debian packages, resolved and downloaded without touching the host's apt.

apt itself does the work, with lists, caches and status of its own below our cache, but with the
host's Debian sources, keyrings, proxies and credentials. What it decided is written down (names,
versions, digests), so that a build that changes nothing asks the network nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote

from harness.errors import BuildFailed, HostUnfit
from harness.hook.sources import debian_sources, hint_for
from harness.hook.store import digest_of, digest_of_file, exclusive, write_atomically, write_json
from harness.process import CommandFailed, run
from harness.progress import Progress

_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>\S+)$")
_FILE_NAME = re.compile(r"^(?P<name>[^_]+)_(?P<version>[^_]+)_(?P<arch>[^_]+)\.deb$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One Debian package at one version; ``sha256`` is that of the ``.deb``."""

    name: str
    version: str
    arch: str
    sha256: str
    size: int


class DebianArchive:
    """The Debian archive, as this host is configured to reach it.

    Everything it keeps lies below ``cache``; may be used by several processes at once.
    """

    def __init__(self, cache: Path, progress: Progress, *, etc: Path = Path("/etc/apt")) -> None:
        self._root = cache / "debian"
        self._debs = cache / "debian" / "debs"
        self._progress = progress
        self._etc = etc

    async def ensure(self, names: Sequence[str]) -> dict[str, Path]:
        """Return ``.deb`` files of ``names`` and of all they depend on, by package name.

        Their bytes were checked against the archive's signed digests when they were downloaded.
        Raises ``BuildFailed`` when a name is unknown or a download fails, ``HostUnfit`` where
        there is no apt.
        """
        try:
            return await self.download(await self.resolve(names))
        except BuildFailed:
            if not self.forget(names):
                raise
            return await self.download(await self.resolve(names))

    def forget(self, names: Sequence[str]) -> bool:
        """Forget how ``names`` were resolved, and the lists they were resolved with.

        The archive drops old versions: what was decided once may be gone when it is to be
        downloaded. Returns whether there was anything to forget.
        """
        known = self.lock_path(names).is_file()
        self.lock_path(names).unlink(missing_ok=True)
        for path in (self._root / "lists").glob("*_Packages*"):
            path.unlink(missing_ok=True)
        return known

    def path_of(self, package: Package) -> Path:
        """Return where the ``.deb`` of ``package`` lies or will lie."""
        return self._debs / f"{package.sha256}.deb"

    def lock_path(self, names: Sequence[str]) -> Path:
        """Return the file that remembers how ``names`` were resolved; delete it to resolve anew."""
        return (
            self._root / f"resolved-{digest_of(sorted(names), debian_sources(self._etc))[:16]}.json"
        )

    async def resolve(self, names: Sequence[str]) -> list[Package]:
        """Return ``names`` and all they depend on, sorted by name; remembered once decided."""
        lock = self.lock_path(names)
        if lock.is_file():
            return [Package(**entry) for entry in json.loads(lock.read_text())]
        async with exclusive(self._root / "lock"):
            if not any((self._root / "lists").glob("*_Packages*")):
                await self._update()
            with self._progress.step("resolving Debian packages"):
                packages = await self._solve(names)
            write_json(lock, [asdict(package) for package in packages])
        return packages

    async def download(self, packages: Sequence[Package]) -> dict[str, Path]:
        """Return the ``.deb`` files of ``packages`` by name, downloading what is missing."""
        if not all(self.path_of(package).is_file() for package in packages):
            await self._download(packages)
        return {package.name: self.path_of(package) for package in packages}

    async def _download(self, packages: Sequence[Package]) -> None:
        async with exclusive(self._root / "lock"):
            missing = [package for package in packages if not self.path_of(package).is_file()]
            if not missing:
                return
            total = sum(package.size for package in missing) / 1e6
            what = f"downloading {len(missing)} Debian packages, {total:.0f} MB"
            with self._progress.step(what):
                await self._fetch(missing)

    async def _fetch(self, packages: Sequence[Package]) -> None:
        archives = self._root / "archives"
        pinned = [f"{package.name}:{package.arch}={package.version}" for package in packages]
        # "all" is no architecture to apt's command line.
        pinned = [name.replace(":all=", "=") for name in pinned]
        await self._apt("download", *pinned, cwd=archives)
        self._debs.mkdir(parents=True, exist_ok=True)
        by_digest = {package.sha256: package for package in packages}
        for path in sorted(archives.glob("*.deb")):
            digest = await asyncio.to_thread(digest_of_file, path)
            if digest in by_digest:
                path.replace(self.path_of(by_digest.pop(digest)))
            else:
                path.unlink()
        if by_digest:
            lost = ", ".join(sorted(package.name for package in by_digest.values()))
            raise BuildFailed(
                f"the archive served other bytes than it promised for: {lost}",
                hint=f"remove {self._root} and build again",
            )

    async def _solve(self, names: Sequence[str]) -> list[Package]:
        # Of what a download that failed has left, apt would tell no digest: it need not be had.
        for left in (self._root / "archives").glob("*.deb"):
            left.unlink()
        wanted = (
            "install", "--print-uris", "--yes", "--no-install-recommends",
            "-o", "Acquire::ForceHash=SHA256", *names,
        )  # fmt: skip
        try:
            output = await self._apt(*wanted)
        except BuildFailed:  # the lists may be old
            await self._update()
            output = await self._apt(*wanted)
        packages = []
        for line in output.splitlines():
            if not (match := _URI_LINE.match(line)):
                continue
            file = _FILE_NAME.match(match["file"])
            if file is None:
                raise BuildFailed(f"apt named a package file oddly: {match['file']}")
            packages.append(
                Package(
                    name=file["name"],
                    version=unquote(file["version"]),
                    arch=file["arch"],
                    sha256=match["sha256"],
                    size=int(match["size"]),
                )
            )
        absent = set(names) - {package.name for package in packages}
        if absent:
            raise BuildFailed(f"apt gave no digest for: {', '.join(sorted(absent))}")
        return sorted(packages, key=lambda package: package.name)

    async def _update(self) -> None:
        with self._progress.step("fetching Debian's package lists"):
            # Status 100: one source failed. It matters only if a package is missing afterwards.
            await self._apt("update", ok=(0, 100))

    async def _apt(self, *words: str, cwd: Path | None = None, ok: Sequence[int] = (0,)) -> str:
        config = self._write_config()
        try:
            done = await run(
                ["apt-get", "-q", *words], cwd=cwd, env={"APT_CONFIG": str(config)}, ok=ok
            )
        except CommandFailed as error:
            if error.status is None:
                raise HostUnfit(
                    "no apt-get here: the embedded Hook is built from Debian packages",
                    hint="build on Debian, or give a folder with a kernel and an initramfs",
                ) from error
            raise BuildFailed(
                f"apt-get {words[0]} failed\n{error.output.strip()}",
                hint=hint_for(debian_sources(self._etc)),
            ) from error
        return done.stdout.decode()

    def _write_config(self) -> Path:
        """Write the configuration that turns the host's apt into ours; returns its path."""
        parts, sources = self._root / "apt.conf.d", self._root / "sources.list.d"
        for folder in (
            parts, sources, self._root / "lists" / "partial",
            self._root / "archives" / "partial", self._root / "state",
        ):  # fmt: skip
            folder.mkdir(parents=True, exist_ok=True)
        status = self._root / "state" / "status"
        if not status.exists():
            status.touch()
        for old in (*parts.iterdir(), *sources.iterdir()):
            old.unlink()
        for name, text in debian_sources(self._etc).items():
            write_atomically(sources / name, text.encode())
        # The host's parts come first, for proxies, credentials and clock checks.
        for part in sorted((self._etc / "apt.conf.d").glob("*")):
            if os.access(part, os.R_OK):
                (parts / part.name).symlink_to(part)
        ours = "\n".join(
            [
                "#clear APT::Update::Post-Invoke;",
                "#clear APT::Update::Post-Invoke-Success;",
                "#clear APT::Update::Pre-Invoke;",
                "#clear DPkg::Post-Invoke;",
                "#clear Acquire::IndexTargets::deb::DEP-11;",
                "#clear Acquire::IndexTargets::deb::CNF;",
                'APT::Architecture "amd64";',
                'APT::Architectures { "amd64"; };',
                'APT::Sandbox::User "root";',
                'APT::Get::List-Cleanup "true";',
                'Acquire::Languages "none";',
                'Acquire::Retries "3";',
                'Dir::Etc::sourcelist "/dev/null";',
                f'Dir::Etc::sourceparts "{sources}";',
                f'Dir::State "{self._root / "state"}";',
                f'Dir::State::lists "{self._root / "lists"}";',
                f'Dir::State::status "{status}";',
                f'Dir::Cache "{self._root / "state"}";',
                f'Dir::Cache::archives "{self._root / "archives"}";',
                "",
            ]
        )
        write_atomically(parts / "zz-private", ours.encode())
        config = self._root / "apt.conf"
        write_atomically(config, f'Dir::Etc::parts "{parts}";\n'.encode())
        return config
