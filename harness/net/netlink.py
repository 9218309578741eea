"""The few rtnetlink requests that a segment needs, typed.

Written on a plain socket, because importing pyroute2 costs more (0.2 to 0.6 s) than everything
else that a lab does to start. Kernel interface: rtnetlink(7), linux/if_link.h, linux/ethtool.h.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Final

_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_RTM_NEWADDR: Final = 20
_RTM_GETLINK: Final = 18
_RTM_NEWNEIGH: Final = 28
_RTMGRP_LINK: Final = 1
_NLMSG_ERROR: Final = 2
_NLM_F_REQUEST: Final = 0x1
_NLM_F_ACK: Final = 0x4
_NLM_F_REPLACE: Final = 0x100
_NLM_F_EXCL: Final = 0x200
_NLM_F_CREATE: Final = 0x400
_NLM_F_CAPPED: Final = 0x100
_NLM_F_ACK_TLVS: Final = 0x200

_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_NLMSGERR_ATTR_MSG: Final = 1

_NLA_F_NESTED: Final = 0x8000
_IFLA_ADDRESS: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MTU: Final = 4
_IFLA_MASTER: Final = 10
_IFLA_TXQLEN: Final = 13
_IFLA_OPERSTATE: Final = 16
_IF_OPER_UP: Final = b"\6"
_IFLA_LINKINFO: Final = 18
_IFLA_NET_NS_PID: Final = 19
_IFLA_AF_SPEC: Final = 26
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_IFLA_INFO_SLAVE_DATA: Final = 5
_IFLA_BRPORT_STATE: Final = 1
_BR_STATE_FORWARDING: Final = b"\3"
_IFLA_INET6_ADDR_GEN_MODE: Final = 8
_IN6_ADDR_GEN_MODE_NONE: Final = 1
_IFLA_BR_FORWARD_DELAY: Final = 1
_IFLA_BR_STP_STATE: Final = 5
_IFLA_BR_MCAST_SNOOPING: Final = 23
_VETH_INFO_PEER: Final = 1

_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_BROADCAST: Final = 4
_IFA_FLAGS: Final = 8
_IFA_F_NODAD: Final = 0x02
_IFA_F_PERMANENT: Final = 0x80
_RT_SCOPE_LINK: Final = 253

_NDA_DST: Final = 1
_NDA_LLADDR: Final = 2
_NUD_STALE: Final = 0x04

_IFF_UP: Final = 0x1

_TUNSETIFF: Final = 0x400454CA
_TUNSETPERSIST: Final = 0x400454CB
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_ASK_AGAIN_S: Final = 0.1
TUN_DEVICE: Final = "/dev/net/tun"

_SIOCETHTOOL: Final = 0x8946
_OFFLOADS: Final = {
    "tso": 0x1F,
    "gso": 0x24,
    "gro": 0x2C,
    "sg": 0x19,
    "rx checksum": 0x15,
    "tx checksum": 0x17,
}
"""ETHTOOL_S… commands, in the order in which they can be switched off."""


def _attribute(kind: int, payload: bytes) -> bytes:
    head = struct.pack("=HH", 4 + len(payload), kind)
    return head + payload + bytes(-len(payload) % 4)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


class Netlink:
    """A socket to the kernel's routing layer, in the network namespace of this thread.

    Every method raises ``OSError`` with the kernel's own words (extended acknowledgement).
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, 0))
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def add_bridge(self, name: str, mac: str) -> int:
        """Make a bridge that forwards at once (no STP, no delay); return its index.

        ``mac`` is fixed, or the bridge would take the lowest address of its ports and change it.
        Multicast snooping is off: the segment is a dumb switch, which floods.
        """
        data = (
            _number(_IFLA_BR_FORWARD_DELAY, 0)
            + _number(_IFLA_BR_STP_STATE, 0)
            + _attribute(_IFLA_BR_MCAST_SNOOPING, b"\0")
        )
        return self._new_link(name, "bridge", data, _attribute(_IFLA_ADDRESS, _octets(mac)))

    def add_veth(self, name: str, peer: str) -> int:
        """Make two interfaces with a cable between them; return the index of ``name``."""
        data = _attribute(_VETH_INFO_PEER, _link() + _text(_IFLA_IFNAME, peer))
        return self._new_link(name, "veth", data, b"")

    def _new_link(self, name: str, kind: str, data: bytes, more: bytes) -> int:
        info = _text(_IFLA_INFO_KIND, kind) + _attribute(_IFLA_INFO_DATA | _NLA_F_NESTED, data)
        self._request(
            _RTM_NEWLINK,
            _NLM_F_CREATE | _NLM_F_EXCL,
            _link()
            + _text(_IFLA_IFNAME, name)
            + more
            + _attribute(_IFLA_LINKINFO | _NLA_F_NESTED, info),
        )
        return socket.if_nametoindex(name)

    def delete(self, index: int) -> None:
        """Remove an interface; one that is gone already is fine."""
        try:
            self._request(_RTM_DELLINK, 0, _link(index))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def set_up(self, index: int) -> None:
        """Switch an interface on."""
        self._request(_RTM_NEWLINK, 0, _link(index, _IFF_UP, _IFF_UP))

    def set_master(self, index: int, bridge: int) -> None:
        """Plug a port into a bridge."""
        self._request(_RTM_NEWLINK, 0, _link(index) + _number(_IFLA_MASTER, bridge))

    def move(self, index: int, pid: int) -> None:
        """Put an interface into the network namespace of the process ``pid``."""
        self._request(_RTM_NEWLINK, 0, _link(index) + _number(_IFLA_NET_NS_PID, pid))

    def set_mtu(self, index: int, mtu: int) -> None:
        """Set the largest payload of a frame, in octets."""
        self._request(_RTM_NEWLINK, 0, _link(index) + _number(_IFLA_MTU, mtu))

    def set_queue(self, index: int, frames: int) -> None:
        """Let so many frames wait for whoever reads from an interface; one more is lost."""
        self._request(_RTM_NEWLINK, 0, _link(index) + _number(_IFLA_TXQLEN, frames))

    def silence_ipv6(self, name: str) -> None:
        """Keep the kernel from addresses and router solicitations of its own making."""
        if not has_ipv6():
            return
        mode = _attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_IN6_ADDR_GEN_MODE_NONE]))
        spec = _attribute(socket.AF_INET6 | _NLA_F_NESTED, mode)
        index = socket.if_nametoindex(name)
        self._request(
            _RTM_NEWLINK, 0, _link(index) + _attribute(_IFLA_AF_SPEC | _NLA_F_NESTED, spec)
        )
        for setting in ("router_solicitations", "accept_ra"):
            Path("/proc/sys/net/ipv6/conf", name, setting).write_text("0")

    def add_address(self, index: int, address: str) -> None:
        """Give an interface an address (``192.168.77.1/24``, ``fe80::1/64``), usable at once.

        IPv6 skips duplicate address detection, which would take 1 to 2 seconds (RFC 4862 §5.4).
        """
        interface = ipaddress.ip_interface(address)
        local = interface.ip.packed
        family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
        scope = _RT_SCOPE_LINK if interface.ip.is_link_local else 0
        attributes = _attribute(_IFA_LOCAL, local) + _attribute(_IFA_ADDRESS, local)
        if isinstance(interface, ipaddress.IPv4Interface):
            broadcast = interface.network.broadcast_address.packed
            attributes += _attribute(_IFA_BROADCAST, broadcast)
        else:
            attributes += _number(_IFA_FLAGS, _IFA_F_NODAD | _IFA_F_PERMANENT)
        head = struct.pack(
            "=BBBBi", family, interface.network.prefixlen, _IFA_F_PERMANENT, scope, index
        )
        self._request(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_EXCL, head + attributes)

    def add_neighbour(self, index: int, address: str, mac: str) -> None:
        """Know the MAC behind an IPv4 address, until the peer says otherwise."""
        head = struct.pack("=BxHiHBB", socket.AF_INET, 0, index, _NUD_STALE, 0, 0)
        body = head + _attribute(_NDA_DST, socket.inet_aton(address))
        body += _attribute(_NDA_LLADDR, _octets(mac))
        self._request(_RTM_NEWNEIGH, _NLM_F_CREATE | _NLM_F_REPLACE, body)

    def is_operating(self, index: int) -> bool:
        """Return whether an interface has a carrier and sends what it is given."""
        attributes = self._request(_RTM_GETLINK, 0, _link(index))[16:]
        return _find(attributes, _IFLA_OPERSTATE) == _IF_OPER_UP

    def is_forwarding(self, index: int) -> bool:
        """Return whether a bridge passes the frames of this port on."""
        attributes = self._request(_RTM_GETLINK, 0, _link(index))[16:]
        for kind in (_IFLA_LINKINFO, _IFLA_INFO_SLAVE_DATA, _IFLA_BRPORT_STATE):
            attributes = _find(attributes, kind)
        return attributes == _BR_STATE_FORWARDING

    def _request(self, kind: int, flags: int, body: bytes) -> bytes:
        """Send a request and return what it was answered before the acknowledgement."""
        self._sequence += 1
        found = b""
        head = struct.pack(
            "=IHHII",
            16 + len(body),
            kind,
            flags | _NLM_F_REQUEST | _NLM_F_ACK,
            self._sequence,
            0,
        )
        self._socket.send(head + body)
        while True:
            answer = self._socket.recv(1 << 16)
            length, answer_kind, answer_flags, sequence, _ = struct.unpack_from("=IHHII", answer)
            if sequence != self._sequence:
                continue
            if answer_kind == _NLMSG_ERROR:
                _raise_for(answer[16:length], answer_flags)
                return found
            found = answer[16:length]


