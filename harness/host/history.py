"""What this host has measured before: one JSON line a run or a benchmark, bounded, in the cache.

``append("run", {…})`` adds a record to ``<cache>/history/run.jsonl`` and ``read("run")`` gives
all of them back, the oldest first. Many processes may do both at once: a record is one write
under a lock, and a line that was torn (the disk was full, the writer was killed) is skipped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from harness.paths import history_root
from harness.values import parse_json

MOST_BYTES: Final = 8 << 20
"""Above this the older half of a file is dropped: some ten thousand runs are kept."""
_MOST_FIGURE: Final = 1e15


def append(kind: str, data: Mapping[str, Any], *, folder: Path | None = None) -> bool:
    """Add a record; return whether that worked, which no caller should depend on.

    ``at`` (UTC, ISO 8601) is added unless ``data`` has it. ``folder`` is for tests.
    """
    record = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **data}
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str)
    try:
        with _locked(file_of(kind, folder)) as file:
            # After a torn line: begin a new one.
            start = "" if _ends_a_line(file) else "\n"
            with file.open("ab", buffering=0) as stream:
                # A file name need not be UTF-8: what is not is escaped, as JSON has it.
                stream.write(f"{start}{text}\n".encode(errors="backslashreplace"))
            if file.stat().st_size > MOST_BYTES:
                _drop_older_half(file)
    except OSError:
        return False
    return True


def read(kind: str, *, folder: Path | None = None) -> Iterator[dict[str, Any]]:
    """Yield every record of ``kind``, the oldest first; none when there is no such file."""
    try:
        stream = file_of(kind, folder).open("rb")
    except OSError:
        return
    with stream:
        for line in stream:
            with contextlib.suppress(ValueError):  # torn
                record = parse_json(line)
                if isinstance(record, dict):
                    yield record


def figure_of(value: object) -> float | None:
    """Return a record's figure; None for what is none: text, true, NaN, or beyond measure."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _MOST_FIGURE else None


def file_of(kind: str, folder: Path | None = None) -> Path:
    """Return the file of a kind's records."""
    return (folder or history_root()) / f"{kind}.jsonl"


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[Path]:
    """Hold the lock of ``file``, which the kernel lets go when its holder dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Not the file itself: that one is replaced when it is shortened.
    lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(lock)


def _ends_a_line(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            if stream.seek(0, os.SEEK_END) == 0:
                return True
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"
    except FileNotFoundError:
        return True


def _drop_older_half(file: Path) -> None:
    """Keep the newer half; whoever reads the file meanwhile still sees all of the old one."""
    with file.open("rb") as stream:
        stream.seek(-(MOST_BYTES // 2), os.SEEK_END)
        stream.readline()  # the rest of a line
        kept = stream.read()
    fresh = file.with_suffix(".new")
    fresh.write_bytes(kept)
    fresh.replace(file)
