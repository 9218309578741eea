"""From Tinkerbell's Hardware to what the netboot services know of a machine."""

from __future__ import annotations

from fake_tink_server.objects import Hardware, Interface
from harness.wire.netboot import Reservation

_WEEK_S = 604_800


def reservations_of(hardware: Hardware) -> list[Reservation]:
    """Return one reservation for each interface that smee would answer.

    As in smee, an interface without ``dhcp`` or ``netboot`` has none.
    """
    return [
        _reservation(hardware, interface)
        for interface in hardware.spec.interfaces
        if interface.dhcp is not None and interface.netboot is not None and interface.dhcp.mac
    ]


def _reservation(hardware: Hardware, interface: Interface) -> Reservation:
    dhcp, netboot = interface.dhcp, interface.netboot
    assert dhcp is not None
    assert netboot is not None
    ip, ipxe, osie = dhcp.ip, netboot.ipxe, netboot.osie
    metadata = hardware.spec.metadata
    facility = metadata.facility.facility_code if metadata and metadata.facility else ""
    return Reservation(
        mac=dhcp.mac.lower(),
        address=ip.address if ip else "",
        netmask=(ip.netmask if ip else "") or "255.255.255.0",
        gateway=ip.gateway if ip else "",
        name_servers=tuple(dhcp.name_servers),
        time_servers=tuple(dhcp.time_servers),
        hostname=dhcp.hostname,
        domain=dhcp.domain_name,
        lease_s=dhcp.lease_time or _WEEK_S,
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
        ipxe_script_url=ipxe.url if ipxe else "",
        ipxe_script=ipxe.contents if ipxe else "",
        ipxe_binary=ipxe.binary if ipxe else "",
        osie_base_url=osie.base_url if osie else "",
        osie_kernel=osie.kernel if osie else "",
        osie_initrd=osie.initrd if osie else "",
        kernel_params=tuple(osie.kernel_params) if osie else (),
        pxelinux_config=netboot.pxelinux.config if netboot.pxelinux else "",
    )
