"""The verbs that boot machines, or play what a machine meets.

Each imports what it needs when it is used: ``--help`` and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from harness.paths import STARTS
from harness.verbs.verb import Verb


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
    parser.add_argument(
        "command", nargs="*", default=[], metavar="COMMAND", help="shell: run this instead"
    )


def _attach(arguments: argparse.Namespace) -> int:
    from harness.attach import attach_command

    return attach_command(
        arguments.run_dir, arguments.how, arguments.command, console=arguments.console
    )


def _configure_tink(parser: argparse.ArgumentParser) -> None:
    # all that follows is the tool's own, its --help as well
    parser.add_argument("words", nargs=argparse.REMAINDER)


def _tink(arguments: argparse.Namespace) -> int:
    from fake_tink_server.cli import main

    return main(arguments.rest, prog="hooklab tink")


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


BOOTS: Final[dict[str, Verb]] = {
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
    "storm": Verb(
        summary="send simulated machines by the hundred through a whole netboot",
        examples="""\
  hooklab storm                                 1000 machines: DHCP, TFTP, HTTP, registry, gRPC
  hooklab storm --machines 200 --over 0         200 that are powered on at once""",
        configure=_configure_storm,
        run=_storm,
    ),
}
