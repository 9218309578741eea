"""``python -m fake_tink_server``: serve Tinkerbell YAML to a worker, and say what happens."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import LabError, Position, ScenarioError
from harness.timeline import Event, Timeline

if TYPE_CHECKING:
    from fake_tink_server.catalog import Job
    from fake_tink_server.server import ServerTls

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
        tls = _tls(options)
        with_file = Timeline(options.json)
    except ScenarioError as error:
        return _complain(error, EXIT_USAGE)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}", EXIT_USAGE)
    for job in jobs:
        for warning in job.warnings:
            sys.stderr.write(f"warning: {warning}\n")
    try:
        return asyncio.run(_serve(options, jobs, tls, with_file))
    except LabError as error:
        return _complain(f"{error}\n    {error.hint}" if error.hint else error, EXIT_UNFIT)
    finally:
        with_file.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fake_tink_server",
        description="Serve Tinkerbell workflows to tink-worker v1, without a cluster.",
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
    parser.add_argument("--tls-cert", metavar="PEM", type=Path, help="serve TLS with this chain")
    parser.add_argument("--tls-key", metavar="PEM", type=Path, help="its private key")
    parser.add_argument(
        "--tls",
        metavar="CA.pem",
        type=Path,
        help="serve TLS with a certificate of a throwaway CA, and write the CA's to this file",
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


def _tls(options: argparse.Namespace) -> ServerTls | None:
    if options.tls_cert is None and options.tls_key is None and options.tls is None:
        return None
    if options.tls is not None:
        return _throwaway_tls(options.tls, options.bind)
    if options.tls_cert is None or options.tls_key is None:
        raise ScenarioError("--tls-cert and --tls-key belong together")
    from fake_tink_server.server import ServerTls

    for path in (options.tls_cert, options.tls_key):
        if not path.is_file():
            raise ScenarioError("there is no such file", at=Position(file=path))
    return ServerTls(
        certificate_chain=options.tls_cert.read_bytes(), private_key=options.tls_key.read_bytes()
    )


def _throwaway_tls(ca_file: Path, bind: str) -> ServerTls:
    import trustme

    from fake_tink_server.server import ServerTls

    ca = trustme.CA()
    names = {"localhost", "127.0.0.1", bind} - {"0.0.0.0", "::"}
    leaf = ca.issue_cert(*sorted(names))
    ca.cert_pem.write_to_path(str(ca_file))
    return ServerTls(
        certificate_chain=b"".join(blob.bytes() for blob in leaf.cert_chain_pems),
        private_key=leaf.private_key_pem.bytes(),
    )


async def _serve(
    options: argparse.Namespace, jobs: list[Job], tls: ServerTls | None, timeline: Timeline
) -> int:
    from fake_tink_server.engine import Engine
    from fake_tink_server.server import TinkServer
    from fake_tink_server.workflow import State
    from harness.tasks import TaskKeeper

    timeline.subscribe(_print)

    def record(name: str, /, **fields: Any) -> None:
        timeline.record("tink", name, **fields)

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    tasks = TaskKeeper()
    engine = Engine(job.run for job in jobs)
    server = TinkServer(engine=engine, record=record, bind=options.bind, port=options.port, tls=tls)
    async with server:
        waits = {tasks.spawn(stopped.wait(), name="signal")}
        finished = tasks.spawn(server.wait_until_finished(), name="workflows")
        ends = {*waits, finished} if options.until_done else waits
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        await tasks.close()
    if not options.until_done:
        return EXIT_OK
    succeeded = all(w.state is State.SUCCESS for w in engine.workflows.values())
    return EXIT_OK if succeeded else EXIT_FAILED


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
        case "tink.rpc.finished" if get("code") != "OK":
            return f"{get('rpc')} answered {get('code')}: {get('details')}"
    return None
