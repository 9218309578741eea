"""An answer that a fault holds back is time of the server's own."""

from __future__ import annotations

from typing import Any

from harness.faults.deeds import Deed, Delay
from harness.faults.dialects.tftp import TftpDialect
from harness.faults.tampering import Tampering, nobody
from harness.wire import tftp
from harness.wire.commands import Address, Note, Send, SetTimer
from harness.wire.tftp import Ack, Opcode, Request
from harness.wire.tftp_server import TftpServer
from harness.wire.turns import Turns

_PEER: Address = ("192.168.56.20", 2070)


def test_one_whose_answers_are_held_back_does() -> None:
    def strike(occasion: str, /, **facts: Any) -> tuple[Deed, ...]:
        return (Delay(seconds=0.75),) if (occasion, facts["opcode"]) == ("reply", "DATA") else ()

    server = TftpServer(open=lambda file, peer: bytes(512 * 100))
    core = Turns(
        Tampering(server, strike=strike, dialect=TftpDialect(nobody)),
        told="tftp.transfer.progressed",
    )
    now, told = 0.0, []
    commands = core.receive(
        tftp.encode(Request(opcode=Opcode.RRQ, file="ipxe.efi", mode="octet")), _PEER, now
    )
    for block in range(1, 10):
        timers = [each for each in commands if isinstance(each, SetTimer) and "fault" in each.name]
        now = timers[0].at
        assert any(isinstance(each, Send) for each in core.timer(timers[0].name, now))
        now += 0.25
        commands = core.receive(tftp.encode(Ack(block=block)), _PEER, now)
        told += [each.fields["server_s"] for each in commands if isinstance(each, Note)]
    assert told == [0.75 * block for block in range(1, 10)]
