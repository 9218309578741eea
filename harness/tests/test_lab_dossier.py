"""A dossier is taken in five seconds, whatever of the lab still answers."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from harness.dossier import read_dossier
from harness.lab_dossier import DossierTaker
from harness.machine.tests.test_machine import Bench, bench
from harness.net import pcapng
from harness.timeline import named

LIMIT_S = 5.0


def taker(made: Bench, folder: Path) -> DossierTaker:
    blocks = [pcapng.section(application="test"), pcapng.interface("hook0")]
    blocks += [pcapng.packet(10**9 * n, bytes(60)) for n in range(100)]
    (folder / "capture.pcapng").write_bytes(b"".join(blocks))
    return DossierTaker(
        made.machine, run_dir=folder, timeline=made.timeline, states=lambda: {"tink": {"w": "x"}}
    )


def kept(folder: Path) -> dict[str, str]:
    dossier = read_dossier(folder)
    assert dossier is not None
    return {one.name: (folder / one.path).read_text("utf-8", "replace") for one in dossier.items}


async def test_without_a_machine_the_rest_is_kept(tmp_path: Path) -> None:
    made = Bench(tmp_path)
    made.timeline.record("dhcp", "dhcp.discover.received", mac="52:54:00:00:00:01")
    await taker(made, tmp_path).take("nothing moves")
    items = kept(tmp_path)
    assert {"connections", "frames", "servers", "missing"} <= set(items)
    assert len(items["frames"].splitlines()) == 60
    servers = json.loads(items["servers"])
    assert servers["states"] == {"tink": {"w": "x"}}
    assert servers["last_events"]["dhcp"][0]["name"] == "dhcp.discover.received"
    assert "CPU registers" in items["missing"]
    (begun,) = named(made.timeline, "dossier.begun")
    (taken,) = named(made.timeline, "dossier.taken")
    assert begun["reason"] == "nothing moves"
    assert taken["items"] == list(items)


async def test_a_folder_that_is_no_more_hides_nothing(tmp_path: Path) -> None:
    made = Bench(tmp_path)
    await DossierTaker(made.machine, run_dir=tmp_path / "gone", timeline=made.timeline).take(
        "nothing moves"
    )
    assert [event.name for event in made.timeline] == ["dossier.begun"]


async def test_servers_that_can_not_tell_are_left_out(tmp_path: Path) -> None:
    made = Bench(tmp_path)

    def broken() -> dict[str, object]:
        raise KeyError("tink")

    await DossierTaker(made.machine, run_dir=tmp_path, timeline=made.timeline, states=broken).take(
        "x"
    )
    assert "KeyError" in kept(tmp_path)["missing"]


@pytest.mark.machine
async def test_a_qemu_that_hangs_does_not_hold_it_up(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.machine.start()
        assert made.machine.pid is not None
        os.kill(made.machine.pid, signal.SIGSTOP)
        try:
            began = made.timeline.clock.now()
            await taker(made, tmp_path).take("nothing moves")
            assert made.timeline.clock.now() - began < LIMIT_S
        finally:
            os.kill(made.machine.pid, signal.SIGCONT)
    items = kept(tmp_path)
    assert {"frames", "connections", "servers"} <= set(items)
    assert "no answer within" in items["missing"]
