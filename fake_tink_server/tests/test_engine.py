"""The engine against what tinkerbell/tink v0.12.2 does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fake_tink_server.answers import ActionOrder, AllowPxe, Change, Code, Note, Refused, Report
from fake_tink_server.engine import Engine
from fake_tink_server.worker_calls import REPORTABLE, WRONG_ACTION, WRONG_TASK
from fake_tink_server.workflow import Action, BootOptions, State, Task, Workflow

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
ID = "default/w"


def make(*tasks: tuple[str, list[str]], **other: Any) -> Workflow:
    return Workflow(
        **{
            "name": "w",
            "global_timeout_s": 1000,
            "tasks": [
                Task(
                    name=f"t{number}",
                    worker=worker,
                    actions=[Action(name=name, image="i", timeout_s=100) for name in names],
                )
                for number, (worker, names) in enumerate(tasks)
            ],
            **other,
        }
    )


def started(*tasks: tuple[str, list[str]], **other: Any) -> tuple[Engine, Workflow]:
    engine = Engine([make(*tasks, **other)])
    engine.start(0.0)
    return engine, engine.workflows[ID]


def say(
    engine: Engine, action: str, state: State, now: float = 1.0, task: str = "t0"
) -> list[Note]:
    return engine.report(Report(workflow_id=ID, task=task, action=action, state=state), now)


def test_two_workers_take_turns() -> None:
    engine, workflow = started((A, ["a1"]), (B, ["b1"]))
    assert [c.action for c in engine.contexts_for(A)] == ["a1"]
    assert engine.contexts_for(B) == []
    say(engine, "a1", State.RUNNING)
    say(engine, "a1", State.SUCCESS)
    assert workflow.state is State.RUNNING
    assert engine.contexts_for(A) == []
    [context] = engine.contexts_for(B)
    assert (context.task, context.action, context.index, context.total) == ("t1", "b1", 1, 2)
    assert context.state is State.PENDING
    say(engine, "b1", State.RUNNING, task="t1")
    notes = say(engine, "b1", State.SUCCESS, task="t1")
    assert [n.state for n in notes if isinstance(n, Change)] == [State.POST, State.SUCCESS]


def test_what_a_worker_is_told_of_an_action() -> None:
    workflow = make((A, ["x"]))
    task = workflow.tasks[0]
    task.volumes, task.environment = ["/dev:/dev"], {"B": "1", "A": "task", "A.": "dot"}
    action = task.actions[0]
    action.volumes, action.environment, action.pid = ["/x:/x"], {"A": "action"}, "host"
    action.command = ["sh", "-c"]
    [order] = Engine([workflow]).actions(ID)
    assert order == ActionOrder(
        task="t0",
        name="x",
        image="i",
        timeout_s=100,
        command=("sh", "-c"),
        worker=A,
        volumes=("/dev:/dev", "/x:/x"),
        environment=("A.=dot", "A=action", "B=1"),
        pid="host",
    )


@pytest.mark.parametrize("end", [State.FAILED, State.TIMEOUT])
def test_a_failure_ends_the_workflow_but_the_server_still_listens(end: State) -> None:
    engine, workflow = started((A, ["x", "y"]))
    say(engine, "x", State.RUNNING, 10.9)
    assert workflow.tasks[0].actions[0].started_at_s == 10
    assert say(engine, "x", end, 15.2) == [Change(workflow_id=ID, before=State.RUNNING, state=end)]
    assert workflow.tasks[0].actions[0].seconds == 5
    assert engine.contexts_for(A) == []
    # a worker that reports once more for the same action revives the workflow, as for real
    assert say(engine, "x", State.RUNNING, 16.0) != []
    assert workflow.state is State.RUNNING


def test_reports_for_another_action_or_task_are_refused() -> None:
    engine, _ = started((A, ["x", "y"]))
    for task, action, text in (("t0", "y", WRONG_ACTION), ("t9", "x", WRONG_TASK)):
        with pytest.raises(Refused) as caught:
            say(engine, action, State.RUNNING, task=task)
        assert (caught.value.code, caught.value.details) == (Code.INVALID_ARGUMENT, text)


def test_the_controller_compares_timeouts_when_a_report_comes() -> None:
    engine, workflow = started((A, ["x", "y"]))
    say(engine, "x", State.RUNNING, 0.0)
    say(engine, "x", State.SUCCESS, 950.0)  # the worker, not the server, enforces x's 100 s
    assert workflow.state is State.RUNNING
    notes = say(engine, "y", State.RUNNING, 1000.5)
    assert [n.state for n in notes if isinstance(n, Change)] == [State.TIMEOUT]
    # and it runs on: the last success still ends it well
    notes = say(engine, "y", State.SUCCESS, 1001.0)
    assert [n.state for n in notes if isinstance(n, Change)] == [State.POST, State.SUCCESS]


def test_no_timeout_is_one_that_has_passed() -> None:
    engine, workflow = started((A, ["x"]))
    workflow.tasks[0].actions[0].timeout_s = 0
    notes = say(engine, "x", State.RUNNING, 5.5)
    assert [n.state for n in notes if isinstance(n, Change)] == [State.RUNNING, State.TIMEOUT]
    assert workflow.tasks[0].actions[0].message == "Action timed out"


def test_boot_options() -> None:
    engine = Engine([make((A, ["x"]), hardware="h", boot=BootOptions(toggle_allow_netboot=True))])
    assert AllowPxe(hardware="h", allow=True) in engine.start(0.0)
    assert len(engine.contexts_for(A)) == 1
    say(engine, "x", State.RUNNING)
    assert AllowPxe(hardware="h", allow=False) in say(engine, "x", State.SUCCESS)

    engine, workflow = started((A, ["x"]), hardware="h", boot=BootOptions(mode="netboot"))
    assert workflow.state is State.PREPARING
    assert engine.contexts_for(A) == []
    engine.booted(ID, 1.0)
    assert len(engine.contexts_for(A)) == 1
    assert engine.booted(ID, 2.0) == []


def test_workflows_that_come_and_go_are_found_for_their_workers() -> None:
    engine, first = started((A, ["x"]))
    saved = engine.snapshot()

    def found(worker: str) -> list[str]:
        return [context.workflow_id for context in engine.contexts_for(worker)]

    assert (found(A), found(B)) == ([ID], [])
    engine.apply(make((A, ["x"]), (B, ["y"]), name="second"), 1.0)
    assert (found(A), found(B)) == ([ID, "default/second"], [])
    engine.remove(first.id)
    assert found(A) == ["default/second"]
    engine.apply(make((B, ["z"]), name="second"), 2.0)
    assert (found(A), found(B)) == ([], ["default/second"])
    engine.restore(saved)
    assert (found(A), found(B)) == ([ID], ["default/second"])


def test_an_id_is_taken_once() -> None:
    engine, workflow = started((A, ["x"]))
    with pytest.raises(ValueError, match="default/w already"):
        engine.add(workflow)


class EngineMachine(RuleBasedStateMachine):
    """Any reports in any order: the engine keeps its promises."""

    @initialize(
        shape=st.lists(
            st.tuples(st.sampled_from([A, B]), st.integers(1, 3)), min_size=1, max_size=3
        )
    )
    def begin(self, shape: list[tuple[str, int]]) -> None:
        self.now = 0.0
        tasks = [(worker, [f"a{n}" for n in range(count)]) for worker, count in shape]
        self.engine, self.workflow = started(*tasks)
        self.succeeded = 0
        self.changes: list[Change] = []

    @rule(step=st.floats(0, 400))
    def time_passes(self, step: float) -> None:
        self.now += step

    @rule(
        task=st.integers(0, 3),
        action=st.integers(0, 3),
        state=st.sampled_from([*State, None]),
        honest=st.booleans(),
    )
    def somebody_reports(self, task: int, action: int, state: State | None, honest: bool) -> None:
        names = (f"t{task}", f"a{action}")
        current = self.workflow.current
        if honest and current is not None:
            names = (current[0].name, current[1].name)
        before = repr(self.workflow)
        report = Report(workflow_id=ID, task=names[0], action=names[1], state=state)
        right = current is not None and names == (current[0].name, current[1].name)
        refused: Refused | None = None
        notes: list[Note] = []
        try:
            notes = self.engine.report(report, self.now)
        except Refused as error:
            refused = error
        if refused is not None:
            assert refused.code is Code.INVALID_ARGUMENT
            assert repr(self.workflow) == before, "a refused report must change nothing"
            assert not right or state not in REPORTABLE
            return
        assert right
        self.changes += [note for note in notes if isinstance(note, Change)]
        self.succeeded += state is State.SUCCESS

    @invariant()
    def successes_come_in_order_and_stay(self) -> None:
        states = [action.state for _, action in self.workflow.actions]
        assert states[: self.succeeded] == [State.SUCCESS] * self.succeeded
        assert State.SUCCESS not in states[self.succeeded :]
        assert self.workflow.current_index == self.succeeded

    @invariant()
    def the_workflow_succeeds_exactly_when_every_action_did(self) -> None:
        done = self.succeeded == len(self.workflow.actions)
        assert (self.workflow.state is State.SUCCESS) == done
        assert self.workflow.state is not State.POST

    @invariant()
    def at_most_one_worker_is_given_work(self) -> None:
        given = {w: self.engine.contexts_for(w) for w in (A, B)}
        contexts = [context for found in given.values() for context in found]
        waiting = self.workflow.state in (State.PENDING, State.RUNNING)
        assert len(contexts) == waiting
        for context in contexts:
            orders = self.engine.actions(ID)
            assert orders[context.index].name == context.action
            assert orders[context.index].worker == context.worker
            assert context in given[context.worker]

    @invariant()
    def changes_form_a_chain(self) -> None:
        state = State.PENDING
        for change in self.changes:
            assert change.before is state
            assert change.state is not state
            state = change.state
        assert state is self.workflow.state


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
