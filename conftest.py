"""What every test shares: deterministic hypothesis, Hook, and quiet for those who measure."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from harness.hook.files import HookFiles

_TEST_ENDS_WITHIN_S = 300

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("nightly", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure() -> None:
    """Let Ctrl-C end what tests start: a shell's background job ignores it, and so its children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test hang for longer than it can take; boots and scenarios have deadlines of theirs.

    What a test shares with others is not counted: on a new machine it is built first.
    """
    for item in items:
        known = item.get_closest_marker("boot") or item.get_closest_marker("timeout")
        if isinstance(item, pytest.Function) and not known:
            item.add_marker(pytest.mark.timeout(_TEST_ENDS_WITHIN_S, func_only=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test marked ``quiet`` while no other of xdist's workers runs any.

    A second lock is a turnstile: whoever waits for quiet keeps the others from beginning.
    """
    if not hasattr(item.config, "workerinput"):
        return (yield)
    shared = Path(item.config.getoption("basetemp")).parent  # xdist gives each worker one below
    kind = fcntl.LOCK_EX if item.get_closest_marker("quiet") else fcntl.LOCK_SH
    with contextlib.ExitStack() as stack:
        with _locked(shared / "turn.lock", fcntl.LOCK_EX):
            stack.enter_context(_locked(shared / "quiet.lock", kind))
        return (yield)


@contextlib.contextmanager
def _locked(file: Path, kind: int) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


@pytest.fixture(autouse=True)
def _a_history_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep what tests boot from what this host remembers; a scenario's boot is no such test."""
    monkeypatch.setenv("HOOKLAB_HISTORY", str(tmp_path_factory.getbasetemp() / "history"))


@pytest.fixture(scope="session")
def embedded_hook() -> HookFiles:
    """Return the embedded Hook, built now when it was not: minutes on a new machine, else none."""
    from harness.hook.build import build_hook
    from harness.paths import cache_root
    from harness.progress import PlainProgress

    return asyncio.run(build_hook(cache_root(), progress=PlainProgress()))
