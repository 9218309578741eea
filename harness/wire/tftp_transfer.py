"""One TFTP read: a sans-IO state machine of the sending side.

States: ``negotiating`` (OACK sent, waits for ACK 0) → ``sending`` → ``over``. Blocks are counted
without wrapping inside; only packets wrap at 65536.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Protocol

from harness.wire import tftp
from harness.wire.commands import (
    Address,
    CancelTimer,
    Command,
    LockStep,
    Note,
    Round,
    Send,
    SetTimer,
)
from harness.wire.tftp import Ack, Error, ErrorCode, Oack, Packet, Request

ALL_OPTIONS: Final = frozenset({"blksize", "tsize", "timeout", "windowsize"})
_PROGRESS_EVERY_S: Final = 0.5
_WRAP: Final = 0x10000
_AHEAD_BYTES: Final = 1 << 16
"""How much is prepared before it is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TftpPolicy:
    """What a server grants. The defaults are smee's: blocks of 512, no windows, 10 s."""

    options: frozenset[str] = frozenset({"blksize", "tsize"})
    min_blksize: int = 512
    """smee's library ignores a smaller wish; RFC 2348 allows 8."""
    max_blksize: int = 512
    """smee's --tftp-block-size, 512 by default; at most 65464 (RFC 2348)."""
    max_windowsize: int = 64
    timeout_s: float = 10.0
    retries: int = 5
    """Retransmissions of one window before the transfer is given up."""


FAST: Final = TftpPolicy(options=ALL_OPTIONS, min_blksize=8, max_blksize=65_464, timeout_s=2.0)
"""Grants what a client asks for."""


