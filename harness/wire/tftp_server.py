"""A TFTP server that reads only: finds the file, starts transfers, refuses the rest.

In single-port mode (smee's default) every transfer runs over port 69 and is told apart by the
client's address and port; ``Solo`` serves one transfer on a port of its own (RFC 1350 §4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.wire import tftp
from harness.wire.commands import Address, CancelTimer, Command, Note, Send
from harness.wire.tftp import Error, ErrorCode, Opcode, Request
from harness.wire.tftp_transfer import Content, TftpPolicy, Transfer

_MODES: Final = frozenset({"octet", "netascii", "mail"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a file is not served. smee's library always says code 1."""

    text: str
    code: int = ErrorCode.FILE_NOT_FOUND


Open = Callable[[str, Address], "Content | Refusal"]
"""Finds the content of a file for a peer."""
Identify = Callable[[str], str | None]


def unknown_file(name: str) -> Refusal:
    """Return smee's words for a file that no route serves; ``name`` is the path's last part."""
    return Refusal(text=f"file [{name}] unknown: file does not exist")


class TftpServer:
    """Holds the transfers of a single-port server."""

    def __init__(
        self, *, open: Open, policy: TftpPolicy | None = None, identify: Identify | None = None
    ) -> None:
        self.policy = policy or TftpPolicy()
        self._open = open
        self._identify = identify or (lambda _: None)
        self._transfers: dict[Address, Transfer] = {}
        self.numbered = 0
        """How many requests have a number; the next one's is one more."""

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Take a datagram on the server's port. Raises ``DecodeError``."""
        running = self._transfers.get(peer)
        block = tftp.acknowledged_block(datagram)
        if block is not None and running is not None:
            commands = running.acknowledged(block, now)
            if running.over:
                del self._transfers[peer]
            return commands
        packet = tftp.decode(datagram)
        if isinstance(packet, Request) and (running is None or packet != running.request):
            commands, transfer = self.accept(packet, peer)
            if running:  # the client began anew from the same port: the old transfer is dead
                commands.append(CancelTimer(name=running.timer_name))
                del self._transfers[peer]
            if transfer:
                self._transfers[peer] = transfer
                commands += transfer.start(now)
                if transfer.over:
                    del self._transfers[peer]
            return commands
        if running is None:
            return []  # a late ACK of a transfer that is over
        commands = running.receive(packet, now)
        if running.over:
            del self._transfers[peer]
        return commands

    def timer(self, name: str, now: float) -> list[Command]:
        """Retransmit for the transfer whose timer ended."""
        for peer, transfer in self._transfers.items():
            if transfer.timer_name == name:
                commands = transfer.timed_out(now)
                if transfer.over:
                    del self._transfers[peer]
                return commands
        return []

    def accept(self, request: Request, peer: Address) -> tuple[list[Command], Transfer | None]:
        """Return what a request leads to, and the transfer that is yet to be started."""
        self.numbered += 1
        id = f"t{self.numbered}"
        mac = self._identify(peer[0])
        received = Note(
            name="tftp.request.received",
            fields={
                "id": id,
                "mac": mac,
                "peer": f"{peer[0]}:{peer[1]}",
                "file": request.file,
                "opcode": request.opcode.name,
                "options": dict(request.options),
            },
        )
        found = self._find(request, peer)
        if not isinstance(found, Refusal):
            transfer = Transfer(
                id=id, request=request, content=found, peer=peer, policy=self.policy, mac=mac
            )
            return [received], transfer
        error = tftp.encode(Error(code=found.code, text=found.text))
        refused = Note(
            name="tftp.error.sent",
            fields={
                "id": id,
                "mac": mac,
                "peer": f"{peer[0]}:{peer[1]}",
                "file": request.file,
                "code": int(found.code),
                "text": found.text,
            },
        )
        return [received, Send(data=error, destination=peer), refused], None

    def _find(self, request: Request, peer: Address) -> Content | Refusal:
        if request.opcode is Opcode.WRQ:
            return Refusal(text="access_violation: permission denied")
        if request.mode not in _MODES or request.mode == "mail":
            return Refusal(
                text=f"mode {request.mode} is not supported", code=ErrorCode.ILLEGAL_OPERATION
            )
        return self._open(request.file, peer)


class Solo:
    """One transfer on a socket of its own; a packet from any other port is answered ERROR 5."""

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Take a datagram on the transfer's port. Raises ``DecodeError``."""
        if peer == self.transfer.peer:
            block = tftp.acknowledged_block(datagram)
            if block is not None:
                return self.transfer.acknowledged(block, now)
            return self.transfer.receive(tftp.decode(datagram), now)
        packet = tftp.decode(datagram)
        if isinstance(packet, Error):
            return []  # RFC 1350 §4: never answer an ERROR
        text = "unknown transfer ID"
        error = tftp.encode(Error(code=ErrorCode.UNKNOWN_TRANSFER, text=text))
        note = Note(
            name="tftp.error.sent",
            fields={
                "id": self.transfer.id,
                "peer": f"{peer[0]}:{peer[1]}",
                "code": int(ErrorCode.UNKNOWN_TRANSFER),
                "text": text,
            },
        )
        return [Send(data=error, destination=peer), note]

    def timer(self, name: str, now: float) -> list[Command]:
        """Retransmit."""
        del name
        return self.transfer.timed_out(now)
