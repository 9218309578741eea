"""Make the objects that a user who has a machine and a template would write."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fake_tink_server.objects import API_VERSION, Hardware, Template, Workflow, WorkflowRuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherInterface:
    """One more interface of a machine."""

    mac: str
    address: str
    allow_pxe: bool = False


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
    others: Sequence[OtherInterface] = (),
) -> Hardware:
    """Return the Hardware of a machine; ``disks`` are paths as ``/dev/vda``.

    ``others`` are interfaces beside the one with ``mac``, which is its first.
    Raises pydantic's ``ValidationError`` for a MAC or an address that is none.
    """
    interfaces = [
        {
            "dhcp": {
                "mac": one.mac,
                "arch": arch,
                "uefi": uefi,
                "hostname": hostname or object_name(name),
                "ip": (
                    {"address": one.address, "netmask": netmask, "gateway": gateway}
                    if one.address
                    else None
                ),
                "lease_time": lease_s,
                "name_servers": list(name_servers),
                "time_servers": list(time_servers),
                "vlan_id": vlan_id,
            },
            "netboot": {"allowPXE": one.allow_pxe, "allowWorkflow": allow_workflow},
        }
        for one in (OtherInterface(mac=mac, address=address, allow_pxe=allow_pxe), *others)
    ]
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
                "interfaces": interfaces,
            },
        }
    )


def workflow_for(
    *,
    name: str,
    template: Template,
    hardware: Hardware | None = None,
    devices: Mapping[str, str] | None = None,
) -> Workflow:
    """Return the Workflow that runs ``template`` on ``hardware``, or on whom ``devices`` names.

    ``devices`` is the hardwareMap; without it ``device_1`` is the first interface's MAC, in lower
    case as Hook has it.
    """
    interfaces = hardware.spec.interfaces if hardware else []
    macs = [item.dhcp.mac.lower() for item in interfaces if item.dhcp]
    namespace = (hardware or template).metadata.namespace
    return Workflow.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "Workflow",
            "metadata": {"name": object_name(name), "namespace": namespace},
            "spec": {
                "templateRef": template.metadata.name,
                **({"hardwareRef": hardware.metadata.name} if hardware else {}),
                "hardwareMap": dict(devices) if devices else {"device_1": macs[0]} if macs else {},
            },
        }
    )


def as_yaml(item: Hardware | Template | Workflow | WorkflowRuleSet) -> str:
    """Return an object as the YAML a user would have written; what is at its default is absent."""
    data = item.model_dump(by_alias=True, exclude_defaults=True, exclude_none=True)
    data["metadata"]["namespace"] = item.metadata.namespace
    return _yaml(json.dumps(data))


@lru_cache(maxsize=256)
def _yaml(text: str) -> str:
    """Return JSON as YAML in block style; many scenarios have the same machine."""
    from ruamel.yaml import YAML

    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(json.loads(text), out)
    return out.getvalue()
