"""The command line: one table of verbs, each of which imports what it needs when it is used.

Exit status: 0 all well, 1 a scenario or a test ended otherwise than it should, 2 a bad scenario
or bad usage, 3 the host is unfit or a build failed, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from harness import __version__
from harness.errors import BuildFailed, HostUnfit, LabError, ScenarioError
from harness.output import escape_unknown_characters
from harness.paths import STARTS

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNFIT = 3
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One thing that ``hooklab`` can do."""

    summary: str
    examples: str
    """Shown below the options by ``hooklab VERB --help``: whole command lines, with a word each."""
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    passes_on: bool = False
    """Whether words that are not its own go on, as ``arguments.rest``."""
    own_help: bool = False
    """Whether ``--help`` is one of those words."""


def _configure_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="scenario or folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write outcomes and verdicts")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML, for a CI")
    parser.add_argument(
        "--pause-on-failure",
        action="store_true",
        help="keep the lab of a boot that failed alive until Ctrl-C, and say how to look into it",
    )
    parser.add_argument(
        "-j",
        "--jobs",
        type=_jobs,
        default=1,
        metavar="N",
        help="at most N at once, as far as this host has room; auto: as many as fit (default: 1)",
    )
    parser.add_argument(
        "--start",
        choices=STARTS,
        help="where runs begin, whatever their scenarios say: cold at power-on, auto at the "
        "latest point that there is a checkpoint of",
    )
    parser.add_argument(
        "--repeat",
        type=_repeat,
        default=1,
        metavar="N",
        help="run each N times, each time with the next seed, and compare what they came to",
    )
    _configure_choice(parser)


def _repeat(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return int(text)


def _jobs(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected auto or a number above 0, found {text!r}")
    return int(text)


def _configure_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-k", dest="only", metavar="WORD", help="only items whose name has WORD")
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the scenarios, as a file with that base would: the key's path has "
        "dots, the value is YAML, a file in it is relative to here; may be repeated",
    )


def _run(arguments: argparse.Namespace) -> int:
    from harness.scenario.command import run_command

    return run_command(
        arguments.paths,
        json_file=arguments.json,
        junit_file=arguments.junit,
        pause_on_failure=arguments.pause_on_failure,
        only=arguments.only,
        changes=arguments.changes,
        jobs=arguments.jobs,
        start=arguments.start,
        repeat=arguments.repeat,
    )


def _configure_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="SCENARIO", help="a scenario")
    _configure_choice(parser)


def _up(arguments: argparse.Namespace) -> int:
    from harness.scenario.command import up_command

    return up_command(arguments.path, only=arguments.only, changes=arguments.changes)


def _configure_attach(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="its folder, or that one's name")
    parser.add_argument(
        "how", nargs="?", choices=("serial", "monitor", "shell"), default="serial",
        help="serial line (as when left out), QEMU's monitor, or a shell in the lab's namespaces",
    )  # fmt: skip
    parser.add_argument(
        "--console", choices=("ttyS0", "ttyS1"), default="ttyS0", help="which serial line"
    )
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="shell: run this instead")


def _attach(arguments: argparse.Namespace) -> int:
    from harness.attach import attach_command

    return attach_command(
        arguments.run_dir, arguments.how, arguments.command, console=arguments.console
    )


def _configure_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result for programs")


def _build(arguments: argparse.Namespace) -> int:
    from harness.hook.command import build_command

    return build_command(json_file=arguments.json)


def _test(arguments: argparse.Namespace) -> int:
    from harness.dev.test import test_command

    return test_command(arguments.rest)


def _doctor(arguments: argparse.Namespace) -> int:
    from harness.doctor import doctor_command

    return doctor_command(json_file=arguments.json)


def _configure_schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there, not to stdout")


def _schema(arguments: argparse.Namespace) -> int:
    from harness.scenario.schema import schema_text

    text = schema_text()
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return EXIT_OK


def _configure_faults(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", nargs="?", metavar="PLACE", help="dhcp, tftp, …: all about one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole of it")


def _faults(arguments: argparse.Namespace) -> int:
    from harness.faults.command import faults_command

    return faults_command(arguments.place, json_file=arguments.json)


def _configure_tink(parser: argparse.ArgumentParser) -> None:
    # all that follows is the tool's own, its --help as well
    parser.add_argument("words", nargs=argparse.REMAINDER)


def _tink(arguments: argparse.Namespace) -> int:
    from fake_tink_server.cli import main

    return main(arguments.rest, prog="hooklab tink")


def _configure_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of these"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="of several runs: write the index there"
    )


