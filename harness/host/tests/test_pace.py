"""The clock that stands still while the host holds the lab up, and deadlines on it."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import timedelta
from pathlib import Path

import pytest

from harness.clock import Clock, Deadline
from harness.errors import DeadlineExpired, HostTooSlow
from harness.host.load import Load, LoadMeter
from harness.host.pace import MOST_STRETCH, Pace, stalled_s
from harness.lab_pace import PaceTeller
from harness.sealed import _ended
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named


class Host:
    """A host whose clock and load are set by hand: it gives the lab ``share`` of what it wants."""

    def __init__(self, share: float = 1.0) -> None:
        self.at = 100.0
        self.share = share
        self._read = 100.0

    def clock(self) -> float:
        return self.at

    def read(self) -> Load:
        duration, self._read = self.at - self._read, self.at
        ran = duration * self.share
        return Load(
            ran_s=ran,
            waited_s=duration - ran,
            machine_ran_s=ran / 2,
            machine_waited_s=(duration - ran) / 2,
            by="run_delay",
        )

    def passes(self, seconds: float, pace: Pace) -> float:
        for _ in range(round(seconds / 0.5)):
            self.at += 0.5
            pace.now()
        return pace.now()


def test_on_a_quiet_host_of_the_reference_speed_it_is_real_time() -> None:
    host = Host()
    pace = Pace(meter=host, clock=host.clock)
    assert host.passes(30, pace) == pytest.approx(30)
    assert pace.take_stall().stalled_s == 0


def test_a_slower_host_and_a_busy_one_multiply() -> None:
    host = Host()
    pace = Pace(factor=2.0, meter=host, clock=host.clock)
    assert host.passes(30, pace) == pytest.approx(15)
    host.share = 0.5
    assert host.passes(40, pace) == pytest.approx(25)
    stall = pace.take_stall()
    assert stall.duration_s == pytest.approx(70)
    assert stall.stalled_s == pytest.approx(20)
    assert stall.machine_waited_s == pytest.approx(10)
    assert pace.take_stall().duration_s == 0


def test_a_faster_host_shortens_nothing() -> None:
    host = Host()
    assert host.passes(10, Pace(factor=0.2, meter=host, clock=host.clock)) == pytest.approx(10)


def test_a_lab_that_stood_still_altogether_loses_that_time() -> None:
    """A host that was suspended: nothing ran, so that nothing waited either."""
    host = Suspended()
    pace = Pace(meter=host, clock=host.clock)
    host.at += 60.0
    assert pace.now() == pytest.approx(2.0)
    assert pace.take_stall().by == "late"


def test_what_the_lab_itself_worked_is_no_time_that_the_host_took() -> None:
    """Work of its own that keeps the lab from looking is a mistake of the lab's."""
    host = Host()
    pace = Pace(meter=host, clock=host.clock)
    host.at += 60.0  # half of it is QEMU's
    assert pace.now() == pytest.approx(30.0)
    assert pace.take_stall().stalled_s == pytest.approx(30.0)


def test_no_time_passes_while_the_run_s_clock_is_held() -> None:
    """As while a checkpoint is saved; a resumed lab's clock begins somewhere else altogether."""
    host = Host(share=0.5)
    held_at: list[float] = []
    pace = Pace(meter=host, clock=host.clock, run=lambda: held_at[0] if held_at else host.at)
    assert host.passes(10, pace) == pytest.approx(5)
    held_at.append(host.at)
    assert host.passes(2, pace) == pytest.approx(5)
    assert pace.take_stall().duration_s == pytest.approx(10)
    held_at[0] = 5000.0
    assert host.passes(0.5, pace) == pytest.approx(5.25)  # at most what really passed
    held_at[0] = 45.0
    assert host.passes(10, pace) == pytest.approx(5.25)


class Suspended(Host):
    """One on which nothing runs."""

    def read(self) -> Load:
        return Load()


@pytest.mark.parametrize(
    ("ran", "waited", "lost"),
    [
        (0.0, 0.0, 0.0),  # everything sleeps
        (0.5, 0.0, 0.0),
        (0.5, 0.5, 0.5),  # one after the other
        (1.0, 1.0, 0.5),  # two at once, each half held up
        (0.0, 3.0, 1.0),
        (0.1, 0.2, 0.2),
    ],
)
def test_what_is_lost_in_a_second(ran: float, waited: float, lost: float) -> None:
    assert stalled_s(1.0, Load(ran_s=ran, waited_s=waited)) == pytest.approx(lost)


async def test_a_deadline_moves_while_the_host_is_busy() -> None:
    """0.4 s of work on a host that gives a third of it take 1.2 s, and are no failure."""
    host = Host(share=1 / 3)
    began = time.monotonic()
    pace = Pace(meter=host, clock=lambda: _real(host))
    with pytest.raises(DeadlineExpired):
        await TaskKeeper().race(
            asyncio.Event().wait(), pace.deadline(timedelta(seconds=0.4)), waiting_for="nothing"
        )
    assert 1.0 <= time.monotonic() - began < 4


