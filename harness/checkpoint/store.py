"""Where checkpoints are kept: a folder a key, which is complete or is not there.

::

    <folder>/<key>/                 what a draft held, and:
                   manifest.json    size and SHA-256 of each file; the meta of whoever saved it
                   stamp.json       the same files as last seen whole: inode, size, mtime, boot
    <folder>/.drafts/               being written, or being removed
    <folder>/.locks/<key>           held by the one who builds

A folder is locked itself: shared by everyone who has it open, exclusively by the one who writes
or removes it. These are ``flock``\\s: they end with their owner, so whatever can be locked in
``.drafts`` is a dead one's, and is swept.

Nothing is synced to the disk, and nothing has to be: what a crash of the host lost is seen, since
a stamp is believed only during the boot of the host that made it. Otherwise, and whenever a file
is not the one that was stamped, every byte is compared with the manifest's digests.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import HostUnfit, LabError
from harness.hook.store import digest_of, digest_of_file, write_json
from harness.host.per_boot import boot_id
from harness.locks import exclusive_or_not, try_lock
from harness.values import parse_json, parse_size

FORMAT: Final = 1
"""Another number in a manifest is another hooklab's: removed and built again."""
LIMIT_VARIABLE: Final = "HOOKLAB_CHECKPOINTS_MAX"
_DEFAULT_LIMIT: Final = 12 << 30
"""Some fifty checkpoints: enough for one of each kind that a large suite has."""
MANIFEST: Final = "manifest.json"
STAMP: Final = "stamp.json"
_DRAFTS: Final = ".drafts"
_LOCKS: Final = ".locks"
_KEY: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SMALL: Final = 1 << 20
"""Files up to this many octets are always compared with their digests: it costs 1 ms."""


class NotSaved(LabError):
    """A checkpoint could not be written. Nothing of it is left; the run can go on without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What ``hooklab cache`` shows of a checkpoint."""

    key: str
    folder: Path
    meta: Mapping[str, Any]
    size_bytes: int
    """What it takes of the disk."""
    used_at_s: float
    """When it was last opened or made, in seconds since 1970."""
    in_use: bool