def _report(arguments: argparse.Namespace) -> int:
    from harness.report.command import report_command

    return report_command(arguments.paths, output=arguments.output)


def _configure_diff(parser: argparse.ArgumentParser) -> None:
    for name in ("before", "after"):
        parser.add_argument(
            name, type=Path, metavar=name.upper(), help="a file of run --json, or a folder of runs"
        )


def _diff(arguments: argparse.Namespace) -> int:
    from harness.report.comparison import diff_command

    return diff_command(arguments.before, arguments.after)


def _configure_trend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="RUN",
        help="look at these run folders (or folders of them), not at what this host remembers",
    )  # fmt: skip
    parser.add_argument("--scenario", metavar="NAME", help="only items with this in their name")
    parser.add_argument("--accel", choices=("kvm", "tcg"), help="only runs under this one")
    parser.add_argument("--start", metavar="HOW", help="only cold ones, or from this checkpoint")
    parser.add_argument("--since", metavar="WHEN", help="only later ones: 2026-11-20, or 7d")
    parser.add_argument("--html", type=Path, metavar="FILE", help="draw them on a page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result for programs")
    parser.add_argument(
        "--fail-on-regression", action="store_true", help="exit with 1 when a phase became slower"
    )


def _trend(arguments: argparse.Namespace) -> int:
    from harness.trend.command import trend_command
    from harness.trend.records import Wanted, parse_since

    wanted = Wanted(
        scenario=arguments.scenario,
        accel=arguments.accel,
        start=arguments.start,
        since=parse_since(arguments.since) if arguments.since else None,
    )
    return trend_command(
        arguments.paths,
        wanted,
        html_file=arguments.html,
        json_file=arguments.json,
        fail_on_regression=arguments.fail_on_regression,
    )


def _configure_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="boot, build, frames, lab, registry, report, resume, servers, suite, timeline; "
        "all by default",
    )
    parser.add_argument("-n", dest="times", type=int, default=3, help="repetitions (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")


def _configure_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=("show", "clear"), default="show")
    parser.add_argument(
        "names", nargs="*", metavar="KIND|KEY", help="clear these only: kinds, starts of keys"
    )
    parser.add_argument(
        "--older-than", type=_duration, metavar="TIME", help="clear what was not used for so long"
    )
    parser.add_argument(
        "--verify", action="store_true", help="read all checkpoints; remove damaged ones"
    )
    _configure_json(parser)


def _duration(text: str) -> timedelta:
    from harness.values import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _cache(arguments: argparse.Namespace) -> int:
    from harness.cached import cache_command

    clears = arguments.what == "clear"
    if not clears and (arguments.names or arguments.older_than is not None):
        raise ScenarioError("only clear takes names and an age", hint="hooklab cache clear …")
    if clears and arguments.verify:
        raise ScenarioError("--verify reads what clear removes", hint="leave one of them out")
    return cache_command(
        clear=arguments.names if clears else None,
        older_than=arguments.older_than,
        verify=arguments.verify,
        json_file=arguments.json,
    )


def _configure_storm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--machines", type=int, default=1000, metavar="N", help="how many (default: 1000)"
    )
    parser.add_argument(
        "--over",
        type=float,
        metavar="SECONDS",
        help="power them on evenly over so long (default: 50 machines a second)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")


def _storm(arguments: argparse.Namespace) -> int:
    from harness.storm.command import storm_command

    return storm_command(
        machines=arguments.machines, over_s=arguments.over, json_file=arguments.json
    )


def _bench(arguments: argparse.Namespace) -> int:
    from harness.bench.command import bench_command

    return bench_command(arguments.parts, times=arguments.times, json_file=arguments.json)


