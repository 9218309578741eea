"""``hooklab test``: pytest over every ring, with the scenarios, from the checkout's root."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HostUnfit
from harness.paths import source_root

RINGS = ("harness", "fake_tink_server", "scenarios")
"""Folders that hold tests and scenarios, linters included."""


def test_command(rest: Sequence[str]) -> int:
    """Become pytest, with ``rest`` as typed; paths among them replace the whole of ``RINGS``.

    Does not return: the exit status, the signals and the closing line are pytest's own.
    """
    root = source_root()
    if not (root / "conftest.py").is_file():
        raise HostUnfit(
            "hooklab test runs the tests of a checkout, and this is an installed package",
            hint="clone the repository and run ./hooklab test there",
        )
    words = [_rooted(word) for word in rest]
    if not any(_is_path(word) for word in words):
        words += [ring for ring in RINGS if (root / ring).is_dir()]
    os.chdir(root)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *words])


def _is_path(word: str) -> bool:
    return not word.startswith("-") and Path(word.partition("::")[0]).is_absolute()


def _rooted(word: str) -> str:
    """Return ``word`` as an absolute path when it names something from here or from the root."""
    if word.startswith("-"):
        return word
    name, colons, item = word.partition("::")
    for place in (Path.cwd(), source_root()):
        if name and (place / name).exists():
            return f"{(place / name).resolve()}{colons}{item}"
    return word
