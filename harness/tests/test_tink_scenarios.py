"""The scenarios about Tinkerbell's server, without a machine: their faults, the real workers.

What a boot adds is the way up to the worker. From there on the worker is a process of this host,
the server the same, and the verdict has to come to what the scenario says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from operator import itemgetter
from pathlib import Path

import pytest

from fake_tink_server.conformance.scene import Scene
from fake_tink_server.server import ServerTls
from fake_tink_server.tests.observing import NAMES
from fake_tink_server.tests.real_workers import TINK_AGENT, TINK_WORKER, setup_of
from fake_tink_server.workflow import TERMINAL, State
from harness.certificates import Authority, KeyKind
from harness.faults.plan import FaultPlan
from harness.phases import Phase
from harness.scenario.command import load_all
from harness.scenario.item import Item
from harness.scenario.tests.samples import ROOT, Tape, good_boot
from harness.timeline import Event
from harness.verdict.judge import judge

pytestmark = pytest.mark.service

SCENARIOS = ROOT / "scenarios" / "tink"
ACTIONS = ("print", "write", "read", "disk")
ENDS_WITHIN_S = 40.0
WATCHED_S = 6.0
_ON_ITS_WAY_S = 0.5


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(keys=KeyKind.ECDSA)


def argument(item: Item, key: str, default: str) -> str:
    """Return the value of a kernel argument: the last one counts."""
    found = [word.partition("=")[2] for word in item.kernel_args if word.startswith(f"{key}=")]
    return found[-1] if found else default


def environment(item: Item, folder: Path, authority: Authority) -> Iterator[tuple[str, str]]:
    """Yield what hook-bootkit tells the worker."""
    tls, verified = item.tink.tls, item.tink.verified
    yield "TINKERBELL_TLS", argument(item, "tinkerbell_tls", str(tls).lower())
    yield "TINKERBELL_INSECURE_TLS", str(tls and not verified).lower()
    if item.tink.trusted:
        file = folder / "ca.pem"
        file.write_bytes(authority.certificate)
        yield "SSL_CERT_FILE", str(file)


def _said_at(line: str) -> float:
    """Return when a worker said a line, in seconds since 1970; 0 where it does not tell."""
    with contextlib.suppress(ValueError):
        entry = json.loads(line)
        if "ts" in entry:
            return float(entry["ts"])
        return datetime.fromisoformat(entry["time"]).timestamp()
    return 0.0


async def live(item: Item, folder: Path, authority: Authority) -> Tape:
    """Let the worker live through the scenario; return the boot as it would have been."""
    real = TINK_AGENT if item.worker.image.startswith("tink-agent") else TINK_WORKER
    folder.mkdir()
    async with Scene(setup=await setup_of(real), protocol=real.protocol, folder=folder) as scene:
        plan = FaultPlan(item.faults, record=lambda *_, **__: None, now=time.monotonic)
        scene.strike = plan.at("tink")
        scene.issue = lambda kind, keys: authority.issue(*NAMES, kind=kind, keys=keys)
        own = authority.issue(*NAMES)
        tls = ServerTls(certificate_chain=own.chain, private_key=own.key)
        workflow = scene.add(*ACTIONS)
        scene.behave(ACTIONS[0], seconds=2)  # longer than a connection that a fault ends lives
        plan.begin()
        await scene.start_server(tls if item.tink.tls else None)
        await scene.start_worker(**dict(environment(item, folder, authority)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCHED_S if item.expected_verdict else ENDS_WITHIN_S):
                await scene.timeline.wait_for(lambda _: workflow.state in TERMINAL)
        tape = good_boot().until("guest.worker.started")
        began = tape.events[-1].t
        # What is said in the last moment may be of a call that is on its way.
        ended = time.time() - _ON_ITS_WAY_S
        said = [
            (began + (_said_at(line) - scene.timeline.clock.started_at.timestamp()), line)
            for line in scene.worker.output().splitlines()
            if _said_at(line) < ended
        ]
        seen = [(began + event.t, event) for event in scene.timeline if event.source == "tink"]
        for t, one in sorted([*said, *seen], key=itemgetter(0)):
            if isinstance(one, Event):
                tape.add(t, one.source, one.name, **one.fields)
            else:
                tape.add(t, "syslog", "syslog.message.received", message=one)
        if workflow.state is State.SUCCESS:
            assert not item.expected_verdict, f"{item.id}: it passed"
        tape.add(tape.events[-1].t + 120, "run", "run.finished", outcome="deadline")
        return tape


async def test_every_verdict(tmp_path: Path, authority: Authority) -> None:
    # There is no line here that could lose a frame: what is not the server's fault needs a boot.
    items = [
        item for item in load_all([SCENARIOS]) if all(fault.at == "tink" for fault in item.faults)
    ]
    async with asyncio.TaskGroup() as lives:
        tapes = [
            lives.create_task(live(item, tmp_path / str(number), authority))
            for number, item in enumerate(items)
        ]
    wrong = []
    for item, tape in zip(items, tapes, strict=True):
        verdict, expected = judge(tape.result().events), item.expected_verdict
        if expected is None:
            right = verdict.passed
        else:
            right = (
                verdict.failed_in is Phase(expected.failed_in)
                and verdict.blame == expected.blame
                and fnmatchcase(verdict.because, expected.because or "*")
            )
        if not right:
            wrong.append(f"{item.id}: {verdict.blame}: {verdict.because}")
    assert not wrong, "\n".join(wrong)
    assert len(items) > 1
