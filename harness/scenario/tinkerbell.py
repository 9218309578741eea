"""The Tinkerbell objects of a scenario: read and checked, or derived from the machine."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.documents import Document, load, suggest
from harness.scenario.item import NetworkItem
from harness.scenario.loader import LoadedScenario


@dataclass(frozen=True, slots=True, kw_only=True)
class TinkerbellFiles:
    """YAML text of the three objects, and what the lab must know of them beforehand."""

    hardware: str
    template: str
    workflow: str
    actions: tuple[str, ...]
    """Names, in order."""
    images: tuple[str, ...]
    """What the actions ask the registry for, in order."""


def resolve_tinkerbell(
    loaded: LoadedScenario,
    *,
    name: str,
    firmware: str,
    network: NetworkItem,
    known_images: Collection[str],
) -> TinkerbellFiles:
    """Return the scenario's Hardware, Template and Workflow; raise ``ScenarioError``."""
    template = load(_existing(loaded, "template"))
    data = template.embedded(("spec", "data"))
    actions: list[str] = []
    images: list[str] = []
    for t, task in enumerate(data.data.get("tasks", [])):
        for a, action in enumerate(task.get("actions", [])):
            actions.append(action["name"])
            images.append(action["image"])
            _check_image(data, ("tasks", t, "actions", a, "image"), images[-1], known_images)
    template_name = template.data["metadata"]["name"]
    hardware = (
        _existing(loaded, "hardware").read_text(encoding="utf-8")
        if loaded.scenario.hardware
        else derived_hardware(loaded, name=name, firmware=firmware, network=network)
    )
    workflow = (
        _existing(loaded, "workflow").read_text(encoding="utf-8")
        if loaded.scenario.workflow
        else derived_workflow(loaded, name=name, template=template_name)
    )
    return TinkerbellFiles(
        hardware=hardware,
        template=template.file.read_text(encoding="utf-8"),
        workflow=workflow,
        actions=tuple(actions),
        images=tuple(images),
    )


def object_name(name: str) -> str:
    """Return ``name`` as Kubernetes allows it in metadata (RFC 1123 subdomain)."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "machine"


def derived_hardware(
    loaded: LoadedScenario, *, name: str, firmware: str, network: NetworkItem
) -> str:
    """Return the Hardware a user of Tinkerbell would write for the scenario's machine."""
    machine = loaded.scenario.machine
    disks = "".join(f"\n    - device: /dev/{disk.name}" for disk in machine.disks)
    uefi = str(firmware == "uefi").lower()
    return f"""\
apiVersion: tinkerbell.org/v1alpha1
kind: Hardware
metadata:
  name: {object_name(name)}
  namespace: default
spec:
  disks:{disks or " []"}
  metadata:
    facility:
      facility_code: lab
    instance:
      id: "{machine.mac}"
      hostname: {object_name(name)}
  interfaces:
    - dhcp:
        arch: x86_64
        hostname: {object_name(name)}
        ip:
          address: {network.machine}
          netmask: {network.netmask}
          gateway: {network.server}
        lease_time: 86400
        mac: "{machine.mac}"
        name_servers: [{network.server}]
        time_servers: [{network.server}]
        uefi: {uefi}
      netboot:
        allowPXE: true
        allowWorkflow: true
"""


def derived_workflow(loaded: LoadedScenario, *, name: str, template: str) -> str:
    """Return the Workflow that runs ``template`` on the scenario's machine."""
    return f"""\
apiVersion: tinkerbell.org/v1alpha1
kind: Workflow
metadata:
  name: {object_name(name)}
  namespace: default
spec:
  templateRef: {template}
  hardwareRef: {object_name(name)}
  hardwareMap:
    device_1: "{loaded.scenario.machine.mac}"
"""


def _existing(loaded: LoadedScenario, key: str) -> Path:
    file = loaded.path((key,))
    if file.is_file():
        return file
    folder = file.parent
    known = sorted(p.name for p in folder.glob("*.y*ml")) if folder.is_dir() else []
    hint = suggest(file.name, known) if known else "the path is relative to the scenario file"
    raise loaded.error(f"{key}: there is no file {file}", (key,), hint=hint)


def _check_image(
    data: Document, path: tuple[str | int, ...], image: str, known: Collection[str]
) -> None:
    tagged = image if ":" in image.rpartition("/")[2] else f"{image}:latest"
    if tagged not in known:
        raise data.error(
            f"the lab's registry has no image {image!r}", path, hint=suggest(image, sorted(known))
        )
