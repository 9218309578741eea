"""What each real worker does when its connections go wrong: found by trying, kept as a table.

Every row has a twin in ``test_real_workers``, where nothing goes wrong and the same work succeeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_tink_server.conduct import Conduct, Goaway, Silence
from fake_tink_server.conformance.rule import Protocol
from fake_tink_server.conformance.scene import Scene
from fake_tink_server.server import ServerTls
from fake_tink_server.tests.real_workers import TINK_WORKER, VIRTUAL_WORKER, Real, setup_of
from fake_tink_server.workflow import State
from harness.certificates import Authority, KeyKind, Kind

pytestmark = pytest.mark.service

WORKERS = [TINK_WORKER, VIRTUAL_WORKER]
PROTOCOLS = {TINK_WORKER.name: Protocol.V1, VIRTUAL_WORKER.name: Protocol.V1}
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

REFUSED = [
    Kind.UNKNOWN_CA, Kind.SELF_SIGNED, Kind.EXPIRED, Kind.NOT_YET_VALID, Kind.WRONG_NAME,
    Kind.NO_SAN, Kind.INCOMPLETE_CHAIN,
]  # fmt: skip

each_worker = pytest.mark.parametrize("real", WORKERS, ids=lambda real: real.name)


async def scene_of(real: Real, folder: Path) -> Scene:
    scene = Scene(setup=await setup_of(real), protocol=PROTOCOLS[real.name], folder=folder)
    scene.behave("only", seconds=1.2)
    return scene


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(keys=KeyKind.ECDSA)


def tls_of(authority: Authority) -> ServerTls:
    own = authority.issue(NAME, "127.0.0.1")
    return ServerTls(certificate_chain=own.chain, private_key=own.key)


@each_worker
@pytest.mark.parametrize("what", OVERCOME)
async def test_a_connection_that_breaks_is_made_anew(
    real: Real, what: str, tmp_path: Path, authority: Authority
) -> None:
    async with await scene_of(real, tmp_path) as scene:
        scene.issue = lambda kind: authority.issue(NAME, "127.0.0.1", kind=kind)
        scene.conducts = [OVERCOME[what]]
        workflow = scene.add("only")
        await scene.begin()
        assert await scene.end(workflow) == [State.SUCCESS]
        assert len(scene.events("tink.connection.accepted")) >= 2
        assert len(scene.created()) == (0 if real is VIRTUAL_WORKER else 1)


@each_worker
@pytest.mark.parametrize("what", FOR_EVER)
async def test_a_silent_connection_is_waited_on(real: Real, what: str, tmp_path: Path) -> None:
    async with await scene_of(real, tmp_path) as scene:
        scene.conducts = [FOR_EVER[what]]
        workflow = scene.add("only")
        await scene.begin()
        await scene.see(lambda e: e.name == "tink.connection.opened", "a connection")
        await scene.watch(4.0)
        assert workflow.state is not State.SUCCESS
        assert len(scene.events("tink.connection.accepted")) == 1


@each_worker
async def test_a_server_that_accepts_and_says_nothing(real: Real, tmp_path: Path) -> None:
    """grpc-go gives up on a connection without SETTINGS after 20 s."""
    async with await scene_of(real, tmp_path) as scene:
        scene.conducts = [Conduct(silent_from=Silence.ACCEPT)]
        workflow = scene.add("only")
        await scene.begin()
        assert await scene.end(workflow) == [State.SUCCESS]
        first, second, *_ = scene.events("tink.connection.accepted")
        assert 18 < second.t - first.t < 27


@each_worker
async def test_certificates(real: Real, tmp_path: Path, authority: Authority) -> None:
    """Every wrong certificate is refused, and the right one after them is taken."""
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    async with await scene_of(real, tmp_path) as scene:
        scene.issue = lambda kind: authority.issue(NAME, "127.0.0.1", kind=kind)
        scene.conducts = [Conduct(certificate=kind) for kind in REFUSED[:3]]
        workflow = scene.add("only")
        await scene.start_server(tls_of(authority))
        await scene.start_worker(TINKERBELL_TLS="true", SSL_CERT_FILE=str(tmp_path / "ca.pem"))
        assert await scene.end(workflow) == [State.SUCCESS]
        failed = [e["reason"] for e in scene.events("tink.connection.failed")]
        assert len(failed) == 3
        assert all("certificate" in reason for reason in failed), failed


@each_worker
@pytest.mark.parametrize("kind", REFUSED)
async def test_a_wrong_certificate_is_taken_when_told_so(
    real: Real, kind: Kind, tmp_path: Path, authority: Authority
) -> None:
    async with await scene_of(real, tmp_path) as scene:
        scene.issue = lambda wanted: authority.issue(NAME, "127.0.0.1", kind=wanted)
        scene.conducts = [Conduct(certificate=kind)]
        await scene.start_server(tls_of(authority))
        await scene.start_worker(TINKERBELL_TLS="true", TINKERBELL_INSECURE_TLS="true")
        await scene.poll()
        assert len(scene.events("tink.connection.accepted")) == 1


@each_worker
async def test_plaintext_where_tls_is_expected(
    real: Real, tmp_path: Path, authority: Authority
) -> None:
    async with await scene_of(real, tmp_path) as scene:
        scene.conducts = [Conduct(tls=False)]
        await scene.start_server(tls_of(authority))
        await scene.start_worker(TINKERBELL_TLS="true", TINKERBELL_INSECURE_TLS="true")
        await scene.poll()
        assert len(scene.events("tink.connection.accepted")) == 2
