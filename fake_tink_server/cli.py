"""``python -m fake_tink_server``: serve Tinkerbell YAML to a worker, and say what happens."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from harness.errors import LabError, ScenarioError
from harness.output import escape_unknown_characters

if TYPE_CHECKING:
    from fake_tink_server.standalone import Server
    from harness.tasks import TaskKeeper
    from harness.timeline import Event, Timeline

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNFIT: Final = 3

_KEPT: Final = 10_000
"""Events in memory: an idle tink-worker makes as many in two hours."""

_DESCRIPTION: Final = """\
Serve Tinkerbell's workflows to tink-worker (v0.12) and tink-agent (v0.25), without a cluster.

PATH is a YAML file or a folder of them, with Hardware, Template, Workflow and WorkflowRuleSet
objects (tinkerbell.org/v1alpha1); a file may hold several, of any kind. A file that is a
Template's data alone (`tasks:` at its top) will do, too."""

_EPILOG: Final = """\
examples:
  {prog} lab/
      all objects of a folder, for workers on this host; a table shows what they do
  {prog} --template hello.yaml --worker 52:54:00:12:34:56
      no Workflow written yet: one is made, with that worker as device_1
  {prog} lab/ --watch
      edits of the files are taken over; a mistake is told with file, line and column
  {prog} lab/ --port 0 --until-done --events events.jsonl
      for a script: ends when every workflow has; what happened is in the file
  {prog} lab/ --events - --plain 2>/dev/null | jq -r 'select(.name == "tink.action.reported")'
      events as they happen
  {prog} lab/ --bind 0.0.0.0 --tls-name tink.lan --throwaway-ca ca/
      TLS; ca/ca.pem is what a worker has to trust
  {prog} lab/ --faults faults.yaml
      misbehave on cue; the vocabulary: hooklab faults tink
  {prog} conformance -- ./my-worker
      judge a worker program, rule by rule

A worker of this host finds the server so:
  ID=52:54:00:12:34:56 TINKERBELL_GRPC_AUTHORITY=127.0.0.1:42113 TINKERBELL_TLS=false tink-worker

exit status: 0 stopped, or every workflow succeeded; 1 one did not (with --until-done);
             2 bad input; 3 the port can't be had"""


def main(arguments: Sequence[str] | None = None, *, prog: str | None = None) -> int:
    """Run the command; return its exit status."""
    escape_unknown_characters()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["conformance"]:
        from fake_tink_server.conformance.command import main as conformance

        return conformance(words[1:])
    parser = _parser(prog or _called())
    options = parser.parse_args(words)
    try:
        with _open_timeline(options.events) as timeline:
            server = _make_server(options, timeline)
            for warning in server.warnings:
                sys.stderr.write(f"warning: {warning}\n")
            return asyncio.run(_serve(options, server))
    except ScenarioError as error:
        return _complain(error, EXIT_USAGE)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}", EXIT_USAGE)
    except LabError as error:
        return _complain(f"{error}\n    {error.hint}" if error.hint else error, EXIT_UNFIT)


def _called() -> str:
    name = Path(sys.argv[0]).name
    return name if name == "fake-tink-server" else "python -m fake_tink_server"


def _parser(prog: str) -> argparse.ArgumentParser:
    from fake_tink_server import trust

    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [PATH ...] [options]\n       {prog} conformance [options] -- COMMAND",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(prog=prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_objects(parser.add_argument_group("what is served"))
    _add_serving(parser.add_argument_group("how it is served"))
    trust.add_arguments(parser)
    _add_output(parser.add_argument_group("what is told"))
    return parser


def _add_objects(group: argparse._ArgumentGroup) -> None:
    group.add_argument("paths", nargs="*", metavar="PATH", type=Path, help="file or folder")
    for kind in ("hardware", "template", "workflow"):
        group.add_argument(
            f"--{kind}",
            dest="paths_too",
            metavar="PATH",
            type=Path,
            action="append",
            default=[],
            help=f"the same, for {kind} objects by custom; may be repeated",
        )
    group.add_argument(
        "--worker",
        metavar="ID",
        action="append",
        default=[],
        help="make a Workflow for each Template that none names: the first ID is device_1, "
        "a second one device_2, …",
    )
    group.add_argument(
        "--device",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_pair,
        help="what else a template may name in such a Workflow; may be repeated",
    )
    group.add_argument(
        "--watch",
        action="store_true",
        help="take edits of the files over; a Workflow that comes out otherwise begins anew",
    )


