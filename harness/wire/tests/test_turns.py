"""Who keeps whom waiting: the server's share of a TFTP transfer's time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.wire import tftp
from harness.wire.commands import Address, Command, LockStep, Note
from harness.wire.tftp import Ack, Opcode, Request
from harness.wire.tftp_server import TftpServer
from harness.wire.turns import Turn, Turns

_PEER: Address = ("192.168.56.20", 2070)
_OTHER: Address = ("192.168.56.21", 2070)
_TOLD = "tftp.transfer.progressed"


def _server() -> TftpServer:
    return TftpServer(open=lambda file, peer: bytes(512 * 100))


def _rrq() -> bytes:
    return tftp.encode(Request(opcode=Opcode.RRQ, file="ipxe.efi", mode="octet"))


def _ack(block: int) -> bytes:
    return tftp.encode(Ack(block=block))


def _told(commands: list[Command]) -> list[float]:
    notes = [each for each in commands if isinstance(each, Note) and each.name == _TOLD]
    return [note.fields["server_s"] for note in notes]


def test_a_server_that_answers_at_once_keeps_nobody_waiting() -> None:
    core = Turns(_server(), told=_TOLD)
    core.receive(_rrq(), _PEER, 0.0)
    told = [s for block in range(1, 10) for s in _told(core.receive(_ack(block), _PEER, block))]
    assert told == [0.0] * 9


def test_rounds_in_lock_step_are_told_too() -> None:
    core = Turns(_server(), told=_TOLD)
    core.receive(_rrq(), _PEER, 0.0)
    commands = core.receive(_ack(1), _PEER, 0.1)
    lock = next(each for each in commands if isinstance(each, LockStep))
    for _ in range(5):
        next(lock.rounds)
    assert _told(list(lock.over(5, 2.0))) == [0.0]


def test_only_so_many_peers_are_known() -> None:
    core = Turns(_server(), told=_TOLD)
    core.receive(_rrq(), _PEER, 0.0)
    for port in range(1000, 1200):
        core.receive(_ack(7), (_OTHER[0], port), 0.0)
    assert _told(core.receive(_ack(1), _PEER, 1.0)) == [0.0]  # begins anew


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 10)), max_size=50))
def test_the_waiting_is_never_longer_than_the_time(steps: list[tuple[bool, float]]) -> None:
    turn, now = Turn(), 0.0
    for asks, later in steps:
        now += later
        (turn.asked if asks else turn.answered)(now)
        assert 0 <= turn.waited_s(now) <= now + 1e-6
