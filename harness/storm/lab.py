"""The lab of a storm: the real services on one end of a cable, the machines on the other.

Runs as ``python -m harness.storm.lab FOLDER`` in user and network namespaces of its own, with the
plan on stdin; passes the machines' result on. ``FOLDER`` keeps the timeline.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fake_tink_server.engine import Engine
from fake_tink_server.server import TinkServer
from fake_tink_server.workflow import Action, Task, Workflow
from harness.oci.image import Image, ImageConfig, write_layout
from harness.oci.layer import File, layer_from_files
from harness.services import Service
from harness.services.dhcp import DhcpService
from harness.services.http import HttpService
from harness.services.registry import RegistryService
from harness.services.tftp import TftpService
from harness.storm.cable import cable
from harness.storm.limits import raise_open_files
from harness.storm.plan import (
    BOOT_PROGRAM,
    HTTP_PORT,
    LAB_END,
    SERVER,
    WORKER,
    StormPlan,
    address_of,
    mac_of,
)
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.ipxe import ScriptConfig
from harness.wire.netboot import NetbootConfig, Reservation, Reservations


@asynccontextmanager
async def services(plan: StormPlan, folder: Path) -> AsyncIterator[None]:
    """Serve what the machines of ``plan`` need, on ``SERVER``."""
    tasks = TaskKeeper()
    timeline = Timeline(folder / "timeline.jsonl")
    reservations = Reservations(
        Reservation(
            mac=mac_of(number),
            address=address_of(number),
            netmask="255.255.0.0",
            gateway=SERVER,
            name_servers=(SERVER,),
            allow_pxe=True,
        )
        for number in range(plan.machines)
    )
    http = f"http://{SERVER}:{HTTP_PORT}"
    program = folder / BOOT_PROGRAM
    program.write_bytes(os.urandom(plan.boot_program_bytes))
    binaries = {BOOT_PROGRAM: program}
    layer = layer_from_files({"worker": File(content=b"no program: manifests only")})
    write_layout(
        folder / "layout", [Image(ref=f"{WORKER}:latest", config=ImageConfig(), layers=[layer])]
    )
    common: dict[str, Any] = {"timeline": timeline, "tasks": tasks}
    parts: list[Service] = [
        DhcpService(
            **common,
            reservations=reservations,
            config=NetbootConfig(server=SERVER, http=http),
            interface=LAB_END,
        ),
        TftpService(**common, reservations=reservations, binaries=binaries, bind=SERVER),
        HttpService(
            **common,
            reservations=reservations,
            scripts=ScriptConfig(osie_url=http, grpc_authority=f"{SERVER}:{plan.tink_port}"),
            binaries=binaries,
            artifacts={},
            bind=SERVER,
            port=HTTP_PORT,
        ),
        RegistryService(
            **common, layouts=[folder / "layout"], bind=SERVER, port=plan.registry_port
        ),
        TinkServer(
            engine=Engine(_workflow(number) for number in range(plan.machines)),
            record=partial(timeline.record, "tink"),
            bind=SERVER,
            port=plan.tink_port,
            fail=tasks.fail,
        ),
    ]
    started: list[Service] = []
    try:
        for part in parts:
            started.append(part)
            await part.start()
        yield
        if tasks.failure.done():
            tasks.failure.result()
    finally:
        for part in reversed(started):
            await part.stop()
        await tasks.close()
        timeline.close()


def _workflow(number: int) -> Workflow:
    action = Action(name="print", image="print:v1", timeout_s=600)
    task = Task(name="storm", worker=mac_of(number), actions=[action])
    return Workflow(name=f"machine-{number}", tasks=[task], global_timeout_s=3600)


async def _run(plan: StormPlan, folder: Path) -> int:
    async with cable("harness.storm.machines") as machines, services(plan, folder):
        assert machines.stdin is not None
        assert machines.stdout is not None
        machines.stdin.write(plan.to_json().encode() + b"\n")
        result = await machines.stdout.readline()
        print(result.decode(), end="", flush=True)
        return await machines.wait()


def main() -> None:
    """Serve one storm."""
    raise_open_files()
    import json

    plan = StormPlan(**json.loads(sys.stdin.readline()))
    raise SystemExit(asyncio.run(_run(plan, Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
