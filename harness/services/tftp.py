"""TFTP: iPXE binaries, pxelinux.cfg and assets, on one port or on one port a transfer."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harness.errors import DecodeError
from harness.faults.dialects.tftp import TftpDialect
from harness.faults.plan import Strike
from harness.faults.tampering import Tampering, nobody, tampered
from harness.services import Identify
from harness.services.udp import UdpShell
from harness.services.udp_service import UdpService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire import tftp
from harness.wire.commands import Address, Command, Core, SetTimer
from harness.wire.netboot import Reservations, parse_mac, without_trace
from harness.wire.tftp_server import Refusal, Solo, TftpServer, unknown_file
from harness.wire.tftp_transfer import Content, TftpPolicy
from harness.wire.turns import Turns

_MULTI_PORT: Final = TftpPolicy(max_blksize=65_464)
"""smee's cap of 512 octets holds in single-port mode only."""
_MOST_OPEN: Final = 64
"""Files that are kept open: a folder of assets may have more than a process may open."""
_PXELINUX = "pxelinux.cfg/01-"
_MAC_LENGTH = len("00-00-00-00-00-00")


class TftpFiles:
    """Finds files as smee's routes do: binary by its name, pxelinux.cfg by MAC, then assets."""

    def __init__(
        self,
        *,
        binaries: Mapping[str, Path],
        reservations: Reservations,
        assets: Path | None = None,
    ) -> None:
        self._binaries = binaries
        self._reservations = reservations
        self._assets = assets
        self._opened: dict[Path, FileContent] = {}

    def open(self, file: str, peer: Address) -> Content | Refusal:
        """Return the content of ``file``; a leading folder such as a MAC does not matter."""
        path = without_trace(file)
        base = path.rstrip("/").rpartition("/")[2] or ("/" if path.startswith("/") else ".")
        if found := self._binaries.get(base):
            return self._content(found)
        if config := self.pxelinux(path):
            return config
        if (pi := self._for_pi(path, peer)) is not None:
            return pi
        if asset := self.asset(path):
            return self._content(asset)
        return unknown_file(base)

    def pxelinux(self, path: str) -> bytes | None:
        """Return the configuration that Hardware has for ``pxelinux.cfg/01-<MAC>``."""
        dashed = path.removeprefix(_PXELINUX)
        if path.startswith(_PXELINUX) and len(dashed) == _MAC_LENGTH and (mac := parse_mac(dashed)):
            reservation = self._reservations.by_mac(mac)
            if reservation and reservation.pxelinux_config:
                return reservation.pxelinux_config.encode()
        return None

    def _for_pi(self, path: str, peer: Address) -> Content | Refusal | None:
        """Return what a Raspberry Pi finds in the folder of its serial number, or None.

        As in smee, nothing of it is served without an asset folder, and the machine is known by
        the address that it asks from.
        """
        pi = self._reservations.by_address(peer[0])
        if self._assets is None or pi is None or not (pi.pi_serial and pi.pi_firmware_path):
            return None
        if not path.startswith(f"{pi.pi_serial}/"):
            return None
        name = path.removeprefix(f"{pi.pi_serial}/")
        if name in ("config.txt", "cmdline.txt"):
            text = pi.pi_config if name == "config.txt" else " ".join(pi.kernel_params)
            return text.encode() if text else None
        asset = self.asset(f"{pi.pi_firmware_path}/{name}")
        return self._content(asset) if asset else None

    def asset(self, path: str) -> Path | None:
        """Return the file below the asset folder, never one outside of it."""
        found = self._inside(path)
        return found if found and found.is_file() else None

    def has_folder(self, path: str) -> bool:
        """Whether ``path`` is a folder among the assets."""
        found = self._inside(path)
        return found is not None and found.is_dir()

    def _inside(self, path: str) -> Path | None:
        """Return what exists below the asset folder at ``path``."""
        if self._assets is None or "\0" in path or path.startswith("/"):  # os.Root refuses it
            return None
        root = self._assets.resolve()
        try:
            wanted = (root / path).resolve(strict=True)
        except (OSError, RuntimeError):  # not there, too long a name, a link to itself (3.11)
            return None
        return wanted if wanted.is_relative_to(root) else None

    def _content(self, path: Path) -> Content | Refusal:
        """Return a file's content without reading it; opened once, anew when it changed."""
        try:
            known = self._opened.pop(path, None)
            if known is None or known.is_outdated:
                known = FileContent(path)
        except OSError:
            return unknown_file(path.name)
        self._opened[path] = known
        if len(self._opened) > _MOST_OPEN:  # what is being sent is open until it is sent
            del self._opened[next(iter(self._opened))]
        return known


