"""Many hundreds of DHCP requests: the lab's server must do as the real smee does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
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
    """Return how many requests smee answered, and every difference; ``ours`` is for the lab."""
    job = {"do": "dhcp", "hardware": HARDWARE, "requests": [r.to_json() for r in sent], **job}
    smee = str(await program())
    theirs, mine = await asyncio.gather(
        asked({**job, "smee": smee}), asked({**job, **(ours or {})})
    )
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


@pytest.mark.parametrize("mode", ["reservation", "proxy", "auto-proxy"])
async def test_every_request_gets_the_same_reply_or_the_same_silence(mode: str) -> None:
    sent = requests(SEED, COUNT, macs(HARDWARE))
    answered, found = await compared(sent, mode=mode)
    print(f"{mode}: {COUNT} requests, {answered} answered, {len(found)} differences (seed {SEED})")
    assert not found, "\n".join(found[:40])
    assert COUNT // 4 < answered < COUNT * 9 // 10


@pytest.mark.parametrize(
    ("mode", "config"),
    [
        ("reservation", {"syslog": "192.168.77.8"}),
        ("reservation", {"enabled": False}),
        ("reservation", {"inject_mac": False, "mac_format": "dash"}),
        ("reservation", {"http": "http://192.168.77.1:7171", "mac_format": "dot"}),
        ("proxy", {"http": "http://boot.example:8080", "mac_format": "no-delimiter"}),
        ("reservation", {"tftp": ["192.168.77.9", 6969], "mac_format": "empty"}),
        ("auto-proxy", {"tftp": ["192.168.77.9", 69], "script_url": "https://s.example/a/b.ipxe"}),
        ("reservation", {"binaries": {"7": "snp-x86_64.efi", "12": "own.efi", "255": "last.efi"}}),
        ("auto-proxy", {"binaries": {"41": "pi.efi", "255": "last.efi", "0": ""}}),
    ],
)
async def test_other_settings_of_smee(mode: str, config: dict[str, Any]) -> None:
    sent = requests(SEED + 1, 240, macs(HARDWARE))
    answered, found = await compared(sent, mode=mode, config=config)
    print(f"{mode} {config}: 240 requests, {answered} answered, {len(found)} differences")
    assert not found, "\n".join(found[:40])


async def test_one_option_that_is_wrong_is_found() -> None:
    sent = requests(SEED, 48, macs(HARDWARE))
    answered, found = await compared(sent, ours={"config": {"syslog": "192.168.77.2"}})
    assert found
    assert len(found) == answered
    assert all("option 7: smee c0a84d01, the lab c0a84d02" in each for each in found)


REPLY: Final = Reply(
    link="ff:ff:ff:ff:ff:ff", source="192.168.77.1", address="255.255.255.255", port=68,
    data=bytes(236) + bytes.fromhex("63825363" "350102" "2b05" "060108" "4500" "0c0161" "ff"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"data": ("0c0161", "0c0162")}, ["option 12: smee 61, the lab 62"]),
        (
            {"data": ("0c0161", "0d0161")},
            ["option 12: smee 61, the lab None", "option 13: smee None"],
        ),
        ({"data": ("060108", "060109")}, ["option 43: smee {6: '08', 69: '0 octets'}"]),
        ({"port": 67}, ["port: smee 68, the lab 67"]),
        ({"link": "52:54:00:00:00:01"}, ["link: smee ff:ff:ff:ff:ff:ff"]),
        ({"address": "192.168.77.10"}, ["address: smee 255.255.255.255"]),
    ],
)
def test_the_comparison_sees(change: dict[str, Any], found: list[str]) -> None:
    changed = dict(change)
    if swap := changed.get("data"):
        changed["data"] = bytes.fromhex(REPLY.data.hex().replace(*swap))
    seen = differences(REPLY, replace(REPLY, **changed))
    assert len(seen) == len(found)
    assert all(text.startswith(start) for text, start in zip(seen, found, strict=True))


def test_the_comparison_looks_through_the_order_and_the_trace() -> None:
    def reply(options: str) -> Reply:
        return replace(REPLY, data=REPLY.data[:240] + bytes.fromhex(options + "ff"))

    trace = reply("2b0b06010845060000000000010c0161")
    other = reply("0c01612b0b45060a0b0c0d0e0f060108")
    assert differences(trace, other) == []
    shorter = reply("0c01612b0a45050a0b0c0d0e060108")
    assert len(differences(trace, shorter)) == 2


def test_silence_is_no_answer() -> None:
    assert differences(None, None) == []
    assert differences(REPLY, None) == ["smee answers, the lab does not"]
    assert differences(None, REPLY) == ["the lab answers, smee does not"]
