"""Locks between processes: ``flock``, which ends with its owner, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from harness.process import run


def try_lock(
    path: Path, *, shared: bool = False, folder: bool = False, wait: bool = False
) -> int | None:
    """Return a descriptor that holds a lock on ``path``, or None: held by others, or not there.

    The lock is that of the file which is at ``path`` afterwards: one that was renamed or removed
    before the lock was got counts as not there. A ``folder`` can be locked like a file; any other
    ``path`` is made. With ``wait`` it blocks, for locks that are held for milliseconds. Raises
    ``OSError``. Whoever gets the descriptor closes it.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR | os.O_CREAT
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except FileNotFoundError:
        return None
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        if is_at(descriptor, path):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that ``path`` names now."""
    try:
        there = path.stat(follow_symlinks=False)
    except OSError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


@contextlib.contextmanager
def _open(lock: Path) -> Iterator[int]:
    """Open the file of a lock, made where there is none, and close it: what was locked ends so."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Take the lock of ``descriptor`` if nobody has it, and say whether it is taken."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.asynccontextmanager
async def exclusive(
    lock: Path, *, on_wait: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Hold ``lock`` against every other process; can be cancelled while it waits.

    ``on_wait`` is called when there is somebody to wait for, once or more.
    When somebody else has it, util-linux's ``flock`` waits for it on our descriptor: a thread that
    waits could not be cancelled. The file stays unless somebody who holds it removes it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with _open(lock) as descriptor:
            if not _taken(descriptor):
                if on_wait is not None:
                    on_wait()
                await run(["flock", "--exclusive", str(descriptor)], pass_fds=(descriptor,))
            if not is_at(descriptor, lock):
                continue  # removed by the one who held it before us
            yield
            return


@contextlib.asynccontextmanager
async def exclusive_or_not(
    lock: Path, *, on_wait: Callable[[], None] | None = None
) -> AsyncIterator[bool]:
    """Hold ``lock`` as ``exclusive`` does, but wait for one holder only; give whether it is held.

    Who holds it removes its file in the end, so that all who waited for that one are let go at
    once, and whoever comes next is another's business: one of them gets the new lock, the others
    have none. So nobody waits for a long row of holders, one after the other. (A holder that is
    killed leaves the file, and may be followed by one more that is waited for.)
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        with _open(lock) as descriptor:
            if not _taken(descriptor):
                if waited:
                    yield False
                    return
                if on_wait is not None:
                    on_wait()
                await run(["flock", "--shared", str(descriptor)], pass_fds=(descriptor,))
                waited = True
                continue
            if not is_at(descriptor, lock):
                continue
            try:
                yield True
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(lock)  # noqa: PTH108 - it does not block: a name goes
            return
