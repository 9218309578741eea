"""What the tests of a build share."""

from __future__ import annotations

import pytest

from harness.hook.sources import MIRROR_VARIABLE


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only what a test says decide; whoever runs them on another distribution names one."""
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
