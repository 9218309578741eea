"""The lab's servers against programs that do nothing else: dnsmasq, tftpd-hpa, nginx and others.

The peers are Debian's, unpacked in the cache and never installed. Server and client are in
network namespaces of their own with a cable between them and the same congestion control; all
servers of a row meet the same client in the same run, by turns, and what counts is the median of
the turns. Beside the seconds that the client waited stand the CPU seconds of the server, kernel
included, which a busy host changes far less.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.bench.table import Row, ratio
from harness.hook.debian import DebianArchive
from harness.hook.golang import go_build
from harness.hook.rootfs import Trees, unpack
from harness.namespaces import own_namespaces
from harness.paths import cache_root
from harness.process import run
from harness.progress import PlainProgress

_PACKAGES: Final = ("dnsmasq-base", "docker-registry", "nginx", "tftpd-hpa")
_PROGRAMS: Final = {
    "dnsmasq": ("dnsmasq-base", "/usr/sbin/dnsmasq"),
    "nginx": ("nginx", "/usr/sbin/nginx"),
    "tftpd-hpa": ("tftpd-hpa", "/usr/sbin/in.tftpd"),
    "docker-registry": ("docker-registry", "/usr/bin/docker-registry"),
}
_SMALL_GOAL: Final = 2.0
_BULK_GOAL: Final = 1.0
FLOOR: Final = "a grpc.aio server that does nothing"
ROWS: Final[Sequence[tuple[str, str, Mapping[str, str], float | None]]] = (
    ("dhcp", "1,000 DHCP exchanges", {"theirs": "dnsmasq"}, _SMALL_GOAL),
    (
        "tftp",
        "TFTP, 16 MiB, blksize 1468",
        {"theirs": "dnsmasq", "hpa": "tftpd-hpa"},
        _BULK_GOAL,
    ),
    (
        "window",
        "TFTP, 16 MiB, as edk2 asks (1468, windowsize 4)",
        {"theirs": "dnsmasq, which grants no window"},
        _BULK_GOAL,
    ),
    ("http", "HTTP, a file of 500 MiB", {"theirs": "nginx"}, _BULK_GOAL),
    ("registry", "registry, a layer of 500 MiB", {"theirs": "docker-registry"}, _BULK_GOAL),
    ("grpc", "1,000 gRPC calls, 20 at a time", {"theirs": "a minimal Go server"}, None),
)
"""Key, what is done, who else does it, and the largest ratio to ``theirs`` that is good enough."""


async def measure_servers(
    *, times: int, scratch: Path, progress: PlainProgress, only: Sequence[str] = ()
) -> list[Row]:
    """Return a row for each server and its peer, in seconds, and their ratio.

    ``only``: keys of ``ROWS``; none: all of them. Raises ``BuildFailed`` or ``HostUnfit`` when a
    peer can't be had.
    """
    cache = cache_root()
    with progress.step("servers: the peers"):
        debs = await DebianArchive(cache, progress).ensure(_PACKAGES)
        trees = Trees({name: unpack(deb, cache) for name, deb in debs.items()})
        peers: dict[str, list[str]] = {
            name: trees.command(package, path, argv0=name)
            for name, (package, path) in _PROGRAMS.items()
        }
        module = Path(__file__).parent / "grpc_peer"
        go = await go_build(module, ".", "grpc-peer", cache=cache, progress=progress)
        peers["go"] = [str(go)]
    wanted = json.dumps(
        {"times": times, "folder": str(scratch), "peers": peers, "only": list(only)}
    )
    with progress.step("servers: ours and theirs by turns"):
        argv = [*own_namespaces(), sys.executable, "-m", "harness.bench.server_lab"]
        done = await run(argv, stdin=wanted.encode() + b"\n")
    found: Mapping[str, Sequence[Sequence[Any]]] = json.loads(done.stdout.splitlines()[-1])

    def row(key: str, what: str) -> Row:
        wall, cpu = zip(*found[key], strict=True)
        known = () if None in cpu else cpu
        return Row(what=what, samples=wall, cpu=known)

    rows = []
    for key, what, others, goal in ROWS:
        if f"{key} ours" not in found:
            continue
        ours = row(f"{key} ours", f"{what}: the lab")
        rows.append(ours)
        for side, peer in others.items():
            theirs = row(f"{key} {side}", f"{what}: {peer}")
            held_to = goal if side == "theirs" else None
            rows += [theirs, ratio(f"  the lab / {peer}", ours, theirs, goal=held_to)]
        if f"{key} floor" in found:
            floor = row(f"{key} floor", f"{what}: {FLOOR}")
            rows += [floor, ratio(f"  {FLOOR} / {peer}", floor, theirs)]
    return rows