class Saved:
    """A checkpoint that is there, and stays there until ``close``."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any], descriptor: int) -> None:
        self.key: str = manifest["key"]
        self.folder = folder
        self.meta: Mapping[str, Any] = manifest["meta"]
        """What was given to ``Draft.commit``."""
        self.size_bytes = _size_of(folder)
        """What it takes of the disk."""
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Let it be removed when room is needed. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Saved:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Draft:
    """A checkpoint that is being written, by the only one who does."""

    def __init__(self, store: CheckpointStore, key: str, folder: Path, descriptor: int) -> None:
        self.key = key
        self.folder = folder
        """Private and empty at first; plain files and folders may be put into it."""
        self._store = store
        self._descriptor: int | None = descriptor

    def commit(self, meta: Mapping[str, Any], *, digests: Mapping[str, str] | None = None) -> Saved:
        """Make it the checkpoint of its key, and remove the least recently used beyond the limit.

        ``meta`` must be JSON. ``digests`` are SHA-256 in hex that the writer knows already, by
        path in the folder. Reads every other file, about 0.15 s for 100 MB: an event loop calls it
        in a thread. Raises ``NotSaved``, and then nothing of it is left; whoever gets the
        checkpoint closes it.
        """
        assert self._descriptor is not None, "a draft is committed once"
        # From here on it is not to be discarded: that may be tried meanwhile, in another thread.
        descriptor, self._descriptor = self._descriptor, None
        try:
            manifest = _manifest(self.key, self.folder, meta, digests or {})
            write_json(self.folder / MANIFEST, manifest)
            write_json(self.folder / STAMP, _stamp(self.folder, manifest))
        except BaseException as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(descriptor)
            if isinstance(error, OSError):
                raise _not_saved(error, self._store.folder) from error
            raise
        return self._store._take_in(self.folder, manifest, descriptor)

    def discard(self) -> None:
        """Remove it, unless it was committed. May be called twice."""
        if self._descriptor is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = None


def store_in(folder: Path) -> CheckpointStore:
    """Return the store in ``folder``, which may take what ``HOOKLAB_CHECKPOINTS_MAX`` says.

    By itself that is 12 GiB, but no more than a fifth of what is free and already taken. Raises
    ``HostUnfit`` for a size that is none.
    """
    if text := os.environ.get(LIMIT_VARIABLE):
        try:
            limit_bytes = 0 if text.strip() == "0" else parse_size(text)
        except ValueError as error:
            raise HostUnfit(f"{LIMIT_VARIABLE}: {error}", hint="0 keeps none") from error
        return CheckpointStore(folder, limit_bytes=limit_bytes)
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free + _size_of(folder)
    return CheckpointStore(folder, limit_bytes=min(_DEFAULT_LIMIT, free // 5))


class CheckpointStore:
    """Checkpoints by key, in ``folder``, with at most ``limit_bytes`` of them."""

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._drafts = folder / _DRAFTS
        self._locks = folder / _LOCKS

    def open(self, key: str, *, whole: bool = False) -> Saved | None:
        """Return the checkpoint of ``key``, or None. A damaged one is removed, and None.

        ``whole`` compares every byte with the digests, whatever the stamp says. It counts as
        used now. Whoever gets it closes it: until then nobody removes it.
        """
        folder = self._folder(key)
        try:
            # whoever else locks a folder that has its name does so for a moment only
            descriptor = try_lock(folder, shared=True, folder=True, wait=True)
        except OSError:
            return None
        if descriptor is None:
            return None
        try:
            manifest = _checked(key, folder, whole=whole)
            if manifest is not None:
                with contextlib.suppress(OSError):  # a cache that is not ours to write
                    os.utime(folder)
                return Saved(folder, manifest, descriptor)
            self._put_away(folder)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @contextlib.asynccontextmanager
    async def building(
        self, key: str, *, on_wait: Callable[[], None] | None = None
    ) -> AsyncIterator[Draft | Saved]:
        """Give the draft of ``key`` to build, to one process at a time.

        When another builds it, wait (this can be cancelled; ``on_wait`` is called) and give what
        that one saved, or a draft when it did not come to that. A second builder is not waited
        for: of several who waited one gets the draft, the others ``NotSaved``. Others wait until
        the block ends, so leave it soon after ``commit``. A draft that is not committed by then is
        removed. A full disk, in here or in the block, raises ``NotSaved``. Whoever gets a
        ``Saved``, here or from ``commit``, closes it.
        """
        self._folder(key)
        try:
            async with contextlib.AsyncExitStack() as stack:
                lock = exclusive_or_not(self._locks / key, on_wait=on_wait)
                ours = await stack.enter_async_context(lock)
                if (saved := self.open(key)) is not None:
                    await stack.aclose()  # what is there can be used by all at once
                    yield saved
                    return
                if not ours:
                    raise NotSaved("who built it gave up, and another tries now")
                self.sweep()
                self.evict()  # the limit may be another one now: a disk that is full has no room
                draft = self._new_draft(key)
                stack.callback(draft.discard)
                yield draft
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise _not_saved(error, self.folder) from error

    def kept(self) -> list[Kept]:
        """Return what is there, the least recently used first; nothing is checked."""
        found = []
        for folder in self._folders():
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                with contextlib.suppress(OSError):  # a cache that is not ours to write
                    stack.enter_context(self._evicting())
                descriptor = try_lock(folder, folder=True)
                if descriptor is not None:
                    os.close(descriptor)
                manifest = _read(folder / MANIFEST)
                meta = manifest.get("meta") if manifest else None
                found.append(
                    Kept(
                        key=folder.name,
                        folder=folder,
                        meta=meta if isinstance(meta, dict) else {},
                        size_bytes=_size_of(folder),
                        used_at_s=folder.stat().st_mtime,
                        in_use=descriptor is None,
                    )
                )
        return sorted(found, key=lambda kept: (kept.used_at_s, kept.key))

    def remove(self, key: str) -> bool:
        """Remove the checkpoint of ``key``; return whether it is gone: not while it is in use."""
        folder = self._folder(key)
        with self._evicting():
            descriptor = try_lock(folder, folder=True)
            if descriptor is None:
                return not folder.exists()
            try:
                gone = self._move_away(folder)
            except BaseException:
                os.close(descriptor)
                raise
        shutil.rmtree(gone, ignore_errors=True)
        os.close(descriptor)
        return True

    def evict(self) -> list[str]:
        """Remove the least recently used ones beyond the limit, but none in use; return keys."""
        kept = self.kept()
        total = sum(each.size_bytes for each in kept)
        gone = []
        for each in kept:
            if total <= self.limit_bytes:
                break
            if not each.in_use and self.remove(each.key):
                total -= each.size_bytes
                gone.append(each.key)
        return gone

    def sweep(self) -> None:
        """Remove what dead processes left half-written, half-removed or locked."""
        for folder in self._drafts.iterdir() if self._drafts.is_dir() else ():
            with contextlib.suppress(OSError):
                descriptor = try_lock(folder, folder=True)
                if descriptor is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                    os.close(descriptor)
        for lock in self._locks.iterdir() if self._locks.is_dir() else ():
            with contextlib.suppress(OSError):
                descriptor = try_lock(lock)
                if descriptor is not None:
                    lock.unlink(missing_ok=True)
                    os.close(descriptor)

    def _folders(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            for folder in self.folder.iterdir():
                if _KEY.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                    yield folder

    def _folder(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"no key of a checkpoint: {key!r}")
        return self.folder / key

    def _new_draft(self, key: str) -> Draft:
        self._drafts.mkdir(parents=True, exist_ok=True)
        while True:
            folder = Path(tempfile.mkdtemp(prefix=f"{key[:16]}.", dir=self._drafts))
            descriptor = try_lock(folder, folder=True)
            if descriptor is not None:  # a sweeper may have been faster
                return Draft(self, key, folder, descriptor)

    def _take_in(self, draft: Path, manifest: Mapping[str, Any], descriptor: int) -> Saved:
        """Give a draft its name, keep it locked, and make room."""
        target = self._folder(manifest["key"])
        try:
            with self._evicting():
                if target.exists():  # what could not be opened: foreign, damaged or not ours
                    self._move_away(target)
                draft.rename(target)
                # to go from one kind of lock to the other is to have none for a moment
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            os.utime(target)
            saved = Saved(target, manifest, descriptor)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            os.close(descriptor)
            raise _not_saved(error, self.folder) from error
        with contextlib.suppress(OSError):
            self.evict()
            self.sweep()
        return saved

    @contextlib.contextmanager
    def _evicting(self) -> Iterator[None]:
        """Hold off everyone who removes or renames; milliseconds, so waiting blocks."""
        self._drafts.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            self.folder / ".evicting", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _put_away(self, folder: Path) -> None:
        """Remove a folder that is of no use, to us or to others."""
        with contextlib.suppress(OSError), self._evicting():
            shutil.rmtree(self._move_away(folder), ignore_errors=True)

    def _move_away(self, folder: Path) -> Path:
        """Take its name from ``folder``, so that nobody finds it half-removed."""
        gone = self._drafts / f"{folder.name[:16]}.gone.{os.getpid()}.{time.monotonic_ns()}"
        return folder.rename(gone)


def _manifest(
    key: str, folder: Path, meta: Mapping[str, Any], digests: Mapping[str, str]
) -> dict[str, Any]:
    files = {
        name: {
            "size": path.stat().st_size,
            "sha256": digests.get(name) or digest_of_file(path),
        }
        for name, path in _files(folder)
    }
    content = {"format": FORMAT, "key": key, "meta": dict(meta), "files": files}
    return {**content, "digest": digest_of(content)}


def _checked(key: str, folder: Path, *, whole: bool) -> dict[str, Any] | None:
    """Return the manifest in ``folder`` when everything is as it says."""
    manifest = _read(folder / MANIFEST)
    if manifest is None:
        return None
    content = {name: value for name, value in manifest.items() if name != "digest"}
    if manifest.get("digest") != digest_of(content):
        return None
    if manifest.get("format") != FORMAT or manifest.get("key") != key:
        return None
    try:
        stamp = _stamp(folder, manifest)
        seen = not whole and stamp == _read(folder / STAMP)
        for name, facts in manifest["files"].items():
            path = folder / name
            if path.stat().st_size != facts["size"]:
                return None
            if seen and facts["size"] > _SMALL:
                continue
            if digest_of_file(path) != facts["sha256"]:
                return None
        if not seen:
            with contextlib.suppress(OSError):
                write_json(folder / STAMP, stamp)
    except OSError:
        return None
    return manifest


def _stamp(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what changes when a file of the manifest does, and with each boot of the host."""
    files = {}
    for name in manifest["files"]:
        facts = (folder / name).stat(follow_symlinks=False)
        files[name] = [facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_mode]
    return {"boot": boot_id(), "manifest": manifest["digest"], "files": files}


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink():
            if name not in (MANIFEST, STAMP):
                yield name, path
        elif not path.is_dir() or path.is_symlink():
            raise ValueError(f"a checkpoint holds plain files: {name} is none")


def _size_of(folder: Path) -> int:
    """Return what it takes of the disk; others may remove some of it meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):  # rglob raises when a folder goes under its feet
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(parent) / name).stat(follow_symlinks=False).st_blocks * 512
    return total


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _not_saved(error: OSError, folder: Path) -> NotSaved:
    reason = error.strerror or str(error)
    return NotSaved(
        f"the checkpoint could not be saved below {folder}: {reason}",
        hint="hooklab cache shows what takes the room, hooklab cache clear makes some"
        if error.errno in _FULL
        else None,
    )
