"""From Tinkerbell's Hardware to what the netboot services know of a machine."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Final
from urllib.parse import quote

from fake_tink_server.objects import Hardware, Interface
from harness.wire.netboot import PATH_SAFE, Reservation

_WEEK_S: Final = 604_800
_MAX_LEASE_S: Final = 0xFFFF_FFFF
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)(.*)", re.S)
_ABSOLUTE: Final = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*:")


def reservations_of(hardware: Hardware) -> list[Reservation]:
    """Return one reservation for each interface that smee would answer.

    As in smee, an interface without ``dhcp`` or ``netboot`` has none, nor has one with an address
    but no netmask, or with what is no address, network or URL where one must be.
    """
    found = []
    for interface in hardware.spec.interfaces:
        if interface.dhcp and interface.netboot and interface.dhcp.mac:
            with contextlib.suppress(ValueError):
                found.append(_reservation(hardware, interface))
    return found


def _reservation(hardware: Hardware, interface: Interface) -> Reservation:
    """Raises ``ValueError`` for values that smee fails to convert: it stays silent then."""
    dhcp, netboot = interface.dhcp, interface.netboot
    assert dhcp is not None
    assert netboot is not None
    ip, ipxe, osie, rpi = dhcp.ip, netboot.ipxe, netboot.osie, netboot.rpi
    metadata = hardware.spec.metadata
    facility = metadata.facility.facility_code if metadata and metadata.facility else ""
    if ip:
        IPv4Address(ip.address)
        IPv4Address(ip.netmask)
        if ip.gateway:
            IPv4Address(ip.gateway)
    for route in dhcp.classless_static_routes:
        IPv4Network(route.destination_descriptor, strict=False)
        IPv4Address(route.router)
    if ipxe and ipxe.url and not _ABSOLUTE.match(ipxe.url):
        raise ValueError(f"{ipxe.url!r} is no absolute URL")
    return Reservation(
        mac=dhcp.mac.lower(),
        address=ip.address if ip else "",
        netmask=ip.netmask if ip else "",
        gateway=ip.gateway if ip else "",
        name_servers=_addresses(dhcp.name_servers),
        time_servers=_addresses(dhcp.time_servers),
        hostname=dhcp.hostname,
        domain=dhcp.domain_name,
        lease_s=dhcp.lease_time if 0 <= dhcp.lease_time <= _MAX_LEASE_S else _WEEK_S,
        routes=tuple((r.destination_descriptor, r.router) for r in dhcp.classless_static_routes),
        allow_pxe=bool(netboot.allow_pxe),
        allow_workflow=bool(netboot.allow_workflow),
        arch=dhcp.arch,
        uefi=dhcp.uefi,
        vlan_id=dhcp.vlan_id,
        facility=facility,
        agent_id=hardware.spec.agent_id,
        disabled=interface.disable_dhcp,
        tftp_server_name=dhcp.tftp_server_name,
        boot_file_name=dhcp.boot_file_name,
        ipxe_script_url=_url(ipxe.url, fragment=False) if ipxe else "",
        ipxe_script=ipxe.contents if ipxe else "",
        ipxe_binary=ipxe.binary if ipxe else "",
        osie_base_url=_url(osie.base_url) if osie else "",
        osie_kernel=osie.kernel if osie else "",
        osie_initrd=osie.initrd if osie else "",
        kernel_params=tuple(osie.kernel_params) if osie else (),
        pxelinux_config=netboot.pxelinux.config if netboot.pxelinux else "",
        pi_serial=rpi.serial_num if rpi else "",
        pi_firmware_path=rpi.firmware_path if rpi else "",
        pi_config=rpi.config_txt if rpi else "",
        source_iso=interface.isoboot.source_iso if interface.isoboot else "",
    )


def _url(url: str, *, fragment: bool = True) -> str:
    """Return ``url`` as Go writes one it has read: what its path can't have is escaped.

    Without ``fragment``, ``#`` belongs to the path.
    """
    found = _URL.match(url)
    if found is None:
        return quote(url, safe=PATH_SAFE)
    path, mark, rest = found[2].partition("?")
    if fragment and "#" in path:
        path, _, anchor = found[2].partition("#")
        mark, rest = "#", anchor
    host = quote(found[1], safe=PATH_SAFE)
    return f"{host}{quote(path, safe=PATH_SAFE)}{mark}{rest}"


def _addresses(values: Sequence[str]) -> tuple[str, ...]:
    """Return the IPv4 addresses among ``values``; smee passes over what is no address."""
    found = []
    for value in values:
        with contextlib.suppress(ValueError):
            found.append(str(IPv4Address(value)))
    return tuple(found)
