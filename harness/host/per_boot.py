"""What is found out once, for each boot of the host say, and kept in the cache until then."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.values import parse_json

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return what is another with each boot of the host (random(4)). Raises ``OSError``."""
    return _BOOT_ID.read_text().strip()


def kept(file: Path, key: str) -> dict[str, Any] | None:
    """Return what ``keep`` put into ``file`` under the same key; None when there is no such."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        data: dict[str, Any] = parse_json(file.read_text())
        if data.pop("key") == key:
            return data
    return None


def keep(file: Path, key: str, data: Mapping[str, Any]) -> None:
    """Keep ``data`` in ``file`` as long as ``key`` is asked for; all of it or nothing.

    What can't be written is let go: it is found out anew each time then.
    """
    # In a namespace of its own a process has the number that others have in theirs.
    fresh = file.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_text(json.dumps({"key": key, **data}))
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)
