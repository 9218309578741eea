"""The measurement of pulls measures something."""

from __future__ import annotations

from pathlib import Path

from harness.bench.pulls import measure_pulls


async def test_each_way_is_measured(tmp_path: Path) -> None:
    found = await measure_pulls(tmp_path, size_bytes=3 << 20, repeats=2)
    assert list(found) == ["aiohttp", "http", "https"]
    assert all(len(samples) == 2 and min(samples) > 0 for samples in found.values())