async def test_a_host_that_grants_next_to_nothing_is_what_failed() -> None:
    host = Host(share=0.01)
    pace = Pace(meter=host, clock=lambda: _real(host))
    began = time.monotonic()
    with pytest.raises(HostTooSlow, match=r"of 0 s for the workflow's end it granted") as caught:
        await TaskKeeper().race(
            asyncio.Event().wait(),
            pace.deadline(timedelta(seconds=0.3)),
            waiting_for="the workflow's end",
        )
    assert 0.3 * MOST_STRETCH <= time.monotonic() - began < 4
    assert caught.value.owed_s == pytest.approx(0.3, abs=0.05)
    assert 0.3 * MOST_STRETCH <= caught.value.took_s < 4


def test_what_is_told_of_a_wait_is_how_long_it_lasted_and_not_the_run() -> None:
    timeline = Timeline(None, Clock(origin_s=time.monotonic() - 500))
    assert _ended(HostTooSlow("the worker", 10, 8, 40), timeline) == "host too slow"
    [event] = named(timeline.events, "host.too_slow")
    assert (event["given_s"], event["granted_s"], event["duration_s"]) == (10, 2, 40)


async def test_what_comes_in_the_stretched_time_counts() -> None:
    host = Host(share=0.5)
    pace = Pace(meter=host, clock=lambda: _real(host))
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.7, done.set)
    assert await TaskKeeper().race(
        done.wait(), pace.deadline(timedelta(seconds=0.5)), waiting_for="it"
    )


def _real(host: Host) -> float:
    host.at = time.monotonic()
    return host.at


def test_a_plain_deadline_is_never_the_hosts() -> None:
    deadline = Deadline.after(timedelta(0))
    assert deadline.expired
    assert deadline.starved_s == 0
    assert deadline.latest_s == math.inf


def test_stalls_are_told_when_they_are_notable() -> None:
    host = Host()
    pace = Pace(meter=host, clock=host.clock)
    timeline = Timeline(None, Clock())
    teller = PaceTeller(pace, timeline)
    host.passes(5, pace)
    teller.tell()
    host.share = 0.95
    host.passes(5, pace)
    teller.tell()
    assert named(timeline.events, "host.stalled") == []
    host.share = 0.4
    host.passes(5, pace)
    teller.tell()
    [event] = named(timeline.events, "host.stalled")
    assert event["duration_s"] == pytest.approx(5)
    assert event["stalled_s"] == pytest.approx(3)
    assert event["by"] == "run_delay"


def _fake_proc(folder: Path, *, ran: int, waited: int, steal: int = 0, busy: int = 1000) -> None:
    task = folder / "41" / "task" / "42"
    task.mkdir(parents=True, exist_ok=True)
    (folder / "41" / "comm").write_text("qemu-system-x86\n")
    (task / "schedstat").write_text(f"{ran} {waited} 7\n")
    (folder / "stat").write_text(f"cpu  {busy} 0 0 500 0 0 0 {steal} 0 0\n")


def test_a_load_is_read_from_proc(tmp_path: Path) -> None:
    _fake_proc(tmp_path, ran=0, waited=0)
    meter = LoadMeter(tmp_path)
    _fake_proc(tmp_path, ran=2_000_000_000, waited=500_000_000, steal=250, busy=1750)
    load = meter.read()
    assert load.by == "run_delay"
    assert load.ran_s == pytest.approx(1.5)  # a quarter of it went to another machine
    assert load.waited_s == pytest.approx(1.0)
    assert (load.machine_ran_s, load.machine_waited_s) == (load.ran_s, load.waited_s)


def test_without_schedstat_the_pressure_is_taken(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/cpu").write_text("some avg10=0 avg60=0 avg300=0 total=1000000\n")
    meter = LoadMeter(tmp_path)
    (tmp_path / "pressure/cpu").write_text("some avg10=0 avg60=0 avg300=0 total=1700000\n")
    load = meter.read()
    assert load.waited_s == pytest.approx(0.7)
    assert load.by == "pressure"


def test_without_either_nothing_is_made_up(tmp_path: Path) -> None:
    assert LoadMeter(tmp_path).read() == Load()
    assert LoadMeter(tmp_path / "nowhere").read() == Load()


def test_our_own_waiting_is_seen() -> None:
    """Of the real kernel: a thread that works all the time ran, and this process is no machine."""
    meter = LoadMeter()
    end = time.thread_time() + 0.2
    while time.thread_time() < end:
        sum(range(1000))
    load = meter.read()
    if load.by != "run_delay":
        pytest.skip("this kernel counts no run delay")
    assert load.ran_s >= 0.15
