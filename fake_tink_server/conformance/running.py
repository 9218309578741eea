"""Judging how a worker runs an action: order, reports, and what it asks of the docker engine."""

from __future__ import annotations

from typing import Final

from fake_tink_server.conformance.rule import Broken
from fake_tink_server.conformance.scene import (
    PASSWORD,
    REGISTRY,
    USER,
    WORKER_ID,
    Scene,
    is_image,
)
from fake_tink_server.protocol import Protocol
from fake_tink_server.workflow import State
from harness.timeline import Event

TIMEOUT_S: Final = 2
GRACE_S: Final = 15.0


async def _one_container(s: Scene, **action: object) -> Event:
    """Run an action called ``only`` to its end; return what its container was made of."""
    s.add(s.action("only", **action))
    await s.begin()
    await s.report("only")
    made = s.created("only")
    if len(made) != 1:
        raise Broken(f"{len(made)} containers were made for one action")
    return made[0]


async def runs_in_order(s: Scene) -> str:
    names = ["one", "two", "three"]
    workflow = s.add(*names)
    await s.begin()
    [state] = await s.end(workflow)
    said = [(e["action"], e["state"].removeprefix("STATE_")) for e in s.reports()]
    expected = [(name, state) for name in names for state in ("RUNNING", "SUCCESS")]
    if said != expected or state is not State.SUCCESS:
        raise Broken(f"it reported {_told(said)}; the workflow is {state}")
    return f"{_told(said)}; the workflow is SUCCESS"


async def says_running_before_it_runs(s: Scene) -> str:
    s.behave("only", seconds=0.2)
    await _one_container(s)
    running, last = s.reports("only")[0], s.reports("only")[-1]
    started = s.events("docker.container.started")
    ended = s.events("docker.container.ended")
    if not started or not ended:
        raise Broken("it reported an end and its container never ran")
    if running["state"] != "STATE_RUNNING" or running.seq > started[0].seq:
        raise Broken("the container was started before RUNNING was reported")
    if last.seq < ended[0].seq:
        raise Broken(f"{last['state']} was reported before the container had ended")
    return "RUNNING, container, SUCCESS: in that order"


async def names_what_it_reports(s: Scene) -> str:
    workflow = s.add("one", "two")
    await s.begin()
    await s.end(workflow)
    wrong = [e for e in s.events("tink.action.reported") if not e["accepted"]]
    if wrong:
        raise Broken(f"the report {dict(wrong[0].fields)} was refused")
    names = {(e["workflow_id"], e.get("worker_id")) for e in s.reports()}
    if names != {(workflow.id, WORKER_ID)}:
        raise Broken(f"workflow and worker in its reports: {sorted(map(str, names))}")
    return f"every report named {workflow.id}, its task, its action and {WORKER_ID}"


async def reports_a_failure(s: Scene) -> str:
    s.behave("bad", exit_code=3)
    workflow = s.add("bad", "never")
    await s.begin()
    report = await s.report("bad")
    if report["state"] != "STATE_FAILED":
        raise Broken(f"exit status 3 was reported as {report['state']}")
    await s.poll(since=len(s.timeline))
    if s.created("never") or s.reports("never"):
        raise Broken("the action after the failed one was begun")
    return (
        f"exit status 3 became FAILED, nothing was begun after it; the workflow: {workflow.state}"
    )


async def goes_on_after_a_failure(s: Scene) -> str:
    s.behave("bad", exit_code=1)
    first, second = s.add("bad"), s.add("good", name="second")
    await s.begin()
    states = await s.end(first, second)
    if states != [State.FAILED, State.SUCCESS]:
        raise Broken(f"the workflows ended as {states[0]} and {states[1]}")
    return "a workflow failed, and the next one was run"