class FileContent:
    """A file as long as it was when it was opened, read as it is sent.

    Not mapped into memory: a process that reads what was cut off a mapped file is killed.
    """

    def __init__(self, path: Path) -> None:
        """Open it. Raises ``OSError``."""
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        self._version = _version(os.fstat(self._fd))
        self._length = os.fstat(self._fd).st_size

    @property
    def is_outdated(self) -> bool:
        """Whether the path has another file or another content now. Raises ``OSError``."""
        return _version(self._path.stat()) != self._version

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice, /) -> bytes:
        """Return a part, and less than that where the file ends by now or can't be read."""
        start, stop, _ = part.indices(self._length)
        try:
            return os.pread(self._fd, stop - start, start)
        except OSError:  # of a disk
            return b""


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class TftpService(UdpService):
    """Serves ``binaries`` (name → file), and ``assets`` by path. Writes are refused."""

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        binaries: Mapping[str, Path],
        reservations: Reservations,
        assets: Path | None = None,
        bind: str = "0.0.0.0",
        port: int = tftp.SERVER_PORT,
        single_port: bool = True,
        policy: TftpPolicy | None = None,
        identify: Identify | None = None,
        strike: Strike | None = None,
    ) -> None:
        files = TftpFiles(binaries=binaries, reservations=reservations, assets=assets)
        self._server = TftpServer(
            open=files.open,
            policy=policy or (TftpPolicy() if single_port else _MULTI_PORT),
            identify=identify,
        )
        self._strike = strike
        self._dialect = TftpDialect(identify or nobody)
        core = _timed(self._tampered(self._server if single_port else _Listener(self)))
        super().__init__(
            name="tftp",
            core=core,
            timeline=timeline,
            tasks=tasks,
            bind=bind,
            port=port,
        )

    @property
    def numbered(self) -> int:
        """How many requests have a number; the next one's is one more."""
        return self._server.numbered

    @numbered.setter
    def numbered(self, count: int) -> None:
        self._server.numbered = count

    def _tampered(self, core: Core) -> Core:
        return tampered(core, self._strike, self._dialect)

    def begin(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Start a transfer on a port of its own (RFC 1350 §4)."""
        request = tftp.decode(datagram)
        if not isinstance(request, tftp.Request):
            raise DecodeError("neither RRQ nor WRQ on the server's port", rfc="RFC 1350 §4")
        commands, transfer = self._server.accept(request, peer)
        self._shells = [shell for shell in self._shells if not shell.closed]
        if transfer:
            closing = _Closing(Solo(transfer))
            core = self._tampered(closing)
            sock = self._socket(self._bind, 0)
            closing.shell = shell = self._shell(sock, core=_timed(core))
            self._shells.append(shell)
            first = [*commands, *transfer.start(now)]
            shell.run(core.replies(first, now) if isinstance(core, Tampering) else first)
            return []
        return commands


def _timed(core: Core) -> Core:
    """Let a server tell how much of a transfer's time is its own."""
    return Turns(core, told="tftp.transfer.progressed")


class _Listener:
    """The core of port 69 in multi-port mode: every request gets a socket of its own."""

    def __init__(self, service: TftpService) -> None:
        self._service = service

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        return self._service.begin(datagram, peer, now)

    def timer(self, name: str, now: float) -> list[Command]:
        del name, now
        return []


class _Closing:
    """Closes a transfer's socket one timeout after the transfer ended.

    Until then a client that missed nothing but sent its last ACK twice finds the port open.
    """

    _LINGER = "linger"

    def __init__(self, solo: Solo) -> None:
        self._solo = solo
        self._lingers = False
        self.shell: UdpShell | None = None

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        return self._then_linger(self._solo.receive(datagram, peer, now), now)

    def timer(self, name: str, now: float) -> list[Command]:
        if name == self._LINGER:
            if self.shell:
                self.shell.close()
            return []
        return self._then_linger(self._solo.timer(name, now), now)

    def _then_linger(self, commands: list[Command], now: float) -> list[Command]:
        if self._solo.transfer.over and not self._lingers:
            self._lingers = True
            return [*commands, SetTimer(name=self._LINGER, at=now + 1.0)]
        return commands
