"""Does what faults ask for: to connections as they are accepted, and to single calls.

A call is seen twice: as ``call`` before Tinkerbell hears of it, and as ``answer`` afterwards. Both
are on bytes, around whatever answers the method, so that no handler knows of faults.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from fake_tink_server.calls import Call, Context
from fake_tink_server.conduct import Conduct, Goaway, Silence
from fake_tink_server.front import Record
from fake_tink_server.protocol import Protocol
from fake_tink_server.relay import Relay
from fake_tink_server.seen import facts_of
from fake_tink_server.workflow import Workflow
from harness.certificates import Kind
from harness.faults import deeds as do
from harness.faults.codes import grpc_status
from harness.faults.plan import Strike

Unary = Callable[[bytes, Context], Awaitable[bytes]]
Stream = Callable[[bytes, Context], AsyncIterator[bytes]]

REPORT: Final = "ReportActionStatus"
CONTEXTS: Final = "GetWorkflowContexts"
_HISTORY: Final = 100
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class _Discarded(Exception):
    """A call that no client waits for was refused."""


class _NobodyWaits:
    """The context of a call whose answer goes nowhere."""

    def __init__(self, peer: str) -> None:
        # told, not asked of the real one: grpc crashes when a call that has ended is asked
        self._peer = peer

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def abort(self, *_: object, **__: object) -> NoReturn:
        raise _Discarded


@dataclasses.dataclass(slots=True)
class _Held:
    behind: int
    hear: Callable[[], Awaitable[None]]


class Misbehaviour:
    """Stands between a server's front, its handlers, and a fault plan."""

    def __init__(
        self,
        strike: Strike,
        *,
        record: Record,
        workflows: Callable[[], Mapping[str, Workflow]],
        relay_of: Callable[[str], Relay | None],
        peer_of: Callable[[str], str],
        tls: bool,
        number: Callable[[], int],
        identify: Callable[[str], str | None] = lambda address: None,
    ) -> None:
        """``relay_of`` and ``peer_of`` take what grpc calls the peer; ``number`` numbers calls.

        ``identify`` knows the MAC of an address.
        """
        self._strike = strike
        self._record = record
        self._workflows = workflows
        self._relay_of = relay_of
        self._peer_of = peer_of
        self._tls = tls
        self._number = number
        self._identify = identify
        self._history: deque[dict[str, Workflow]] = deque(maxlen=_HISTORY)
        self._held: list[_Held] = []

    # -- connections

    def decide(self, peer: str) -> Conduct:
        """Return how the server behaves on a new connection."""
        mac = self._mac_at(peer)
        return conduct_of(self._strike("connection", peer=peer, tls=self._tls, mac=mac))

    def _mac_at(self, peer: str) -> str | None:
        return self._identify(peer.rpartition(":")[0].strip("[]"))

    # -- calls

    def unary(self, rpc: str, handler: Unary) -> Unary:
        """Return ``handler`` with misbehaviour around it."""

        async def call(request: bytes, context: Context) -> bytes:
            return b"".join([item async for item in self._around(rpc, request, context, run)])

        async def run(request: bytes, context: Context) -> AsyncIterator[bytes]:
            yield await handler(request, context)

        return call

    def stream(self, rpc: str, handler: Stream) -> Stream:
        """Return ``handler`` with misbehaviour around it."""

        async def call(request: bytes, context: Context) -> AsyncIterator[bytes]:
            async for item in self._around(rpc, request, context, handler):
                yield item

        return call

    async def _around(
        self, rpc: str, request: bytes, context: Context, handler: Stream
    ) -> AsyncIterator[bytes]:
        facts = facts_of(rpc, request)
        inner_peer = context.peer()
        peer = self._peer_of(inner_peer)
        worker = str(facts.get("worker") or "").lower()
        # GetWorkflowActions does not say whose it is, and yet counts among its machine's calls.
        mac = worker if _MAC.fullmatch(worker) else self._mac_at(peer)
        known = {"rpc": rpc, "peer": peer, "tls": self._tls, "mac": mac, **facts}
        moment = _Moment(self, rpc, context, known)
        deeds = self._strike("call", **known)
        heard = await moment.before(deeds)
        if rpc == REPORT:
            self._history.append(copy.deepcopy(dict(self._workflows())))
        held = next((one for one in deeds if isinstance(one, do.Reorder)), None)
        if held is not None and rpc == REPORT:

            async def later() -> None:
                await self._hear(request, inner_peer, handler)

            self._held.append(_Held(held.behind, later))
            heard = False
        if not heard:
            moment.answered()
            return
        answer = [item async for item in handler(request, context)]
        for deed in deeds:
            if isinstance(deed, do.Duplicate):
                for _ in range(deed.times):
                    await self._hear(request, inner_peer, handler)
        if rpc == REPORT:
            await self._release()
        if await moment.after(self._strike("answer", **known)):
            for item in answer:
                yield item

    async def _hear(self, request: bytes, peer: str, handler: Stream) -> None:
        """Let Tinkerbell hear a call whose answer goes nowhere."""
        nobody: Any = _NobodyWaits(peer)
        try:
            async for _ in handler(request, nobody):
                pass
        except _Discarded:
            return

    async def _release(self) -> None:
        for held in list(self._held):
            held.behind -= 1
            if held.behind <= 0:
                self._held.remove(held)
                await held.hear()

    # -- what a moment does to the server

    def roll_back(self, reports: int) -> None:
        """Put every workflow into the state it had ``reports`` reports ago, or at the oldest."""
        if not self._history or reports < 1:
            return
        for _ in range(min(reports, len(self._history)) - 1):
            self._history.pop()
        old = self._history.pop()
        for workflow_id, workflow in self._workflows().items():
            before = workflow.state
            if workflow_id not in old:
                continue
            for each in dataclasses.fields(Workflow):
                setattr(workflow, each.name, getattr(old[workflow_id], each.name))
            if workflow.state is not before:
                self._record(
                    "tink.workflow.changed",
                    workflow_id=workflow_id,
                    state=str(workflow.state),
                    before=str(before),
                )

    def relay(self, context: Context) -> Relay | None:
        """Return the connection of a call."""
        return self._relay_of(context.peer())

    def call(self, rpc: str, context: Context, facts: Mapping[str, Any]) -> Call:
        """Return the record of a call, for the case that no handler makes one."""
        protocol = Protocol(facts.get("protocol") or Protocol.V1)
        call = Call(0, rpc, protocol, context, self._record, str(facts["peer"]))
        call.worker, call.workflow = facts.get("worker") or "", facts.get("workflow") or ""
        return call

    def told_of_none(self, call: Call) -> None:
        """Record that a worker was told of no workflow, whatever there is for it."""
        self._record("tink.contexts.sent", id=call.id, worker_id=call.worker, workflows=[])

    def next_number(self) -> int:
        """Return the number of a call that no handler sees."""
        return self._number()


