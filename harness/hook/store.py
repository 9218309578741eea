"""Digests, locks and atomic writes: what makes a cache trustworthy."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from harness.locks import exclusive as exclusive


def digest_of(*parts: object) -> str:
    """Return the SHA-256 (hex) of ``parts`` as canonical JSON; they must be JSON values."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_tree(root: Path, files: Iterable[Path]) -> str:
    """Return a digest of the names (relative to ``root``), modes and bytes of ``files``."""
    entries = [
        (
            path.relative_to(root).as_posix(),
            bool(path.stat().st_mode & 0o100),
            digest_of_file(path),
        )
        for path in sorted(files)
    ]
    return digest_of(entries)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes ``target`` when the block ends well.

    A ``target`` that exists is therefore always complete. If somebody else made it meanwhile,
    theirs stays: what is stored under a digest is the same by definition.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    scratch.chmod(0o755)
    try:
        yield scratch
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def mark_used(path: Path) -> None:
    """Remember that the cached ``path`` was of use today."""
    os.utime(path)


def remove_unused(folder: Path, *, unused_for: timedelta = timedelta(days=14)) -> None:
    """Remove the files in ``folder`` that were of no use for that long."""
    latest = time.time() - unused_for.total_seconds()
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_file() and path.stat().st_mtime < latest:
            path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``path`` so that a reader sees the old bytes or the new ones, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())
