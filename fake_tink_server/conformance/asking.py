"""Judging how a worker asks for work: who it says it is, how often, and what it leaves alone."""

from __future__ import annotations

import itertools
from typing import Final

from fake_tink_server.conformance.rule import Broken
from fake_tink_server.conformance.scene import OTHER_ID, POLLS, WORKER_ID, Scene
from fake_tink_server.workflow import State

WATCHED_S: Final = 3.0
MAX_POLLS_PER_S: Final = 20.0
MAX_CPU: Final = 0.5


async def asks_with_its_id(s: Scene) -> str:
    await s.begin()
    poll = await s.poll()
    if poll.get("worker_id") != WORKER_ID:
        raise Broken(f"it called itself {poll.get('worker_id')!r}, and was told {WORKER_ID}")
    return f"{POLLS[s.protocol]} came as {WORKER_ID}"


async def asks_again(s: Scene) -> str:
    await s.begin()
    times = [(await s.poll()).t]
    for _ in range(2):
        times.append((await s.poll(since=len(s.timeline))).t)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return f"three calls without work, {' and '.join(f'{gap:.1f}' for gap in gaps)} s apart"


async def asks_at_a_bounded_pace(s: Scene) -> str:
    await s.begin()
    await s.poll()
    before, cpu_before_s = len(s.polls()), s.worker.cpu_s()
    await s.watch(WATCHED_S)
    rate = (len(s.polls()) - before) / WATCHED_S
    cpu = max(0.0, s.worker.cpu_s() - cpu_before_s) / WATCHED_S
    evidence = f"{rate:.1f} calls/s and {cpu:.0%} of a CPU while there was no work"
    if rate > MAX_POLLS_PER_S or cpu > MAX_CPU:
        raise Broken(f"{evidence}; bounds: {MAX_POLLS_PER_S:g} calls/s, {MAX_CPU:.0%}")
    return evidence


async def idles(s: Scene) -> str:
    await s.begin()
    await s.poll()
    await s.watch(WATCHED_S)
    if told := s.events("tink.action.reported"):
        raise Broken(f"it reported {told[0].get('action')!r} without having been given anything")
    if s.events("docker.container.created", "docker.image.pulled"):
        raise Broken("it pulled an image or made a container without having been given anything")
    return f"alive and quiet for {WATCHED_S:g} s"


async def leaves_others_work_alone(s: Scene) -> str:
    s.add("theirs", name="other", worker=OTHER_ID)
    mine = s.add_tasks((WORKER_ID, ["mine"]), (OTHER_ID, ["later"]))
    await s.begin()
    await s.report("mine")
    since = len(s.timeline)
    for _ in range(2):
        await s.poll(since=since)
        since = len(s.timeline)
    touched = {e.get("action") for e in s.events("tink.action.reported")} - {"mine"}
    if touched:
        raise Broken(f"it reported on {', '.join(map(str, sorted(touched)))}, another worker's")
    if len(s.created("theirs")) + len(s.created("later")):
        raise Broken("it ran another worker's action")
    if mine.state is not State.RUNNING:
        raise Broken(f"the workflow is {mine.state} after the worker's own task")
    return "it ended its own task, asked twice more and touched neither of the other's actions"


async def fetches_only_what_it_was_offered(s: Scene) -> str:
    s.add("theirs", name="other", worker=OTHER_ID)
    s.add("mine")
    await s.begin()
    await s.report("mine")
    fetched = {e.get("workflow_id") for e in s.events("tink.actions.sent")}
    if fetched != {"default/first"}:
        raise Broken(f"it fetched the actions of {', '.join(map(str, sorted(fetched)))}")
    return "it fetched the actions of its own workflow and of no other"


async def takes_one_workflow_after_another(s: Scene) -> str:
    first, second = s.add("a1", "a2"), s.add("b1", name="second")
    await s.begin()
    states = await s.end(first, second)
    if states != [State.SUCCESS, State.SUCCESS]:
        raise Broken(f"the workflows ended as {states[0]} and {states[1]}")
    running: str | None = None
    for event in s.reports():
        if event["state"] == "STATE_RUNNING":
            if running not in (None, event["action"]):
                raise Broken(f"{event['action']} was begun while {running} ran")
            running = event["action"]
        else:
            running = None
    return "both ended SUCCESS, one action at a time"


async def ends_on_sigterm(s: Scene) -> str:
    import signal

    await s.begin()
    await s.poll()
    s.worker.send(signal.SIGTERM)
    status = await s.wait(s.worker.process.wait(), "its end after SIGTERM", within_s=10, exits=True)
    return f"it ended with status {status}"


async def ends_on_sigterm_in_mid_action(s: Scene) -> str:
    import signal

    s.behave("long", seconds=None)
    s.add("long")
    await s.begin()
    await s.report("long", "RUNNING")
    s.worker.send(signal.SIGTERM)
    status = await s.wait(s.worker.process.wait(), "its end after SIGTERM", within_s=20, exits=True)
    return f"it ended with status {status} while an action ran"