def _add_serving(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--bind", default="127.0.0.1", help="address to listen on (%(default)s)")
    group.add_argument("--port", type=_port, default=42113, help="0 takes a free one (%(default)s)")
    group.add_argument(
        "--profile",
        choices=("faithful", "fast"),
        default="faithful",
        help="faithful: a v2 agent's call without work is answered after a minute, as by the real "
        "server; fast: at once (%(default)s)",
    )
    group.add_argument(
        "--state", metavar="FILE", type=Path, help="keep state here, and go on from it if it exists"
    )
    group.add_argument(
        "--bmc", action="store_true", help="have done at once what bootMode asks of a BMC"
    )
    group.add_argument(
        "--auto-discovery",
        action="store_true",
        help="make a Hardware for each v2 agent that has none",
    )
    group.add_argument(
        "--auto-discovery-namespace",
        metavar="NAME",
        default="default",
        help="where (%(default)s)",
    )
    group.add_argument(
        "--auto-discovery-enroll",
        action="store_true",
        help="let such an agent be enrolled more than once",
    )
    group.add_argument(
        "--tinkerbell",
        metavar="RELEASE",
        choices=["v0.12.2", "v0.25.0"],
        help="render templates, and fail or wait, as this one: v0.12.2 or v0.25.0 (default: "
        "templates as v0.25.0, all else as the worker that reports)",
    )
    group.add_argument(
        "--faults",
        metavar="FILE",
        type=Path,
        help="misbehave as the `faults:` list in this YAML file says; `at: tink` only",
    )


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--until-done", action="store_true", help="stop when every workflow reached its end"
    )
    group.add_argument(
        "--events",
        metavar="FILE",
        help="write every event as a line of JSON; `-`: to standard output, and all else to "
        "standard error",
    )
    group.add_argument(
        "--plain",
        action="store_true",
        help="a line for each change instead of the table; so it is without a terminal, too",
    )


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _complain(what: object, status: int) -> int:
    sys.stderr.write(f"{what}\n")
    return status


@contextlib.contextmanager
def _open_timeline(events: str | None) -> Iterator[Timeline]:
    from harness.timeline import Timeline

    file = None if events in (None, "-") else Path(str(events))
    timeline = Timeline(file, keep=_KEPT)
    if events == "-":
        timeline.subscribe(lambda event: _say(sys.stdout, event.to_json()))
    try:
        yield timeline
    finally:
        timeline.close()


def _make_server(options: argparse.Namespace, timeline: Timeline) -> Server:
    from fake_tink_server.settings import Settings
    from fake_tink_server.sources import Sources
    from fake_tink_server.standalone import Server
    from fake_tink_server.trust import wish_of

    sources = Sources(
        paths=list(dict.fromkeys([*options.paths, *options.paths_too])),
        workers=options.worker,
        devices=dict(options.device),
    )
    server = Server(
        sources,
        Settings(
            bind=options.bind,
            port=options.port,
            profile=options.profile,
            state_file=options.state,
            bmc=options.bmc,
            discovery=options.auto_discovery,
            discovery_namespace=options.auto_discovery_namespace,
            enroll_discovered=options.auto_discovery_enroll,
            release=options.tinkerbell,
        ),
        wish=wish_of(options),
        timeline=timeline,
        watch=options.watch,
    )
    if not server.has_work and not options.watch:
        raise ScenarioError(
            "there is no Workflow to serve",
            hint="give one with --workflow FILE, or --worker ID to have one made; see --help",
        )
    return server


async def _serve(options: argparse.Namespace, server: Server) -> int:
    from harness.tasks import TaskKeeper

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    tasks = TaskKeeper()
    told = sys.stderr if options.events == "-" else sys.stdout
    with _shown(server, told, tasks, plain=options.plain) as say:
        async with server:
            if server.ca_file is not None:
                say(f"the CA's certificate is {server.ca_file}")
            with contextlib.suppress(ValueError):  # several workers, or none yet
                words = [f"{key}={value}" for key, value in server.environment().items()]
                say(f"for a worker: {shlex.join(words)}")
            server.timeline.on_write_error(tasks.fail)
            ends: set[asyncio.Future[Any]] = {server.failure, tasks.failure}
            ends.add(tasks.spawn(stopped.wait(), name="signal"))
            if options.until_done:
                ends.add(tasks.spawn(server.all_ended(), name="workflows"))
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for failure in (server.failure, tasks.failure):
                if failure.done():
                    failure.result()
        await tasks.close()
    unfired = server.finish_faults()
    for sentence in unfired:
        sys.stderr.write(f"warning: {sentence}\n")
    if not options.until_done:
        return EXIT_OK
    succeeded = all(w.state.short == "SUCCESS" for w in server.workflows.values())
    return EXIT_OK if succeeded and not unfired else EXIT_FAILED


@contextlib.contextmanager
def _shown(
    server: Server, stream: TextIO, tasks: TaskKeeper, *, plain: bool
) -> Iterator[Callable[[str], None]]:
    """Show what happens for as long as the context lasts: as a table, or line by line."""
    from fake_tink_server.lines import lines_of

    if not plain and stream.isatty():
        from fake_tink_server.table import LiveTable, terminal

        console = terminal(stream)
        if console is not None:
            from fake_tink_server.board import Board

            board = Board(lambda: server.workflows)
            server.timeline.subscribe(board.hear)
            with LiveTable(board, console, server.timeline.clock.now) as table:
                tasks.spawn(table.run(), name="table")
                yield board.say
            return

    def show(event: Event) -> None:
        for line in lines_of(event):
            _say(stream, line)

    server.timeline.subscribe(show)
    yield lambda line: _say(stream, f"{'':9}  {line}")


def _say(stream: TextIO, line: str) -> None:
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except BrokenPipeError:
        # whoever read this has gone (`… | head`): as good as a wish to stop
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        signal.raise_signal(signal.SIGTERM)
