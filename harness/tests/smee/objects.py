"""Tinkerbell Hardware with every setting that smee looks at, as plain data."""

from __future__ import annotations

from typing import Any, Final

SERVER: Final = "192.168.77.1"

Object = dict[str, Any]


def hardware(
    name: str,
    *interfaces: Object,
    agent_id: str = "",
    facility: str = "",
) -> Object:
    """Return one Hardware object."""
    spec: Object = {"interfaces": list(interfaces)}
    if agent_id:
        spec["agentID"] = agent_id
    if facility:
        spec["metadata"] = {"facility": {"facility_code": facility}}
    return {
        "apiVersion": "tinkerbell.org/v1alpha1",
        "kind": "Hardware",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def interface(
    mac: str,
    address: str | None,
    netboot: Object | None = None,
    *,
    disabled: bool = False,
    **dhcp: Any,
) -> Object:
    """Return one interface; ``netboot`` defaults to an allowed one."""
    ip = {"ip": {"address": address, "netmask": "255.255.255.0"}} if address else {}
    made: Object = {
        "dhcp": {"mac": mac, **ip, **dhcp},
        "netboot": {"allowPXE": True} if netboot is None else netboot,
    }
    if disabled:
        made["disableDhcp"] = True
    return made


def _ip(address: str, netmask: str, gateway: str = "") -> Object:
    return {
        "ip": {"address": address, "netmask": netmask, **({"gateway": gateway} if gateway else {})}
    }


_LONG: Final = "x" * 60
PLAIN: Final = "52:54:00:00:00:01"
"""The machine whose requests are always answered."""
UNKNOWN: Final = ("52:54:00:ff:ff:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")
UNKNOWN_PI: Final = "b8:27:eb:ff:ff:01"


def _variants() -> list[Object]:
    """Return what differs from a plain interface, in DHCP and in netboot."""
    url = "http://boot.example:8080/own/script.ipxe?x=1"
    return [
        {},
        {"dhcp": _ip("192.168.77.11", "255.255.255.0", SERVER)},
        {"dhcp": _ip("192.168.77.12", "255.255.255.128", "192.168.77.126")},
        {"dhcp": _ip("10.9.8.7", "255.255.240.0", "10.9.15.254")},
        {"dhcp": {"name_servers": [SERVER, "192.168.77.2"], "time_servers": [SERVER]}},
        {"dhcp": {"name_servers": ["192.168.77.2"], "time_servers": [SERVER, "192.168.77.3"]}},
        {"dhcp": {"hostname": "machine-1"}},
        {"dhcp": {"hostname": f"{_LONG}.{_LONG}", "domain_name": "lab.example"}},
        {"dhcp": {"domain_name": "lab"}},
        {"dhcp": {"domain_name": "deep.down.lab.example"}},
        {"dhcp": {"lease_time": 60}},
        {"dhcp": {"lease_time": 4294967295}},
        {"dhcp": {"lease_time": 4294967296}},
        {"dhcp": {"lease_time": 0}},
        {"dhcp": {"lease_time": -1}},
        {"dhcp": {"vlan_id": "42", "arch": "aarch64", "uefi": True}},
        {
            "dhcp": {
                "classless_static_routes": [
                    {"destination_descriptor": "10.0.0.0/8", "router": "192.168.77.4"},
                    {"destination_descriptor": "0.0.0.0/0", "router": SERVER},
                    {"destination_descriptor": "10.1.2.128/25", "router": "192.168.77.5"},
                ]
            }
        },
        {"dhcp": {"tftp_server_name": "192.168.77.9"}},
        {"dhcp": {"boot_file_name": "own/boot.efi"}},
        {"dhcp": {"tftp_server_name": "tftp.example", "boot_file_name": "b" * 140}},
        {"netboot": {"allowPXE": False}},
        {"netboot": {}},
        {"netboot": {"allowPXE": False, "ipxe": {"url": url}}},
        {"netboot": {"allowPXE": True, "allowWorkflow": True}},
        {"netboot": {"allowPXE": True, "ipxe": {"url": url}}},
        {"netboot": {"allowPXE": True, "ipxe": {"url": "ftp://boot.example/x"}}},
        {"netboot": {"allowPXE": True, "ipxe": {"url": "https://boot.example/" + "p" * 120}}},
        {"netboot": {"allowPXE": True, "ipxe": {"contents": "#!ipxe\nshell\n"}}},
        {"netboot": {"allowPXE": True, "ipxe": {"binary": "snp-x86_64.efi"}}},
        {"netboot": {"allowPXE": True, "ipxe": {"binary": "some/own.efi", "url": url}}},
        {"netboot": {"allowPXE": True, "osie": {"baseURL": "http://o.example", "kernel": "k"}}},
        {"disabled": True},
        {"dhcp": {"time_servers": ["pool.ntp.org"]}},
        {"dhcp": {"domain_name": "lab.example."}},
        {"dhcp": {"ip": {"address": "192.168.77.201"}}},
        {"dhcp": {"ip": {"address": "192.168.77.202", "netmask": "255.0.255.0"}}},
        {
            "dhcp": {
                "classless_static_routes": [
                    {"destination_descriptor": "10.1.2.3/8", "router": "192.168.77.4"}
                ]
            }
        },
        {"netboot": {"allowPXE": True, "ipxe": {"url": "no url"}}},
        {"netboot": {"allowPXE": True, "ipxe": {"url": "/a/path"}}},
        {"netboot": {"allowPXE": True, "ipxe": {"url": "http://h/ä b?c=%zz"}}},
        {"netboot": {"allowPXE": True, "ipxe": {"binary": "ü.efi"}}},
        {"dhcp": {"hostname": "maschine-ü"}},
    ]


def hardware_of_all_kinds() -> list[Object]:
    """Return the Hardware both servers are given, MAC addresses counted up from ``PLAIN``."""
    made: list[Object] = []
    for number, variant in enumerate(_variants(), start=1):
        for prefix in ("52:54:00:00:00", "dc:a6:32:00:00") if number <= 21 else ("52:54:00:00:00",):
            pi = prefix.startswith("dc")
            mac = f"{prefix}:{number:02x}"
            given = dict(variant.get("dhcp", {}))
            address = None if "ip" in given else f"192.168.77.{number + (150 if pi else 30)}"
            one = interface(
                mac,
                address,
                variant.get("netboot"),
                disabled=variant.get("disabled", False),
                **given,
            )
            made.append(hardware(f"{'pi' if pi else 'machine'}-{number}", one))
    bare: Object = {"dhcp": {"mac": "52:54:00:00:01:01"}, "netboot": {"allowPXE": True}}
    no_netboot = interface("52:54:00:00:01:02", "192.168.77.101")
    del no_netboot["netboot"]
    no_dhcp: Object = {"netboot": {"allowPXE": True}}
    pair = [
        interface("52:54:00:00:01:05", "192.168.77.105"),
        interface("52:54:00:00:01:06", "192.168.77.106", {"allowPXE": False}),
    ]
    return [
        *made,
        hardware("bare", bare),
        hardware("no-netboot", no_netboot),
        hardware("no-dhcp", no_dhcp),
        hardware("pair", *pair, agent_id="agent-7", facility="ams1"),
    ]


def macs(objects: list[Object]) -> list[str]:
    """Return every MAC address of ``objects``."""
    return [
        one["dhcp"]["mac"]
        for each in objects
        for one in each["spec"]["interfaces"]
        if "dhcp" in one
    ]
