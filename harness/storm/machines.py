"""The simulated machines: each does what a netbooting machine sends, with a socket of its own.

Runs as ``python -m harness.storm.machines`` in a network namespace: says "ready", waits for its
plan on stdin (by then it has its end of the cable), and prints one ``StormResult`` as JSON.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

import grpc
import grpc.aio

from fake_tink_server.proto import workflow_pb2 as pb
from harness.errors import DecodeError
from harness.net.netlink import Netlink
from harness.storm.limits import raise_open_files
from harness.storm.plan import (
    BOOT_PROGRAM,
    CLIENT,
    HTTP_PORT,
    MACHINES_END,
    PREFIX_LENGTH,
    SERVER,
    STEPS,
    WORKER,
    StormPlan,
    StormResult,
    address_of,
    mac_of,
)
from harness.wire import dhcp4, tftp
from harness.wire.dhcp4 import Code, Message, MessageType, Option

_RETRANSMIT_AFTER_S: Final = (1.0, 2.0, 4.0, 8.0)  # RFC 2131 §4.1 doubles, from 4 s; iPXE from 1 s
_STEP_WITHIN_S: Final = 30.0
_POLL_EVERY_S: Final = 6.0  # tink-worker v0.12.2: 3 s after the stream's end and 3 s before a call
_MOST_ERRORS: Final = 10
_METHOD: Final = "/proto.WorkflowService/"
_FIRMWARE: Final = (
    Option(Code.VENDOR_CLASS, b"PXEClient:Arch:00007:UNDI:003016"),
    Option(Code.ARCHITECTURE, b"\0\7"),
    Option(Code.NETWORK_INTERFACE, b"\1\3\x10"),
)


class StepFailed(Exception):
    """A machine got no answer, or a wrong one. Caught here; becomes a line of the result."""


class _DhcpPort(asyncio.DatagramProtocol):
    """The one DHCP client port of all machines; answers are told apart by ``xid``."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, asyncio.Future[Message]] = {}

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        message = dhcp4.decode(data)
        found = self.waiting.get(message.xid)
        if found and not found.done():
            found.set_result(message)


class _TftpPort(asyncio.DatagramProtocol):
    """One transfer's own port."""

    def __init__(self) -> None:
        self.packets: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.packets.put_nowait((data, (str(addr[0]), addr[1])))