class Content(Protocol):
    """What is sent: octets, or a file that is read as it goes."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes | memoryview:
        """Return a part; less of it where a file has become shorter than ``len`` said."""


class _Shrunk(Exception):
    """The content ends before its length."""


class _State(Enum):
    NEGOTIATING = auto()
    SENDING = auto()
    OVER = auto()


_P = ParamSpec("_P")
_Step = Callable[Concatenate["Transfer", _P], list[Command]]


def _or_broken_off(step: _Step[_P]) -> _Step[_P]:
    """Let a step of a transfer whose content ends too early be its last."""

    @wraps(step)
    def guarded(self: Transfer, /, *args: _P.args, **kwargs: _P.kwargs) -> list[Command]:
        try:
            return step(self, *args, **kwargs)
        except _Shrunk:
            return self._broken_off()

    return guarded


class Transfer:
    """Sends ``content`` to ``peer``. ``start`` first; then feed packets and its timer."""

    def __init__(
        self,
        *,
        id: str,
        request: Request,
        content: Content,
        peer: Address,
        policy: TftpPolicy,
        mac: str | None = None,
    ) -> None:
        if request.mode == "netascii":
            content = tftp.netascii(bytes(content[0 : len(content)]))
        self.id = id
        self._timer_name = f"{id} retransmit"
        self.peer = peer
        self.request = request
        self.length = len(content)
        self._content = content
        self._policy = policy
        self._mac = mac
        self._blksize = tftp.DEFAULT_BLOCK_BYTES
        self._window = 1
        self._timeout_s = policy.timeout_s
        self._granted = self._grant(request.options)
        self._last = self.length // self._blksize + 1
        """The number of the short block that ends the transfer."""
        self._acked = 0
        self._sent = 0
        self._retried = 0
        self._resends = 0
        """How often something was sent again for want of an acknowledgement."""
        self._resent_at = -1
        """The acknowledged block at which a repeated ACK was answered already."""
        self._state = _State.NEGOTIATING if self._granted else _State.SENDING
        self._started_at = 0.0
        self._progress_at = 0.0

    def __repr__(self) -> str:
        return f"<Transfer {self.id} {self.request.file!r} {self._state.name} {self._acked}>"

    @property
    def over(self) -> bool:
        """Whether the transfer ended, well or not."""
        return self._state is _State.OVER

    @property
    def timer_name(self) -> str:
        """The name of its only timer."""
        return self._timer_name

    @property
    def acknowledged_bytes(self) -> int:
        """How much of the content the client has for sure."""
        return min(self._acked * self._blksize, self.length)

    @_or_broken_off
    def start(self, now: float) -> list[Command]:
        """Return the first packets: an OACK when an option was granted, else DATA."""
        self._started_at = self._progress_at = now
        if self._state is _State.NEGOTIATING:
            oack = self._packet(Oack(options=self._granted))
            note = self._note("tftp.oack.sent", options=dict(self._granted))
            return [oack, note, self._set_timer(now)]
        return [*self._send_window(), self._set_timer(now)]

    @_or_broken_off
    def receive(self, packet: Packet, now: float) -> list[Command]:
        """Take a packet of the client."""
        if self.over:
            return []
        match packet:
            case Ack():
                return self.acknowledged(packet.block, now)
            case Error():
                done = self.acknowledged_bytes
                self._state = _State.OVER
                return [
                    CancelTimer(name=self.timer_name),
                    self._note(
                        "tftp.transfer.aborted",
                        file=self.request.file, code=packet.code, text=packet.text, bytes=done,
                    ),
                ]  # fmt: skip
            case Request() if packet == self.request and self._acked == 0:
                return self._resend(now)  # our first packet was lost
            case _:
                return []

    @_or_broken_off
    def timed_out(self, now: float) -> list[Command]:
        """Retransmit from the last acknowledged block, or give up."""
        if self.over:
            return []
        if self._retried < self._policy.retries:
            self._retried += 1
            commands = [*self._resend(now), self._set_timer(now)]
            return [*commands, self._progressed()] if self._acked else commands
        self._state = _State.OVER
        note = self._note(
            "tftp.transfer.timed_out",
            mac=self._mac, file=self.request.file, bytes=self.acknowledged_bytes,
            resends=self._resends or None,
        )  # fmt: skip
        return [self._packet(Error(code=ErrorCode.UNDEFINED, text="timed out")), note]

    @_or_broken_off
    def acknowledged(self, block: int, now: float) -> list[Command]:
        """Take an ACK, as ``receive`` does."""
        if self._state is _State.OVER:
            return []
        if self._state is _State.NEGOTIATING:
            if block != 0:
                return []
            self._state = _State.SENDING
            self._retried = 0
            return [*self._send_window(), self._set_timer(now), self._lock_step()]
        new = (block - self._acked) % _WRAP
        if new == 0:
            return self._repeated(now)
        if new > self._sent - self._acked:
            return []  # a block that was never sent, or an old ACK that arrived late
        self._acked += new
        self._retried = 0
        if self._acked == self._last:
            self._state = _State.OVER
            finished = self._note(
                "tftp.transfer.finished",
                mac=self._mac, file=self.request.file, bytes=self.length,
                duration_s=round(now - self._started_at, 6),
            )  # fmt: skip
            return [CancelTimer(name=self.timer_name), finished]
        return [*self._send_window(), *self._went_on(now), self._lock_step()]

    def _broken_off(self) -> list[Command]:
        """End what can't be sent to its end: somebody has cut the file short."""
        self._state = _State.OVER
        text = f"{self.request.file} has become shorter"
        note = self._note(
            "tftp.error.sent",
            mac=self._mac, peer=f"{self.peer[0]}:{self.peer[1]}", file=self.request.file,
            code=int(ErrorCode.UNDEFINED), text=text,
        )  # fmt: skip
        error = self._packet(Error(code=ErrorCode.UNDEFINED, text=text))
        return [CancelTimer(name=self.timer_name), error, note]

    def _went_on(self, now: float) -> list[Command]:
        """Return what else there is to do when blocks were acknowledged and others sent."""
        commands: list[Command] = [self._set_timer(now)]
        if now - self._progress_at >= _PROGRESS_EVERY_S:
            self._progress_at = now
            commands.append(self._progressed())
        return commands

    def _progressed(self) -> Note:
        return self._note(
            "tftp.transfer.progressed",
            file=self.request.file,
            bytes=self.acknowledged_bytes,
            length=self.length,
            resends=self._resends or None,
        )

    def _lock_step(self) -> LockStep:
        return LockStep(peer=self.peer, rounds=self._rounds(), over=self._rounds_over)

    def _rounds_over(self, count: int, now: float) -> list[Command]:
        self._acked = min(self._sent + (count - 1) * self._window, self._last)
        self._sent = min(self._acked + self._window, self._last)
        self._retried = 0
        return self._went_on(now)

    def _rounds(self) -> Iterator[Round]:
        """Yield each ACK of a whole window, and the next window; all but the last.

        Ends early where the content does: the core sees to that. Content is read a few windows at
        a time, and a window made while the client is busy with the one before it.
        """
        window, last = self._window, self._last
        few = max(1, _AHEAD_BYTES // (self._blksize * window)) * window
        for start in range(self._sent, last, few):
            until = min(start + few, last)
            try:
                octets = self._octets(start, until)
            except _Shrunk:
                return
            for acked in range(start, until, window):
                blocks = self._blocks(octets, start, acked, min(acked + window, until))
                yield tftp.ack_packet(acked % _WRAP), blocks

    def _repeated(self, now: float) -> list[Command]:
        """Handle an ACK for what is acknowledged already.

        In lock step it is ignored: answering it doubles every later packet, the sorcerer's
        apprentice (RFC 1123 §4.2.3.1). With windows it means that the window's first block was
        lost (RFC 7440 §4), and is answered once.
        """
        if self._window == 1 or self._sent == self._acked or self._resent_at == self._acked:
            return []
        self._resent_at = self._acked
        return [*self._resend(now), self._set_timer(now)]

    def _resend(self, now: float) -> list[Command]:
        del now
        self._resends += 1
        if self._state is _State.NEGOTIATING:
            return [self._packet(Oack(options=self._granted))]
        self._sent = self._acked
        return self._send_window()

    def _send_window(self) -> list[Command]:
        """Return the window after the last acknowledged block.

        A window starts anew at each ACK (RFC 7440 §4), also where the ACK is for its middle.
        """
        until = min(self._acked + self._window, self._last)
        packets = self._packets(self._acked, until)
        self._sent = until
        return [Send(data=data, destination=self.peer) for data in packets]

    def _packets(self, acked: int, until: int) -> list[bytes]:
        """Return the blocks after ``acked`` up to ``until``. Raises ``_Shrunk``."""
        return self._blocks(self._octets(acked, until), acked, acked, until)

    def _octets(self, acked: int, until: int) -> memoryview:
        """Return what these blocks hold. Raises ``_Shrunk``."""
        start, end = acked * self._blksize, min(until * self._blksize, self.length)
        octets = memoryview(self._content[start:end])
        if len(octets) < end - start:
            raise _Shrunk
        return octets

    def _blocks(self, octets: memoryview, start: int, acked: int, until: int) -> list[bytes]:
        """Return blocks of ``octets``, which begin after block ``start``."""
        size, packet = self._blksize, tftp.data_packet
        return [
            packet(
                (number + 1) % _WRAP, octets[(number - start) * size : (number - start + 1) * size]
            )
            for number in range(acked, until)
        ]

    def _packet(self, packet: Packet) -> Send:
        return Send(data=tftp.encode(packet), destination=self.peer)

    def _set_timer(self, now: float) -> SetTimer:
        return SetTimer(name=self._timer_name, at=now + self._timeout_s)

    def _note(self, event: str, /, **fields: Any) -> Note:
        return Note(name=event, fields={"id": self.id, **fields})

    def _grant(self, wishes: Mapping[str, str]) -> dict[str, str]:
        """Return the options to acknowledge, in the client's order; only what was asked for."""
        policy = self._policy
        granted: dict[str, str] = {}
        for name, text in wishes.items():
            if name not in policy.options:
                continue
            if name == "tsize":  # anything but RFC 2349's 0 comes back as it was, as from smee
                granted[name] = str(self.length) if text == "0" else text
                continue
            if not text.isascii() or not text.isdigit():
                continue
            wish = int(text)
            if name == "blksize" and policy.min_blksize <= wish <= 65_464:
                self._blksize = min(wish, policy.max_blksize)
                granted[name] = str(self._blksize)
            elif name == "windowsize" and 1 <= wish <= 65_535:
                self._window = min(wish, policy.max_windowsize)
                granted[name] = str(self._window)
            elif name == "timeout" and 1 <= wish <= 255:
                self._timeout_s = float(wish)
                granted[name] = text
        return granted
