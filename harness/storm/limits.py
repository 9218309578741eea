"""What a process of a storm must be allowed: a socket or two for each machine."""

from __future__ import annotations

import resource
from typing import Final

_OPEN_FILES: Final = 1 << 16


def raise_open_files() -> None:
    """Allow this process ``_OPEN_FILES`` open files, or as many as it may have at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _OPEN_FILES)), hard))
