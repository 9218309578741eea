"""The servers' end of ``harness.bench.servers``: ours and their peers, by turns.

Runs as ``python -m harness.bench.server_lab`` in namespaces of its own, with its orders on stdin.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from asyncio.subprocess import Process
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from fake_tink_server.codec import encode_context
from fake_tink_server.engine import Engine
from fake_tink_server.server import SERVICE, TinkServer
from fake_tink_server.workflow import Action, Task, Workflow
from harness.bench.cpu import go_first, tree_seconds
from harness.errors import SetupFailed
from harness.oci.image import Image, ImageConfig, write_layout
from harness.oci.layer import Compression, File, Layer, layer_from_files
from harness.process import send_signal, start_program
from harness.services import Service
from harness.services.dhcp import DhcpService
from harness.services.http import HOOK_PREFIX, HttpService
from harness.services.registry import RegistryService
from harness.services.tftp import TftpService
from harness.storm.cable import cable
from harness.storm.plan import LAB_END, SERVER, address_of, mac_of
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.ipxe import ScriptConfig
from harness.wire.netboot import NetbootConfig, Reservation, Reservations
from harness.wire.tftp_transfer import FAST

_EXCHANGES: Final = 1000
_LARGE: Final = 500 << 20
_MEDIUM: Final = 16 << 20
_CALLS: Final = 1000
_ROUNDS: Final = {"dhcp": 2, "tftp": 8, "window": 3, "http": 12, "registry": 6, "grpc": 3}
"""How often each is measured for one repetition: more often what is over sooner."""
_PEER_WITHIN_S: Final = 10.0
_CONGESTION_CONTROL: Final = Path("/proc/sys/net/ipv4/tcp_congestion_control")
"""Of the network namespace of whoever writes it."""


Meter = Callable[[], float | None]
"""Returns the CPU seconds that a server has used so far; None when nobody can tell."""
Sample = tuple[float, float | None]
"""Seconds that the client waited, and CPU seconds that the server took meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One kind of work, and who does it: each a block that gives a meter."""

    key: str
    order: dict[str, Any]
    sides: dict[str, AbstractAsyncContextManager[Meter]]


class Bench:
    """What is served, and by whom."""

    def __init__(
        self, *, times: int, folder: str, peers: dict[str, list[str]], only: Sequence[str] = ()
    ) -> None:
        """``only``: keys of ``Match``; none: all of them."""
        self._times = times
        self._only = tuple(only)
        self._folder = Path(folder)
        self._peers = peers
        self._found: dict[str, list[Sample]] = defaultdict(list)
        self._tasks = TaskKeeper()
        self._timeline = Timeline(self._folder / "timeline.jsonl")
        self._common: dict[str, Any] = {"timeline": self._timeline, "tasks": self._tasks}
        self._reservations = Reservations(
            Reservation(mac=mac_of(n), address=address_of(n), netmask="255.255.0.0", gateway=SERVER)
            for n in range(_EXCHANGES)
        )
        self._files = self._folder / "files"
        self._layer = self._make_files()

    def _make_files(self) -> Layer:
        self._files.mkdir()
        large = _LARGE if self._wants("http") or self._wants("registry") else 1 << 20
        for name, size in (("large", large), ("medium", _MEDIUM)):
            with (self._files / name).open("wb") as stream:
                for _ in range(0, size, 1 << 20):
                    stream.write(os.urandom(1 << 20))
        layer = layer_from_files(
            {"content": File(content=self._files / "large")},
            into=self._folder / "blobs",
            compression=Compression.NONE,
        )
        write_layout(
            self._folder / "layout", [Image(ref="big:v1", config=ImageConfig(), layers=[layer])]
        )
        return layer

    def _wants(self, key: str) -> bool:
        return not self._only or key in self._only

    async def run(self) -> dict[str, list[Sample]]:
        """Measure all of them, by turns: whatever else the host does strikes all alike."""
        # Servers are compared here. What a host may have as its default, BBR, paces what they send
        # by what it takes the cable's speed to be: that halves it, and is most of what differs.
        with suppress(OSError):
            _CONGESTION_CONTROL.write_text("reno", encoding="ascii")
        async with cable("harness.bench.server_load") as client:
            await _ask(client, "{}")
            for turn in range(self._times * max(_ROUNDS.values())):
                for match in self._matches():
                    if turn >= self._times * _ROUNDS[match.key]:
                        continue
                    sides = list(match.sides.items())
                    for who, server in reversed(sides) if turn % 2 else sides:
                        sample = await self._measure(client, match.order, server)
                        self._found[f"{match.key} {who}"].append(sample)
        await self._tasks.close()
        self._timeline.close()
        return self._found

    async def _measure(
        self, client: Process, order: dict[str, Any], server: AbstractAsyncContextManager[Meter]
    ) -> Sample:
        async with server as cpu_seconds:
            before_s = cpu_seconds()
            wall_s = float(await _ask(client, json.dumps(order)))
            after_s = cpu_seconds()
        if before_s is None or after_s is None:
            return wall_s, None
        return wall_s, after_s - before_s

    def _matches(self) -> list[Match]:
        blob = f"http://{SERVER}:5000/v2/big/blobs/{self._layer.digest}"
        tftp = ["--tftp-blksize", "1468", f"tftp://{SERVER}/medium"]
        edk2 = {"file": "medium", "options": {"blksize": "1468", "windowsize": "4"}}
        http = f"http://{SERVER}:7080{HOOK_PREFIX}/large"
        matches = [
            Match(
                key="dhcp",
                order={"do": "dhcp", "count": _EXCHANGES, "window": 20},
                sides={"ours": self._ours(self._dhcp()), "theirs": self._dnsmasq()},
            ),
            Match(
                key="tftp",
                order={"do": "curl", "words": tftp, "size": _MEDIUM},
                sides={
                    "ours": self._ours(self._tftp()),
                    "theirs": self._dnsmasq(),
                    "hpa": self._tftpd(),
                },
            ),
            Match(
                key="window",
                order={"do": "tftp", **edk2, "size": _MEDIUM},
                sides={"ours": self._ours(self._tftp()), "theirs": self._dnsmasq()},
            ),
            Match(
                key="http",
                order={"do": "curl", "words": [http], "size": _LARGE},
                sides={"ours": self._ours(self._http()), "theirs": self._nginx()},
            ),
            Match(
                key="registry",
                order={"do": "curl", "words": [blob], "size": self._layer.size},
                sides={"ours": self._ours(self._registry()), "theirs": self._docker_registry()},
            ),
            Match(
                key="grpc",
                order={"do": "grpc", "port": 42113, "count": _CALLS, "window": 20},
                sides={
                    "ours": self._ours(self._tink()),
                    "theirs": self._go(),
                    "floor": self._ours(_Echo(self._context())),
                },
            ),
        ]
        return [match for match in matches if self._wants(match.key)]

    # -- ours

    @asynccontextmanager
    async def _ours(self, service: Service) -> AsyncIterator[Meter]:
        await service.start()
        try:
            yield time.process_time  # threads that end meanwhile count as well
        finally:
            await service.stop()

    def _dhcp(self) -> Service:
        return DhcpService(
            **self._common,
            reservations=self._reservations,
            config=NetbootConfig(server=SERVER),
            interface=LAB_END,
        )

    def _tftp(self) -> Service:
        binaries = {"medium": self._files / "medium"}
        return TftpService(
            **self._common,
            reservations=self._reservations,
            binaries=binaries,
            bind=SERVER,
            policy=FAST,
        )

    def _http(self) -> Service:
        return HttpService(
            **self._common,
            reservations=self._reservations,
            scripts=ScriptConfig(osie_url=""),
            binaries={},
            artifacts={"large": self._files / "large"},
            bind=SERVER,
            port=7080,
        )

    def _registry(self) -> Service:
        return RegistryService(
            **self._common, layouts=[self._folder / "layout"], bind=SERVER, port=5000
        )

    def _engine(self) -> Engine:
        task = Task(name="t", worker=mac_of(0), actions=[Action(name="a", image="i")])
        return Engine([Workflow(name="w", tasks=[task])])

    def _tink(self) -> Service:
        return TinkServer(
            engine=self._engine(),
            record=partial(self._timeline.record, "tink"),
            bind=SERVER,
            port=42113,
        )

    # -- theirs

    @asynccontextmanager
    async def _peer(
        self, name: str, words: Sequence[str], port: int, *, tcp: bool = True, forks: bool = False
    ) -> AsyncIterator[Meter]:
        """Run a peer while the block lasts; what ``forks`` leaves no CPU time behind."""
        log = self._folder / f"{name}.log"
        with log.open("ab") as stream:
            process = await start_program(*self._peers[name], *words, stdout=stream, stderr=stream)
        try:
            await _until_listening(process, _tcp_answers if tcp else _udp_is_bound, port, log)
            yield _nobody_knows if forks else partial(tree_seconds, process.pid)
        finally:
            send_signal(process, signal.SIGTERM)
            await process.wait()

    def _dnsmasq(self) -> AbstractAsyncContextManager[Meter]:
        hosts = self._folder / "hosts"
        hosts.write_text("".join(f"{r.mac},{r.address}\n" for r in self._reservations))
        leases = self._folder / "leases"
        leases.unlink(missing_ok=True)
        words = [
            "--keep-in-foreground", "--conf-file=/dev/null", "--user=", "--group=", "--pid-file=",
            f"--listen-address={SERVER}", "--bind-interfaces", "--no-resolv", "--no-hosts",
            "--no-ping", f"--dhcp-leasefile={leases}", f"--dhcp-hostsfile={hosts}",
            "--dhcp-range=10.77.0.0,static,255.255.0.0", "--quiet-dhcp", "--dhcp-authoritative",
            "--enable-tftp", f"--tftp-root={self._files}", "--quiet-tftp",
        ]  # fmt: skip
        return self._peer("dnsmasq", words, 53)

    def _tftpd(self) -> AbstractAsyncContextManager[Meter]:
        words = ["--foreground", "--secure", "--user", "root", "--address", f"{SERVER}:69"]
        return self._peer("tftpd-hpa", [*words, str(self._files)], 69, tcp=False, forks=True)

    def _nginx(self) -> AbstractAsyncContextManager[Meter]:
        prefix = self._folder / "nginx"
        prefix.mkdir(exist_ok=True)
        served = prefix / "html" / HOOK_PREFIX.lstrip("/")
        if not served.exists():
            served.parent.mkdir(parents=True, exist_ok=True)
            served.symlink_to(self._files)
        config = prefix / "nginx.conf"
        temporary = "".join(
            f"{kind}_temp_path {prefix}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config.write_text(
            "daemon off; worker_processes 1; user root;\n"
            f"error_log {prefix}/error.log; pid {prefix}/pid;\n"
            "events {}\n"
            f"http {{ sendfile on; tcp_nopush on; access_log off; root {prefix}/html;\n"
            f"{temporary}server {{ listen {SERVER}:7080; }} }}\n"
        )
        return self._peer("nginx", ["-p", str(prefix), "-c", str(config)], 7080)

    def _docker_registry(self) -> AbstractAsyncContextManager[Meter]:
        root = self._folder / "docker-registry"
        store = root / "docker" / "registry" / "v2"
        hexes = str(self._layer.digest).removeprefix("sha256:")
        data = store / "blobs" / "sha256" / hexes[:2] / hexes / "data"
        link = store / "repositories" / "big" / "_layers" / "sha256" / hexes / "link"
        if not data.exists():
            for path in (data, link):
                path.parent.mkdir(parents=True)
            shutil.copyfile(self._folder / "layout" / self._layer.digest.blob_path, data)
            link.write_text(str(self._layer.digest))
        config = root / "config.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {root}}}}}\nhttp: {{addr: '{SERVER}:5000'}}\n"
        )
        return self._peer("docker-registry", ["serve", str(config)], 5000)

    def _go(self) -> AbstractAsyncContextManager[Meter]:
        return self._peer("go", [f"{SERVER}:42113", self._context().hex()], 42113)

    def _context(self) -> bytes:
        engine = self._engine()
        engine.start(0)
        return encode_context(engine.contexts_for(mac_of(0))[0]).SerializeToString()


class _Echo:
    """The least that a grpc.aio server can be: the floor for any server written on it."""

    name = "echo"

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        async def contexts(_: bytes, context: Any) -> None:
            await context.write(self._answer)

        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "GetWorkflowContexts": grpc.unary_stream_rpc_method_handler(contexts)
        }
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self._server.add_insecure_port(f"{SERVER}:42113")
        await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(0)


async def _ask(client: Process, line: str) -> str:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(line.encode() + b"\n")
    answer = await client.stdout.readline()
    if not answer:
        raise SetupFailed(f"the client gave up on {line}")
    return answer.decode().strip()


async def _until_listening(
    process: Process, is_open: Callable[[int], Awaitable[bool]], port: int, log: Path
) -> None:
    """Wait until ``process`` has ``port``; ends early with its last words."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _PEER_WITHIN_S
    while not await is_open(port):
        if process.returncode is not None or loop.time() > end:
            raise SetupFailed(
                f"a peer does not listen on {port}", hint=f"its last words are in {log}"
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await process.wait()


async def _tcp_answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(SERVER, port)
    except OSError:
        return False
    writer.close()
    return True


async def _udp_is_bound(port: int) -> bool:
    words = await asyncio.to_thread(Path("/proc/net/udp").read_text, encoding="ascii")
    lines = words.splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)


def _nobody_knows() -> None:
    """Be the meter of a server whose children are gone with their figures."""


def main() -> None:
    """Measure, and print what was found as JSON."""
    orders = json.loads(sys.stdin.readline())
    go_first()  # with all servers and their client

    async def measure() -> dict[str, list[Sample]]:
        return await Bench(**orders).run()

    print(json.dumps(asyncio.run(measure())))


if __name__ == "__main__":
    main()
