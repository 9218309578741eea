"""Standard output and standard error, whatever the terminal's character set."""

from __future__ import annotations

import io
import sys


def escape_unknown_characters() -> None:
    """Have characters that a stream's encoding lacks printed as escapes, not raised as errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
