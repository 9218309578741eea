"""One RPC on its way: its number, its facts, its events, its errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from fake_tink_server.answers import Code, Refused
from fake_tink_server.protocol import Protocol

Record = Callable[..., object]
"""Called as ``record(name, **fields)`` with a name of ``harness.events.EVENTS``."""

Context = grpc.aio.ServicerContext[bytes, bytes]
T = TypeVar("T")
M = TypeVar("M", bound=Message)

_CODES: Final = {
    Code.UNKNOWN: grpc.StatusCode.UNKNOWN,
    Code.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    Code.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Code.FAILED_PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Code.INTERNAL: grpc.StatusCode.INTERNAL,
}


def _is_wire_format(request: bytes) -> bool:
    """Whether ``request`` is fields, of whatever kind; then it is text that made it no message."""
    try:
        Empty.FromString(request)
    except DecodeError:
        return False
    return True


class Aborted(Exception):
    """Raised after a call was ended with an error; never leaves the handlers."""


class Call:
    """One RPC. Its facts are filled in as they become known."""

    def __init__(
        self,
        number: int,
        rpc: str,
        protocol: Protocol,
        context: Context,
        record: Record,
        peer: str,
    ) -> None:
        self.id = number
        self.rpc = rpc
        self.protocol = protocol
        self.peer = peer
        """``address:port``"""
        self.worker = ""
        """The worker's or agent's id, as far as the call tells it."""
        self.workflow = ""
        """``namespace/name``; of GetAction known only once it is answered."""
        self.task = ""
        self.action = ""
        self.state = ""
        """Of a report: ``RUNNING``, ``SUCCESS``, …"""
        self.tries = 1
        self._context = context
        self._record = record
        self._began_s = time.monotonic()

    async def parse(self, kind: Callable[[], M], request: bytes, *, stream: bool = False) -> M:
        """Return ``request`` as a message, or end the call as grpc-go ends it."""
        message = kind()
        try:
            message.ParseFromString(request)
        except DecodeError:
            self.received()
            what = (
                "failed to unmarshal the received message"
                if stream
                else "error unmarshalling request"
            )
            reason = (
                "string field contains invalid UTF-8"
                if _is_wire_format(request)
                else "proto: cannot parse invalid wire-format data"
            )
            await self.abort(grpc.StatusCode.INTERNAL, f"grpc: {what}: {reason}")
        return message

    def received(self) -> None:
        """Record that the call was understood, with the facts it brought."""
        self._record(
            "tink.rpc.received",
            id=self.id,
            rpc=self.rpc,
            protocol=str(self.protocol),
            worker_id=self.worker or None,
            workflow_id=self.workflow or None,
            peer=self.peer,
        )

    def reported(self, *, accepted: bool, seconds: int, message: str) -> None:
        """Record what a worker said of an action. ``seconds`` is how long it took."""
        self._record(
            "tink.action.reported",
            id=self.id,
            workflow_id=self.workflow,
            worker_id=self.worker,
            task=self.task,
            action=self.action,
            state=f"STATE_{self.state}",
            seconds=seconds,
            message=message,
            accepted=accepted,
        )

    async def answer(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; end the call when it is refused."""
        try:
            return work()
        except Refused as refused:
            await self.refuse(refused)

    async def refuse(self, refused: Refused) -> NoReturn:
        """End the call with what the engine said."""
        await self.abort(_CODES[refused.code], refused.details)

    def finished(self, code: grpc.StatusCode = grpc.StatusCode.OK, details: str = "") -> None:
        """Record the call's end."""
        self._record(
            "tink.rpc.finished",
            id=self.id,
            rpc=self.rpc,
            code=code.name,
            details=details or None,
            tries=self.tries if self.tries > 1 else None,
            duration_s=round(time.monotonic() - self._began_s, 6),
        )

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with an error."""
        self.finished(code, details)
        await self._context.abort(code, details)
        raise Aborted  # not reached: grpc.aio's abort raises
