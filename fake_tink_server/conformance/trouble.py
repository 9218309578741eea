"""Judging what a worker does when the server refuses, is gone, or the machine starts again."""

from __future__ import annotations

from fake_tink_server.conduct import Conduct, Goaway
from fake_tink_server.conformance.rule import Broken, NotJudged
from fake_tink_server.conformance.scene import POLLS, REPORT, Scene
from fake_tink_server.workflow import State, Workflow


async def _must_succeed(s: Scene, workflow: Workflow, action: str = "only") -> None:
    [state] = await s.end(workflow)
    if state is not State.SUCCESS:
        raise Broken(f"the workflow ended as {state}")
    started = [e for e in s.events("docker.container.started")]
    if len(started) > 1:
        raise Broken(f"{action} was run {len(started)} times")


async def reports_until_heard(s: Scene) -> str:
    s.behave("only", seconds=0.5)
    workflow = s.add("only")
    await s.begin()
    await s.report("only", "RUNNING")
    s.refusals.left[REPORT] = 3
    await _must_succeed(s, workflow)
    if len(s.refusals.refused) != 3:
        raise Broken(f"the end was reported {len(s.refusals.refused)} times")
    return "UNAVAILABLE three times, heard the fourth time; the action ran once"


async def insists_on_running(s: Scene) -> str:
    workflow = s.add("only")
    s.refusals.left[REPORT] = 2
    await s.begin()
    await _must_succeed(s, workflow)
    first = s.reports("only")[0]
    began = s.events("docker.container.started")
    if first["state"] != "STATE_RUNNING" or (began and began[0].seq < first.seq):
        raise Broken("the action was run although RUNNING was never accepted")
    return "RUNNING was refused twice with UNAVAILABLE; the action ran once, after it was accepted"


async def survives_refused_polls(s: Scene) -> str:
    workflow = s.add("only")
    s.refusals.left[POLLS[s.protocol]] = 3
    await s.begin()
    await _must_succeed(s, workflow)
    return "asking for work was refused three times with UNAVAILABLE, then the work was done"


async def survives_a_restart_of_the_server(s: Scene) -> str:
    s.behave("only", seconds=1.0)
    workflow = s.add("only")
    await s.begin()
    await s.report("only", "RUNNING")
    await s.stop_server()
    await s.watch(2.0)
    await s.start_server()
    await _must_succeed(s, workflow)
    return "the server was gone for 2 s in mid-action; the result arrived, the action ran once"


async def survives_a_reset(s: Scene) -> str:
    s.conducts = [Conduct(reset_after_s=1.0)]
    return await _broken_connection(s, "reset")


async def survives_goaway(s: Scene) -> str:
    s.conducts = [Conduct(goaway=Goaway(after_s=1.0))]
    return await _broken_connection(s, "ended by GOAWAY")


async def _broken_connection(s: Scene, how: str) -> str:
    """Let the first connection break while an action runs."""
    s.behave("only", seconds=2.0)
    workflow = s.add("only")
    await s.begin()
    await _must_succeed(s, workflow)
    connections = len(s.events("tink.connection.accepted"))
    if connections < 2:
        raise NotJudged("its connection was not in use any more when it should have broken")
    return f"its connection was {how} in mid-action; it made another, the action ran once"


async def waits_for_the_server(s: Scene) -> str:
    await s.start_server()
    await s.stop_server()
    await s.start_worker()
    await s.watch(2.0)
    await s.start_server()
    await s.poll()
    return "it was started 2 s before the server, and found it"


async def takes_up_after_a_reboot(s: Scene) -> str:
    s.behave("only", seconds=1.5)
    workflow = s.add("only", "next")
    await s.begin()
    await s.report("only", "RUNNING")
    await s.worker.kill()
    s.docker.forget()
    await s.start_worker()
    [state] = await s.end(workflow)
    if state is not State.SUCCESS:
        raise Broken(f"the machine started again in mid-action, the workflow ended as {state}")
    return "the machine started again in mid-action: the action was run anew, then the next one"


async def speaks_tls(s: Scene) -> str:
    await s.start_server(s.throwaway_tls())
    await s.start_worker(TINKERBELL_TLS="true", TINKERBELL_INSECURE_TLS="true")
    await s.poll()
    return "with TINKERBELL_TLS and TINKERBELL_INSECURE_TLS true it calls over TLS"


async def distrusts_a_strange_certificate(s: Scene) -> str:
    await s.start_server(s.throwaway_tls())
    await s.start_worker(TINKERBELL_TLS="true", TINKERBELL_INSECURE_TLS="false")
    await s.wait(_moment(s), "3 s of a server with a strange certificate", exits=True)
    if s.polls():
        raise Broken("it sent its call to a server whose certificate nobody vouches for")
    return "with TINKERBELL_TLS true it sent nothing to a server nobody vouches for"


async def _moment(s: Scene) -> None:
    import asyncio
    import contextlib

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3.0):
            await s.timeline.wait_for(lambda e: e.name == "tink.rpc.received")
