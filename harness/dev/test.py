"""``hooklab test``: pytest over every ring, with the scenarios, from the checkout's root.

Whole folders are run by as many of xdist's workers as there are CPUs; single files as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HostUnfit
from harness.host.usage import LinuxUsage, whole_cpus
from harness.paths import source_root

_SERIAL = frozenset({
    "--numprocesses", "--dist", "--pdb", "--pdbcls", "--trace", "--co", "--collect-only",
    "--fixtures", "--fixtures-per-test", "--markers", "--help", "--version", "--sw", "--stepwise",
    "--sw-skip", "--stepwise-skip", "-s", "-h", "-V", "no:xdist", "-pno:xdist",
})  # fmt: skip
_WITH_FILE = frozenset({
    "--basetemp", "--config-file", "--confcutdir", "--ignore", "--junit-xml", "--junitxml",
    "--log-file", "--rootdir", "--runs", "-c",
})  # fmt: skip
"""Options whose value is a file or folder, which chooses no tests."""
_WITH_VALUE = _WITH_FILE | frozenset({
    "--assert", "--asyncio-mode", "--capture", "--code-highlight", "--color", "--deselect",
    "--dist", "--doctest-glob", "--durations", "--durations-min", "--hypothesis-profile",
    "--hypothesis-seed", "--hypothesis-verbosity", "--ignore-glob", "--import-mode",
    "--junit-prefix", "--last-failed-no-failures", "--lfnf", "--log-level", "--max-worker-restart",
    "--maxfail", "--maxprocesses", "--maxschedchunk", "--numprocesses", "--override-ini",
    "--pdbcls", "--python-warnings", "--pythonwarnings", "--report-chars", "--show-capture",
    "--start", "--tb", "--timeout", "--timeout-method", "--tx", "--verbosity",
    "-W", "-k", "-m", "-n", "-o", "-p", "-r",
})  # fmt: skip
"""Options whose value may be the next word, which is no path then."""
RINGS = ("harness", "fake_tink_server", "scenarios")
"""Folders that hold tests and scenarios, linters included."""


def test_command(rest: Sequence[str]) -> int:
    """Become pytest, with ``rest`` as typed; paths among them replace the whole of ``RINGS``.

    Does not return: the exit status, the signals and the closing line are pytest's own.
    """
    root = source_root()
    if not (root / "conftest.py").is_file():
        raise HostUnfit(
            "hooklab test runs the tests of a checkout, and this is an installed package",
            hint="clone the repository and run ./hooklab test there",
        )
    words = pytest_words(rest, cpus=whole_cpus(LinuxUsage()))
    os.chdir(root)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *words])


def pytest_words(rest: Sequence[str], *, cpus: int) -> list[str]:
    """Return what pytest is given: ``rest`` with whole paths, and what was left to us."""
    words: list[str] = []
    paths: list[str] = []
    for before, word in zip(("", *rest), rest, strict=False):
        option, equals, value = word.partition("=")
        if before in _WITH_FILE:
            words.append(_from_here(word))
        elif before in _WITH_VALUE:
            words.append(word)
        elif option in _WITH_FILE and equals:
            words.append(f"{option}={_from_here(value)}")
        else:
            words.append(_rooted(word))
            paths += [words[-1]] if _is_path(words[-1]) else []
    if not paths:
        words += [str(source_root() / ring) for ring in RINGS if (source_root() / ring).is_dir()]
    if cpus > 1 and not any(map(_is_single, paths)) and not any(map(_is_by_hand, rest)):
        return ["-n", str(cpus), *words]
    return words


def _is_single(path: str) -> bool:
    return "::" in path or Path(path).is_file()


def _is_by_hand(word: str) -> bool:
    """Whether ``word`` asks for what xdist can't do, or for xdist itself."""
    name = word.partition("=")[0]
    return name in _SERIAL or name.startswith("-n") or word == "--capture=no"


def _is_path(word: str) -> bool:
    return not word.startswith("-") and Path(word.partition("::")[0]).is_absolute()


def _from_here(word: str) -> str:
    """Return a file or folder, which need not exist yet, as an absolute path.

    What is not here and is there from the checkout's root is the latter.
    """
    there = source_root() / word
    return str(there if there.exists() and not Path(word).exists() else Path.cwd() / word)


def _rooted(word: str) -> str:
    """Return ``word`` as an absolute path when it names something from here or from the root."""
    if word.startswith("-"):
        return word
    name, colons, item = word.partition("::")
    for place in (Path.cwd(), source_root()):
        if name and (place / name).exists():
            return f"{(place / name).resolve()}{colons}{item}"
    return word
