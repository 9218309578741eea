"""Make the objects that a user who has a machine and a template would write."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

from fake_tink_server.objects import API_VERSION, Hardware, Template, Workflow


def object_name(name: str) -> str:
    """Return ``name`` as Kubernetes allows it in ``metadata.name``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:253] or "machine"


def hardware_for(
    *,
    name: str,
    mac: str,
    address: str = "",
    netmask: str = "",
    gateway: str = "",
    hostname: str = "",
    disks: Sequence[str] = (),
    arch: str = "x86_64",
    uefi: bool = False,
    lease_s: int = 86400,
    name_servers: Sequence[str] = (),
    time_servers: Sequence[str] = (),
    vlan_id: str = "",
    facility: str = "lab",
    allow_pxe: bool = True,
    allow_workflow: bool = True,
    namespace: str = "default",
) -> Hardware:
    """Return the Hardware of a machine with one interface; ``disks`` are paths as ``/dev/vda``.

    Raises pydantic's ``ValidationError`` for a MAC or an address that is none.
    """
    ip = {"address": address, "netmask": netmask, "gateway": gateway} if address else None
    return Hardware.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "Hardware",
            "metadata": {"name": object_name(name), "namespace": namespace},
            "spec": {
                "disks": [{"device": device} for device in disks],
                "metadata": {
                    "facility": {"facility_code": facility},
                    "instance": {"id": mac, "hostname": hostname or object_name(name)},
                },
                "interfaces": [
                    {
                        "dhcp": {
                            "mac": mac,
                            "arch": arch,
                            "uefi": uefi,
                            "hostname": hostname or object_name(name),
                            "ip": ip,
                            "lease_time": lease_s,
                            "name_servers": list(name_servers),
                            "time_servers": list(time_servers),
                            "vlan_id": vlan_id,
                        },
                        "netboot": {"allowPXE": allow_pxe, "allowWorkflow": allow_workflow},
                    }
                ],
            },
        }
    )


def workflow_for(
    *,
    name: str,
    template: Template,
    hardware: Hardware,
    devices: Mapping[str, str] | None = None,
) -> Workflow:
    """Return the Workflow that runs ``template`` on ``hardware``.

    ``devices`` is the hardwareMap; without it ``device_1`` is the first interface's MAC, in lower
    case as Hook has it.
    """
    macs = [item.dhcp.mac.lower() for item in hardware.spec.interfaces if item.dhcp]
    return Workflow.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "Workflow",
            "metadata": {"name": object_name(name), "namespace": hardware.metadata.namespace},
            "spec": {
                "templateRef": template.metadata.name,
                "hardwareRef": hardware.metadata.name,
                "hardwareMap": dict(devices) if devices else {"device_1": macs[0]} if macs else {},
            },
        }
    )


def as_yaml(item: Hardware | Template | Workflow) -> str:
    """Return an object as the YAML a user would have written; what is at its default is absent."""
    from ruamel.yaml import YAML

    data = item.model_dump(by_alias=True, exclude_defaults=True, exclude_none=True)
    data["metadata"]["namespace"] = item.metadata.namespace
    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(data, out)
    return out.getvalue()
