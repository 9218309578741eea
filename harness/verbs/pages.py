"""The verbs that show something: what may be said, and what runs came to.

Each imports what it needs when it is used: ``--help`` and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from harness.verbs.verb import Verb


def _configure_schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there, not to stdout")


def _schema(arguments: argparse.Namespace) -> int:
    from harness.scenario.schema import schema_text

    text = schema_text()
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def _configure_faults(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", nargs="?", metavar="PLACE", help="dhcp, tftp, …: all about one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole of it")


def _faults(arguments: argparse.Namespace) -> int:
    from harness.faults.command import faults_command

    return faults_command(arguments.place, json_file=arguments.json)


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


PAGES: Final[dict[str, Verb]] = {
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
}