async def reports_a_timeout(s: Scene) -> str:
    s.behave("hangs", seconds=None)
    s.add(s.action("hangs", timeout_s=TIMEOUT_S), "never")
    await s.begin()
    running = await s.report("hangs", "RUNNING")
    report = await s.report("hangs", within_s=TIMEOUT_S + GRACE_S)
    took_s = report.t - running.t
    if report["state"] == "STATE_SUCCESS" or took_s < TIMEOUT_S - 0.1:
        raise Broken(f"{report['state']} after {took_s:.1f} s; the timeout was {TIMEOUT_S} s")
    await s.poll(since=len(s.timeline))
    if s.created("never"):
        raise Broken("the action after the one that timed out was begun")
    return f"{report['state'].removeprefix('STATE_')} after {took_s:.1f} s of {TIMEOUT_S} s"


async def stops_what_timed_out(s: Scene) -> str:
    s.behave("hangs", seconds=None)
    s.add(s.action("hangs", timeout_s=TIMEOUT_S))
    await s.begin()
    started = await s.see(
        lambda e: (
            e.name == "docker.container.started"
            or (e.name == "tink.action.reported" and e["state"] != "STATE_RUNNING")
        ),
        "a container's start",
    )
    if started.name != "docker.container.started":
        raise Broken(f"{started['state']} was reported, and no container had been started")
    ended = await s.see(
        lambda e: e.name == "docker.container.ended",
        "the end of the container",
        within_s=TIMEOUT_S + GRACE_S,
    )
    return f"the container was ended {ended.t - started.t:.1f} s after its start"


async def removes_its_containers(s: Scene) -> str:
    workflow = s.add("one", "two")
    await s.begin()
    await s.end(workflow)
    for name in [e["container"] for e in s.created()]:
        await s.see(
            lambda e, n=name: e.name == "docker.container.removed" and e["container"] == n,  # type: ignore[misc]
            f"the removal of the container {name}",
            within_s=GRACE_S,
        )
    return "both containers were removed"


async def passes_the_command(s: Scene) -> str:
    words = ["-c", "echo 'a  b'", "", "ü"]
    made = await _one_container(s, command=words)
    if made["command"] != words:
        raise Broken(f"the command {words} became {made['command']}")
    return f"the command is {words}, word by word"


async def leaves_the_images_command(s: Scene) -> str:
    made = await _one_container(s)
    given = [*made.get("entrypoint", []), *made["command"]]
    if given:
        raise Broken(f"an action without a command was started with {given}")
    return "no command was given, and none was set"


async def passes_the_environment(s: Scene) -> str:
    wanted = {"PLAIN": "1", "EQUALS": "a=b=c", "SPACES": " two words ", "EMPTY": ""}
    made = await _one_container(s, environment=wanted)
    given = dict(str(line).partition("=")[::2] for line in made["environment"])
    if missing := {key for key, value in wanted.items() if given.get(key) != value}:
        raise Broken(f"{', '.join(sorted(missing))} did not arrive: {made['environment']}")
    return f"all {len(wanted)} variables arrived, also those with '=', spaces or nothing in them"


async def passes_the_volumes(s: Scene) -> str:
    wanted = ["/dev:/dev", "/etc/x:/y:ro"]
    made = await _one_container(s, volumes=wanted)
    if missing := set(wanted) - set(made["binds"]):
        raise Broken(f"{', '.join(sorted(missing))} is not mounted: {made['binds']}")
    return f"{' and '.join(wanted)} are mounted"


async def passes_the_pid_namespace(s: Scene) -> str:
    s.add(s.action("host", pid="host"), "own")
    await s.begin()
    await s.report("own")
    host, own = ([e.get("pid") for e in s.created(name)] for name in ("host", "own"))
    if host != ["host"] or own != [None]:
        raise Broken(f"pid: host became {host}, no pid became {own}")
    return "pid: host is passed on, and only where it was given"


async def is_privileged(s: Scene) -> str:
    made = await _one_container(s)
    if not made["privileged"]:
        raise Broken("the container may not write disks: it is not privileged")
    return "the container is privileged"


