"""Look at a machine's disks from outside, as a scenario's ``disk`` expectations ask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from harness.machine.disks import check_bytes
from harness.scenario.expectations import expected_bytes
from harness.scenario.item import ExpectationItem, Item

_PREFIX: Final = "disk "
_CHUNK: Final = 1 << 20


def disk_expectations(item: Item) -> Iterator[tuple[str, ExpectationItem]]:
    """Yield each expectation about a disk, with the disk's name."""
    for expectation in item.expectations:
        if expectation.key.startswith(_PREFIX):
            yield expectation.key.removeprefix(_PREFIX), expectation


def check_disk(name: str, value: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the fields of a ``disk.checked`` event; blocks while it reads the disk."""
    at_bytes = int(value.get("at", 0))
    wanted = expected_bytes(value)
    try:
        found, matched = _compare(value, wanted, path, at_bytes)
    except OSError as error:
        found, matched = f"can't be read: {error.strerror}", False
    return {
        "disk": name,
        "at_bytes": at_bytes,
        "expected": wanted,
        "found": found,
        "matched": matched,
    }


def _compare(value: dict[str, Any], wanted: str, path: Path, at_bytes: int) -> tuple[str, bool]:
    if "sha256" in value:
        found = f"sha256:{_digest(path, at_bytes, int(value['length']))}/{value['length']}"
        return found, found == wanted
    raw = (
        str(value["text"]).encode()
        if "text" in value
        else bytes.fromhex("".join(str(value["hex"]).split()))
    )
    check = check_bytes(path, at_bytes, raw)
    return check.found, check.matched


def _digest(path: Path, at_bytes: int, length: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(at_bytes)
        while length > 0 and (chunk := file.read(min(_CHUNK, length))):
            digest.update(chunk)
            length -= len(chunk)
    return digest.hexdigest()
