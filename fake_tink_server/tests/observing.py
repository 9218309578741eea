"""Lets a real program live through one row of the table, and tells what it did."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from pathlib import Path
from typing import Any, Final

from fake_tink_server.conformance.scene import POLLS, REPORT, Scene
from fake_tink_server.engine import Engine
from fake_tink_server.server import ServerTls
from fake_tink_server.tests.real_table import Case, Seen, Stage
from fake_tink_server.tests.real_workers import Real, setup_of
from fake_tink_server.workflow import TERMINAL, Workflow
from harness.certificates import Authority
from harness.faults.deeds import Deed
from harness.faults.plan import FaultPlan
from harness.timeline import Event

NAMES: Final = ("localhost", "127.0.0.1")
DOWN_S: Final = 1.0
_MANY: Final = 5
"""So many reports of one state in a row count as "again and again"."""
_CALLS: Final = (*POLLS.values(), REPORT)
_SETTLED_WITHIN_S: Final = 40.0


class Observation:
    """One program, one case."""

    def __init__(self, *, case: Case, scene: Scene, authority: Authority, folder: Path) -> None:
        self._case = case
        self._scene = scene
        self._authority = authority
        self._folder = folder
        self._reported: list[str] = []
        self._plan = FaultPlan(case.faults, record=lambda *_, **__: None, now=time.monotonic)
        self._polls_unanswered = 0
        scene.strike = self._strike
        scene.issue = lambda kind, keys: authority.issue(*NAMES, kind=kind, keys=keys)

    def _strike(self, occasion: str, /, **facts: Any) -> tuple[Deed, ...]:
        if occasion == "call" and facts.get("rpc") == REPORT:
            self._reported.append(str(facts.get("state")))
        return self._plan.strike("tink", occasion, **facts)

    async def run(self, expected: Seen, *, watch_s: float) -> Seen:
        """Return what was seen once it is what is ``expected``, or time is over.

        A worker that is to wait is watched for its action's time and ``watch_s`` from then on.
        """
        scene, stage = self._scene, self._case.row.stage
        workflow = self._add(stage)
        self._plan.begin()
        await scene.start_server(self._tls(stage))
        await scene.start_worker(**self._environment(stage))
        if stage.restart != "no":
            workflow = await self._restart(stage, workflow)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLED_WITHIN_S):
                if expected.settles:
                    await self._settled(workflow)
                else:
                    await scene.timeline.wait_for(lambda _: self._is(expected, workflow))
        if expected.then == "waits":
            await scene.watch(stage.takes_s + watch_s)
        return self._seen(workflow)

    def _is(self, expected: Seen, workflow: Workflow) -> bool:
        seen = self._seen(workflow)
        alike = seen.model_copy(update={"over": expected.over, "says": expected.says})
        return alike == expected and not self._plan.unfired()

    def _add(self, stage: Stage) -> Workflow:
        scene = self._scene
        first = {"exit_code": stage.exits, "seconds": None if stage.hangs else stage.takes_s}
        scene.behave("two", seconds=stage.takes_s)
        scene.behave("one", **first)
        steps = [scene.action(name, timeout_s=stage.timeout_s) for name in ("one", "two")]
        return scene.add(*steps[: stage.actions])

    def _tls(self, stage: Stage) -> ServerTls | None:
        if stage.tls == "off":
            return None
        own = self._authority.issue(*NAMES)
        wanted = self._authority.certificate if stage.tls == "mutual" else None
        return ServerTls(certificate_chain=own.chain, private_key=own.key, client_ca=wanted)

    def _environment(self, stage: Stage) -> dict[str, str]:
        if stage.tls == "off":
            return {}
        if stage.tls == "insecure":
            return {"TINKERBELL_TLS": "true", "TINKERBELL_INSECURE_TLS": "true"}
        file = self._folder / "ca.pem"
        file.write_bytes(self._authority.certificate)
        return {"TINKERBELL_TLS": "true", "SSL_CERT_FILE": str(file)}

    async def _restart(self, stage: Stage, workflow: Workflow) -> Workflow:
        """Stop the server while the last action runs, and start it again."""
        scene = self._scene
        await scene.report(("one", "two")[stage.actions - 1], "RUNNING")
        await scene.stop_server()
        await scene.watch(DOWN_S)
        if stage.restart == "lost":
            scene.engine = Engine()
            workflow = self._add(stage)
        await scene.start_server()
        return workflow

    async def _settled(self, workflow: Workflow) -> None:
        """Return when the worker asks for work after all was done, or has ended."""
        scene = self._scene
        poll = POLLS[scene.protocol]

        def asks(event: Event) -> bool:
            over = workflow.state in TERMINAL
            return over and event.name == "tink.rpc.received" and event.get("rpc") == poll

        asked = asyncio.ensure_future(scene.timeline.wait_for(asks, since=len(scene.timeline)))  # noqa: TID251 - ended below
        ended = asyncio.ensure_future(scene.worker.process.wait())  # noqa: TID251
        try:
            await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            ended.cancel()
            await asyncio.gather(asked, ended, return_exceptions=True)

    # -- what was seen

    def _seen(self, workflow: Workflow) -> Seen:
        scene = self._scene
        return Seen(
            workflow=workflow.state.name,
            runs=self._runs(),
            reports=told(self._reported),
            then=self._then(workflow),
            over=len(scene.events("tink.connection.accepted")),
        )

    def _runs(self) -> int:
        started = len(self._scene.events("docker.container.started"))
        return started or self._scene.worker.output().count('"starting container"')

    def _then(self, workflow: Workflow) -> str:
        scene = self._scene
        status = scene.worker.process.returncode
        if status is not None:
            return f"ended {status}"
        calls = [e for e in scene.events("tink.rpc.received") if e.get("rpc") in _CALLS]
        if not calls and len(scene.events("tink.connection.failed")) > 1:
            return "retries"
        if workflow.state in TERMINAL and calls[-1]["rpc"] == POLLS[scene.protocol]:
            return "asks"
        return "repeats" if told(self._reported).endswith("…") else "waits"


def told(states: list[str]) -> str:
    """Return states in order, in short: ``RUNNING SUCCESS x3``, ``RUNNING SUCCESS …``."""
    words: list[str] = []
    for state, group in itertools.groupby(states):
        times = len(list(group))
        words.append(state)
        if times > 1:
            words.append("…" if times >= _MANY else f"x{times}")
    return " ".join(words) or "none"


def printed(output: str) -> list[str]:
    """Return the lines of ``output``; of a structured one its message and its error."""
    lines = []
    for line in output.splitlines():
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                line = ": ".join(str(entry[key]) for key in ("msg", "error") if entry.get(key))
        lines.append(line)
    return lines


async def observe(
    real: Real,
    case: Case,
    expected: Seen,
    *,
    authority: Authority,
    folder: Path,
    watch_s: float,
) -> tuple[Seen, list[str]]:
    """Return what ``real`` did, and the lines it printed."""
    folder.mkdir()
    async with Scene(setup=await setup_of(real), protocol=real.protocol, folder=folder) as scene:
        one = Observation(case=case, scene=scene, authority=authority, folder=folder)
        seen = await one.run(expected, watch_s=watch_s)
        return seen, printed(scene.worker.output())
