"""The kernel does what was asked, as iproute2 sees it."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
from typing import Any

import pytest

from harness.net import netlink
from harness.net.neighbours import identify
from harness.net.tests.namespace import in_own_network

pytestmark = pytest.mark.service

MAC = "02:00:00:00:00:01"


def ip(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-j", "-d", *words], capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@in_own_network
def test_a_bridge_forwards_at_once() -> None:
    with netlink.Netlink() as kernel:
        index = kernel.add_bridge("b0", MAC)
        kernel.set_up(index)
    (link,) = ip("link", "show", "b0")
    assert link["address"] == MAC
    assert "UP" in link["flags"]
    data = link["linkinfo"]["info_data"]
    assert (data["forward_delay"], data["stp_state"], data["mcast_snooping"]) == (0, 0, 0)


@in_own_network
def test_addresses_are_usable_at_once() -> None:
    with netlink.Netlink() as kernel:
        index = kernel.add_bridge("b0", MAC)
        kernel.silence_ipv6("b0")
        kernel.set_up(index)
        kernel.add_address(index, "192.168.77.1/24")
        kernel.add_address(index, "fe80::1/64")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four:
        four.bind(("192.168.77.1", 67))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        six.bind(("fe80::1", 547, 0, index))  # EADDRNOTAVAIL while it is tentative
    (link,) = ip("addr", "show", "b0")
    four_info, six_info = link["addr_info"]
    assert four_info["broadcast"] == "192.168.77.255"
    assert (four_info["prefixlen"], six_info["prefixlen"]) == (24, 64)
    assert six_info["scope"] == "link"
    assert len(link["addr_info"]) == 2


@in_own_network
def test_a_tap_has_no_virtio_header() -> None:
    if netlink_reason := _no_tun():
        pytest.skip(netlink_reason)
    index = netlink.add_tap("t0")
    with netlink.Netlink() as kernel:
        bridge = kernel.add_bridge("b0", MAC)
        kernel.set_master(index, bridge)
        kernel.set_mtu(index, 1400)
    (link,) = ip("link", "show", "t0")
    assert link["linkinfo"]["info_data"]["vnet_hdr"] is False
    assert link["linkinfo"]["info_data"]["persist"] is True
    assert link["master"] == "b0"
    assert link["mtu"] == 1400


def _no_tun() -> str | None:
    from harness.net.segment import probe_tun

    return probe_tun()


@in_own_network
def test_a_veth_pair_is_connected() -> None:
    with netlink.Netlink() as kernel:
        index = kernel.add_veth("v0", "v1")
        kernel.set_up(index)
        kernel.set_up(socket.if_nametoindex("v1"))
        assert ip("link", "show", "v0")[0]["link"] == "v1"
        assert netlink.hardware_address("v0") == ip("link", "show", "v0")[0]["address"]
        kernel.delete(index)
        kernel.delete(index)  # gone already
    assert {name for _, name in socket.if_nameindex()} == {"lo"}


@in_own_network
def test_a_neighbour_that_is_told_is_known() -> None:
    with netlink.Netlink() as kernel:
        index = kernel.add_bridge("b0", MAC)
        kernel.add_address(index, "192.168.77.1/24")
        kernel.set_up(index)
        for mac in ("02:00:00:00:00:02", "02:00:00:00:00:03"):
            kernel.add_neighbour(index, "192.168.77.10", mac)
            assert identify("192.168.77.10") == mac


@in_own_network
def test_errors_carry_the_kernels_words() -> None:
    with netlink.Netlink() as kernel:
        kernel.add_bridge("b0", MAC)
        with pytest.raises(FileExistsError):
            kernel.add_bridge("b0", MAC)
        with pytest.raises(OSError, match=r"Unknown device type|not supported") as caught:
            kernel._new_link("x0", "nonsense", b"", b"")
        assert caught.value.errno == errno.EOPNOTSUPP


@in_own_network
def test_frames_that_leave_have_their_checksums() -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    with netlink.Netlink() as kernel:
        bridge = kernel.add_bridge("b0", MAC)
        netlink.disable_offloads("b0")
        kernel.add_address(bridge, "192.168.77.1/24")
        port = kernel.add_veth("v0", "v1")
        for name in ("v0", "v1"):
            netlink.disable_offloads(name)
            kernel.set_up(socket.if_nametoindex(name))
        kernel.set_master(port, bridge)
        kernel.set_up(bridge)
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as raw,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        raw.bind(("v1", 0x0800))
        raw.settimeout(10)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        udp.bind(("192.168.77.1", 67))
        udp.sendto(b"an offer", ("192.168.77.255", 68))
        frame = raw.recv(2000)
    found = Ether(frame)
    again = Ether(frame)
    del again[UDP].chksum, again[IP].chksum
    assert bytes(again) == bytes(found)
    assert found[UDP].chksum != 0
