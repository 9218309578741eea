"""``python -m fake_tink_server conformance -- COMMAND``: judge a worker program, rule by rule."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import quoteattr

from harness.errors import LabError, ScenarioError

if TYPE_CHECKING:
    from fake_tink_server.conformance.rule import Judgement, Rule

EXIT_CONFORMS: Final = 0
EXIT_BROKEN: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_EPILOG: Final = """\
COMMAND is started once a rule, against a server in a state of its own, with this environment on
top of yours: ID, WORKER_ID, TINKERBELL_GRPC_AUTHORITY, TINKERBELL_TLS, TINKERBELL_INSECURE_TLS,
DOCKER_HOST, AGENT_DOCKER_SOCKET, DOCKER_REGISTRY, REGISTRY_USERNAME, REGISTRY_PASSWORD.
In its words {id}, {authority}, {host}, {port}, {docker}, {docker_socket}, {registry}, {user} and
{password} are replaced.
A worker that asks seldom makes the kit slow: RETRY_INTERVAL=200ms … for tink-worker.
Exit: 0 every required rule is honoured, 1 one is not, 2 bad usage."""


def main(arguments: Sequence[str]) -> int:
    """Run the verb; return its exit status."""
    options = _parser().parse_args(arguments)
    if options.list:
        _list()
        return EXIT_CONFORMS
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        return _complain("there is no COMMAND to judge; like: conformance -- ./my-worker --flag")
    try:
        rules = _chosen(options.only)
        return asyncio.run(_run(options, command, rules))
    except ScenarioError as error:
        return _complain(str(error))
    except LabError as error:
        return _complain(f"{error}" + (f"\n    {error.hint}" if error.hint else ""))
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fake_tink_server conformance",
        usage="%(prog)s [options] -- COMMAND…",
        description="Start a worker program against the server; say, rule by rule, what it does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--protocol", choices=("auto", "v1", "v2"), default="auto",
        help="what the worker speaks; auto: told by its first call (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--only", metavar="RULE", action="append", default=[],
        help="judge this rule, by number or name; may be repeated",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the rules and stop")
    parser.add_argument("--jobs", type=_positive, default=4, help="rules at a time (%(default)s)")
    parser.add_argument(
        "--patience", metavar="SECONDS", type=_positive, default=30,
        help="how long the worker may take for its next step (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result as JSON")
    parser.add_argument("--junit", metavar="FILE", type=Path, help="write the result as JUnit XML")
    parser.add_argument(
        "--server-log", action="store_true", help="print what server and engine see, as JSON lines"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _chosen(names: Sequence[str]) -> list[Rule]:
    from fake_tink_server.conformance.rules import RULES, find_rule
    from harness.documents import suggest

    if not names:
        return list(RULES)
    found = []
    for name in names:
        rule = find_rule(name)
        if rule is None:
            hint = suggest(name, [known.name for known in RULES]) or "see --list"
            raise ScenarioError(f"there is no rule {name!r}", hint=hint)
        found.append(rule)
    return sorted(set(found), key=RULES.index)


async def _run(options: argparse.Namespace, command: list[str], rules: list[Rule]) -> int:
    from fake_tink_server.conformance.kit import conforms, find_protocol, judge
    from fake_tink_server.conformance.scene import Setup
    from fake_tink_server.protocol import Protocol

    setup = Setup(
        command=command,
        patience_s=options.patience,
        server_log=_say if options.server_log else None,
    )
    if options.protocol == "auto":
        found = await find_protocol(setup)
        if found is None:
            _say(f"{command[0]} made no call for work within {options.patience} s; see --patience")
            return EXIT_BROKEN
        protocol = found
    else:
        protocol = Protocol(options.protocol)
    _say(f"{shlex.join(command)}: protocol {protocol}")
    judged = await judge(
        setup, protocol, rules=rules, jobs=options.jobs, tell=lambda j: _say(_line(j))
    )
    _say(_summary(judged))
    if options.json:
        options.json.write_text(_json(command, protocol, judged))
    if options.junit:
        options.junit.write_text(_junit(command, judged))
    return EXIT_CONFORMS if conforms(judged) else EXIT_BROKEN


def _list() -> None:
    from fake_tink_server.conformance.rules import RULES

    for number, rule in enumerate(RULES, 1):
        notes = [] if rule.required else ["recommended"]
        notes += [] if len(rule.protocols) > 1 else [f"{next(iter(rule.protocols))} only"]
        _say(f"{number:3}  {rule.name:20} {rule.must}{f' ({chr(44).join(notes)})' * bool(notes)}")


def _line(judgement: Judgement) -> str:
    rule = judgement.rule
    outcome = str(judgement.outcome)
    if outcome == "fail" and not rule.required:
        outcome = "no"
    return f"{judgement.number:3}  {outcome:5} {rule.name:20} {judgement.evidence}"


def _summary(judged: Sequence[Judgement]) -> str:
    required = [j for j in judged if j.rule.required]
    counts: dict[str, int] = {}
    for judgement in required:
        counts[str(judgement.outcome)] = counts.get(str(judgement.outcome), 0) + 1
    words = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    others = [j for j in judged if not j.rule.required]
    honoured = sum(1 for j in others if j.outcome == "pass")
    more = f"; recommended: {honoured} of {len(others)}" if others else ""
    return f"required: {words or 'none'}{more}"


def _json(command: list[str], protocol: str, judged: Sequence[Judgement]) -> str:
    data: dict[str, Any] = {
        "command": command,
        "protocol": str(protocol),
        "rules": [
            {
                "number": j.number,
                "name": j.rule.name,
                "must": j.rule.must,
                "required": j.rule.required,
                "outcome": str(j.outcome),
                "evidence": j.evidence,
                "seconds": j.seconds,
            }
            for j in judged
        ],
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _junit(command: list[str], judged: Sequence[Judgement]) -> str:
    lines = ['<?xml version="1.0" encoding="utf-8"?>']
    failures = sum(1 for j in judged if j.outcome == "fail" and j.rule.required)
    lines.append(
        f'<testsuite name={quoteattr(shlex.join(command))} tests="{len(judged)}" '
        f'failures="{failures}">'
    )
    for j in judged:
        head = (
            f'  <testcase classname="conformance" name={quoteattr(j.rule.name)} time="{j.seconds}"'
        )
        kind = None
        if j.outcome == "fail" and j.rule.required:
            kind = "failure"
        elif j.outcome != "pass":
            kind = "skipped"
        inner = f"><{kind} message={quoteattr(j.evidence)}/></testcase>" if kind else "/>"
        lines.append(head + inner)
    lines.append("</testsuite>")
    return "\n".join(lines) + "\n"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return EXIT_USAGE
