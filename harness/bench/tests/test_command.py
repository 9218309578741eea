"""What ``hooklab bench`` leaves behind of a part that does not come to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.bench.command import PARTS, bench_command
from harness.bench.table import Row
from harness.errors import BuildFailed


@pytest.mark.parametrize(
    ("error", "left"), [(BuildFailed("no"), 1), (KeyboardInterrupt(), 0), (OSError(28, "full"), 0)]
)
def test_only_what_a_failure_may_be_understood_from_is_kept(
    error: BaseException, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measure(*, scratch: Path, **_: Any) -> list[Row]:
        (scratch / "large").write_bytes(b"x")
        raise error

    monkeypatch.setenv("HOOKLAB_CACHE", str(tmp_path))
    monkeypatch.setitem(PARTS, "build", ("Building", measure))
    with pytest.raises(type(error)):
        bench_command(["build"], times=1, json_file=None)
    assert len(list((tmp_path / "bench").glob("*/large"))) == left
