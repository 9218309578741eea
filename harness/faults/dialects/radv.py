"""Router advertisements, as faults bend them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.faults.deeds import Corrupt, Deed, Delay, Drop, Duplicate, Replace, Truncate
from harness.wire.radv import Advertisement, encode_advertisement


def advertisements(mac: bytes, deeds: Sequence[Deed]) -> list[tuple[float, bytes]]:
    """Return the frames that leave the interface ``mac``, and in how many seconds each."""
    said = Advertisement()
    for deed in deeds:
        if isinstance(deed, Replace):
            said = _changed(said, deed.fields)
    frames = [(0.0, encode_advertisement(mac=mac, said=said))]
    for deed in deeds:
        match deed:
            case Drop():
                frames = []
            case Delay(seconds=seconds):
                frames = [(after_s + seconds, frame) for after_s, frame in frames]
            case Duplicate(times=times, seconds=gap):
                frames = [
                    (after_s + copy * gap, frame)
                    for after_s, frame in frames
                    for copy in range(times + 1)
                ]
            case Corrupt() | Truncate():
                frames = [(after_s, deed.apply(frame)) for after_s, frame in frames]
    return frames


def _changed(said: Advertisement, fields: Mapping[str, Any]) -> Advertisement:
    names = {"lifetime": "lifetime_s", "hop limit": "hop_limit"}
    changed = {names.get(name, name): value for name, value in fields.items()}
    if "lifetime_s" in changed:
        changed["lifetime_s"] = int(changed["lifetime_s"])
    return replace(said, **changed)
