"""What every test shares: deterministic hypothesis, and no product plugin testing itself."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from harness.hook.files import HookFiles

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("nightly", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def embedded_hook() -> HookFiles:
    """Return the embedded Hook, built now when it was not: minutes on a new machine, else none."""
    from harness.hook.build import build_hook
    from harness.paths import cache_root
    from harness.progress import PlainProgress

    return asyncio.run(build_hook(cache_root(), progress=PlainProgress()))
