"""The client of ``harness.bench.servers``: does what it is told, and says how long it took.

Reads one JSON object a line (``{"do": "dhcp" | "curl" | "tftp" | "grpc", …}``), and answers each
with seconds.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from harness.net.netlink import Netlink
from harness.process import run
from harness.storm.plan import CLIENT, MACHINES_END, PREFIX_LENGTH, SERVER, mac_of
from harness.wire import dhcp4, tftp
from harness.wire.dhcp4 import Code, Message, MessageType, Option

_LARGEST: Final = 1 << 16


class Exchanges(asyncio.DatagramProtocol):
    """DISCOVER, OFFER, REQUEST, ACK for many MACs, some of them at a time.

    Requests go through a relay's address (giaddr), so that any server answers to our port 67.
    """

    def __init__(self, count: int, window: int) -> None:
        self._next = 0
        self._left = self._count = count
        self._window = window
        self._transport: asyncio.DatagramTransport
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        for _ in range(min(self._window, self._count)):
            self._discover()

    def _send(self, number: int, kind: MessageType, *options: Option) -> None:
        message = Message(
            hops=1,
            xid=struct.pack("!I", number),
            giaddr=CLIENT,
            chaddr=bytes.fromhex(mac_of(number).replace(":", "")),
            options=(
                Option(Code.MESSAGE_TYPE, bytes([kind])),
                Option(Code.PARAMETER_REQUEST, bytes([1, 3, 6, 12, 15])),
                *options,
            ),
        )
        self._transport.sendto(dhcp4.encode(message), (SERVER, dhcp4.SERVER_PORT))

    def _discover(self) -> None:
        self._send(self._next, MessageType.DISCOVER)
        self._next += 1

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        answer = dhcp4.decode(data)
        number = int.from_bytes(answer.xid)
        if answer.type == MessageType.OFFER:
            self._send(
                number,
                MessageType.REQUEST,
                Option(Code.REQUESTED_ADDRESS, dhcp4.packed(answer.yiaddr)),
                Option(Code.SERVER_IDENTIFIER, answer.option(Code.SERVER_IDENTIFIER) or b""),
            )
        elif answer.type == MessageType.ACK:
            self._left -= 1
            if self._next < self._count:
                self._discover()
            if self._left == 0 and not self.over.done():
                self.over.set_result(None)
        elif not self.over.done():
            self.over.set_exception(RuntimeError(f"the server answered {answer.type!r}"))


async def _dhcp(count: int, window: int) -> float:
    began_s = time.monotonic()
    transport, exchanges = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Exchanges(count, window), local_addr=(CLIENT, dhcp4.SERVER_PORT)
    )
    try:
        async with asyncio.timeout(60):
            await exchanges.over
    finally:
        transport.close()
    return time.monotonic() - began_s


async def _curl(words: Sequence[str], size: int) -> float:
    """Fetch with curl to nowhere; raises ``RuntimeError`` when not all of it came."""
    argv = ["curl", "-sSf", "-o", "/dev/null", "-w", "%{time_total} %{size_download}", *words]
    seconds, got = (await run(argv)).stdout.split()
    if int(got) != size:
        raise RuntimeError(f"curl got {int(got)} of {size} octets")
    return float(seconds)


def _tftp(file: str, options: Mapping[str, str], size: int) -> float:
    """Fetch as a client that asks for windows, which curl can't; raises ``RuntimeError``."""
    asked = tftp.Request(opcode=tftp.Opcode.RRQ, file=file, mode="octet", options=options)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        began_s = time.monotonic()
        sock.sendto(tftp.encode(asked), (SERVER, tftp.SERVER_PORT))
        answer, server = sock.recvfrom(_LARGEST)
        sock.connect(server)
        granted = tftp.decode(answer)
        if not isinstance(granted, tftp.Oack):
            raise RuntimeError(f"the server answered {granted}")
        blksize = int(granted.options["blksize"])
        window = int(granted.options.get("windowsize", 1))
        receive, buffer = sock.recv_into, bytearray(_LARGEST)
        block, got, length = 0, 0, blksize
        sock.send(tftp.ack_packet(0))
        while length == blksize:
            length = receive(buffer) - 4
            block += 1
            if buffer[2] << 8 | buffer[3] != block & 0xFFFF:
                raise RuntimeError(f"not block {block} but {bytes(buffer[:4]).hex()}")
            got += length
            if block % window == 0 or length < blksize:
                sock.send(tftp.ack_packet(block & 0xFFFF))
        if got != size:
            raise RuntimeError(f"{got} of {size} octets came")
        return time.monotonic() - began_s


async def _grpc(port: int, count: int, window: int) -> float:
    import grpc.aio

    from fake_tink_server.proto import workflow_pb2 as pb

    async with grpc.aio.insecure_channel(f"{SERVER}:{port}") as channel:
        call = channel.unary_stream(
            "/proto.WorkflowService/GetWorkflowContexts",
            request_serializer=pb.WorkflowContextRequest.SerializeToString,
            response_deserializer=pb.WorkflowContext.FromString,
        )
        asked = pb.WorkflowContextRequest(worker_id=mac_of(0))
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                found = [context async for context in call(asked)]
                assert len(found) == 1, found

        await channel.channel_ready()
        began_s = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(window)))
        return time.monotonic() - began_s


async def _do(order: dict[str, Any]) -> float:
    what = order.pop("do")
    if what == "dhcp":
        return await _dhcp(**order)
    if what == "tftp":
        return _tftp(**order)
    return await (_curl(**order) if what == "curl" else _grpc(**order))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(await _do(json.loads(line)), flush=True)


def main() -> None:
    """Plug in at the first order, and go on until stdin ends."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        return
    with Netlink() as netlink:
        netlink.set_up(socket.if_nametoindex("lo"))
        index = socket.if_nametoindex(MACHINES_END)
        netlink.set_up(index)
        netlink.add_address(index, f"{CLIENT}/{PREFIX_LENGTH}")
    print("plugged in", flush=True)
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
