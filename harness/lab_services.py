"""What stands around the machine: the construction of every service from a brief."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from fake_tink_server.desk import Profile
from fake_tink_server.engine import Engine
from fake_tink_server.server import ServerTls, TinkServer
from harness.brief import Brief
from harness.certificates import Authority, Certificate, KeyKind, Kind
from harness.faults.plan import FaultPlan
from harness.lab_netboot import (
    ARTIFACTS_PORT,
    HTTPS_PORT,
    ISO_NAME,
    address_services,
    dhcp_services,
    http_services,
    iso_source,
)
from harness.lab_parts import RegistryPart
from harness.lab_registries import make_registries
from harness.net.neighbours import identify
from harness.scenario.item import HookItem
from harness.seal import PRIVATE_DIR
from harness.services import Service
from harness.services.dns import DnsService
from harness.services.http import HOOK_PREFIX, HttpService
from harness.services.ntp import NtpService
from harness.services.observer import ObserverService
from harness.services.proxy import ProxyService
from harness.services.radv import RadvService
from harness.services.registry import RegistryService
from harness.services.smee import SmeeService, smee_iso, smee_settings
from harness.services.syslog import SyslogService
from harness.services.tftp import TftpService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.generation import GENERATIONS
from harness.wire.ipxe import ScriptConfig
from harness.wire.netboot import NetbootConfig, Reservations
from harness.wire.ntp import NtpPolicy
from harness.wire.tftp_transfer import FAST

ZONE: Final = "tinkerbell.lab"
_REGISTRY: Final = "docker_registry="


class Surroundings:
    """Makes the services of one lab; starting and stopping them is the lab's.

    ``interface`` is where the machine's frames arrive: the segment's bridge.
    """

    registry: RegistryPart

    def __init__(
        self,
        brief: Brief,
        *,
        run_dir: Path,
        timeline: Timeline,
        tasks: TaskKeeper,
        interface: str,
        faults: FaultPlan,
        authority: bytes | None = None,
    ) -> None:
        """``authority``: the throwaway CA of the lab that this one is resumed from."""
        self.item = brief.item
        self.timeline = timeline
        self._brief = brief
        self._run_dir = run_dir
        self._interface = interface
        self._faults = faults
        self._tasks = tasks
        self._common: dict[str, Any] = {"timeline": timeline, "tasks": tasks}
        self._ca: Authority | None = None
        self._saved_ca = authority

    def make_services(self) -> list[Service]:
        """Return the services in the order in which they start."""
        item, server = self.item, self.item.network.server
        reservations = Reservations(self._brief.reservations)
        generation = GENERATIONS[item.generation]
        http = f"http://{server}:{generation.http}"
        hook = f"http://{server}:{generation.artifacts}"
        if item.https:
            http = hook = f"https://{server}:{HTTPS_PORT}"
        config = NetbootConfig(
            server=server,
            http=http,
            script_url=f"{http}{generation.script_path}",
            binary_path=generation.binary_path,
            syslog=server,
            no_pxedhcp="no proxy wait" in item.shortcuts,
            user_class="iPXE" if "script at once" in item.shortcuts else "",
        )
        scripts = ScriptConfig(
            osie_url=f"{hook}{HOOK_PREFIX}",
            syslog_host=server,
            grpc_authority=item.tink.address,
            tls=item.tink.tls,
            insecure_tls=item.tink.tls and not item.tink.verified,
            extra_kernel_args=item.kernel_args,
        )
        assert item.hook.kernel is not None
        assert item.hook.initramfs is not None
        artifacts = {
            "vmlinuz-x86_64": item.hook.kernel,
            "initramfs-x86_64": _initramfs(item.hook),
        }
        if item.iso is not None:
            assert item.iso.file is not None
            artifacts[ISO_NAME] = item.iso.file
        assert item.ipxe is not None
        binaries = {path.name: path for path in sorted(item.ipxe.iterdir())}
        names = ["registry", "tink", "smee", *(one.name for one in item.registries)]
        zone = {f"{name}.{ZONE}": server for name in names}
        netboot = (
            self._real_smee(config, scripts, artifacts)
            if item.stack == "smee"
            else self._own_netboot(reservations, config, scripts, binaries, artifacts)
        )
        return [
            *netboot,
            *self._routers(),
            DnsService(
                **self._common,
                zone={**zone, "pool.ntp.org": server},
                identify=identify,
                strike=self._faults.at("dns"),
            ),
            NtpService(
                **self._common,
                policy=NtpPolicy(offset_s=item.ntp_offset_s),
                identify=identify,
                strike=self._faults.at("ntp"),
            ),
            *self._make_registries(),
            *self._make_proxy({**zone, "pool.ntp.org": server}),
        ]

    def _routers(self) -> list[Service]:
        if "answered routers" not in self.item.shortcuts:
            return []
        strike = self._faults.at("radv")
        return [RadvService(**self._common, interface=self._interface, strike=strike)]

    def _own_netboot(
        self,
        reservations: Reservations,
        config: NetbootConfig,
        scripts: ScriptConfig,
        binaries: Mapping[str, Path],
        artifacts: Mapping[str, Path],
    ) -> list[Service]:
        return [
            *dhcp_services(
                self._brief,
                common=self._common,
                config=config,
                interface=self._interface,
                strike=self._faults.at("dhcp"),
            ),
            TftpService(
                **self._common,
                reservations=reservations,
                binaries=binaries,
                assets=self.item.tftp_assets,
                single_port=self.item.tftp_single_port,
                policy=FAST if "large blocks" in self.item.shortcuts else None,
                identify=identify,
                strike=self._faults.at("tftp"),
            ),
            *http_services(
                self._brief,
                common=self._common,
                scripts=scripts,
                binaries=binaries,
                artifacts=artifacts,
                faults=self._faults,
                issue=self._issue_http,
            ),
            SyslogService(**self._common, identify=identify, strike=self._faults.at("syslog")),
        ]

    def _real_smee(
        self, config: NetbootConfig, scripts: ScriptConfig, artifacts: Mapping[str, Path]
    ) -> list[Service]:
        """Return the real smee, what watches it, and the server of Hook's files smee never was."""
        item = self.item
        assert item.smee is not None
        port = GENERATIONS[item.generation].http
        metadata = {"enabled": GENERATIONS[item.generation].metadata == port}
        hook = f"http://{item.network.server}:{ARTIFACTS_PORT}{HOOK_PREFIX}"
        return [
            *address_services(self._brief, common=self._common, interface=self._interface),
            ObserverService(**self._common, interface=self._interface, http_ports=(port,)),
            SmeeService(
                **self._common,
                program=item.smee,
                hardware=self._brief.hardware,
                settings=smee_settings(
                    config=config,
                    scripts=replace(scripts, osie_url=hook),
                    dhcp={"interface": self._interface, "mode": item.dhcp_mode},
                    metadata=metadata,
                    tftp={
                        "single_port": item.tftp_single_port,
                        **({"assets": str(item.tftp_assets)} if item.tftp_assets else {}),
                    },
                    http={
                        "port": port,
                        "assets": item.tftp_over_http,
                        "trusted_proxies": list(item.trusted_proxies),
                    },
                    **smee_iso(iso_source(item)),
                ),
                folder=PRIVATE_DIR,
            ),
            HttpService(
                **self._common,
                reservations=Reservations([]),
                artifacts=artifacts,
                port=ARTIFACTS_PORT,
                identify=identify,
            ),
        ]

    def _make_proxy(self, zone: Mapping[str, str]) -> list[ProxyService]:
        proxy = self.item.proxy
        if proxy is None:
            return []
        credentials = (proxy.user, proxy.password) if proxy.user is not None else None
        return [
            ProxyService(
                **self._common,
                zone=zone,
                credentials=credentials,
                port=proxy.port,
                identify=identify,
            )
        ]

    def _make_registries(self) -> list[RegistryService]:
        made = make_registries(
            self.item,
            self._common,
            zone=ZONE,
            run_dir=self._run_dir,
            authority=self._authority,
            strike=self._faults.at("registry"),
        )
        self.registry = RegistryPart(made[0], self.timeline, self.item.macs)
        return made

    def make_tink(self) -> TinkServer:
        """Return Tinkerbell's gRPC server, its workflows as at power-on."""
        item = self.item
        tls = None
        if item.tink.tls:
            issued = self._issue_tink(Kind.RIGHT)
            tls = ServerTls(certificate_chain=issued.chain, private_key=issued.key)
        # tink-worker puts DOCKER_REGISTRY in front of an action's image, tink-agent does not. One
        # template serves both: for the agent the server does it.
        registry = next(
            (word.partition("=")[2] for word in item.kernel_args if word.startswith(_REGISTRY)), ""
        )
        profile = Profile.FAST if "agent answered" in item.shortcuts else Profile.FAITHFUL
        return TinkServer(
            engine=Engine(
                copy.deepcopy(self._brief.workflows),
                seed=0 if profile is Profile.FAITHFUL else None,
            ),
            image_prefix=f"{registry}/" if registry else "",
            profile=profile,
            record=partial(self.timeline.record, "tink"),
            bind=item.network.server,
            port=item.tink.port,
            tls=tls,
            wall=lambda: self._calendar().timestamp(),
            strike=self._faults.at("tink"),
            issue=self._issue_tink,
            identify=identify,
            fail=self._tasks.fail,
        )

    def _issue_tink(self, kind: Kind, keys: KeyKind | None = None) -> Certificate:
        names = (self.item.network.server, f"tink.{ZONE}")
        return self._authority().issue(*names, kind=kind, keys=keys)

    def _issue_http(self, kind: Kind, keys: KeyKind | None) -> Certificate:
        return self._authority().issue(
            self.item.network.server, f"smee.{ZONE}", kind=kind, keys=keys
        )

    def _calendar(self) -> datetime:
        """Return the time that the machine has, too: in a lab that was resumed not the host's."""
        return self.timeline.clock.wall(self.timeline.clock.now())

    @property
    def authority(self) -> bytes | None:
        """The throwaway CA as PEM, with its key; None while nothing has asked for it."""
        return self._saved_ca if self._ca is None else self._ca.to_pem()

    def _authority(self) -> Authority:
        if self._ca is None:
            self._ca = Authority(now=self._calendar(), saved=self._saved_ca)
            (self._run_dir / "ca.pem").write_bytes(self._ca.certificate)
        return self._ca


def _initramfs(hook: HookItem) -> Path:
    """Return the file that is served: with what faults put over it, where they do."""
    assert hook.initramfs is not None
    if hook.overlay is None:
        return hook.initramfs
    from harness.hook.overlay import joined

    return joined(hook.initramfs, hook.overlay, PRIVATE_DIR / "initramfs")
