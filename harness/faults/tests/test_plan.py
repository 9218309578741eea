"""Which faults fire on which moments, and what is said of one that never did."""

from __future__ import annotations

from typing import Any

import pytest

from harness.documents import load
from harness.faults.deeds import Corrupt, Delay, Drop, Truncate
from harness.faults.fault import Fault
from harness.faults.plan import FaultPlan, no_strike
from harness.faults.reading import FaultReader


def fault(text: str) -> Fault:
    read = FaultReader(load(text).data).read()
    assert read is not None
    return read


class Bench:
    """A plan whose clock and phase are set by hand."""

    def __init__(self, *texts: str, seed: int = 0) -> None:
        self.now = 100.0
        self.phase: str | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.plan = FaultPlan(
            [fault(text) for text in texts],
            record=lambda name, **fields: self.events.append((name, fields)),
            now=lambda: self.now,
            seed=seed,
            phase=lambda: self.phase,
        )

    def hits(self, count: int, **facts: Any) -> list[int]:
        """Return which of ``count`` alike moments (from 1) some fault fires on."""
        return [n for n in range(1, count + 1) if self.plan.strike("dhcp", "reply", **facts)]


def test_a_fault_fires_on_the_facts_it_names_and_says_so() -> None:
    bench = Bench("{at: dhcp, when: {message: OFFER, file: '*.efi'}, do: drop}")
    strike = bench.plan.at("dhcp")
    assert strike("reply", message="ACK", file="ipxe.efi") == ()
    assert strike("reply", message="OFFER", file="undionly.kpxe") == ()
    assert strike("reply", message="OFFER", file=None) == ()
    assert strike("request", message="OFFER", file="ipxe.efi") == ()
    assert bench.plan.unfired() == list(bench.plan.faults)
    assert strike("reply", message="OFFER", file="ipxe.efi", mac="52:54:00:12:34:56") == (Drop(),)
    assert bench.plan.unfired() == []
    ((name, fields),) = bench.events
    assert name == "fault.fired"
    assert fields["mac"] == "52:54:00:12:34:56"
    assert fields["facts"] == {"message": "OFFER", "file": "ipxe.efi"}
    assert (fields["fault"], fields["deed"], fields["occasion"]) == (1, "drop", "reply")


def test_a_place_no_fault_names_costs_nothing() -> None:
    assert Bench("{at: dhcp, do: drop}").plan.at("tink") is no_strike


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("nth: 2", [2]),
        ("nth: [1, 4]", [1, 4]),
        ("first: 3", [1, 2, 3]),
        ("every: 2", [2, 4, 6]),
        ("first: 4, every: 2", [2, 4]),
        ("probability: 1", [1, 2, 3, 4, 5, 6]),
    ],
)
def test_counting(when: str, expected: list[int]) -> None:
    assert Bench(f"{{at: dhcp, when: {{{when}}}, do: drop}}").hits(6) == expected


def test_only_moments_that_fit_are_counted() -> None:
    bench = Bench("{at: dhcp, when: {message: OFFER, nth: 2}, do: drop}")
    assert bench.hits(3, message="ACK") == []
    assert bench.hits(3, message="OFFER") == [2]


def test_time_runs_from_power_on() -> None:
    bench = Bench("{at: dhcp, when: {after: 5 s, until: 10 s}, do: drop}")
    bench.now = 500.0
    assert bench.hits(1) == []  # not begun: no time has passed
    bench.plan.begin()
    for elapsed, fires in ((0.0, False), (4.9, False), (5.0, True), (10.0, True), (10.1, False)):
        bench.now = 500.0 + elapsed
        assert bool(bench.hits(1)) is fires, elapsed


def test_a_phase() -> None:
    bench = Bench("{at: dhcp, when: {phase: [ipxe, hook-boot]}, do: drop}")
    assert bench.hits(1) == []
    bench.phase = "hook-boot"
    assert bench.hits(1) == [1]


def test_chance_follows_the_seed_and_not_the_neighbours() -> None:
    half = "{at: dhcp, when: {probability: 0.5}, do: drop}"
    first = Bench(half, seed=1).hits(64)
    assert Bench(half, seed=1).hits(64) == first
    assert Bench(half, seed=2).hits(64) != first
    assert 16 < len(first) < 48
    other = "{at: dhcp, when: {message: X*, probability: 0.5}, do: drop}"
    assert Bench(other, half, seed=1).hits(64) == first


def test_faults_compose_in_their_order() -> None:
    bench = Bench("{at: dhcp, do: {truncate: 9}}", "{at: dhcp, do: {delay: 1 s}}")
    assert bench.plan.strike("dhcp", "reply") == (Truncate(octets=9), Delay(seconds=1.0))


def test_each_corruption_has_a_seed_of_its_own() -> None:
    def seeds(seed: int) -> list[int]:
        bench = Bench("{at: dhcp, do: corrupt}", seed=seed)
        deeds = [bench.plan.strike("dhcp", "reply")[0] for _ in range(3)]
        return [deed.seed for deed in deeds if isinstance(deed, Corrupt)]

    assert seeds(1) == seeds(1)
    assert len(set(seeds(1) + seeds(2))) == 6


