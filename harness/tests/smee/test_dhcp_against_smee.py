"""Many hundreds of DHCP requests: the lab's server must do as the real smee does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from harness.hook.tools import ensure_tool
from harness.paths import cache_root
from harness.progress import SilentProgress
from harness.tests.smee.objects import hardware_of_all_kinds, macs
from harness.tests.smee.replies import Reply, differences
from harness.tests.smee.requests import Request, requests
from harness.tests.smee.world import asked

pytestmark = pytest.mark.service

SEED: Final = 20261121
COUNT: Final = 1500
HARDWARE: Final = hardware_of_all_kinds()


async def program() -> Path:
    return await ensure_tool("smee", cache_root(), SilentProgress())


async def compared(
    sent: list[Request], *, ours: dict[str, Any] | None = None, **job: Any
) -> tuple[int, list[str]]:
    """Return how many requests smee answered, and every difference. ``ours`` is for the lab only."""
    job = {"do": "dhcp", "hardware": HARDWARE, "requests": [r.to_json() for r in sent], **job}
    smee = str(await program())
    theirs, mine = await asyncio.gather(asked({**job, "smee": smee}), asked({**job, **(ours or {})}))
    found: list[str] = []
    for request in sent:
        pair = (each.get(str(request.xid), []) for each in (theirs, mine))
        first, second = ([Reply.from_json(reply) for reply in replies] for replies in pair)
        assert len(first) < 2
        differing = differences(first[0] if first else None, second[0] if second else None)
        found += [f"{request.xid} ({request.about}): {text}" for text in differing]
        if len(second) > 1:
            found.append(f"{request.xid} ({request.about}): the lab answers {len(second)} times")
    return len(theirs), found


@pytest.mark.parametrize("mode", ["reservation"])
async def test_every_request_gets_the_same_reply_or_the_same_silence(mode: str) -> None:
    sent = requests(SEED, COUNT, macs(HARDWARE))
    answered, found = await compared(sent, mode=mode)
    print(f"{mode}: {COUNT} requests, {answered} answered, {len(found)} differences (seed {SEED})")
    assert not found, "\n".join(found[:40])
    assert COUNT // 4 < answered < COUNT * 9 // 10
