"""``python -m fake_tink_server``: serve Tinkerbell YAML to a worker, and say what happens."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fake_tink_server import trust
from harness.errors import LabError, ScenarioError
from harness.timeline import Event, Timeline

if TYPE_CHECKING:
    from fake_tink_server.catalog import Job

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNFIT: Final = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["conformance"]:
        from fake_tink_server.conformance.command import main as conformance

        return conformance(words[1:])
    options = _parser().parse_args(words)
    try:
        jobs = _load(options)
        given = trust.read(options)
        with_file = Timeline(options.json)
    except ScenarioError as error:
        return _complain(error, EXIT_USAGE)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}", EXIT_USAGE)
    for job in jobs:
        for warning in job.warnings:
            sys.stderr.write(f"warning: {warning}\n")
    try:
        return asyncio.run(_serve(options, jobs, given, with_file))
    except ScenarioError as error:
        return _complain(error, EXIT_USAGE)
    except LabError as error:
        return _complain(f"{error}\n    {error.hint}" if error.hint else error, EXIT_UNFIT)
    finally:
        with_file.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fake_tink_server",
        description="Serve Tinkerbell workflows to tink-worker and tink-agent, without a cluster.",
        epilog="`conformance -- COMMAND` judges a worker program instead: `conformance --help`. "
        "Exit: 0 stopped or all workflows succeeded, 1 one did not (with --until-done), "
        "2 bad input, 3 the port can't be had.",
    )
    for kind in ("hardware", "template", "workflow"):
        parser.add_argument(
            f"--{kind}",
            metavar="FILE",
            type=Path,
            action="append",
            default=[],
            help=f"YAML with {kind} objects; may be repeated, and a file may mix kinds",
        )
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=42113, help="0 takes a free one (%(default)s)")
    trust.add_arguments(parser)
    parser.add_argument(
        "--profile",
        choices=("faithful", "fast"),
        default="faithful",
        help="faithful: a v2 agent's call without work is answered after a minute, as by the real "
        "server; fast: at once (%(default)s)",
    )
    parser.add_argument(
        "--state", metavar="FILE", type=Path, help="keep state here, and go on from it if it exists"
    )
    parser.add_argument(
        "--bmc", action="store_true", help="have done at once what bootMode asks of a BMC"
    )
    parser.add_argument(
        "--until-done", action="store_true", help="stop when every workflow reached its end"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every event as JSON lines")
    return parser


def _complain(what: object, status: int) -> int:
    sys.stderr.write(f"{what}\n")
    return status


def _load(options: argparse.Namespace) -> list[Job]:
    from fake_tink_server.catalog import Catalog

    catalog = Catalog()
    files = dict.fromkeys(options.hardware + options.template + options.workflow)
    for path in files:
        catalog.add(path)
    if not catalog.workflows:
        raise ScenarioError(
            "there is no Workflow to serve", hint="give one with --workflow FILE; see --help"
        )
    return catalog.jobs()


async def _serve(
    options: argparse.Namespace, jobs: list[Job], given: trust.Trust, timeline: Timeline
) -> int:
    from fake_tink_server.desk import Profile
    from fake_tink_server.engine import Engine
    from fake_tink_server.server import TinkServer
    from fake_tink_server.workflow import State
    from harness.faults.plan import FaultPlan
    from harness.tasks import TaskKeeper

    timeline.subscribe(_print)

    def record(name: str, /, **fields: Any) -> None:
        timeline.record("tink", name, **fields)

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    tasks = TaskKeeper()
    profile = Profile(options.profile)
    # as the real server, which looks through an agent's workflows in random order
    engine = Engine((job.run for job in jobs), seed=0 if profile is Profile.FAITHFUL else None)
    plan = FaultPlan(
        given.faults,
        record=partial(timeline.record, "faults"),
        now=timeline.clock.now,
        seed=given.seed,
    )
    server = TinkServer(
        engine=engine,
        record=record,
        bind=options.bind,
        port=options.port,
        tls=given.tls,
        issue=given.issue,
        profile=profile,
        state_file=options.state,
        bmc=options.bmc,
        strike=plan.at(trust.PLACE),
    )
    plan.begin()
    async with server:
        waits = {tasks.spawn(stopped.wait(), name="signal")}
        finished = tasks.spawn(server.wait_until_finished(), name="workflows")
        ends = {*waits, finished} if options.until_done else waits
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await tasks.close()
    unfired = plan.finish()
    for sentence in unfired:
        sys.stderr.write(f"warning: {sentence}\n")
    if not options.until_done:
        return EXIT_OK
    succeeded = all(w.state is State.SUCCESS for w in engine.workflows.values())
    return EXIT_OK if succeeded and not unfired else EXIT_FAILED


def _print(event: Event) -> None:
    line = _line(event)
    if line is not None:
        sys.stdout.write(f"{event.t:9.3f}  {line}\n")
        sys.stdout.flush()


def _line(event: Event) -> str | None:
    """Return what a person wants to read of an event; None for what only a machine wants."""
    get = event.get
    match event.name:
        case "service.started":
            return f"listening on {get('address')}:{get('port')} ({get('transport')})"
        case "service.stopped":
            return "stopped"
        case "tink.contexts.sent" if get("workflows"):
            return f"worker {get('worker_id')} is given {', '.join(get('workflows'))}"
        case "tink.action.sent":
            action = f"{get('task')}/{get('action')}"
            return f"agent {get('worker_id')} is given {action} of {get('workflow_id')}"
        case "tink.agent.described":
            return f"agent {get('worker_id')} told of its machine"
        case "tink.bmc.wanted":
            return f"workflow {get('workflow_id')} waits for its BMC ({get('mode')})"
        case "tink.state.lost":
            return f"{get('file')} can't be written any more: {get('reason')}"
        case "tink.actions.sent":
            return f"actions of {get('workflow_id')} sent: {', '.join(get('actions'))}"
        case "tink.action.reported":
            refused = "" if get("accepted") else "  (refused)"
            said = f"  {get('message')}" if get("message") else ""
            state = str(get("state")).removeprefix("STATE_")
            return f"{get('workflow_id')} {get('task')}/{get('action')} {state}{said}{refused}"
        case "tink.workflow.changed":
            before = str(get("before") or "new").removeprefix("STATE_")
            after = str(get("state")).removeprefix("STATE_")
            return f"workflow {get('workflow_id')}: {before} → {after}"
        case "tink.connection.failed":
            return f"{get('peer')} never became gRPC: {get('reason')}"
        case "fault.fired":
            return f"fault: {get('text')}"
        case "tink.rpc.finished" if get("code") != "OK":
            return f"{get('rpc')} answered {get('code')}: {get('details')}"
    return None