VERBS: dict[str, Verb] = {
    "run": Verb(
        summary="boot the machines of scenarios and say how far they got, and why",
        examples="""\
  hooklab run scenarios/hello.yaml              one scenario, every firmware it names
  hooklab run scenarios/hello.yaml -k uefi      only the items with 'uefi' in their name
  hooklab run scenarios/ --json out.json        a folder; outcomes and verdicts for a program
  hooklab run scenarios/ -j auto                several labs at once, as many as fit
  hooklab run scenarios/wire --repeat 5         five times each, with other seeds: always the same?
  hooklab run scenarios/hello.yaml --set worker=tink-agent@v0.25.0 --set machine.firmware=uefi
                                                another worker, one firmware
  hooklab run scenarios/hello.yaml --set stack=smee
                                                the real smee serves the netboot
  hooklab run scenarios/hello.yaml --pause-on-failure
                                                look into the lab where it went wrong""",
        configure=_configure_run,
        run=_run,
    ),
    "up": Verb(
        summary="boot a machine and keep its lab alive until Ctrl-C, to work with it",
        examples="""\
  hooklab up scenarios/hello.yaml -k uefi       its lab stays when the workflow is over
  hooklab up scenarios/hello.yaml -k uefi --set deadline=60min
                                                time to do things by hand""",
        configure=_configure_up,
        run=_up,
    ),
    "attach": Verb(
        summary="look into a lab that runs: serial line, QEMU's monitor, a shell",
        examples="""\
  hooklab attach runs/hello-uefi-0007           the serial line; Ctrl-] leaves
  hooklab attach hello-uefi-0007 serial --console ttyS1
  hooklab attach hello-uefi-0007 monitor        'info status', 'info registers', 'system_reset'
  hooklab attach hello-uefi-0007 shell          in the lab's network and mounts, as its root
  hooklab attach hello-uefi-0007 shell -- tcpdump -ni hook0 port 67""",
        configure=_configure_attach,
        run=_attach,
    ),
    "build": Verb(
        summary="build the embedded Hook, the worker and the action images",
        examples="""\
  hooklab build                                 says at once when nothing has changed
  hooklab build --json build.json               where the files are, for a program""",
        configure=_configure_json,
        run=_build,
    ),
    "test": Verb(
        summary="run the linters, every test and every scenario of this checkout",
        examples="""\
  hooklab test                                  everything: what .ci/run calls
  hooklab test harness/wire -k dhcp             what pytest is given goes to pytest
  hooklab test -m 'not boot'                    without the scenarios that boot a guest""",
        configure=lambda parser: None,
        run=_test,
        passes_on=True,
    ),
    "doctor": Verb(
        summary="say what this host lacks for a lab, and what to do about it",
        examples="""\
  hooklab doctor                                a line a check; exit 3 when one fails
  hooklab doctor --json doctor.json             the same for a program""",
        configure=_configure_json,
        run=_doctor,
    ),
    "schema": Verb(
        summary="print the JSON Schema of a scenario, for editors",
        examples="""\
  hooklab schema --output scenario.schema.json
  # then, as the first line of a scenario:
  # yaml-language-server: $schema=scenario.schema.json""",
        configure=_configure_schema,
        run=_schema,
    ),
    "faults": Verb(
        summary="list what can be made to go wrong, with an example of each",
        examples="""\
  hooklab faults                                the places, and what 'when' tests everywhere
  hooklab faults dhcp                           facts, deeds and fields of one place
  hooklab faults --json faults.json             all of it, for a program""",
        configure=_configure_faults,
        run=_faults,
    ),
    "tink": Verb(
        summary="serve Tinkerbell's workflows to a worker of your own, without a machine",
        examples="""\
  hooklab tink lab/ --watch                     the objects of a folder, and what is edited
  hooklab tink conformance -- ./my-worker       judge a worker program, rule by rule""",
        configure=_configure_tink,
        run=_tink,
        passes_on=True,
        own_help=True,
    ),
    "report": Verb(
        summary="write the report of a run again, or an index of several",
        examples="""\
  hooklab report runs/hello-uefi-0007           judged anew from its timeline.jsonl
  hooklab report runs/                          an index of all: runs/index.html
  hooklab report runs/a-uefi-0001 runs/a-uefi-0002
                                                and what tells the two apart""",
        configure=_configure_report,
        run=_report,
    ),
    "diff": Verb(
        summary="say which scenarios ended otherwise than before; exit 1 when any did",
        examples="""\
  hooklab diff before.json after.json           two files that hooklab run --json FILE wrote
  hooklab diff last-night/runs runs/            two folders of runs
                                                how long a run took is no difference""",
        configure=_configure_diff,
        run=_diff,
    ),
    "bench": Verb(
        summary="measure boots, builds and the lab itself; hooklab trend shows it over time",
        examples="""\
  hooklab bench                                 everything; takes a while
  hooklab bench boot -n 5                       cold hello by phase, and the same boot by hand
  hooklab bench build                           an unchanged build, and one changed component
  hooklab bench lab registry                    start and stop of a lab; pulls over loopback
  hooklab bench servers                         against dnsmasq, nginx, docker-registry and others
  hooklab bench frames                          through the wire, the plain bridge, a capture
  hooklab bench resume                          saving and resuming, against the cold way
  hooklab bench suite                           scenarios a minute, one and several at once
  hooklab bench timeline report                 what events and a page of 200,000 frames cost""",
        configure=_configure_bench,
        run=_bench,
    ),
    "trend": Verb(
        summary="show what each phase took over many runs, and where it became slower",
        examples="""\
  hooklab trend                                 every run that this host remembers
  hooklab trend --scenario hello --since 7d --html trend.html
                                                the last week of one scenario, drawn
  hooklab trend runs/                           the run folders below runs/
  hooklab trend --fail-on-regression            exit status 1 when a phase became slower""",
        configure=_configure_trend,
        run=_trend,
    ),
    "cache": Verb(
        summary="show what was downloaded, built and saved, and make room",
        examples="""\
  hooklab cache                                 by kind, and what each checkpoint is of
  hooklab cache clear checkpoints               a kind; or the start of a checkpoint's key
  hooklab cache clear --older-than 7d           all but records, when not used for a week
  hooklab cache --verify                        read every checkpoint, remove damaged ones""",
        configure=_configure_cache,
        run=_cache,
    ),
    "storm": Verb(
        summary="send simulated machines by the hundred through a whole netboot",
        examples="""\
  hooklab storm                                 1000 machines: DHCP, TFTP, HTTP, registry, gRPC
  hooklab storm --machines 200 --over 0         200 that are powered on at once""",
        configure=_configure_storm,
        run=_storm,
    ),
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    width = max(map(len, VERBS))
    table = "\n".join(f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="hooklab",
        usage="hooklab VERB [...]",
        description="Boots Tinkerbell's Hook over an emulated network and says how far it got.",
        epilog=f"""verbs:
{table}

start here:
  hooklab run scenarios/hello.yaml              power-on to a finished workflow
  hooklab VERB --help                           what a verb takes, with examples

exit status: 0 all well, 1 a scenario or test failed, 2 bad scenario or usage,
             3 the host is unfit (see: hooklab doctor), 130 interrupted""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hooklab {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", help=argparse.SUPPRESS)
    for name, verb in VERBS.items():
        verb.configure(
            verbs.add_parser(
                name,
                prog=f"hooklab {name}",
                description=verb.summary[0].upper() + verb.summary[1:] + ".",
                epilog=f"examples:\n{verb.examples}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
                add_help=not verb.own_help,
            )
        )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own); return the exit status."""
    escape_unknown_characters()
    words = list(sys.argv[1:] if argv is None else argv)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, from the start
    parser = make_parser()
    arguments, rest = parser.parse_known_args(words)
    if arguments.verb is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    verb = VERBS[arguments.verb]
    if rest and not verb.passes_on:
        parser.error(f"unknown: {' '.join(rest)} (see: hooklab {arguments.verb} --help)")
    # What follows the verb goes on in the order it was typed, not as argparse sorted it.
    arguments.rest = words[words.index(arguments.verb) + 1 :]
    try:
        return verb.run(arguments)
    except KeyboardInterrupt:
        print("hooklab: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`hooklab ... | head`): not worth a message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"hooklab: {told}", file=sys.stderr)
        return EXIT_UNFIT
    except LabError as error:
        print(explain(error), file=sys.stderr)
        return exit_status(error)


def exit_status(error: LabError) -> int:
    """Return the exit status that stands for ``error``."""
    if isinstance(error, ScenarioError):
        return EXIT_USAGE
    if isinstance(error, HostUnfit | BuildFailed):
        return EXIT_UNFIT
    return EXIT_FAILED


def explain(error: LabError) -> str:
    """Return what went wrong and what to do about it, for a person."""
    if isinstance(error, ScenarioError):
        return str(error)  # carries its place and its hint already
    return f"hooklab: {error}" + (f"\n    {error.hint}" if error.hint else "")