def test_corruption_changes_as_many_octets_as_it_says() -> None:
    data = bytes(100)
    for seed in range(20):
        spoilt = Corrupt(octets=3, at=10, seed=seed).apply(data)
        changed = [n for n, octet in enumerate(spoilt) if octet]
        assert changed == [10, 11, 12]
        assert Corrupt(octets=1, seed=seed).apply(data) != data
    assert Corrupt(octets=9, seed=1).apply(b"") == b""


@pytest.mark.parametrize(
    ("when", "moments", "expected"),
    [
        ("message: OFFER", [], "no reply at dhcp was seen"),
        (
            "message: OFFER, to: firmware",
            [{"message": "OFFER", "to": "guest"}] * 3,
            "3 reply at dhcp with message OFFER seen, none to firmware (found: guest ×3)",
        ),
        (
            "message: NAK",
            [{"message": "OFFER"}, {"message": "ACK"}, {"message": "ACK"}],
            "3 reply at dhcp seen, none with message NAK (found: ACK ×2, OFFER ×1)",
        ),
        ("nth: 5", [{}, {}], "2 reply at dhcp seen, which nth: 5 passed over"),
        ("after: 9 s", [{}], "1 reply at dhcp seen, none after 9 s (found: 0.0 s ×1)"),
    ],
)
def test_how_near_a_fault_came(when: str, moments: list[dict[str, Any]], expected: str) -> None:
    bench = Bench(f"{{at: dhcp, when: {{{when}}}, do: drop}}")
    for facts in moments:
        bench.plan.strike("dhcp", "reply", **facts)
    (sentence,) = bench.plan.finish()
    assert sentence.endswith(f"never fired: {expected}")
    ((name, fields),) = bench.events
    assert (name, fields["nearest"]) == ("fault.unfired", expected)


@pytest.mark.parametrize(
    ("text", "moments", "at_s", "unsettled"),
    [
        ("{at: dhcp, do: drop}", 5, 10, False),
        ("{at: dhcp, when: {until: 20 s}, do: drop}", 1, 10, True),
        ("{at: dhcp, when: {until: 20 s}, do: drop}", 1, 21, False),
        ("{at: dhcp, when: {after: 20 s}, do: drop}", 0, 10, True),
        ("{at: dhcp, when: {first: 3}, do: drop}", 0, 10, False),
        ("{at: dhcp, when: {first: 3}, do: drop}", 2, 10, True),
        ("{at: dhcp, when: {first: 3}, do: drop}", 3, 10, False),
        ("{at: dhcp, when: {nth: [1, 4]}, do: drop}", 2, 10, True),
        ("{at: dhcp, when: {nth: [1, 4]}, do: drop}", 4, 10, False),
        ("{at: dhcp, do: {delay: 30 s}}", 1, 10, True),
        ("{at: dhcp, do: {delay: 30 s}}", 1, 40, False),
    ],
)
def test_what_is_still_to_change_by_itself(
    text: str, moments: int, at_s: float, unsettled: bool
) -> None:
    bench = Bench(text)
    bench.plan.begin()
    bench.hits(moments)
    bench.now += at_s
    assert bench.plan.unsettled() == ({"dhcp"} if unsettled else set())


@pytest.mark.parametrize(("what", "unsettled"), [("reset", False), ("cut", False), ("cycle", True)])
def test_a_reset_is_over_at_once(what: str, unsettled: bool) -> None:
    bench = Bench(f"{{at: machine, when: {{event: guest.docker.started}}, do: {{power: {what}}}}}")
    bench.plan.begin()
    assert bench.plan.strike("machine", "event", event="guest.docker.started")
    bench.now += 0.5
    assert bench.plan.unsettled() == ({"machine"} if unsettled else set())


def test_what_is_late_again_and_again_is_how_things_are() -> None:
    for late, settled in (("2 s", True), ("30 s", False)):
        bench = Bench(f"{{at: tftp, when: {{opcode: DATA}}, do: {{delay: {late}}}}}")
        bench.plan.begin()
        for number in range(10):
            assert bench.plan.strike("tftp", "reply", opcode="DATA")
            bench.now += 1.0
            if number < 5:
                assert bench.plan.unsettled() == {"tftp"}
        assert bench.plan.unsettled() == (set() if settled else {"tftp"})


def test_counting_is_for_each_machine() -> None:
    bench = Bench("{at: dhcp, when: {first: 2}, do: drop}")
    one, other = "52:54:00:00:00:01", "52:54:00:00:00:02"
    assert bench.hits(4, mac=one) == [1, 2]
    assert bench.hits(4, mac=other) == [1, 2]
    assert bench.hits(3) == [1, 2]  # of those nobody knows the machine of


def test_a_moment_comes_once_for_each_machine() -> None:
    bench = Bench("{at: link, when: {after: 10 s, phase: ipxe}, do: down}")
    bench.plan.begin()

    def moment(mac: str) -> bool:
        return bool(bench.plan.strike("link", "moment", mac=mac))

    bench.phase = "ipxe"
    assert not moment("a")
    bench.now += 10
    assert moment("a")
    assert not moment("a")
    assert moment("b")


def test_what_fires_very_often_is_counted_in_the_end() -> None:
    bench = Bench("{at: dhcp, do: drop}")
    assert len(bench.hits(600)) == 600
    assert [name for name, _ in bench.events] == ["fault.fired"] * 500
    assert bench.plan.finish() == []
    name, fields = bench.events[-1]
    assert (name, fields["times"]) == ("fault.counted", 600)
