"""HTTP against curl: scripts, binaries, ranges, and a client that leaves early."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from harness.clock import Deadline
from harness.documents import load
from harness.errors import ServiceCrashed, SetupFailed
from harness.faults.plan import FaultPlan
from harness.faults.reading import FaultReader
from harness.process import run
from harness.services.http import HttpService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named
from harness.wire.ipxe import ScriptConfig, script_for
from harness.wire.netboot import Reservation, Reservations

MAC = "52:54:00:00:00:01"
MACHINE = Reservation(mac=MAC, address="192.168.77.10", allow_pxe=True)
LOCAL = Reservation(mac="52:54:00:00:00:02", address="127.0.0.1", allow_pxe=True)
FORBIDDEN = Reservation(mac="52:54:00:00:00:03", address="192.168.77.12")
SCRIPTS = ScriptConfig(osie_url="http://192.168.77.1:7080/hook", syslog_host="192.168.77.1")
Make = Callable[..., HttpService]


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinuz"
    path.write_bytes(os.urandom(3 << 20) + b"end")
    return path


@pytest.fixture
async def timeline() -> AsyncIterator[Timeline]:
    timeline = Timeline(None)
    yield timeline
    timeline.close()


@pytest.fixture
async def http(timeline: Timeline, kernel: Path) -> AsyncIterator[HttpService]:
    tasks = TaskKeeper()
    service = HttpService(
        timeline=timeline,
        tasks=tasks,
        reservations=Reservations([MACHINE, LOCAL, FORBIDDEN]),
        scripts=SCRIPTS,
        binaries={"ipxe.efi": kernel},
        artifacts={"vmlinuz-x86_64": kernel},
        bind="127.0.0.1",
        port=0,
    )
    await service.start()
    yield service
    await service.stop()
    assert not tasks.failure.done(), tasks.failure.exception()
    await tasks.close()


async def curl(http: HttpService, path: str, *options: str) -> bytes:
    """Return the body curl got, with the status in three digits at its end."""
    url = f"http://127.0.0.1:{http.port}{path}"
    done = await run(
        ["curl", "-s", "--noproxy", "*", "-o", "-", "-w", "%{http_code}", *options, url]
    )
    return done.stdout


async def test_an_artifact_arrives_whole_and_every_octet_is_counted(
    http: HttpService, timeline: Timeline, kernel: Path
) -> None:
    assert await curl(http, "/hook/vmlinuz-x86_64") == kernel.read_bytes() + b"200"
    [finished] = named(timeline, "http.response.finished")
    assert finished["bytes"] == kernel.stat().st_size
    [started] = named(timeline, "http.response.started")
    assert started["length"] == started["file_bytes"] == kernel.stat().st_size
    [received] = named(timeline, "http.request.received")
    assert (received["mac"], received["method"]) == (LOCAL.mac, "GET")
    assert received["agent"].startswith("curl/")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("0-0", slice(0, 1)),
        ("1000000-2999999", slice(1_000_000, 3_000_000)),
        ("-3", slice(-3, None)),
        ("3145728-", slice(3145728, None)),
    ],
)
async def test_a_range_is_served_as_asked(
    http: HttpService, kernel: Path, asked: str, expected: slice
) -> None:
    body = await curl(http, "/hook/vmlinuz-x86_64", "-r", asked)
    assert body == kernel.read_bytes()[expected] + b"206"


async def test_a_range_behind_the_end_is_refused(http: HttpService) -> None:
    assert await curl(http, "/hook/vmlinuz-x86_64", "-r", "9999999-") == b"416"


async def test_a_download_can_be_resumed(http: HttpService, kernel: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(kernel.read_bytes()[:1_234_567])
    await run(
        [
            "curl",
            "-s",
            "--noproxy",
            "*",
            "-C",
            "-",
            "-o",
            str(part),
            f"http://127.0.0.1:{http.port}/hook/vmlinuz-x86_64",
        ]
    )
    assert part.read_bytes() == kernel.read_bytes()


async def test_head_says_the_length_and_sends_nothing(
    http: HttpService, timeline: Timeline, kernel: Path
) -> None:
    head = await curl(http, "/hook/vmlinuz-x86_64", "-I")
    assert f"Content-Length: {kernel.stat().st_size}".encode() in head
    assert named(timeline, "http.response.finished")[0]["bytes"] == 0


async def test_a_known_etag_is_not_sent_again(http: HttpService) -> None:
    head = (await curl(http, "/hook/vmlinuz-x86_64", "-I")).decode()
    [etag] = [line.split(": ")[1] for line in head.splitlines() if line.startswith("ETag")]
    again = await curl(http, "/hook/vmlinuz-x86_64", "-H", f"If-None-Match: {etag}")
    assert again == b"304"


@pytest.mark.parametrize(
    ("path", "machine"),
    [
        (f"/ipxe/script/{MAC}/auto.ipxe", MACHINE),
        (f"/ipxe/script/{MAC.replace(':', '-')}/auto.ipxe", MACHINE),
        (f"/{MAC}/auto.ipxe", MACHINE),
        ("/ipxe/script/auto.ipxe", LOCAL),
        ("/auto.ipxe", LOCAL),
    ],
)
async def test_a_script_is_found_by_mac_in_the_path_else_by_the_senders_address(
    http: HttpService, timeline: Timeline, path: str, machine: Reservation
) -> None:
    script = script_for(machine, SCRIPTS)
    assert await curl(http, path) == script.encode() + b"200"
    assert named(timeline, "http.script.served")[0]["script"] == script


async def test_a_fault_bends_the_kernels_arguments_once_and_the_event_says_so(
    timeline: Timeline,
) -> None:
    fault = "{at: hook, when: {first: 1}, do: {arguments: {remove: syslog_host, add: [a=b, c]}}}"
    read = FaultReader(load(fault).data).read()
    assert read is not None
    plan = FaultPlan([read], record=partial(timeline.record, "faults"), now=timeline.clock.now)
    http = HttpService(
        timeline=timeline,
        tasks=TaskKeeper(),
        reservations=Reservations([MACHINE]),
        scripts=SCRIPTS,
        bind="127.0.0.1",
        port=0,
        hook_strike=plan.at("hook"),
    )
    await http.start()
    path = f"/ipxe/script/{MAC}/auto.ipxe"
    bent, whole = [(await curl(http, path))[:-3].decode() for _ in range(2)]
    await http.stop()
    assert whole == script_for(MACHINE, SCRIPTS)
    assert "syslog_host" in whole
    assert "syslog_host" not in bent
    assert " a=b c && goto " in bent
    told = [event["script"] for event in named(timeline, "http.script.served")]
    assert told == [bent, whole]
    assert named(timeline, "fault.fired")[0]["mac"] == MAC


@pytest.mark.parametrize(
    "path",
    [
        f"/ipxe/script/{FORBIDDEN.mac}/auto.ipxe",
        "/ipxe/script/52:54:00:00:00:99/auto.ipxe",
        "/ipxe/script/other.ipxe",
        "/hook/vmlinuz-aarch64",
        "/hook/../hook/nothing",
        "/ipxe/binary/undionly.kpxe",
        "/",
    ],
)
async def test_what_is_unknown_or_not_allowed_is_404(http: HttpService, path: str) -> None:
    assert (await curl(http, path)).endswith(b"404")


@pytest.mark.parametrize(
    "path",
    [
        f"/ipxe/binary/{MAC}/ipxe.efi",
        "/ipxe/binary/ipxe.efi",
        f"/ipxe/{MAC}/ipxe.efi",
        "/ipxe/binary/ipxe.efi-00-23b1e307bb35484f535a1f772c06910e-d887dc3912240434-01",
    ],
)
async def test_a_binary_is_found_by_its_name_alone(
    http: HttpService, kernel: Path, path: str
) -> None:
    assert await curl(http, path) == kernel.read_bytes() + b"200"


async def test_only_get_and_head_are_allowed_for_files(http: HttpService) -> None:
    assert (await curl(http, "/ipxe/binary/ipxe.efi", "-X", "PUT")).endswith(b"405")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_say_ok(http: HttpService, path: str) -> None:
    assert await curl(http, path) == b"ok200"


async def test_a_client_that_leaves_early_is_an_event_and_no_crash(
    http: HttpService, timeline: Timeline, kernel: Path
) -> None:
    with kernel.open("ab") as file:
        file.truncate(64 << 20)  # more than any socket buffer takes
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    writer.write(b"GET /hook/vmlinuz-x86_64 HTTP/1.1\r\nHost: lab\r\n\r\n")
    await reader.readexactly(100_000)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    aborted = await asyncio.wait_for(
        timeline.wait_for(lambda event: event.name == "http.response.aborted"), 10
    )
    assert 0 < aborted["bytes"] < aborted["length"] == 64 << 20
    assert not named(timeline, "http.response.finished")
    assert await curl(http, "/healthz") == b"ok200"


@pytest.mark.parametrize(
    "octets",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_an_event_without_a_traceback(
    http: HttpService, timeline: Timeline, octets: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    writer.write(octets)
    assert b" 400 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    [event] = named(timeline, "http.malformed")
    assert event["peer"] == "127.0.0.1"
    assert 0 < len(event["reason"]) <= 200
    assert capfd.readouterr().err == ""


async def test_a_bug_fails_the_lab(
    http: HttpService, timeline: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(address: str) -> str:
        raise KeyError(address)

    monkeypatch.setattr(http, "_identify", broken)
    assert (await curl(http, "/healthz")).endswith(b"500")
    [event] = named(timeline, "service.crashed")
    assert event["error"].startswith("KeyError")
    with pytest.raises(ServiceCrashed):
        http._tasks.failure.result()
    http._tasks.failure = asyncio.get_running_loop().create_future()  # the fixture wants none


async def test_sixty_megabytes_cost_little_python(
    http: HttpService, timeline: Timeline, kernel: Path
) -> None:
    with kernel.open("ab") as file:
        file.truncate(60 << 20)
    before = time.process_time()
    done = await run(
        [
            "curl",
            "-s",
            "--noproxy",
            "*",
            "-o",
            "/dev/null",
            "-w",
            "%{size_download}",
            f"http://127.0.0.1:{http.port}/hook/vmlinuz-x86_64",
        ]
    )
    spent_s = time.process_time() - before
    assert done.stdout == str(60 << 20).encode()
    assert spent_s < 0.6, f"{spent_s:.2f} s of CPU"


async def test_a_taken_port_is_said_with_a_hint(http: HttpService, timeline: Timeline) -> None:
    second = HttpService(
        timeline=timeline,
        tasks=TaskKeeper(),
        reservations=Reservations([]),
        scripts=SCRIPTS,
        binaries={},
        artifacts={},
        bind="127.0.0.1",
        port=http.port,
    )
    with pytest.raises(SetupFailed, match=r"http can't listen on 127\.0\.0\.1") as raised:
        await second.start()
    assert raised.value.hint
    await second.stop()


async def test_stopping_is_quick_with_a_client_in_the_middle(
    http: HttpService, kernel: Path
) -> None:
    with kernel.open("ab") as file:
        file.truncate(64 << 20)
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    writer.write(b"GET /hook/vmlinuz-x86_64 HTTP/1.1\r\nHost: lab\r\n\r\n")
    await reader.readexactly(1000)
    deadline = Deadline.after(timedelta(seconds=5))
    await http.stop()
    await http.stop()
    assert not deadline.expired
    writer.close()


async def test_requests_that_come_while_it_stops_are_no_bug_of_its(
    http: HttpService, timeline: Timeline
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    writer.write(b"GET /healthcheck HTTP/1.1\r\nHost: lab\r\n\r\n" * 2000)
    await reader.readexactly(1000)
    await http.stop()
    writer.close()
    assert not named(timeline, "service.crashed")
