"""The verbs about this host and this checkout: built, tested, measured, cleared.

Each imports what it needs when it is used: ``--help`` and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Final

from harness.errors import ScenarioError
from harness.verbs.verb import Verb


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


def _bench(arguments: argparse.Namespace) -> int:
    from harness.bench.command import bench_command

    return bench_command(arguments.parts, times=arguments.times, json_file=arguments.json)


HOST: Final[dict[str, Verb]] = {
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
}
