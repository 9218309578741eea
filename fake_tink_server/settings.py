"""How a server serves: plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server serves."""

    bind: str = "127.0.0.1"
    port: int = 0
    """0: any free one."""
    profile: str = "fast"
    """``faithful`` or ``fast``."""
    state_file: Path | None = None
    bmc: bool = False
    """Whether what ``bootMode`` asks of a BMC is done at once."""
    release: str | None = None
    """Whose templates are rendered, ``v0.12.2`` or ``v0.25.0``; None: the newest one's."""
    image_prefix: str = ""
    """Put in front of the images that a v2 agent is given."""
    faults: Sequence[Mapping[str, Any]] = ()
    """``{"at": "tink", "when": {…}, "do": …}`` as in YAML."""
    discovery: bool = False
    """Whether a Hardware is made for each v2 agent that has none (auto-discovery)."""
    discovery_namespace: str = "default"
    enroll_discovered: bool = False
    """Whether such Hardware lets its agent be enrolled again, once its workflow is deleted."""
    throwaway_ca: bool = False
    """Whether to serve TLS with a CA that is gone with the server."""
    mutual_tls: bool = False
    """Whether clients of that CA only are let in."""