class _Moment:
    """One call, and what is done to it."""

    def __init__(
        self, server: Misbehaviour, rpc: str, context: Context, facts: Mapping[str, Any]
    ) -> None:
        self._server = server
        self._context = context
        self._call = server.call(rpc, context, facts)

    async def before(self, deeds: Iterable[do.Deed]) -> bool:
        """Do what comes before Tinkerbell hears of the call; whether it hears it at all."""
        heard = True
        for deed in deeds:
            match deed:
                case do.Delay(seconds=seconds):
                    await asyncio.sleep(seconds)
                case do.Rollback(reports=reports):
                    self._server.roll_back(reports)
                case do.Drop():
                    heard = False
                case do.Status(code=code, message=message):
                    await self._refuse(grpc_status(code), message, unheard=True)
                case do.Stall():
                    if not deed.seconds:
                        self._unheard()
                    await _wait(deed)
                case _:
                    if self._break(deed):
                        self._unheard()
                        await _cancelled(self._context)
        return heard

    async def after(self, deeds: Iterable[do.Deed]) -> bool:
        """Do what comes before the answer is sent; whether it is sent."""
        for deed in deeds:
            match deed:
                case do.Delay(seconds=seconds):
                    await asyncio.sleep(seconds)
                case do.Status(code=code, message=message):
                    await self._refuse(grpc_status(code), message, unheard=False)
                case do.Stall():
                    await _wait(deed)
                case _:
                    if self._break(deed):
                        return False
        return True

    def answered(self) -> None:
        """Record that the call was answered OK, and empty, though nobody heard it."""
        call = self._unheard()
        if call.rpc == CONTEXTS:
            self._server.told_of_none(call)
        call.finished()

    def _break(self, deed: do.Deed) -> bool:
        """Do ``deed`` to the call's connection; whether the call can't be answered any more."""
        relay = self._server.relay(self._context)
        if relay is None:
            return True
        match deed:
            case do.Cut(code=code):
                return relay.cut(code)
            case do.Goaway():
                relay.goaway(deed.code, deed.last, deed.debug)
                return bool(deed.code)
            case do.Reset():
                relay.reset()
            case do.Close():
                relay.end()
            case _:
                return False
        return True

    async def _refuse(self, code: grpc.StatusCode, text: str, *, unheard: bool) -> NoReturn:
        if unheard:
            self._unheard().finished(code, text)
        await self._context.abort(code, text)
        raise AssertionError("abort returned")

    def _unheard(self) -> Call:
        """Record that the call came, as the handler would that never sees it; return it."""
        self._call.id = self._server.next_number()
        self._call.received()
        return self._call


def conduct_of(deeds: Iterable[do.Deed]) -> Conduct:
    """Return what ``deeds`` make of a connection; of two that contradict, the later counts."""
    conduct = Conduct()
    for deed in deeds:
        change: dict[str, Any] = {}
        match deed:
            case do.Reset(at=at):
                change = {"reset_at": at}
            case do.Close(at=at):
                change = {"close_at": at}
            case do.Stall(at=at):
                change = {"stall_at": at}
            case do.Lifetime(seconds=seconds, ends=ends):
                change = {f"{ends}_after_s": seconds}
            case do.Silence(since=since):
                change = {"silent_from": Silence(since)}
            case do.Certificate(kind=kind):
                change = {"certificate": Kind(kind)}
            case do.Handshake():
                change = {"manner": deed.manner}
            case do.Speak(what=what):
                change = {"tls": what == "tls"}
            case do.Goaway():
                asked = Goaway(
                    after_s=deed.seconds, code=deed.code, last_stream=deed.last, debug=deed.debug
                )
                change = {"goaway": asked}
        conduct = dataclasses.replace(conduct, **change)
    return conduct


async def _wait(deed: do.Stall) -> None:
    if deed.seconds:
        await asyncio.sleep(deed.seconds)
    else:
        await asyncio.get_running_loop().create_future()


async def _cancelled(context: Context) -> NoReturn:
    """End a call whose stream or connection is no more."""
    await context.abort(grpc.StatusCode.CANCELLED)
    raise AssertionError("abort returned")
