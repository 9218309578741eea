"""What each real worker does when its connections go wrong: found by trying, kept as a table.

Every row has a twin in ``test_real_workers``, where nothing goes wrong and the same work succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import grpc
import pytest

from fake_tink_server.conduct import Conduct, Goaway, Silence
from fake_tink_server.conformance.rule import Broken
from fake_tink_server.conformance.scene import POLLS, REPORT, Scene
from fake_tink_server.server import ServerTls
from fake_tink_server.tests.real_workers import (
    TINK_AGENT,
    TINK_WORKER,
    VIRTUAL_WORKER,
    Real,
    setup_of,
)
from fake_tink_server.workflow import State
from harness.certificates import Authority, KeyKind, Kind

pytestmark = pytest.mark.service

WORKERS = [TINK_WORKER, VIRTUAL_WORKER, TINK_AGENT]
NAME = "localhost"

OVERCOME = {
    "reset at once": Conduct(reset_at=0),
    "closed at once": Conduct(close_at=0),
    "reset after SETTINGS": Conduct(reset_at=20),
    "closed after SETTINGS": Conduct(close_at=20),
    "reset in mid-action": Conduct(reset_after_s=0.7),
    "closed in mid-action": Conduct(close_after_s=0.7),
    "GOAWAY in mid-action": Conduct(goaway=Goaway(after_s=0.7)),
    "GOAWAY, too many pings": Conduct(goaway=Goaway(after_s=0.7, code=11, debug="too_many_pings")),
    "GOAWAY at once": Conduct(goaway=Goaway()),
    "TLS where plaintext is expected": Conduct(tls=True),
}
"""What goes wrong with the first connection, and is overcome with the next."""

FOR_EVER = {
    "half-open in mid-action": Conduct(stall_after_s=0.7),
    "silent after SETTINGS": Conduct(silent_from=Silence.SETTINGS),
}
"""No real worker has keepalives: it waits on a silent connection until the kernel gives up."""

WRONG = {str(kind): Conduct(certificate=kind) for kind in Kind if kind is not Kind.RIGHT}

CODES = ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED",
         "PERMISSION_DENIED", "UNAUTHENTICATED", "ABORTED"]  # fmt: skip
PERMANENT = ["NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"]

AT_A_TIME = 8

T = TypeVar("T")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(keys=KeyKind.ECDSA)


def tls_of(authority: Authority) -> ServerTls:
    own = authority.issue(NAME, "127.0.0.1")
    return ServerTls(certificate_chain=own.chain, private_key=own.key)


async def everywhere(
    folder: Path,
    authority: Authority,
    rows: Mapping[str, Conduct],
    check: Callable[[Scene, str], Awaitable[T]],
) -> dict[tuple[str, str], T]:
    """Run ``check`` for every worker and row, several at a time; return what it returned."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(real: Real, what: str) -> T:
        place = folder / str(len([*folder.iterdir()]))  # short: a socket's path has 107 octets
        place.mkdir()
        setup = await setup_of(real)
        async with gate, Scene(setup=setup, protocol=real.protocol, folder=place) as scene:
            scene.behave("only", seconds=1.2)
            scene.issue = lambda kind: authority.issue(NAME, "127.0.0.1", kind=kind)
            scene.conducts = [rows[what]]
            return await check(scene, what)

    pairs = [(real, what) for real in WORKERS for what in rows]
    found = await asyncio.gather(*(one(real, what) for real, what in pairs))
    return {(real.name, what): item for (real, what), item in zip(pairs, found, strict=True)}


def all_of(rows: Mapping[str, Conduct], item: T) -> dict[tuple[str, str], T]:
    return {(real.name, what): item for real in WORKERS for what in rows}


async def test_a_connection_that_breaks_is_made_anew(tmp_path: Path, authority: Authority) -> None:
    async def check(scene: Scene, _: str) -> tuple[State, bool, bool]:
        workflow = scene.add("only")
        await scene.begin()
        [state] = await scene.end(workflow)
        again = len(scene.events("tink.connection.accepted")) >= 2
        return state, again, len(scene.created()) <= 1

    found = await everywhere(tmp_path, authority, OVERCOME, check)
    assert found == all_of(OVERCOME, (State.SUCCESS, True, True))


