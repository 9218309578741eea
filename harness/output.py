"""What is written for people and programs: characters a terminal lacks, files to be made."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from harness.errors import ScenarioError


def escape_unknown_characters() -> None:
    """Have characters that a stream's encoding lacks printed as escapes, not raised as errors."""
    for stream in (sys.stdout, sys.stderr):
        # In the C locale it is surrogateescape, which helps file names and nothing else.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def check_writable(option: str, file: Path | None) -> None:
    """Raise ``ScenarioError`` when ``file`` can't be made: before hours of work, not behind them.

    What can't be known before, such as a disk that fills up, is told when it is written.
    """
    if file is None:
        return
    place = file.absolute()
    if not place.parent.is_dir():
        raise ScenarioError(f"{option}: there is no folder {file.parent}")
    if place.is_dir():
        raise ScenarioError(f"{option}: {file} is a folder", hint="name a file")
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise ScenarioError(f"{option}: {file} can't be written", hint="name another file")
