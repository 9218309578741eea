"""What is written into an ISO, and what slips through."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.wire.ipxe import ScriptConfig
from harness.wire.iso import MAGIC, arguments, ipam, is_iso, mac_in, patched, synthetic
from harness.wire.netboot import Reservation

MAC = "52:54:00:00:00:01"
MACHINE = Reservation(
    mac=MAC,
    address="192.168.77.10",
    gateway="192.168.77.1",
    hostname="machine",
    name_servers=("192.168.77.1", "192.168.77.2"),
    domain="tinkerbell.lab",
    time_servers=("192.168.77.1",),
    agent_id="other",
    kernel_params=("own=1",),
)
CONFIG = ScriptConfig(
    osie_url="", syslog_host="10.0.0.1", grpc_authority="10.0.0.1:42113", extra_kernel_args=("a=b",)
)
CONSOLES = "console=ttyAMA0 console=ttyS0 console=tty0 console=tty1 console=ttyS1"
REST = (
    f"hw_addr={MAC} syslog_host=10.0.0.1 grpc_authority=10.0.0.1:42113 tinkerbell_tls=false "
    f"worker_id={MAC} a=b"
)
IPAM = (
    "ipam=52-54-00-00-00-01::192.168.77.10:255.255.255.0:192.168.77.1:machine:"
    "192.168.77.1,192.168.77.2:tinkerbell.lab:192.168.77.1"
)


@pytest.mark.parametrize(
    ("facility", "vlan", "expected"),
    [
        ("", "", f"{CONSOLES} {REST}"),
        ("onprem", "", f"facility=onprem {CONSOLES} {REST}"),
        ("x console=ttyS7", "5", f"facility=x console=ttyS7 vlan_id=5 {REST}"),
    ],
)
def test_the_arguments(facility: str, vlan: str, expected: str) -> None:
    machine = replace(MACHINE, facility=facility, vlan_id=vlan)
    assert arguments(machine, CONFIG, static_ipam=False).decode() == expected


def test_static_addresses_come_last() -> None:
    assert ipam(MACHINE) == IPAM
    assert arguments(MACHINE, CONFIG, static_ipam=True).endswith(f" {IPAM}".encode())
    assert ipam(Reservation(mac=MAC, address="")) == "ipam=52-54-00-00-00-01::::::::"


def test_the_placeholder_is_overwritten_and_nothing_else() -> None:
    image = synthetic(4000, at=700)
    out = patched(image, b"a=b")
    assert out[700:1724] == b"a=b" + b" " * 1021
    assert (out[:700], out[1724:], len(out)) == (image[:700], image[1724:], 4000)


def test_only_the_first_placeholder_of_a_piece_is() -> None:
    out = patched(MAGIC + MAGIC, b"x")
    assert (out[:1024].rstrip(), out[1024:]) == (b"x", MAGIC)


def test_what_is_too_long_is_written_over_what_follows() -> None:
    assert patched(b"1" + MAGIC + b"0" * 10, b"y" * 1030) == b"1" + b"y" * 1030 + b"0" * 4
    assert patched(MAGIC + b"0", b"y" * 2000) == b"y" * 1025


@given(st.binary(max_size=3000), st.binary(max_size=2000))
def test_the_length_never_changes(piece: bytes, patch: bytes) -> None:
    for each in (piece, piece + MAGIC, MAGIC + piece):
        assert len(patched(each, patch)) == len(each)


def test_paths() -> None:
    assert mac_in(f"/iso/{MAC}/hook.iso") == mac_in(f"/iso/{MAC.replace(':', '-')}/x.iso") == MAC
    assert mac_in("/iso/hook.iso") is None
    assert is_iso("/iso/x/hook.iso")
    assert not is_iso("/iso/x/hook.iso/")
    assert not is_iso("/iso/x/iso")
