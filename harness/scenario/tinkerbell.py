"""The Tinkerbell objects of a scenario: read and checked, or derived from the machine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from fake_tink_server.catalog import Catalog, Job
from fake_tink_server.derive import OtherInterface, as_yaml, hardware_for, workflow_for
from fake_tink_server.objects import Hardware, Template
from fake_tink_server.release import Release
from harness.documents import suggest
from harness.scenario.item import NetworkItem, NicItem
from harness.scenario.loader import LoadedScenario

_MACHINE: Final = "machine"
"""Name of the derived Hardware, and the machine's host name: the same in each scenario, so that
boots of several are the same until they differ in something that is tested."""
NO_HARDWARE: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TinkerbellFiles:
    """YAML text of the three objects, and what the lab must know of them beforehand."""

    hardware: str
    """Empty when there is none."""
    template: str
    workflow: str
    """Empty, as ``template`` is, when the scenario runs no workflow."""
    actions: tuple[str, ...]
    """Names, in order."""
    images: tuple[str, ...]
    """What the actions ask the registry for, each once."""


def resolve_tinkerbell(
    loaded: LoadedScenario,
    *,
    name: str,
    firmware: str,
    network: NetworkItem,
    nics: Sequence[NicItem],
    release: str | None,
    known_images: Collection[str],
) -> TinkerbellFiles:
    """Return the scenario's Hardware, Template and Workflow, as ``release`` of Tinkerbell has them.

    Raises ``ScenarioError`` for a file that is not there or not right, an object that is named
    and not there, an image the lab's registry does not have, and a worker that no machine is.
    """
    catalog = Catalog()
    texts = {
        key: _read(loaded, key, catalog)
        for key in ("hardware", "template", "workflow")
        if getattr(loaded.scenario, key) and getattr(loaded.scenario, key) != NO_HARDWARE
    }
    if loaded.scenario.hardware == NO_HARDWARE:
        texts["hardware"] = ""
    elif "hardware" not in texts:
        derived = _derived_hardware(loaded, firmware=firmware, network=network, nics=nics)
        catalog.add_object(derived)
        texts["hardware"] = as_yaml(derived)
    hardware = _machine_hardware(loaded, catalog)
    if "template" not in texts:
        return TinkerbellFiles(
            hardware=texts["hardware"], template="", workflow="", actions=(), images=()
        )
    template = _one_template(loaded, catalog)
    if "workflow" not in texts:
        workflow = workflow_for(
            name=name,
            template=template,
            hardware=hardware,
            devices=None if hardware else {"device_1": loaded.scenario.machine.mac},
        )
        catalog.add_object(workflow)
        texts["workflow"] = as_yaml(workflow)
    jobs = catalog.jobs(release=Release(release) if release else None)
    for job in jobs:
        _check_images(job, {*known_images, *loaded.scenario.absent_images})
        _check_workers(loaded, job)
    actions = [action for job in jobs for _, action in job.run.actions]
    return TinkerbellFiles(
        **texts,
        actions=tuple(action.name for action in actions),
        images=tuple(dict.fromkeys(action.image for action in actions)),
    )


def _read(loaded: LoadedScenario, key: str, catalog: Catalog) -> str:
    file = loaded.path((key,))
    if not file.is_file():
        folder = file.parent
        known = sorted(p.name for p in folder.glob("*.y*ml")) if folder.is_dir() else []
        hint = suggest(file.name, known) if known else "the path is relative to the scenario file"
        raise loaded.error(f"{key}: there is no file {file}", (key,), hint=hint)
    found = {item.kind for item in catalog.add(file)}
    if found != {key.capitalize()}:
        kinds = " and ".join(sorted(found)) or "none of Tinkerbell's objects"
        raise loaded.error(
            f"{key}: {file} holds {kinds}", (key,), hint=f"expected {key.capitalize()} only"
        )
    return file.read_text(encoding="utf-8-sig")


def _one_template(loaded: LoadedScenario, catalog: Catalog) -> Template:
    templates = [entry.object for entry in catalog.templates.values()]
    if len(templates) > 1 and loaded.scenario.workflow is None:
        names = ", ".join(template.metadata.name for template in templates)
        raise loaded.error(
            f"template: there are several in this file: {names}",
            ("template",),
            hint="say by a workflow which of them runs",
        )
    return templates[0]


def _derived_hardware(
    loaded: LoadedScenario,
    *,
    firmware: str,
    network: NetworkItem,
    nics: Sequence[NicItem],
) -> Hardware:
    machine = loaded.scenario.machine
    return hardware_for(
        name=_MACHINE,
        mac=machine.mac,
        address=next(nic.address for nic in nics if nic.mac == machine.mac),
        others=[
            OtherInterface(mac=nic.mac, address=nic.address, allow_pxe=nic.place is not None)
            for nic in nics
            if nic.address and nic.mac != machine.mac
        ],
        netmask=network.netmask,
        gateway=network.server,
        disks=[f"/dev/{disk.name}" for disk in machine.disks],
        uefi=firmware != "bios",
        name_servers=[network.server],
        time_servers=[network.server],
    )


def _machine_hardware(loaded: LoadedScenario, catalog: Catalog) -> Hardware | None:
    """Return the Hardware of the machine.

    Without one nothing answers its DISCOVER, unless smee is an auto-proxy: that is refused, but
    for a boot that is to fail.
    """
    scenario = loaded.scenario
    mac = scenario.machine.mac
    macs = {
        interface.dhcp.mac.lower(): entry.object
        for entry in catalog.hardware.values()
        for interface in entry.object.spec.interfaces
        if interface.dhcp and interface.dhcp.mac
    }
    if mac in macs:
        return macs[mac]
    if scenario.dhcp.mode == "auto-proxy" or scenario.verdict != "passed":
        return None
    if scenario.hardware == NO_HARDWARE:
        raise loaded.error(
            f"hardware: without one nobody answers {mac}",
            ("hardware",),
            hint="with 'dhcp: {mode: auto-proxy}' a machine can boot so",
        )
    raise loaded.error(
        f"machine.mac: there is no Hardware with {mac} in {loaded.path(('hardware',))}",
        ("machine", "mac"),
        hint=f"MAC addresses there: {', '.join(macs) or 'none'}",
    )


def _check_images(job: Job, known: Collection[str]) -> None:
    for t, task in enumerate(job.run.tasks):
        for a, action in enumerate(task.actions):
            bare = ":" not in action.image.rpartition("/")[2] and "@" not in action.image
            if (f"{action.image}:latest" if bare else action.image) not in known:
                raise job.compiled.action_error(
                    t,
                    a,
                    "image",
                    f"the lab's registry has no image {action.image!r}",
                    hint=f"{suggest(action.image, sorted(known))}; a scenario about an image that "
                    "is not there names it in 'absent images'",
                )


def _check_workers(loaded: LoadedScenario, job: Job) -> None:
    """Refuse a task for a worker that never comes, unless the scenario is about just that."""
    mac = loaded.scenario.machine.mac
    if loaded.scenario.verdict != "passed":
        return
    for number, task in enumerate(job.run.tasks):
        if task.worker != mac:
            raise job.compiled.document.error(
                f"task {task.name!r} is for worker {task.worker}, which no machine here is",
                ("tasks", number, "worker"),
                hint=f"the only worker is {mac}: the machine's MAC, byte by byte",
            )
