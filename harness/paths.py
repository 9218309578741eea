"""Where things live: the product's own files, the cache, the run folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CHECKPOINTS: Final = "checkpoints"
"""The folder of checkpoints below the cache."""
STARTS: Final = ("auto", "cold", "ipxe", "hook-up", "worker-up")
"""Where a run may begin; what a scenario's ``start`` and ``--start`` can be."""

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def source_root() -> Path:
    """Return the folder of ``linuxkit/`` and ``fixtures/``: a checkout, or the wheel's data."""
    return _CHECKOUT if (_CHECKOUT / "linuxkit").is_dir() else _PACKAGE / "_data"


def cache_root() -> Path:
    """Return the folder for everything downloaded or built; ``HOOKLAB_CACHE`` overrides it.

    In a checkout it is the ignored ``.cache`` beside the sources; installed, the user's cache.
    """
    if override := os.environ.get("HOOKLAB_CACHE"):
        return Path(override).expanduser().absolute()
    if (_CHECKOUT / "linuxkit").is_dir():
        return _CHECKOUT / ".cache"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "hooklab"


def history_root() -> Path:
    """Return the folder of what this host remembers of runs; ``HOOKLAB_HISTORY`` overrides it."""
    if override := os.environ.get("HOOKLAB_HISTORY"):
        return Path(override).expanduser().absolute()
    return cache_root() / "history"


def runs_root() -> Path:
    """Return the folder that run folders are made in; ``HOOKLAB_RUNS`` overrides ``./runs``."""
    return Path(os.environ.get("HOOKLAB_RUNS") or "runs").expanduser().absolute()
