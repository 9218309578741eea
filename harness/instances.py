"""From Tinkerbell's Hardware to what the metadata service tells a machine of itself."""

from __future__ import annotations

from typing import Any

from fake_tink_server.objects import Hardware, Instance, InstanceIp, Storage
from harness.wire import metadata


def instance_of(hardware: Hardware) -> metadata.Instance:
    """Return what is told to the machine that ``hardware`` describes."""
    spec = hardware.spec
    said = spec.metadata
    instance = (said.instance if said else None) or Instance()
    system = instance.operating_system
    facility = said.facility if said else None
    return metadata.Instance(
        addresses=tuple(
            interface.dhcp.ip.address
            for interface in spec.interfaces
            if interface.dhcp and interface.dhcp.ip and interface.dhcp.ip.address
        ),
        id=instance.id,
        hostname=instance.hostname,
        plan=facility.plan_slug if facility else "",
        facility=facility.facility_code if facility else "",
        tags=tuple(instance.tags),
        public_ipv4=_first(instance.ips, family=4, public=True),
        public_ipv6=_first(instance.ips, family=6, public=None),
        local_ipv4=_first(instance.ips, family=4, public=False),
        os_slug=system.slug if system else "",
        os_distro=system.distro if system else "",
        os_version=system.version if system else "",
        os_image_tag=system.image_tag if system else "",
        user_data=spec.user_data or "",
        storage=_storage(instance.storage),
    )


def _first(ips: list[InstanceIp], *, family: int, public: bool | None) -> str:
    """Return the first address of its kind; an IPv6 address need not be public."""
    return next(
        (
            ip.address
            for ip in ips
            if ip.family == family and public in (None, ip.public) and ip.address
        ),
        "",
    )


def _storage(storage: Storage | None) -> dict[str, Any]:
    if storage is None:
        return {}
    disks = [
        {
            "device": disk.device,
            "partitions": [
                {"label": part.label, "number": part.number, "size": part.size}
                for part in disk.partitions
            ]
            or None,
            "wipe_table": disk.wipe_table,
        }
        for disk in storage.disks
    ]
    filesystems = []
    for filesystem in storage.filesystems:
        mount = filesystem.mount
        options = mount.create.options if mount and mount.create else []
        filesystems.append(
            {
                "mount": {
                    "create": {"options": options or None},
                    "device": mount.device if mount else "",
                    "format": mount.format if mount else "",
                    "point": mount.point if mount else "",
                }
            }
        )
    return {"disks": disks or None, "filesystems": filesystems or None}
