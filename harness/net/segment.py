"""One Ethernet segment: a bridge with the lab's address, and the ports of its machines.

Two kinds of port. ``bridge``: a tap, which QEMU opens; the fastest. ``wire``: QEMU sends whole
frames over unix sockets to a pump of ours, which needs no /dev/net/tun and is where frames can be
tampered with. Both end on the same bridge, so services and capture can't tell them apart.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from harness.errors import HostUnfit, SetupFailed
from harness.net import netlink
from harness.net.wire import QUEUE_FRAMES, Cable, Tamperer
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

BRIDGE: Final = "hook0"
_BRIDGE_MAC: Final = "02:68:6f:6f:6b:01"
"""Locally administered (second bit); the same in every lab, so that captures compare."""
_LOOPBACK_INDEX: Final = 1


class SegmentKind(StrEnum):
    """How machines are plugged in."""

    BRIDGE = "bridge"
    WIRE = "wire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The kind of segment this host gets, and why when it is not the fast one."""

    kind: SegmentKind
    because: str | None = None


def probe_tun() -> str | None:
    """Return why taps can't be made here, or None when ``/dev/net/tun`` opens."""
    try:
        os.close(os.open(netlink.TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{netlink.TUN_DEVICE}: {error.strerror}"
    return None


def choose(wanted: SegmentKind | None = None) -> Choice:
    """Return the segment kind to use; ``wanted`` None means: taps where this user may make them.

    Raises ``HostUnfit`` when taps were asked for and can't be made, and when nothing was asked
    for and the host has no tun device at all: a slower segment is then somebody's choice.
    """
    reason = probe_tun()
    forbidden = reason is not None and Path(netlink.TUN_DEVICE).exists()
    if wanted is SegmentKind.WIRE or (wanted is None and forbidden):
        return Choice(kind=SegmentKind.WIRE, because=reason)
    if reason is not None:
        raise HostUnfit(
            f"no taps on this host: {reason}",
            hint="sudo modprobe tun; sudo chmod 0666 /dev/net/tun; "
            "or say segment: wire in the scenario, which needs none",
        )
    return Choice(kind=SegmentKind.BRIDGE)


def check(wanted: SegmentKind | None = None) -> Choice:
    """Raise ``HostUnfit`` unless a segment can be made; return the kind it will be."""
    return choose(wanted)


class Segment:
    """The lab's network, seen from the process that makes it."""

    name = "segment"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        address: str = "192.168.77.1/24",
        kind: SegmentKind = SegmentKind.BRIDGE,
        private_dir: Path,
        bridge: str = BRIDGE,
        more_addresses: Sequence[str] = (),
    ) -> None:
        """``address`` is the server's, with its prefix; sockets go to ``private_dir``.

        ``more_addresses`` are the bridge's too, for servers of their own.
        """
        self.kind = kind
        self.bridge = bridge
        self.address = ipaddress.IPv4Interface(address)
        self._more_addresses = tuple(more_addresses)
        self.link_local = _link_local(_BRIDGE_MAC)
        self._timeline = timeline
        self._tasks = tasks
        self._private_dir = private_dir
        self._index: int | None = None
        self._ports: list[Port] = []

    async def start(self) -> None:
        """Make the bridge, with its addresses usable at once. Raises ``SetupFailed``."""
        try:
            with netlink.Netlink() as kernel:
                with contextlib.suppress(OSError):  # real root outside a namespace has it up
                    kernel.set_up(_LOOPBACK_INDEX)
                self._index = kernel.add_bridge(self.bridge, _BRIDGE_MAC)
                netlink.disable_offloads(self.bridge)
                kernel.silence_ipv6(self.bridge)
                for address in (str(self.address), *self._more_addresses):
                    kernel.add_address(self._index, address)
                kernel.set_up(self._index)
                if netlink.has_ipv6():
                    kernel.add_address(self._index, f"{self.link_local}/64")
        except OSError as error:
            raise SetupFailed(
                f"the bridge {self.bridge} can't be made: {error.strerror}", hint=_hint(error)
            ) from error
        self._timeline.record(
            self.name,
            "segment.created",
            bridge=self.bridge,
            kind=str(self.kind),
            address=str(self.address),
        )

    async def plug_in(self, machine: str, *, tamperer: Tamperer | None = None) -> Port:
        """Return a new port for a machine's NIC. Raises ``SetupFailed``.

        A ``tamperer`` is asked about each frame; only a segment of kind ``wire`` can do that.
        """
        assert self._index is not None, "start() comes first"
        name = f"port{len(self._ports)}"
        port: Port
        assert tamperer is None or self.kind is SegmentKind.WIRE, "the kernel's frames are its own"
        try:
            if self.kind is SegmentKind.BRIDGE:
                port = TapPort(name, self.bridge)
                index = netlink.add_tap(name)
                with netlink.Netlink() as kernel:
                    netlink.disable_offloads(name)
                    kernel.silence_ipv6(name)
                    kernel.set_queue(index, QUEUE_FRAMES)
                    kernel.set_master(index, self._index)
                    kernel.set_up(index)
            else:
                cable = Cable(
                    name=name,
                    private_dir=self._private_dir,
                    tasks=self._tasks,
                    tamperer=tamperer,
                )
                cable.connect(self._index)
                port = WirePort(cable, self.bridge)
        except OSError as error:
            raise SetupFailed(
                f"a port for {machine} can't be made: {error.strerror}", hint=_hint(error)
            ) from error
        self._ports.append(port)
        return port

    async def stop(self) -> None:
        """Remove ports and bridge; idempotent. (The namespace's end does it, too.)"""
        ports, self._ports = self._ports, []
        for port in ports:
            await port.stop()
        if self._index is not None:
            index, self._index = self._index, None
            with contextlib.suppress(OSError), netlink.Netlink() as kernel:
                kernel.delete(index)


class Port(ABC):
    """Where a NIC is plugged in."""

    def __init__(self, name: str, bridge: str) -> None:
        self.name = name
        self.bridge = bridge

    @abstractmethod
    def netdev(self, netdev_id: str) -> str:
        """Return the value of QEMU's ``-netdev`` option."""

    async def ready(self) -> None:
        """Return once frames pass: after QEMU was started. Has no deadline of its own."""
        await netlink.wait_for_forwarding(self.name, self.bridge)

    @abstractmethod
    async def stop(self) -> None:
        """Unplug it."""


class TapPort(Port):
    """A tap on the bridge; QEMU opens it by name."""

    def netdev(self, netdev_id: str) -> str:
        """Return the value of QEMU's ``-netdev`` option."""
        return f"tap,id={netdev_id},ifname={self.name},script=no,downscript=no,vnet_hdr=off"

    async def stop(self) -> None:
        """Remove the tap."""
        with contextlib.suppress(OSError), netlink.Netlink() as kernel:
            kernel.delete(socket.if_nametoindex(self.name))


class WirePort(Port):
    """The end of a cable in user space; QEMU sends and receives datagrams."""

    def __init__(self, cable: Cable, bridge: str) -> None:
        super().__init__(cable.name, bridge)
        self._cable = cable

    def netdev(self, netdev_id: str) -> str:
        """Return the value of QEMU's ``-netdev`` option."""
        return (
            f"dgram,id={netdev_id},local.type=unix,local.path={self._cable.there},"
            f"remote.type=unix,remote.path={self._cable.here}"
        )

    async def stop(self) -> None:
        """Unplug the cable."""
        self._cable.disconnect()


def _link_local(mac: str) -> ipaddress.IPv6Address:
    """Return fe80::/64 plus the modified EUI-64 of ``mac`` (RFC 4291 appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


def _hint(error: OSError) -> str | None:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "a segment is made inside a sealed process; see hooklab doctor"
    if error.errno in (errno.EOPNOTSUPP, errno.ENODEV):
        return "the kernel lacks a module: sudo modprobe -a bridge tun veth"
    return None
