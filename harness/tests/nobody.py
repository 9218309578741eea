"""An ordinary user, for the tests of whoever is root."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.paths import source_root

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
SYSTEM_PYTHON = "/usr/bin/python3"
"""An interpreter that every user can reach; the one that runs the tests may lie in a home."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")

_READ, _ENTER = 0o004, 0o001


@functools.cache
def open_sources() -> Path:
    """Return a folder with hooklab's packages that everybody can read.

    That is the checkout, or a copy where it lies in a home that is closed to others.
    """
    root = source_root()
    entered = all(path.stat().st_mode & _ENTER for path in (root, *root.parents))
    if entered and (root / "harness" / "seal.py").stat().st_mode & _READ:
        return root
    copy = Path(tempfile.mkdtemp(prefix="hooklab-sources-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for package in ("harness", "fake_tink_server"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / package, copy / package, ignore=skipped)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """Return a folder that everybody can reach and write to.

    Not below pytest's own: each session that begins makes that its user's alone again.
    """
    with tempfile.TemporaryDirectory(prefix="hooklab-test-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder
