"""The composition root: the only module that constructs things.

A ``Lab`` is everything one machine meets, built from one brief: segment, capture, services,
Tinkerbell's server, the machine itself. It lives inside the seal, in one asyncio process.
"""

from __future__ import annotations

import asyncio
import copy
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from fake_tink_server.engine import Engine
from fake_tink_server.server import ServerTls, TinkServer
from harness.brief import Brief
from harness.clock import Clock, Deadline
from harness.errors import ExpectationFailed, LabError
from harness.lab_parts import RegistryPart, TinkPart
from harness.machine.disks import create_disk
from harness.machine.firmware import Firmware, find_uefi, make_variables
from harness.machine.machine import Machine
from harness.machine.qemu import Disk, MachineSpec, Nic
from harness.net.capture import Capture
from harness.net.neighbours import identify
from harness.net.segment import Port, Segment, SegmentKind, choose
from harness.oci.content import Mount
from harness.scenario.disks import check_disk, disk_expectations
from harness.scenario.expectations import check_expectations
from harness.scenario.item import Item
from harness.seal import PRIVATE_DIR
from harness.services import Service
from harness.services.authority import Authority
from harness.services.dhcp import DhcpService
from harness.services.dns import DnsService
from harness.services.http import HOOK_PREFIX, HttpService
from harness.services.ntp import NtpService
from harness.services.radv import RadvService
from harness.services.registry import RegistryService
from harness.services.syslog import SyslogService
from harness.services.tftp import TftpService
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline
from harness.wire.ipxe import ScriptConfig
from harness.wire.netboot import NetbootConfig, Reservations
from harness.wire.ntp import NtpPolicy
from harness.wire.registry_auth import Auth, AuthKind
from harness.wire.tftp_transfer import FAST

HTTP_PORT: Final = 7080
ZONE: Final = "tinkerbell.lab"
_PORT_READY: Final = timedelta(seconds=20)
_STOP_STEP: Final = timedelta(seconds=5)
"""How long one part of the lab may take to stop."""


class Lab:
    """One sealed lab. Use as ``async with Lab(brief, run_dir=…, timeline=…) as lab``.

    Entering brings up everything but the machine's power. Leaving takes it all down in reverse;
    each step is bounded, and a step that fails does not hide what failed first.
    """

    machine: Machine
    tink: TinkPart
    registry: RegistryPart
    segment: Segment
    _port: Port

    def __init__(self, brief: Brief, *, run_dir: Path, timeline: Timeline) -> None:
        self._brief = brief
        self.item: Item = brief.item
        self.run_dir = run_dir
        self.timeline = timeline
        self.tasks = TaskKeeper()
        self.services: dict[str, Service] = {}
        self.disks: dict[str, Disk] = {}
        self._stack = AsyncExitStack()
        self._ca: Authority | None = None

    @property
    def clock(self) -> Clock:
        """The run's clock."""
        return self.timeline.clock

    # -- up and down

    async def __aenter__(self) -> Lab:
        began_s = self.clock.now()
        try:
            self._stack.push_async_callback(self._bounded, "tasks", self.tasks.close)
            self.timeline.on_write_error(self.tasks.fail)
            await self._bring_up()
        except BaseException:
            await self._stack.aclose()
            raise
        self.timeline.record("lab", "lab.started", duration_s=round(self.clock.now() - began_s, 3))
        return self

    async def __aexit__(self, *_: object) -> None:
        began_s = self.clock.now()
        await self._stack.aclose()
        self.timeline.record("lab", "lab.stopped", duration_s=round(self.clock.now() - began_s, 3))

    async def _bring_up(self) -> None:
        network = self.item.network
        wanted = None if self.item.segment == "auto" else SegmentKind(self.item.segment)
        self.segment = Segment(
            timeline=self.timeline,
            tasks=self.tasks,
            address=f"{network.server}/{network.prefix_length}",
            kind=choose(wanted).kind,
            private_dir=PRIVATE_DIR,
        )
        await self._start("segment", self.segment)
        capture = Capture(
            timeline=self.timeline,
            tasks=self.tasks,
            interface=self.segment.bridge,
            path=self.run_dir / "capture.pcapng",
        )
        self.machine = await self._make_machine()
        self._stack.push_async_callback(self._bounded, "machine", self.machine.power_off)
        # QEMU and the recorder take their time on the other core while the services come up.
        starting = [
            self.tasks.spawn(self._start("capture", capture), name="start of the capture"),
            self.tasks.spawn(self.machine.start(), name="start of QEMU"),
        ]
        for service in self._make_services():
            self.services[service.name] = service
            await self._start(service.name, service)
        self.tink = TinkPart(
            self._make_tink,
            timeline=self.timeline,
            tasks=self.tasks,
            patience=timedelta(seconds=self.item.deadline_s),
        )
        await self._start("tink", self.tink)
        await asyncio.gather(*starting)
        # A bridge drops what is sent before the kernel told it of the new carrier.
        deadline = Deadline.after(_PORT_READY)
        await self.tasks.race(self._port.ready(), deadline, waiting_for="the machine's port")

    async def _start(self, name: str, part: Service | Segment | Capture | TinkPart) -> None:
        self._stack.push_async_callback(self._bounded, name, part.stop)
        await part.start()

    async def _bounded(self, name: str, stop: Callable[[], Awaitable[None]]) -> None:
        """Run one step of taking the lab down; record its failure instead of raising it."""
        try:
            async with asyncio.timeout(_STOP_STEP.total_seconds()):
                await stop()
        except (LabError, OSError, TimeoutError) as error:
            self.timeline.record("lab", "service.crashed", service=name, error=repr(error))

    # -- construction

    def _make_services(self) -> list[Service]:
        item, server = self.item, self.item.network.server
        common: dict[str, Any] = {"timeline": self.timeline, "tasks": self.tasks}
        reservations = Reservations(self._brief.reservations)
        fast = item.profile == "fast"
        http = f"http://{server}:{HTTP_PORT}"
        # Fast: no wait for a ProxyDHCP offer, and a NIC ROM's iPXE gets the script at once
        # instead of Tinkerbell's iPXE first.
        config = NetbootConfig(
            server=server,
            http=http,
            syslog=server,
            no_pxedhcp=fast,
            user_class="iPXE" if fast else "",
        )
        scripts = ScriptConfig(
            osie_url=f"{http}{HOOK_PREFIX}",
            syslog_host=server,
            grpc_authority=item.tink.address,
            tls=item.tink.tls,
            insecure_tls=item.tink.tls,
            extra_kernel_args=item.kernel_args,
        )
        assert item.hook.kernel is not None
        assert item.hook.initramfs is not None
        artifacts = {
            "vmlinuz-x86_64": item.hook.kernel,
            "initramfs-x86_64": item.hook.initramfs,
        }
        assert item.ipxe is not None
        binaries = {path.name: path for path in sorted(item.ipxe.iterdir())}
        names = {f"{name}.{ZONE}": server for name in ("registry", "tink", "smee")}
        return [
            DhcpService(
                **common,
                reservations=reservations,
                config=config,
                interface=self.segment.bridge,
            ),
            TftpService(
                **common,
                reservations=reservations,
                binaries=binaries,
                single_port=item.tftp_single_port,
                policy=FAST if fast else None,
                identify=identify,
            ),
            HttpService(
                **common,
                reservations=reservations,
                scripts=scripts,
                binaries=binaries,
                artifacts=artifacts,
                identify=identify,
            ),
            RadvService(**common, interface=self.segment.bridge),
            DnsService(**common, zone={**names, "pool.ntp.org": server}),
            NtpService(**common, policy=NtpPolicy(offset_s=item.ntp_offset_s), identify=identify),
            SyslogService(**common, identify=identify),
            self._make_registry(common),
        ]

    def _make_registry(self, common: dict[str, Any]) -> RegistryService:
        registry, server = self.item.registry, self.item.network.server
        tls = None
        if registry.scheme == "https":
            issued = self._authority().issue("registry", server, f"registry.{ZONE}")
            tls = (issued.chain, issued.key)
        kinds = {"anonymous": AuthKind.NONE, "basic": AuthKind.BASIC, "bearer": AuthKind.BEARER}
        users = {registry.username: registry.password or ""} if registry.username else {}
        service = RegistryService(
            **common,
            layouts=[
                *self.item.layouts,
                *(
                    Mount(layout=image.layout, reference=image.reference)
                    for image in self.item.images
                ),
            ],
            port=registry.port,
            tls=tls,
            auth=Auth(kind=kinds[registry.auth], users=users),
            identify=identify,
        )
        self.registry = RegistryPart(service, self.timeline, self.item.mac)
        return service

    def _make_tink(self) -> TinkServer:
        item = self.item
        tls = None
        if item.tink.tls:
            issued = self._authority().issue("tink", item.network.server, f"tink.{ZONE}")
            tls = ServerTls(
                certificate_chain=issued.chain.read_bytes(), private_key=issued.key.read_bytes()
            )
        return TinkServer(
            engine=Engine(copy.deepcopy(self._brief.workflows)),
            record=partial(self.timeline.record, "tink"),
            bind=item.network.server,
            port=item.tink.port,
            tls=tls,
        )

    def _authority(self) -> Authority:
        if self._ca is None:
            self._ca = Authority(PRIVATE_DIR)
            shutil.copy(self._ca.certificate, self.run_dir / "ca.pem")
        return self._ca

    async def _make_machine(self) -> Machine:
        item = self.item
        firmware = Firmware(item.firmware)
        port = self._port = await self.segment.plug_in("machine")
        for disk in item.disks:
            path = self.run_dir / f"{disk.name}.img"
            self.disks[disk.name] = create_disk(path, disk.size_bytes, serial=disk.serial)
        flash = None
        if firmware.is_uefi:
            found = find_uefi()
            variables = make_variables(found, self.run_dir / "uefi-vars.fd")
            flash = replace(found, variables=variables)
        spec = MachineSpec(
            name="machine",
            firmware=firmware,
            accel=item.accel,
            nics=[Nic(mac=item.mac, netdev=port.netdev("net0"), model=item.nic_model)],
            disks=list(self.disks.values()),
            cpus=item.cpus or (1 if item.accel == "tcg" else 2),
            memory_mib=item.memory_mib,
            uuid=str(uuid5(NAMESPACE_OID, item.mac)),
            flash=flash,
        )
        return Machine(
            spec=spec,
            run_dir=self.run_dir,
            private_dir=PRIVATE_DIR,
            timeline=self.timeline,
            tasks=self.tasks,
        )

    # -- what a run does

    async def run_to_end(self) -> None:
        """Wait until the run is decided: every workflow is terminal, or nothing is left to expect.

        Raises ``DeadlineExpired`` at the scenario's deadline, or at once what failed the lab.
        """
        deadline = Deadline.after(timedelta(seconds=self.item.deadline_s))
        if self.tink.server.engine.workflows:
            await self.wait_for_workflow(deadline=deadline)
        else:
            await self.tasks.race(
                self._until_expectations_hold(), deadline, waiting_for="what the scenario expects"
            )
            self.timeline.record("run", "expectations.met")

    async def _until_expectations_hold(self) -> None:
        """Return once every event and console line that is expected was seen, in any order."""
        waited = [each for each in self.item.expectations if each.key in ("event", "console")]
        for expectation in waited:
            one = replace(self.item, expectations=(expectation,))
            name = (
                "console.line.seen"
                if expectation.key == "console"
                else str(expectation.value["name"])
            )
            while not check_expectations(one, self.timeline.events)[0].met:
                seen = len(self.timeline.events)
                await self.timeline.wait_for(partial(_is_named, name), since=seen)

    async def wait_for(
        self, name: str, /, *, within: timedelta | None = None, **fields: Any
    ) -> Event:
        """Return the first event ``name`` whose fields have the given values.

        ``within`` defaults to the scenario's deadline. Raises ``DeadlineExpired``.
        """
        limit = within or timedelta(seconds=self.item.deadline_s)
        wanted = f"{name} {fields}" if fields else name
        return await self.tasks.race(
            self.timeline.wait_for(
                lambda event: (
                    event.name == name
                    and all(event.get(key) == value for key, value in fields.items())
                )
            ),
            Deadline.after(limit),
            waiting_for=wanted,
        )

    async def wait_for_workflow(
        self, state: str | None = None, *, deadline: Deadline | None = None
    ) -> None:
        """Return once every workflow is terminal; with ``state`` (``SUCCESS``), as that.

        Raises ``DeadlineExpired``, and ``ExpectationFailed`` when one ended otherwise.
        """
        ended = await self.tasks.race(
            self.tink.wait_until_finished(),
            deadline or Deadline.after(timedelta(seconds=self.item.deadline_s)),
            waiting_for="the workflow's end",
        )
        for name, found in ended.items():
            if state is not None and found != state:
                raise ExpectationFailed(f"workflow {name}: expected {state}, found {found}")

    async def check_disks(self) -> None:
        """Compare the disks with what the scenario expects of them; record what was found."""
        for name, expectation in disk_expectations(self.item):
            disk = self.disks.get(name)
            if disk is not None:
                found = await asyncio.to_thread(check_disk, name, expectation.value, disk.path)
                self.timeline.record("machine", "disk.checked", **found)


def _is_named(name: str, event: Event) -> bool:
    return event.name == name
