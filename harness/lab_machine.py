"""The lab's machine: its disks, its NICs in the segment, its firmware, and what is put into it.

A part of the composition root: ``Lab`` says what stands around the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from harness.clock import Deadline
from harness.errors import DeadlineExpired
from harness.lab_faults import Hands
from harness.lab_resumption import Resumption
from harness.machine.bootable import make_bootable
from harness.machine.devices import Cdrom, Disk, Nic
from harness.machine.disks import create_disk
from harness.machine.firmware import Firmware, FlashFiles, find_uefi, make_variables
from harness.machine.machine import Machine
from harness.machine.media import MediumRefused, read_medium
from harness.machine.qemu import MachineSpec
from harness.machine.ram import Ram
from harness.net.segment import Port, Segment
from harness.scenario.item import IsoItem, Item, NicItem
from harness.seal import PRIVATE_DIR, RAM_DIR
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.iso import MAGIC

_MEDIUM_READ: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A machine that is off, and what of it the lab goes on to need."""

    machine: Machine
    disks: Mapping[str, Disk]
    """By name."""
    ports: tuple[Port, ...]
    """Where its cables are plugged in."""


async def make_machine(
    item: Item,
    *,
    run_dir: Path,
    timeline: Timeline,
    tasks: TaskKeeper,
    segment: Segment,
    hands: Hands,
    resumption: Resumption | None,
    ram: Ram | None,
) -> Made:
    """Return the machine that ``item`` describes, as the faults in ``hands`` would have it.

    With a ``resumption`` its disks and its firmware's variables are laid out as they were, and
    ``ram`` is its memory. Raises ``LabError`` and ``OSError``.
    """
    plugged = [await _plug_in(n, nic, segment, hands) for n, nic in enumerate(item.nics)]
    if resumption:
        names = [disk.name for disk in item.disks]
        await asyncio.to_thread(resumption.lay_out, run_dir, names)
    disks = _make_disks(item, run_dir, there=resumption is not None)
    firmware = Firmware(item.firmware)
    spec = MachineSpec(
        name="machine",
        firmware=firmware,
        accel=item.accel,
        nics=[nic for nic, _ in plugged],
        disks=list(disks.values()),
        cdrom=Cdrom(bootindex=item.iso.place) if item.iso else None,
        cpus=item.vcpus,
        memory_mib=item.memory_mib,
        uuid=str(uuid5(NAMESPACE_OID, item.mac)),
        flash=_make_flash(run_dir, there=resumption is not None) if firmware.is_uefi else None,
        incoming=resumption is not None,
    )
    spec = hands.shape(spec)
    machine = Machine(
        spec=spec,
        run_dir=run_dir,
        private_dir=PRIVATE_DIR,
        timeline=timeline,
        tasks=tasks,
        ram=ram or Ram(spec.memory_mib << 20, folder=RAM_DIR),
    )
    return Made(
        machine=machine, disks=disks, ports=tuple(port for _, port in plugged if port is not None)
    )


async def insert_medium(
    iso: IsoItem,
    machine: Machine,
    *,
    server: str,
    timeline: Timeline,
    tasks: TaskKeeper,
    deadline: Callable[[timedelta], Deadline],
) -> None:
    """Do what a BMC does: get the ISO from smee at ``server``, put it into the machine's CD drive.

    One that can't be had is an event, and no error: the machine boots without.
    """
    url = f"http://{server}{iso.path}"
    began_s = timeline.clock.now()
    file = PRIVATE_DIR / "medium.iso"
    try:
        medium = await tasks.race(
            read_medium(url, file, magic=iso.magic.encode() if iso.magic else MAGIC),
            deadline(_MEDIUM_READ),
            waiting_for="the ISO",
        )
    except (MediumRefused, DeadlineExpired) as error:
        timeline.record(
            "machine", "machine.medium.refused", machine="machine", url=url, reason=str(error)
        )
        return
    await machine.insert(file)
    timeline.record(
        "machine",
        "machine.medium.inserted",
        machine="machine",
        url=url,
        bytes=medium.size_bytes,
        requests=medium.requests,
        placeholder=medium.placeholder,
        duration_s=round(timeline.clock.now() - began_s, 3),
    )


async def _plug_in(
    number: int, nic: NicItem, segment: Segment, hands: Hands
) -> tuple[Nic, Port | None]:
    port = None
    if nic.network == "lab":
        port = await segment.plug_in("machine", tamperer=hands.cable(nic.mac))
        netdev = port.netdev(f"net{number}")
    else:
        netdev = f"hubport,id=net{number},hubid={number}"  # a hub of QEMU's with one port
    made = Nic(mac=nic.mac, netdev=netdev, model=nic.model, bootindex=nic.place, link=nic.link)
    return made, port


def _make_disks(item: Item, run_dir: Path, *, there: bool) -> dict[str, Disk]:
    disks = {}
    for disk in item.disks:
        path = run_dir / f"{disk.name}.img"
        disks[disk.name] = create_disk(
            path,
            disk.size_bytes,
            serial=disk.serial,
            model=disk.model,
            bootindex=disk.place,
            there=there,
        )
        if disk.boots and not there:
            make_bootable(path, disk.name)
    return disks


def _make_flash(run_dir: Path, *, there: bool) -> FlashFiles:
    found = find_uefi()
    variables = run_dir / "uefi-vars.fd"
    if not there:
        make_variables(found, variables)
    return replace(found, variables=variables)
