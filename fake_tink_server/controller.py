"""What tink-controller does when it sees a workflow that changed, in v0.12.2 and in v0.25.0.

A cluster has one controller; this server speaks to workers of both generations. The rule: **the
protocol of the report that came last decides whose controller looks at the workflow.** Before the
first report both do the same. They differ in this:

==================== =================================== ======================================
what                 v0.12.2 (v1)                        v0.25.0 (v2)
==================== =================================== ======================================
action's timeout     compared when a report comes; 0     never: the agent's business
                     (or none) has passed already
global timeout       compared when a report comes: a     a timer, set when the first action runs,
                     worker that died leaves the         so it strikes without any report; it
                     workflow RUNNING for ever           adds the agent's clock skew; 0 strikes
                                                         at once
after POST           SUCCESS                             the state of the action reported last
BMC after POST       ``iso``                             ``iso``, ``isoboot``, ``customboot``
==================== =================================== ======================================

Both set ``allowPXE`` true before and false after the work when ``toggleAllowNetboot`` is set.
What can't be prepared (no Hardware, no BMC, no ISO) v0.12.2 tries again for ever, and v0.25.0 calls
FAILED: so does this one unless it was told that it is v0.12.2.
"""

from __future__ import annotations

from fake_tink_server.answers import AllowPxe, BmcWanted, Change, Note
from fake_tink_server.protocol import Protocol
from fake_tink_server.workflow import State, Workflow


def move(workflow: Workflow, state: State) -> list[Note]:
    """Put ``workflow`` into ``state``; return the change, if it is one."""
    before = workflow.state
    if before is state:
        return []
    workflow.state = state
    return [Change(workflow_id=workflow.id, before=before, state=state)]


def reconcile(workflow: Workflow, now_s: float) -> list[Note]:
    """Do the controller's part for a workflow that changed; ``now_s`` is wall-clock seconds."""
    if workflow.state is State.NEW:
        return _begin(workflow)
    if workflow.state is State.RUNNING:
        if workflow.protocol is Protocol.V2:
            return _watch_v2(workflow, now_s)
        return _watch_v1(workflow, now_s)
    if workflow.state is State.POST:
        return _finish(workflow)
    return []


def booted(workflow: Workflow) -> list[Note]:
    """Go on after the BMC did what was wanted of it."""
    boot = workflow.boot
    if workflow.state is State.PREPARING and (boot.mode != "customboot" or boot.preparing_actions):
        return move(workflow, State.PENDING)
    if workflow.state is State.POST:
        boot.post_done = True
        return move(workflow, _last_state(workflow))
    return []


def _begin(workflow: Workflow) -> list[Note]:
    workflow.agent = next((task.worker for task in workflow.tasks if task.worker), "")
    boot = workflow.boot
    if workflow.disabled:
        return []
    if not boot.toggle_allow_netboot and not boot.mode:
        return move(workflow, State.PENDING)
    notes = move(workflow, State.PREPARING)
    if boot.toggle_allow_netboot:
        if not workflow.hardware:
            return notes + _unprepared(workflow)
        notes.append(AllowPxe(hardware=workflow.hardware, allow=True))
    if not boot.mode:
        return notes + move(workflow, State.PENDING)
    if not workflow.hardware:
        return notes + _unprepared(workflow)
    if boot.mode == "customboot" and not boot.preparing_actions:
        return notes  # and so it stays: the controller waits for a job that it never made
    if not boot.bmc or (boot.mode in ("iso", "isoboot") and not boot.iso_url):
        return notes + _unprepared(workflow)
    return [*notes, BmcWanted(workflow_id=workflow.id, mode=boot.mode, post=False)]


def _unprepared(workflow: Workflow) -> list[Note]:
    """v0.12.2 tries again for ever."""
    return [] if workflow.protocol is Protocol.V1 else move(workflow, State.FAILED)


def _in_go(seconds: int) -> float:
    """Return ``seconds`` as Go's Duration has them: nanoseconds in 64 bits, 292 years at most."""
    return ((seconds * 10**9 + 2**63) % 2**64 - 2**63) / 10**9


def _watch_v1(workflow: Workflow, now_s: float) -> list[Note]:
    notes: list[Note] = []
    opening = workflow.tasks[0].actions[:1]
    first = opening[0].started_at_s if opening else None
    if first is None:
        # v0.12.2 takes the first action's start for granted, and dies of it before it looks further
        _follow(workflow)
        return []
    if now_s > first + _in_go(workflow.global_timeout_s):
        notes += move(workflow, State.TIMEOUT)
    for _, action in workflow.actions:
        started = action.started_at_s
        if action.state is not State.RUNNING or started is None:
            continue
        if now_s > started + _in_go(action.timeout_s):
            action.state = State.TIMEOUT
            action.message = "Action timed out"
            action.seconds = int(now_s - started)
            notes += move(workflow, State.TIMEOUT)
    _follow(workflow)
    return notes


def _watch_v2(workflow: Workflow, now_s: float) -> list[Note]:
    stop = workflow.global_stop_s
    if stop is not None:
        if now_s > stop:
            return move(workflow, State.TIMEOUT)
        _follow(workflow)
        return []
    _follow(workflow)
    first = next((action for action in workflow.tasks[0].actions), None)
    here = workflow.current_state
    if first is None or here is None or first.id != here.action_id or first.started_at_s is None:
        return []
    skew = max(0.0, now_s - first.started_at_s)
    # Kubernetes stores whole seconds
    workflow.global_stop_s = int(now_s + _in_go(workflow.global_timeout_s) + skew)
    return _watch_v2(workflow, now_s)


def _follow(workflow: Workflow) -> None:
    """Hand the workflow to the next task's worker when a task is done."""
    here = workflow.current_state
    ids = [task.id for task in workflow.tasks]
    if here is None or here.task_id not in ids[:-1]:
        return
    place = ids.index(here.task_id)
    done, following = workflow.tasks[place], workflow.tasks[place + 1]
    if any(action.state is not State.SUCCESS for action in done.actions):
        return
    if following.actions and following.actions[0].state is State.PENDING:
        workflow.agent = following.worker


def _finish(workflow: Workflow) -> list[Note]:
    boot, notes = workflow.boot, list[Note]()
    if boot.toggle_allow_netboot and not boot.toggled_back:
        if not workflow.hardware:
            return move(workflow, State.FAILED)
        notes.append(AllowPxe(hardware=workflow.hardware, allow=False))
        boot.toggled_back = True
    if not boot.post_done and _wants_bmc_after(workflow):
        if not boot.bmc or (boot.mode != "customboot" and not boot.iso_url):
            return notes + move(workflow, State.FAILED)
        return [*notes, BmcWanted(workflow_id=workflow.id, mode=boot.mode, post=True)]
    return notes + move(workflow, _last_state(workflow))


def _wants_bmc_after(workflow: Workflow) -> bool:
    boot = workflow.boot
    if workflow.protocol is not Protocol.V2:
        return boot.mode == "iso"
    return boot.mode in ("iso", "isoboot") or (boot.mode == "customboot" and boot.post_actions)


def _last_state(workflow: Workflow) -> State:
    here = workflow.current_state
    return here.state if workflow.protocol is Protocol.V2 and here else State.SUCCESS