async def test_a_silent_connection_is_waited_on(tmp_path: Path, authority: Authority) -> None:
    async def check(scene: Scene, _: str) -> tuple[bool, int]:
        workflow = scene.add("only")
        await scene.begin()
        await scene.see(lambda e: e.name == "tink.connection.opened", "a connection")
        await scene.watch(4.0)
        return workflow.state is State.SUCCESS, len(scene.events("tink.connection.accepted"))

    found = await everywhere(tmp_path, authority, FOR_EVER, check)
    assert found == all_of(FOR_EVER, (False, 1))


async def test_a_server_that_accepts_and_says_nothing(tmp_path: Path, authority: Authority) -> None:
    """A connection without SETTINGS is given up: by v1 after grpc-go's 20 s, by tink-agent soon.

    tink-agent sets connection parameters without a least time to connect, so that an attempt may
    take no longer than the backoff of the moment: about a second at first.
    """

    async def check(scene: Scene, _: str) -> float:
        workflow = scene.add("only")
        await scene.begin()
        assert await scene.end(workflow) == [State.SUCCESS]
        first, second, *_rest = scene.events("tink.connection.accepted")
        return round(second.t - first.t, 1)

    rows = {"silent": Conduct(silent_from=Silence.ACCEPT)}
    found = await everywhere(tmp_path, authority, rows, check)
    agent = found.pop((TINK_AGENT.name, "silent"))
    assert 0.5 < agent < 8
    assert all(18 < seconds < 27 for seconds in found.values()), found


async def test_wrong_certificates_are_refused(tmp_path: Path, authority: Authority) -> None:
    """Each wrong certificate is shown once; the right one after it is taken."""
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.certificate)

    async def check(scene: Scene, _: str) -> tuple[State, int]:
        workflow = scene.add("only")
        await scene.start_server(tls_of(authority))
        await scene.start_worker(TINKERBELL_TLS="true", SSL_CERT_FILE=str(file))
        [state] = await scene.end(workflow)
        failed = [e["reason"] for e in scene.events("tink.connection.failed")]
        return state, sum("certificate" in reason for reason in failed)

    found = await everywhere(tmp_path, authority, WRONG, check)
    assert found == all_of(WRONG, (State.SUCCESS, 1))


async def test_wrong_certificates_are_taken_when_told_so(
    tmp_path: Path, authority: Authority
) -> None:
    async def check(scene: Scene, _: str) -> int:
        await scene.start_server(tls_of(authority))
        await scene.start_worker(TINKERBELL_TLS="true", TINKERBELL_INSECURE_TLS="true")
        await scene.poll()
        return len(scene.events("tink.connection.accepted"))

    plain = {"plaintext where TLS is expected": Conduct(tls=False)}
    found = await everywhere(tmp_path, authority, WRONG | plain, check)
    assert found == all_of(WRONG, 1) | all_of(plain, 2)


async def test_a_refused_result(tmp_path: Path, authority: Authority) -> None:
    """v1 insists whatever the code; tink-agent ends, as if all were well, after three of them."""

    async def check(scene: Scene, code: str) -> tuple[State, int | None]:
        workflow = scene.add("only")
        await scene.begin()
        await scene.report("only", "RUNNING")
        scene.refusals.code = grpc.StatusCode[code]
        scene.refusals.left[REPORT] = 1
        try:
            [state] = await scene.end(workflow)
        except Broken:
            return workflow.state, await scene.worker.process.wait()
        return state, None

    rows = {code: Conduct() for code in [*CODES, *PERMANENT]}

    found = await everywhere(tmp_path, authority, rows, check)
    gone = {(TINK_AGENT.name, code): (State.RUNNING, 0) for code in PERMANENT}
    assert found == {**all_of(rows, (State.SUCCESS, None)), **gone}


async def test_a_refused_poll(tmp_path: Path, authority: Authority) -> None:
    """Asking again is what every worker does, whatever the code."""

    async def check(scene: Scene, code: str) -> State:
        workflow = scene.add("only")
        scene.refusals.code = grpc.StatusCode[code]
        scene.refusals.left[POLLS[scene.protocol]] = 2
        await scene.begin()
        [state] = await scene.end(workflow)
        return state

    rows = {code: Conduct() for code in [*CODES, *PERMANENT]}
    assert await everywhere(tmp_path, authority, rows, check) == all_of(rows, State.SUCCESS)