def _find(attributes: bytes, wanted: int) -> bytes:
    """Return the payload of an attribute; nothing when it is not there."""
    at = 0
    while at + 4 <= len(attributes):
        size, kind = struct.unpack_from("=HH", attributes, at)
        if kind & ~_NLA_F_NESTED == wanted:
            return attributes[at + 4 : at + size]
        at += max(4, size + -size % 4)
    return b""


async def wait_for_forwarding(name: str, bridge: str) -> None:
    """Return once ``bridge`` passes frames on to port ``name``, and its own frames, too.

    The kernel tells a bridge of a carrier by and by, up to a second after the cable was plugged
    in; until then a bridge drops what its own host sends. Has no deadline of its own.
    """
    port, whole = socket.if_nametoindex(name), socket.if_nametoindex(bridge)
    loop = asyncio.get_running_loop()
    family, kind = socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(family, kind, socket.NETLINK_ROUTE) as changes, Netlink() as kernel:
        changes.bind((0, _RTMGRP_LINK))
        changes.setblocking(False)
        while not (kernel.is_forwarding(port) and kernel.is_operating(whole)):
            # Asked again after a while, because not every change of these is announced.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ASK_AGAIN_S):
                    await loop.sock_recv(changes, 1 << 16)


def _raise_for(body: bytes, flags: int) -> None:
    """Raise what an NLMSG_ERROR says, unless it is an acknowledgement."""
    code = -int.from_bytes(body[:4], "little", signed=True)
    if code == 0:
        return
    words = os.strerror(code)
    if flags & _NLM_F_ACK_TLVS:
        request_length = int.from_bytes(body[4:8], "little")
        at = 4 + (16 if flags & _NLM_F_CAPPED else request_length)
        while at + 4 <= len(body):
            size, kind = struct.unpack_from("=HH", body, at)
            if kind == _NLMSGERR_ATTR_MSG:
                words = f"{words}: {body[at + 4 : at + size - 1].decode(errors='replace')}"
            at += max(4, size + -size % 4)
    raise OSError(code, words)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def has_ipv6() -> bool:
    """Return whether this kernel speaks IPv6."""
    return Path("/proc/sys/net/ipv6").is_dir()


def add_tap(name: str) -> int:
    """Make a persistent tap without a virtio header, for QEMU to open by name; return its index.

    Without the header every frame that passes is whole: segmented, with its checksums. Raises
    ``OSError`` when ``/dev/net/tun`` can't be opened or this process may not make a tap.
    """
    device = os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(device, _TUNSETIFF, request)
        fcntl.ioctl(device, _TUNSETPERSIST, 1)
    finally:
        os.close(device)
    return socket.if_nametoindex(name)


def disable_offloads(name: str) -> None:
    """Make the kernel finish segments and checksums itself, so that a capture shows real frames.

    An offload that the driver does not have is left alone.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        for command in _OFFLOADS.values():
            value = array.array("B", struct.pack("=II", command, 0))
            pointer, _ = value.buffer_info()
            request = struct.pack("16sP16x", name.encode(), pointer)
            try:
                fcntl.ioctl(probe, _SIOCETHTOOL, request)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise


def hardware_address(name: str) -> str:
    """Return an interface's MAC address, lower case with colons."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        answer = fcntl.ioctl(probe, 0x8927, struct.pack("16s24x", name.encode()))
    return answer[18:24].hex(":")
