"""What each real worker does when the server, its connections or its TLS misbehave.

The table is data (``real_misbehaviour.yaml``), found by trying; ``MISBEHAVIOUR.md`` shows it. Every
deed is done to every program, many at a time: most of the time nobody computes anything.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from fake_tink_server.tests.misbehaviour_page import PAGE, page
from fake_tink_server.tests.observing import observe
from fake_tink_server.tests.real_table import PROGRAMS, Case, Seen, cases
from fake_tink_server.tests.real_workers import TINK_AGENT, TINK_WORKER, VIRTUAL_WORKER
from harness.certificates import Authority, KeyKind
from harness.tasks import together

pytestmark = pytest.mark.service

REAL = {real.name: real for real in (TINK_WORKER, VIRTUAL_WORKER, TINK_AGENT)}
AT_A_TIME = 24
WATCHED_S = 2.5
"""How long a program is watched that is to wait for ever, once its action is over."""
WATCHED_AT_NIGHT_S = 150.0
"""Longer than any timer of grpc-go, backoff and connect timeout included."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(keys=KeyKind.ECDSA)


def _each_once(seen: Seen) -> str:
    """Return the reports without those that repeat the one before."""
    return re.sub(r" x\d+", "", seen.reports)


async def mistakes(
    folder: Path, authority: Authority, wanted: Callable[[Case, Seen], bool], watch_s: float
) -> list[str]:
    """Return where the table is wrong, of the cases that are ``wanted``."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(case: Case, program: str, place: Path) -> list[str]:
        expected = case.row.of(program)
        async with gate:
            seen, lines = await observe(
                REAL[program],
                case,
                expected,
                authority=authority,
                folder=place,
                watch_s=watch_s,
            )
        head = f"{case.title}: {program}"
        same = seen.model_copy(update={"says": expected.says})
        more = (seen.over or 0) >= (expected.over or 0) and expected.then != "waits"
        if more:  # tink-agent gives an attempt a second, which a busy host may need
            same = same.model_copy(update={"over": expected.over})
        if "lifetime" in str(case.row.faults) and _each_once(seen) == _each_once(expected):
            # by the clock: on a busy host a report may be under way, and is made again
            same = same.model_copy(update={"reports": expected.reports})
        wrong = [f"{head} {same} != {expected}"] if same != expected else []
        pattern = f"*{expected.says.replace('[', '[[]')}*"
        if program == TINK_AGENT.name and any("deadline exceeded" in line for line in lines):
            return wrong  # a busy host needed more than the second: it never saw what was shown
        if expected.says and not any(fnmatchcase(line, pattern) for line in lines):
            wrong.append(f"{head} never said {expected.says!r}: {lines[-5:]}")
        return wrong

    pairs = [
        (case, program)
        for case in cases()
        for program in case.row.only
        if wanted(case, case.row.of(program))
    ]
    # those that only wait come first: the others do their work meanwhile
    pairs.sort(key=lambda pair: "accepted, then silence" not in pair[0].title)
    async with together() as group:
        found = [
            group.create_task(one(*pair, folder / str(number))) for number, pair in enumerate(pairs)
        ]
    return [line for each in found for line in each.result()]


async def test_every_program_does_what_the_table_says(tmp_path: Path, authority: Authority) -> None:
    wrong = await mistakes(tmp_path, authority, lambda _case, _seen: True, WATCHED_S)
    assert not wrong, "\n".join(wrong)


@pytest.mark.nightly
async def test_who_waits_goes_on_waiting(tmp_path: Path, authority: Authority) -> None:
    def waits(_case: Case, seen: Seen) -> bool:
        return seen.then == "waits"

    wrong = await mistakes(tmp_path, authority, waits, WATCHED_AT_NIGHT_S)
    assert not wrong, "\n".join(wrong)


def test_the_page_is_as_the_table_says() -> None:
    again = "write it anew: python -m fake_tink_server.tests.misbehaviour_page"
    assert PAGE.read_text(encoding="utf-8") == page(), again


def test_a_row_names_programs_that_exist() -> None:
    for case in cases():
        assert set(case.row.seen) <= {"all", *PROGRAMS}, case.title
        assert case.faults or not case.row.faults
