"""The command line: its verbs, and what their failures mean for the exit status.

Exit status: 0 all well, 1 a scenario or a test ended otherwise than it should, 2 a bad scenario
or bad usage, 3 the host is unfit or a build failed, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from harness import __version__
from harness.errors import BuildFailed, HostUnfit, LabError, ScenarioError
from harness.output import escape_unknown_characters
from harness.verbs import VERBS

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNFIT = 3
EXIT_INTERRUPTED = 130


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
