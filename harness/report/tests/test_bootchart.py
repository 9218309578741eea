"""The guest's boot chart: rows out of console lines, of a chatty Hook and of a silent one."""

from __future__ import annotations

from harness.report.bootchart import Row, bootchart
from harness.timeline import Event

_HOOK = (
    (10.0, "[    0.000000] Linux version 6.1.0 (somebody)"),
    (13.0, "[    3.000000] Freeing initrd memory: 51288K"),
    (14.0, "[    4.000000] Run /init as init process"),
    (14.5, "/ # [    4.500000] hook: init started"),
    (16.0, "[    6.000000] hook: starting onboot 1/2 rngd1"),
    (17.0, "[    7.000000] hook: starting onboot 2/2 dhcpcd-once"),
    (19.0, "[    9.000000] hook: starting service 1/2 hook-docker"),
    (19.5, "[    9.500000] hook: starting service 2/2 acpi"),
    (20.0, "[   10.000000] hook-docker: Starting Docker"),
)


def events_of(*lines: tuple[float, str], more: tuple[tuple[float, str], ...] = ()) -> list[Event]:
    said = [
        Event(seq=0, t=at, source="machine", name="console.line.seen", fields={"text": text})
        for at, text in lines
    ]
    return said + [Event(seq=0, t=at, source="machine", name=name) for at, name in more]


def spans(rows: list[Row]) -> dict[str, tuple[float, float | None]]:
    return {row.name: (row.start_s, row.end_s) for row in rows}


def test_each_step_lasts_until_the_next_and_docker_until_it_answers() -> None:
    later = (
        (25.0, "guest.docker.started"),
        (26.0, "registry.manifest.served"),
        (33.0, "tink.connection.opened"),
    )
    rows = bootchart(events_of(*_HOOK, more=later), 1.0)
    assert spans(rows) == {
        "kernel: decompression of the initramfs, first drivers": (9.0, 12.0),
        "kernel: the rest": (12.0, 13.0),
        "init: first program": (13.0, 13.5),
        "init: drivers": (13.5, 15.0),
        "onboot: rngd1": (15.0, 16.0),
        "onboot: dhcpcd-once": (16.0, 18.0),
        "service: hook-docker": (18.0, 24.0),
        "service: acpi": (18.5, None),
        "worker: pulled, started, connected": (25.0, 32.0),
    }
    assert rows[0].left == 0
    assert max(row.left + row.width for row in rows) <= 100.001


def test_a_foreign_hook_shows_what_linux_says() -> None:
    rows = bootchart(events_of(*_HOOK[:3]), 0.0)
    assert list(spans(rows)) == [
        "kernel: decompression of the initramfs, first drivers",
        "kernel: the rest",
        "init: first program",
    ]
    assert rows[-1].end_s is None


def test_a_second_console_and_a_second_boot() -> None:
    doubled = [line for line in _HOOK for _ in range(2)]
    assert spans(bootchart(events_of(*doubled), 0.0)) == spans(bootchart(events_of(*_HOOK), 0.0))
    again = [(at + 100, text) for at, text in _HOOK[:3]]
    rows = bootchart(events_of(*_HOOK, *again), 0.0)
    assert rows[0].start_s == 110
    assert len(rows) == 3


def test_no_kernel_no_chart() -> None:
    assert bootchart([], 0.0) == []
    assert bootchart(events_of(*_HOOK), None) == []
    assert bootchart(events_of((3.0, "Linux version 6 without a stamp")), 0.0) == []
