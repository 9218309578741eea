"""Eight labs at once, with the same MAC, addresses and names: none sees anything of another."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness.seal import SealedProcess, seal
from harness.tests.crowd import FRAMES
from harness.tests.programs import needs

pytestmark = [pytest.mark.service, needs("busybox")]
LABS = 8


async def test_eight_labs_with_the_same_addresses_see_only_themselves(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    told: dict[int, list[str]] = {number: [] for number in range(LABS)}
    everyone = asyncio.Event()

    async def start(number: int) -> SealedProcess:
        run_dir = tmp_path / f"lab-{number}"
        run_dir.mkdir()

        def on_line(line: str) -> None:
            told[number].append(line)
            if all(told.values()):
                everyone.set()

        argv = [sys.executable, "-m", "harness.tests.crowd", str(number), str(run_dir), str(reads)]
        return await seal(argv, run_dir=run_dir, on_line=on_line, pass_fds=[reads])

    labs = [await start(number) for number in range(LABS)]
    try:
        async with asyncio.timeout(120):
            await everyone.wait()
            assert [lines[0] for lines in told.values()] == ["ready"] * LABS
            os.write(writes, bytes(LABS))  # all at once, with everyone's bridge up
            assert await asyncio.gather(*(lab.wait() for lab in labs)) == [0] * LABS
    finally:
        for lab in labs:
            lab.kill()
        await asyncio.gather(*(lab.wait() for lab in labs))
        os.close(reads)
        os.close(writes)
    for number in range(LABS):
        found = json.loads(told[number][-1])
        assert found["leased"], found
        assert not found["found_before"]
        assert found["private"] == f"<lab {number}>"
        assert found["interfaces"] == ["hook0", "lo", "machine0", "port0"]
        assert found["processes"] < 8  # init, itself, the recorder: nobody else's
        assert (found["discovers"], found["acks"]) == (1, 1)
        captured = (tmp_path / f"lab-{number}" / "capture.pcapng").read_bytes()
        seen = Counter(re.findall(rb"<lab \d+>", captured))
        assert set(seen) == {f"<lab {number}>".encode()}
        assert seen[f"<lab {number}>".encode()] > FRAMES  # each frame, and the DHCP exchange
