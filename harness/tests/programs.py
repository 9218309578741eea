"""Other people's programs that tests ask for a second opinion."""

from __future__ import annotations

import shutil

import pytest


def needs(program: str) -> pytest.MarkDecorator:
    """Return the mark of tests that are skipped where ``program`` is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def require(program: str) -> None:
    """Skip the test that runs now where ``program`` is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
