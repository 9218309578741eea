"""Which interfaces of a Hardware smee would answer, and with what."""

from __future__ import annotations

from typing import Any

import pytest

from fake_tink_server.objects import Hardware
from harness.reservations import reservations_of
from harness.wire.netboot import Reservation

MAC = "52:54:00:00:00:01"


def of(dhcp: dict[str, Any], **netboot: Any) -> list[Reservation]:
    interface = {"dhcp": {"mac": MAC, **dhcp}, "netboot": netboot}
    return reservations_of(
        Hardware.model_validate(
            {
                "apiVersion": "tinkerbell.org/v1alpha1",
                "kind": "Hardware",
                "metadata": {"name": "machine"},
                "spec": {"interfaces": [interface]},
            }
        )
    )


IP = {"address": "192.168.77.10", "netmask": "255.255.255.0"}


def test_a_lease_time_that_is_not_set_is_none_at_all() -> None:
    assert of({"ip": IP})[0].lease_s == 0
    assert of({"ip": IP, "lease_time": 60})[0].lease_s == 60
    assert of({"ip": IP, "lease_time": -1})[0].lease_s == 604_800


def test_what_is_no_address_is_passed_over() -> None:
    dhcp = {"ip": IP, "time_servers": ["pool.ntp.org", "192.168.77.1"]}
    assert of(dhcp)[0].time_servers == ("192.168.77.1",)


def test_an_interface_may_have_no_address() -> None:
    assert (of({})[0].address, of({})[0].netmask) == ("", "")


@pytest.mark.parametrize(
    "dhcp",
    [
        {"ip": {"address": "192.168.77.10"}},
        {"ip": {"netmask": "255.255.255.0"}},
        {"ip": IP, "classless_static_routes": [{"destination_descriptor": "x", "router": "y"}]},
    ],
)
def test_what_smee_can_not_convert_has_no_reservation(dhcp: dict[str, Any]) -> None:
    assert of(dhcp) == []


def test_a_script_needs_an_absolute_url() -> None:
    assert of({"ip": IP}, ipxe={"url": "own.ipxe"}) == []
    assert of({"ip": IP}, ipxe={"url": "tftp://x/own.ipxe"})[0].ipxe_script_url


def test_a_pi_and_an_iso_of_its_own() -> None:
    rpi = {"serialNum": "abc", "firmwarePath": "pi4", "configTxt": "arm_64bit=1"}
    found = of({"ip": IP}, rpi=rpi)[0]
    assert (found.pi_serial, found.pi_firmware_path, found.pi_config) == (
        "abc",
        "pi4",
        "arm_64bit=1",
    )
