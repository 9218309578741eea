"""A Hardware as Tinkerbell's controller shows it to a template."""

from __future__ import annotations

import typing
from typing import Any, Final

from pydantic import BaseModel

from fake_tink_server.govalues import GoStruct
from fake_tink_server.objects import Hardware, HardwareMetadata
from fake_tink_server.release import NEWEST, Release

_IRREGULAR: Final = {
    "baseURL": "BaseURL",
    "dhcp": "DHCP",
    "disableDhcp": "DisableDHCP",
    "gid": "GID",
    "id": "ID",
    "ip": "IP",
    "ipxe": "IPXE",
    "mac": "MAC",
    "osie": "OSIE",
    "pxelinux": "PXELINUX",
    "raid": "Raid",
    "rpi": "RPI",
    "ssh_keys": "SSHKeys",
    "tftp_server_name": "TFTPServerName",
    "type_guid": "TypeGUID",
    "uefi": "UEFI",
    "uid": "UID",
    "url": "URL",
    "vlan_id": "VLANID",
}
"""JSON key → Go field name, where capitals and underscores do not tell."""


ONLY_V0_25: Final = frozenset(
    {
        *("Isoboot", "PXELINUX", "RPI", "Binary", "KernelParams"),
        *("DomainName", "ClasslessStaticRoutes", "TFTPServerName", "BootFileName"),
    }
)
"""Fields of an interface that v0.12.2's Hardware does not have; no other type has such names."""


def template_data(
    hardware: Hardware | None, devices: dict[str, str], release: Release = NEWEST
) -> dict[str, Any]:
    """Return what a template of ``release`` can name: the devices, ``.Hardware``, ``.hardware``.

    ``.Hardware`` has Go's field names; ``.hardware`` (v0.25 only) the YAML's, and ``.references``
    (v0.25 only) is empty, as the controller denies every reference unless it is told otherwise.
    """
    spec = hardware.spec if hardware else None
    contract = {
        "Disks": [disk.device for disk in spec.disks] if spec else [],
        "Interfaces": [go_value(item, release) for item in spec.interfaces] if spec else [],
        "UserData": (spec.user_data or "") if spec else "",
        "Metadata": go_value((spec.metadata if spec else None) or HardwareMetadata()),
        "VendorData": (spec.vendor_data or "") if spec else "",
    }
    plain = hardware.model_dump(by_alias=True, exclude_defaults=True) if hardware else {}
    # Go leaves no struct out, and has one there
    whole = {**plain, "spec": {"auto": {}, **plain.get("spec", {})}, "status": {}}
    newer = {"hardware": whole, "references": {}} if release is Release.V0_25 else {}
    return {
        **devices,
        **newer,
        "Hardware": GoStruct("workflow.templateHardwareData", contract, {}),
    }


def go_name(key: str) -> str:
    """Return the Go field name of a JSON key."""
    if key in _IRREGULAR:
        return _IRREGULAR[key]
    return "".join(part[:1].upper() + part[1:] for part in key.split("_"))


def go_value(value: Any, release: Release = NEWEST) -> Any:
    """Return a model as a ``GoStruct``, through lists; other values as they are."""
    if isinstance(value, list):
        return [go_value(item, release) for item in value]
    if not isinstance(value, BaseModel):
        return value
    fields: dict[str, Any] = {}
    pointers: dict[str, str] = {}
    for name, info in type(value).model_fields.items():
        go = go_name(info.alias or name)
        if go in ONLY_V0_25 and release is Release.V0_12:
            continue
        fields[go] = go_value(getattr(value, name), release)
        for part in typing.get_args(info.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                pointers[go] = getattr(part, "go_type", part.__name__)
    return GoStruct(getattr(type(value), "go_type", ""), fields, pointers)