class Storm:
    """All machines, and what they measured."""

    def __init__(self, plan: StormPlan) -> None:
        self._plan = plan
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._errors: list[str] = []
        self._failed = 0
        self._finished = 0
        self._retransmits = 0
        self._dhcp = _DhcpPort()
        self._dhcp_out: asyncio.DatagramTransport
        self._settled = asyncio.Event()
        """Every machine has finished its workflow, or failed."""

    async def run(self) -> StormResult:
        """Power all machines on, one after the other, and wait for the last."""
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, MACHINES_END.encode())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setblocking(False)
        sock.bind((CLIENT, dhcp4.CLIENT_PORT))
        self._dhcp_out, _ = await loop.create_datagram_endpoint(lambda: self._dhcp, sock=sock)
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(self._plan.machines):
                group.create_task(self._live(number, loop.time()), name=mac_of(number))
        self._dhcp_out.close()
        return StormResult(
            finished=self._finished,
            failed=self._failed,
            wall_s=round(time.monotonic() - began_s, 3),
            seconds={step: self._seconds[step] for step in STEPS},
            retransmits=self._retransmits,
            errors=self._errors,
        )

    async def _live(self, number: int, began: float) -> None:
        """One machine's life. What goes wrong ends this machine only."""
        await _until(began + self._plan.over_s * number / self._plan.machines)
        mac = mac_of(number)
        try:
            await self._boot(number, mac)
        except StepFailed as failure:
            self._fail(f"{mac}: {failure}")
        except (OSError, grpc.aio.AioRpcError, DecodeError) as failure:
            self._fail(f"{mac}: {type(failure).__name__}: {failure}")

    def _settle(self) -> None:
        if self._finished + self._failed == self._plan.machines:
            self._settled.set()

    def _fail(self, sentence: str) -> None:
        self._failed += 1
        self._settle()
        if len(self._errors) < _MOST_ERRORS:
            self._errors.append(sentence)

    async def _boot(self, number: int, mac: str) -> None:
        address = address_of(number)
        ack = await self._step("firmware dhcp", self._lease(mac, address, user_class=b""))
        if ack.boot_file != BOOT_PROGRAM:
            raise StepFailed(f"firmware was told to boot {ack.boot_file!r}")
        size = await self._step("boot program by TFTP", self._fetch(address, ack.boot_file))
        if size != self._plan.boot_program_bytes:
            raise StepFailed(f"the boot program had {size} octets")
        ack = await self._step("iPXE dhcp", self._lease(mac, address, user_class=b"Tinkerbell"))
        expected = f"http://{SERVER}:{HTTP_PORT}"
        if not ack.boot_file.startswith(expected) or mac not in ack.boot_file:
            raise StepFailed(f"iPXE was told to load {ack.boot_file!r}")
        path = ack.boot_file.removeprefix(expected)
        script = await self._step("auto.ipxe by HTTP", self._get(address, HTTP_PORT, path))
        if f"worker_id={mac}".encode() not in script:
            raise StepFailed("the script is another machine's")
        manifest = f"/v2/{WORKER}/manifests/latest"
        await self._step("worker manifest", self._get(address, self._plan.registry_port, manifest))
        await self._work(number, mac)

    async def _step(self, name: str, work: Awaitable[Any]) -> Any:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(_STEP_WITHIN_S):
                result = await work
        except TimeoutError:
            raise StepFailed(f"{name}: no end within {_STEP_WITHIN_S:.0f} s") from None
        self._seconds[name].append(round(time.monotonic() - began_s, 6))
        return result

    # -- DHCP

    async def _lease(self, mac: str, address: str, *, user_class: bytes) -> Message:
        """DISCOVER, OFFER, REQUEST, ACK (RFC 2131 §3.1)."""
        more = (*_FIRMWARE, *((Option(Code.USER_CLASS, user_class),) if user_class else ()))
        offer = await self._exchange(mac, MessageType.DISCOVER, more)
        if offer.type != MessageType.OFFER or offer.yiaddr != address:
            raise StepFailed(f"DISCOVER was answered by {offer.type!r} of {offer.yiaddr}")
        asked = (
            Option(Code.REQUESTED_ADDRESS, dhcp4.packed(offer.yiaddr)),
            Option(Code.SERVER_IDENTIFIER, offer.option(Code.SERVER_IDENTIFIER) or b""),
        )
        ack = await self._exchange(mac, MessageType.REQUEST, (*asked, *more))
        if ack.type != MessageType.ACK:
            raise StepFailed(f"REQUEST was answered by {ack.type!r}")
        return ack

    async def _exchange(self, mac: str, kind: MessageType, options: tuple[Option, ...]) -> Message:
        chaddr = bytes.fromhex(mac.replace(":", ""))
        xid = struct.pack("!HH", int.from_bytes(chaddr[4:]), len(self._dhcp.waiting) & 0xFFFF)
        while xid in self._dhcp.waiting:
            xid = struct.pack("!I", (int.from_bytes(xid) + 1) & 0xFFFFFFFF)
        asked = Message(
            xid=xid,
            chaddr=chaddr,
            options=(Option(Code.MESSAGE_TYPE, bytes([kind])), *options),
        )
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._dhcp.waiting[xid] = answer
        try:
            for patience_s in _RETRANSMIT_AFTER_S:
                self._dhcp_out.sendto(dhcp4.encode(asked), ("255.255.255.255", dhcp4.SERVER_PORT))
                await asyncio.wait({answer}, timeout=patience_s)
                if answer.done():
                    return answer.result()
                self._retransmits += 1
        finally:
            del self._dhcp.waiting[xid]
        raise StepFailed(f"{kind.name}: no answer")

    # -- TFTP

    async def _fetch(self, address: str, file: str) -> int:
        """Read ``file`` as a firmware does: RRQ with a block size, OACK, DATA and ACK by turns."""
        loop = asyncio.get_running_loop()
        transport, port = await loop.create_datagram_endpoint(_TftpPort, local_addr=(address, 0))
        try:
            return await self._transfer(transport, port.packets, file)
        finally:
            transport.close()

    async def _transfer(
        self,
        out: asyncio.DatagramTransport,
        packets: asyncio.Queue[tuple[bytes, tuple[str, int]]],
        file: str,
    ) -> int:
        options = {"blksize": "1468"}
        last = tftp.encode(
            tftp.Request(opcode=tftp.Opcode.RRQ, file=file, mode="octet", options=options)
        )
        to, block, got, size = (SERVER, tftp.SERVER_PORT), 0, 0, tftp.DEFAULT_BLOCK_BYTES
        out.sendto(last, to)
        while True:
            try:
                async with asyncio.timeout(2.0):
                    data, sender = await packets.get()
            except TimeoutError:
                self._retransmits += 1
                out.sendto(last, to)
                continue
            packet = tftp.decode(data)
            match packet:
                case tftp.Oack():
                    size, to = int(packet.options.get("blksize", size)), sender
                case tftp.Data() if packet.block == (block + 1) & 0xFFFF:
                    block, got, to = packet.block, got + len(packet.payload), sender
                case tftp.Error():
                    raise StepFailed(f"TFTP error {packet.code}: {packet.text}")
                case _:
                    continue
            last = tftp.encode(tftp.Ack(block=block))
            out.sendto(last, to)
            if isinstance(packet, tftp.Data) and len(packet.payload) < size:
                return got

    # -- HTTP

    async def _get(self, address: str, port: int, path: str) -> bytes:
        """GET ``path`` on a connection of its own; return the body of a 200."""
        reader, writer = await asyncio.open_connection(SERVER, port, local_addr=(address, 0))
        try:
            lines = (
                f"GET {path} HTTP/1.1",
                f"Host: {SERVER}:{port}",
                "Accept: application/vnd.oci.image.manifest.v1+json, */*",
                "Connection: close",
            )
            writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
            answer = await reader.read(-1)
        finally:
            writer.close()
        status, _, rest = answer.partition(b"\r\n")
        if b" 200 " not in status + b" ":
            raise StepFailed(f"GET {path}: {status.decode(errors='replace')}")
        return rest.partition(b"\r\n\r\n")[2]

    # -- gRPC

    async def _work(self, number: int, mac: str) -> None:
        """Do what tink-worker v0.12.2 does with a workflow of one action, then idle."""
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each machine
        target = f"{SERVER}:{self._plan.tink_port}"
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            contexts = channel.unary_stream(
                _METHOD + "GetWorkflowContexts",
                request_serializer=pb.WorkflowContextRequest.SerializeToString,
                response_deserializer=pb.WorkflowContext.FromString,
            )
            actions = channel.unary_unary(
                _METHOD + "GetWorkflowActions",
                request_serializer=pb.WorkflowActionsRequest.SerializeToString,
                response_deserializer=pb.WorkflowActionList.FromString,
            )
            report = channel.unary_unary(
                _METHOD + "ReportActionStatus",
                request_serializer=pb.WorkflowActionStatus.SerializeToString,
                response_deserializer=pb.Empty.FromString,
            )
            asked = pb.WorkflowContextRequest(worker_id=mac)

            async def orders() -> tuple[str, Any]:
                found = [context async for context in contexts(asked)]
                if len(found) != 1:
                    raise StepFailed(f"{len(found)} workflows where one was to be had")
                workflow = found[0].workflow_id
                listed = await actions(pb.WorkflowActionsRequest(workflow_id=workflow))
                return workflow, listed.action_list[0]

            async def idle() -> None:
                if [context async for context in contexts(asked)]:
                    raise StepFailed("a finished workflow was given out again")

            workflow, action = await self._step("contexts and actions", orders())
            for state in ("RUNNING", "SUCCESS"):
                status = pb.WorkflowActionStatus(
                    workflow_id=workflow,
                    task_name=action.task_name,
                    action_name=action.name,
                    action_status=f"STATE_{state}",
                    worker_id=mac,
                )
                await self._step(f"report {state}", report(status))
            self._finished += 1
            self._settle()
            await self._settled.wait()
            await self._idle(number, idle)

    async def _idle(self, number: int, poll: Callable[[], Awaitable[None]]) -> None:
        """Go on polling at a worker's pace, the machines evenly out of step."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        moment = began + _POLL_EVERY_S * number / self._plan.machines
        while moment < began + self._plan.idle_s:
            await _until(moment)
            await self._step("idle poll", poll())
            moment += _POLL_EVERY_S


async def _until(moment: float) -> None:
    """Wait for a moment of the loop's clock: the machines' own pace, not a wait for something."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()
    loop.call_at(moment, reached.set_result, None)
    await reached


def _plug_in(machines: int) -> None:
    """Give the end of the cable every machine's address."""
    with Netlink() as netlink:
        netlink.set_up(socket.if_nametoindex("lo"))
        index = socket.if_nametoindex(MACHINES_END)
        netlink.set_up(index)
        netlink.add_address(index, f"{CLIENT}/{PREFIX_LENGTH}")
        for number in range(machines):
            netlink.add_address(index, f"{address_of(number)}/{PREFIX_LENGTH}")


def main() -> None:
    """Be all machines of the plan on stdin."""
    print("ready", flush=True)
    line = sys.stdin.readline()
    if not line:  # the lab is gone
        return
    plan = StormPlan(**json.loads(line))
    raise_open_files()
    _plug_in(plan.machines)

    async def storm() -> StormResult:
        return await Storm(plan).run()

    print(json.dumps(asdict(asyncio.run(storm()))), flush=True)


if __name__ == "__main__":
    main()