async def mounts_workflow(s: Scene) -> str:
    first, second = s.add("a1", "a2"), s.add("b1", name="second")
    await s.begin()
    await s.end(first, second)
    sources = [
        next((str(b).rpartition(":/workflow")[0] for b in e["binds"] if ":/workflow" in b), None)
        for e in s.created()
    ]
    if None in sources or len(sources) != 3:
        raise Broken(f"not every container has a /workflow: {sources}")
    if sources[0] != sources[1] or sources[2] == sources[0]:
        raise Broken(f"/workflow comes from {sources}")
    return f"/workflow is {sources[0]} for both actions of one workflow, another's is {sources[2]}"


async def pulls_the_image(s: Scene) -> str:
    made = await _one_container(s)
    wanted = f"{REGISTRY}/only:v1"
    pulled = s.events("docker.image.pulled")
    if not pulled or pulled[0]["image"] != wanted or made["image"] != wanted:
        images = [e["image"] for e in pulled]
        raise Broken(f"pulled {images}, ran {made['image']}; expected {wanted}")
    if pulled[0].seq > made.seq:
        raise Broken("the container was made before the image was pulled")
    how = " (DOCKER_REGISTRY was put before it)" if s.protocol is Protocol.V1 else ""
    return f"{wanted} was pulled, then run{how}"


async def shows_credentials(s: Scene) -> str:
    s.behave("only", credentials=(USER, PASSWORD))
    s.add("only")
    await s.begin()
    report = await s.report("only")
    if report["state"] != "STATE_SUCCESS":
        raise Broken(f"an image that needs credentials ended as {report['state']}")
    return "REGISTRY_USERNAME and REGISTRY_PASSWORD were shown to the registry"


async def reports_a_failed_pull(s: Scene) -> str:
    s.behave("bad", pull_error="manifest unknown")
    s.add("bad", "never")
    await s.begin()
    report = await s.report("bad")
    if report["state"] != "STATE_FAILED":
        raise Broken(f"an image that can't be pulled was reported as {report['state']}")
    if s.created():
        raise Broken("a container was made all the same")
    tries = len([e for e in s.events("docker.image.pulled") if is_image(e, "bad")])
    return f"FAILED after {tries} {'try' if tries == 1 else 'tries'}, and no container"


async def says_why_it_failed(s: Scene) -> str:
    reason = "no space left on device"
    s.behave("bad", create_error=reason)
    s.add("bad")
    await s.begin()
    report = await s.report("bad")
    if reason not in str(report.get("message", "")):
        raise Broken(f"the message of {report['state']} is {report.get('message', '')!r}")
    return f"the message is {report['message']!r}"


async def reports_a_container_that_cannot_be(s: Scene) -> str:
    s.behave("made", create_error="no space left on device")
    s.behave("begun", start_error="exec: not found")
    first, second = s.add("made"), s.add("begun", name="second")
    await s.begin()
    states = await s.end(first, second)
    if states != [State.FAILED, State.FAILED]:
        raise Broken(f"create refused: {states[0]}; start refused: {states[1]}")
    return "FAILED, whether create or start was refused"


async def uses_a_local_image(s: Scene) -> str:
    s.behave("local", present=True, pull_status=500, pull_error="no route to host")
    s.add("local")
    await s.begin()
    report = await s.report("local")
    if report["state"] != "STATE_SUCCESS":
        raise Broken(f"the image was there, the registry not: {report['state']}")
    return "no registry, but the image was there: it ran"


async def shows_the_output(s: Scene) -> str:
    line = "a line that only the action prints"
    s.behave("only", output=[line], seconds=0.5)
    s.add("only")
    await s.begin()
    await s.report("only")
    await s.poll(since=len(s.timeline))
    if line not in s.worker.output():
        raise Broken("what the action printed is not in the worker's own output")
    return "what the action printed is in the worker's own output"


def _told(reports: list[tuple[str, str]]) -> str:
    return ", ".join(f"{action} {state}" for action, state in reports) or "nothing"
