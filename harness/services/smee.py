"""Tinkerbell's real smee v0.25.0 in place of the lab's DHCP, TFTP, HTTP and syslog.

The program is built from ``linuxkit/tools/smee``. What machines ask of it and get is seen on the
wire by ``harness.services.observer``; its own log is only told here.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from harness.clock import Deadline
from harness.errors import SetupFailed
from harness.process import minimal_environment, send_signal, start_program
from harness.services.iso import IsoSource
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.ipxe import ScriptConfig
from harness.wire.iso import MAGIC
from harness.wire.netboot import NetbootConfig

_START: Final = timedelta(seconds=20)
_STOP: Final = timedelta(seconds=3)
_LAST_LINES: Final = 10
_HEAD: Final = frozenset({"time", "level", "msg", "logger", "caller"})


class SmeeDied(SetupFailed):
    """The real smee could not start, or ended while the lab still needs it."""


def smee_settings(
    *, config: NetbootConfig, scripts: ScriptConfig, **parts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings of the program that say what ``config`` and ``scripts`` say here.

    ``parts`` is merged in last, by section: ``dhcp={"mode": "proxy"}``, ``http={"port": 7171}``,
    ``tftp={"single_port": False}``, ``iso={…}``. The keys are those of
    ``linuxkit/tools/smee/config.go``; the program refuses one it does not know.
    """
    tftp_address, tftp_port = config.tftp_server
    port = int(config.http_base.rsplit(":", 1)[-1])
    settings: dict[str, Any] = {
        "public": config.server,
        "dhcp": {
            "netboot": config.enabled,
            "tftp_ip": tftp_address,
            "tftp_port": tftp_port,
            "binary_url": f"{config.http_base}/ipxe/binary/",
            "script_url": config.script_url or f"{config.http_base}/ipxe/script/auto.ipxe",
            "inject_mac": config.inject_mac,
            **({"syslog_ip": config.syslog} if config.syslog else {}),
        },
        "http": {"port": port},
        "ipxe": {
            "osie_url": scripts.osie_url,
            "extra_kernel_args": list(scripts.extra_kernel_args),
            "kernel_name": scripts.kernel_name,
            "initrd_name": scripts.initrd_name,
            "retries": scripts.retries,
            "retry_delay_s": scripts.retry_delay_s,
            "mac_format": config.mac_format.value,
            "architectures": {str(arch): name for arch, name in config.binaries.items()},
        },
        "tink": {
            "address": scripts.grpc_authority,
            "tls": scripts.tls,
            "insecure_tls": scripts.insecure_tls,
        },
    }
    for name, part in parts.items():
        settings[name] = {**settings.get(name, {}), **part}
    return settings


def smee_iso(source: IsoSource | None) -> dict[str, Mapping[str, Any]]:
    """Return the section of the settings that says what ``source`` says here."""
    if source is None:
        return {}
    magic = {"magic": source.magic.decode()} if source.magic != MAGIC else {}
    return {
        "iso": {
            "enabled": True,
            "upstream": source.url,
            "static_ipam": source.static_ipam,
            **magic,
        }
    }


class SmeeService:
    """Runs the program ``program`` with ``settings`` on ``hardware``; all its files in ``folder``.

    ``hardware`` are Tinkerbell's Hardware objects as YAML has them. The process dies with this one.
    """

    name = "smee"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        program: Path,
        hardware: Sequence[Mapping[str, Any]],
        settings: Mapping[str, Any],
        folder: Path,
    ) -> None:
        self._timeline = timeline
        self._tasks = tasks
        self._program = program
        self._hardware = hardware
        self._settings = settings
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()
        self._stopping = False
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._panicked = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Return once every port is open. Raises ``SmeeDied`` with smee's last lines."""
        hardware = self._folder / "smee-hardware.json"
        hardware.write_text(json.dumps(list(self._hardware), default=str))
        settings = self._folder / "smee.json"
        settings.write_text(json.dumps({**self._settings, "hardware": os.fspath(hardware)}))
        try:
            self._process = await start_program(
                *("setpriv", "--pdeathsig", "KILL"),
                *(os.fspath(self._program), os.fspath(settings)),
                env=minimal_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=1 << 20,
            )
        except OSError as error:
            raise SmeeDied(f"{self._program} can't be started: {error.strerror}") from error
        self._watch = self._tasks.spawn(self._follow(self._process), name=self.name)
        await self._tasks.race(
            self._listening.wait(), Deadline.after(_START), waiting_for="smee to listen"
        )

    async def stop(self) -> None:
        """End the program; may be called twice."""
        process, self._process = self._process, None
        if process is None or self._watch is None:
            return
        self._stopping = True
        send_signal(process, signal.SIGTERM)
        done, _ = await asyncio.wait({self._watch}, timeout=_STOP.total_seconds())
        if not done:
            send_signal(process)
            await asyncio.wait({self._watch})
        self._timeline.record(self.name, "service.stopped", service=self.name)

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            self._said(line.decode(errors="replace").rstrip("\n"))
        status = await process.wait()
        if not self._stopping:
            raise SmeeDied(
                f"smee ended with status {status}",
                hint="\n".join(self._last) or "it said nothing",
            )

    def _said(self, line: str) -> None:
        if line.startswith(("panic: ", "fatal error: ")):
            self._panicked = True  # hundreds of lines follow; the first ones tell
            self._last.clear()
        if not self._panicked or len(self._last) < _LAST_LINES:
            self._last.append(line)
        try:
            said = json.loads(line)
        except ValueError:
            said = {"msg": line}
        if not isinstance(said, dict):
            said = {"msg": line}
        rest = {key: value for key, value in said.items() if key not in _HEAD}
        if said.get("msg") == "listening" and "logger" not in said:
            for transport in ("udp", "tcp"):
                for port in rest.get(transport) or ():
                    self._timeline.record(
                        self.name,
                        "service.started",
                        service=self.name,
                        address=self._settings.get("bind") or self._settings["public"],
                        port=port,
                        transport=transport,
                    )
            self._listening.set()
            return
        self._timeline.record(
            self.name,
            "smee.line.logged",
            level=said.get("level"),
            message=said.get("msg"),
            details=rest or None,
        )
