"""Where things live: the product's own files, the cache, the run folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from harness.errors import HostUnfit

CHECKPOINTS: Final = "checkpoints"
"""The folder of checkpoints below the cache."""
STARTS: Final = ("auto", "cold", "ipxe", "hook-up", "worker-up")
"""Where a run may begin; what a scenario's ``start`` and ``--start`` can be."""

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def expanded(text: str) -> Path:
    """Return the path that ``text`` names, where ``~`` is a home.

    Raises ``HostUnfit`` when nobody knows whose: a container's user may be one without a name.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise HostUnfit(
            f"{text}: nobody knows where that home is", hint="set HOME, or name a whole path"
        ) from error


def source_root() -> Path:
    """Return the folder of ``linuxkit/`` and ``fixtures/``: a checkout, or the wheel's data."""
    return _CHECKOUT if (_CHECKOUT / "linuxkit").is_dir() else _PACKAGE / "_data"


def cache_root() -> Path:
    """Return the folder for everything downloaded or built; ``HOOKLAB_CACHE`` overrides it.

    It is the user's cache, so that another clone finds what one has made: all in it lies under the
    digest of what it was made from. Without a home that can be written to, a checkout has its own
    ``.cache``.
    """
    if override := os.environ.get("HOOKLAB_CACHE"):
        return expanded(override).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME")
    checkout = (_CHECKOUT / "linuxkit").is_dir()
    if checkout and not (base and os.access(base, os.W_OK)):
        return _CHECKOUT / ".cache"
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "hooklab"


def history_root() -> Path:
    """Return the folder of what this host remembers of runs; ``HOOKLAB_HISTORY`` overrides it."""
    if override := os.environ.get("HOOKLAB_HISTORY"):
        return expanded(override).absolute()
    return cache_root() / "history"


def runs_root() -> Path:
    """Return the folder that run folders are made in; ``HOOKLAB_RUNS`` overrides ``./runs``.

    Raises ``HostUnfit`` for a name that is no text: timelines, locks and pages tell it.
    """
    folder = expanded(os.environ.get("HOOKLAB_RUNS") or "runs").absolute()
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise HostUnfit(
            f"the run folders would be in {str(folder)!a}, which is not UTF-8",
            hint="HOOKLAB_RUNS may name another folder",
        ) from error
    return folder
