"""From a scenario to the boots it asks for: defaults filled in, every reference checked.

Nothing is started, built or written here, so whatever is wrong is said at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from harness.documents import suggest
from harness.errors import BuildFailed, DecodeError, LabError, Position
from harness.events import EVENTS
from harness.faults.fault import Fault
from harness.faults.model import placed
from harness.hook.images import image_kind
from harness.paths import cache_root
from harness.scenario.devices import resolve_devices
from harness.scenario.item import (
    ExpectationItem,
    HookItem,
    ImageItem,
    Item,
    NetworkItem,
    ProxyItem,
    PythonItem,
    TinkItem,
    VerdictItem,
)
from harness.scenario.kernel_args import resolve_kernel_args
from harness.scenario.loader import LoadedScenario, load_scenario
from harness.scenario.registries import check_images, resolve_registries
from harness.scenario.shortcuts import resolve_shortcuts
from harness.scenario.tinkerbell import TinkerbellFiles, resolve_tinkerbell
from harness.scenario.worker import release_of, resolve_worker
from harness.wire.oci import Reference

_SMEES: Final = frozenset({"dhcp", "tftp", "http", "metadata", "syslog"})
"""The places of faults where ``stack: smee`` puts the real one."""


def load_items(
    file: Path,
    *,
    known_images: Collection[str],
    changes: Mapping[str, Any] | None = None,
    changed_by: Position | None = None,
    python: PythonItem | None = None,
) -> list[Item]:
    """Return one item for each firmware that the scenario in ``file`` lists, twins last.

    ``known_images`` are the references (``print:v1``) that the lab's registry can hold; the
    scenario's own ``images`` come on top. ``changes`` is merged over the file, as a scenario with
    that ``base`` would be. An embedded Hook's files are None until ``Item.with_hook``.
    Raises ``ScenarioError`` or ``ScenarioErrors``.
    """
    loaded = load_scenario(file, changes=changes, changed_by=changed_by)
    return resolve(loaded, known_images=known_images, python=python)


def resolve(
    loaded: LoadedScenario, *, known_images: Collection[str], python: PythonItem | None = None
) -> list[Item]:
    """Return the items of a scenario that is read already. See ``load_items``."""
    items = _boots(loaded, known_images=known_images, python=python)
    if loaded.twin is not None and python is None:
        items += _boots(loaded.twin, known_images=known_images, suffix="-twin")
    return items


def _boots(
    loaded: LoadedScenario,
    *,
    known_images: Collection[str],
    python: PythonItem | None = None,
    suffix: str = "",
) -> list[Item]:
    scenario = loaded.scenario
    machine = scenario.machine
    network = _network(loaded)
    nics, disks, iso = resolve_devices(loaded, network)
    registry, registries = resolve_registries(loaded, network)
    tink = TinkItem(
        address=f"{network.server}:42113",
        tls=scenario.tink.tls,
        verified=scenario.tink.verified,
        trusted=scenario.tink.trusted,
        release=release_of(loaded),
    )
    hook = _hook(loaded)
    images = _images(loaded)
    available = {*known_images, *(image.reference for image in images)}
    check_images(loaded, available)
    worker = resolve_worker(loaded, available)
    if scenario.kernel_args.get("docker_registry", "") is None:
        # nothing is put in front of an action's image: the template names the registry itself
        available = {f"{registry.address}/{reference}" for reference in available}
    name = python.function.removeprefix("test_") if python else loaded.file.stem
    items = []
    shortcuts, left_out = resolve_shortcuts(loaded)
    for firmware in machine.firmware:
        files = resolve_tinkerbell(
            loaded,
            name=name,
            firmware=firmware,
            network=network,
            nics=nics,
            release=tink.release,
            known_images=available,
        )
        item = Item(
            name=name,
            variant=f"{firmware}{suffix}",
            title=scenario.scenario,
            source=loaded.file.absolute(),
            report=scenario.report,
            mac=machine.mac,
            firmware=firmware,
            memory_mib=machine.memory >> 20,
            cpus=machine.cpus,
            accel=machine.accel,
            nics=nics,
            disks=disks,
            hook=hook,
            worker=worker.item,
            kernel_args=resolve_kernel_args(
                loaded,
                worker_image=worker.item.image,
                network=network,
                registry=registry,
                registries=registries,
                tink=tink,
            ),
            network=network,
            registry=registry,
            registries=registries,
            tink=tink,
            https=_https(loaded),
            tftp_single_port=scenario.tftp.ports == "single",
            tftp_assets=_assets(loaded),
            tftp_over_http=scenario.tftp.over_http,
            trusted_proxies=tuple(map(str, scenario.http.trusted_proxies)),
            iso=iso,
            profile=scenario.profile,
            shortcuts=shortcuts,
            shortcuts_left_out=left_out,
            stack=_stack(loaded),
            dhcp_mode=scenario.dhcp.mode,
            generation=_generation(loaded),
            segment=_segment(loaded),
            ntp_offset_s=scenario.ntp.offset.total_seconds(),
            proxy=_proxy(loaded),
            hardware_yaml=files.hardware,
            template_yaml=files.template,
            workflow_yaml=files.workflow,
            images=(*images, *worker.images),
            action_images=files.images,
            expectations=_expectations(loaded, files),
            expected_verdict=_verdict(loaded),
            deadline_s=scenario.deadline.total_seconds(),
            faults=_faults(loaded),
            seed=scenario.seed,
            nightly=scenario.nightly,
            start=scenario.start,
            python=python,
        )
        items.append(item)
    return items


def _proxy(loaded: LoadedScenario) -> ProxyItem | None:
    proxy = loaded.scenario.proxy
    if proxy is None:
        return None
    return ProxyItem(port=proxy.port, user=proxy.user, password=proxy.password)


def _network(loaded: LoadedScenario) -> NetworkItem:
    network = loaded.scenario.network
    subnet = network.subnet
    server = network.server or subnet[1]
    machine = network.machine or subnet[10 if subnet.num_addresses > 11 else 2]
    addresses = network.addresses or server + 1
    if addresses == machine and network.addresses is None:
        addresses = server + 2
    proxy = loaded.scenario.dhcp.mode != "reservation"
    used = {"server": server, "machine": machine, **({"addresses": addresses} if proxy else {})}
    for key, address in used.items():
        if address not in subnet or address in (subnet[0], subnet[-1]):
            raise loaded.error(
                f"network.{key}: {address} is no host address of {subnet}", ("network", key)
            )
    if server == machine:
        raise loaded.error(
            f"network: server and machine have the same address {server}", ("network", "machine")
        )
    if proxy and addresses in (server, machine):
        raise loaded.error(
            f"network.addresses: {addresses} is taken by another", ("network", "addresses")
        )
    return NetworkItem(
        addresses=str(addresses) if proxy else "",
        subnet=str(subnet),
        netmask=str(subnet.netmask),
        prefix_length=subnet.prefixlen,
        server=str(server),
        machine=str(machine),
    )


def _hook(loaded: LoadedScenario) -> HookItem:
    if loaded.scenario.hook == "embedded":
        return HookItem(origin="embedded")
    place = loaded.path(("hook",))
    if not place.exists():
        raise loaded.error(
            f"hook: {place} does not exist",
            ("hook",),
            hint="say 'embedded', or name a folder, tarball, ISO or Hook checkout",
        )
    from harness.hook.files import find_hook

    try:
        found = find_hook(place, cache=cache_root())
    except LabError as error:
        raise loaded.error(f"hook: {error.message}", ("hook",), hint=error.hint) from error
    return HookItem(
        origin=str(place), kernel=found.kernel.absolute(), initramfs=found.initramfs.absolute()
    )


def _assets(loaded: LoadedScenario) -> Path | None:
    if loaded.scenario.tftp.assets is None:
        return None
    folder = loaded.path(("tftp", "assets"))
    if not folder.is_dir():
        raise loaded.error(f"tftp.assets: there is no folder {folder}", ("tftp", "assets"))
    return folder.absolute()


def _images(loaded: LoadedScenario) -> tuple[ImageItem, ...]:
    images = []
    for reference in loaded.scenario.images:
        source = loaded.path(("images", reference))
        try:
            image_kind(source)
            parsed = Reference.parse(reference)
        except (BuildFailed, DecodeError) as error:
            hint = error.hint if isinstance(error, BuildFailed) else "write NAME:TAG"
            raise loaded.error(f"images: {error}", ("images", reference), hint=hint) from error
        tagged = reference if parsed.tag else f"{reference}:latest"
        images.append(ImageItem(reference=tagged, layout=source.absolute()))
    return tuple(images)


def _generation(loaded: LoadedScenario) -> Literal["2026", "2025", "boots"]:
    scenario = loaded.scenario
    if scenario.stack == "smee" and scenario.generation == "boots":
        raise loaded.error(
            "generation: smee v0.25.0 has not the paths of boots",
            ("generation",),
            hint="with 'stack: smee' say 2026 or 2025",
        )
    return scenario.generation


def _https(loaded: LoadedScenario) -> str | None:
    """Return the kind of certificate of the HTTPS server; None when there is none."""
    scenario = loaded.scenario
    if scenario.http.scheme == "http":
        return None
    if scenario.generation != "2026" or scenario.stack == "smee":
        raise loaded.error(
            "http.scheme: HTTPS is there in generation 2026 only, and not with 'stack: smee'",
            ("http", "scheme"),
            hint="leave it out",
        )
    return scenario.http.certificate


def _stack(loaded: LoadedScenario) -> Literal["lab", "smee"]:
    scenario = loaded.scenario
    if scenario.stack == "smee" and scenario.profile == "fast":
        raise loaded.error(
            "profile: 'fast' is the lab's own, the real smee can't be hurried",
            ("profile",),
            hint="leave it out, or say 'stack: lab'",
        )
    for number, fault in enumerate(scenario.faults):
        smees = fault.place in _SMEES or (fault.place, fault.occasion) == ("hook", "script")
        if scenario.stack == "smee" and smees:
            raise loaded.error(
                f"faults: at {fault.place} the real smee serves, which does not misbehave on cue",
                ("faults", number, "at"),
                hint="say 'stack: lab', or strike elsewhere (hooklab faults)",
            )
    return scenario.stack


def _segment(loaded: LoadedScenario) -> Literal["auto", "bridge", "wire"]:
    """Return how the machine is plugged in: where faults strike frames, so that they can."""
    segment = loaded.scenario.segment
    for number, fault in enumerate(loaded.scenario.faults):
        if fault.needs_frames and segment == "bridge":
            raise loaded.error(
                "faults: with 'segment: bridge' frames pass through the kernel, out of reach",
                ("faults", number),
                hint="leave 'segment' out: faults of frames take the wire by themselves",
            )
        if fault.needs_frames:
            return "wire"
    return segment


def _faults(loaded: LoadedScenario) -> tuple[Fault, ...]:
    faults = placed(loaded.document, loaded.scenario.faults)
    disks = [disk.name for disk in loaded.scenario.machine.disks]
    for number, fault in enumerate(faults):
        named = fault.parameters.get("disk", "vda")
        if fault.place == "machine" and fault.deed in ("slow", "broken") and named not in disks:
            raise loaded.error(
                f"faults: the machine has no disk {named!r}",
                ("faults", number, "do"),
                hint=suggest(named, disks) or "give it some in machine.disks",
            )
    return faults


def _verdict(loaded: LoadedScenario) -> VerdictItem | None:
    verdict = loaded.scenario.verdict
    if verdict == "passed":
        return None
    return VerdictItem(
        failed_in=verdict.failed_in.value,
        blame=verdict.blame.value if verdict.blame else None,
        because=verdict.because,
        at=str(loaded.document.position(("verdict",), key=True)),
    )


def _expectations(loaded: LoadedScenario, files: TinkerbellFiles) -> tuple[ExpectationItem, ...]:
    items = []
    for number, entry in enumerate(loaded.scenario.expect):
        key = next(iter(loaded.document.data["expect"][number]))
        path = ("expect", number, key)
        if key == "actions":
            names = list(entry.actions or ())
            for index, name in enumerate(names):
                if name not in files.actions:
                    step = index if isinstance(entry.actions, list) else name
                    raise loaded.error(
                        f"the template has no action {name!r}",
                        (*path, step),
                        key=True,
                        hint=suggest(name, files.actions),
                    )
        if key.startswith("disk "):
            _check_disk(loaded, path, key.removeprefix("disk "))
        if key in ("event", "no event"):
            _check_event(loaded, path)
        value = entry.model_dump(mode="json", by_alias=True, exclude_none=True)[key]
        at = loaded.document.position(path, key=True)
        items.append(ExpectationItem(key=key, value=value, at=str(at)))
    return tuple(items)


def _check_disk(loaded: LoadedScenario, path: tuple[str | int, ...], name: str) -> None:
    known = [disk.name for disk in loaded.scenario.machine.disks]
    if name not in known:
        hint = suggest(name, known) or "the machine has no disks: give it some in machine.disks"
        raise loaded.error(f"the machine has no disk {name!r}", path, key=True, hint=hint)


def _check_event(loaded: LoadedScenario, path: tuple[str | int, ...]) -> None:
    number, key = path[1], path[2]
    assert isinstance(number, int)
    entry = loaded.scenario.expect[number]
    event = entry.event if key == "event" else entry.no_event
    assert event is not None
    short = not loaded.document.has((*path, "name"))
    if event.name not in EVENTS:
        where = path if short else (*path, "name")
        raise loaded.error(
            f"there is no event {event.name!r}", where, hint=suggest_event(event.name)
        )
    for field in event.where:
        fields = EVENTS[event.name].fields
        if field not in fields:
            raise loaded.error(
                f"{event.name} has no field {field!r}",
                (*path, "where", field),
                key=True,
                hint=suggest(field, fields),
            )


def suggest_event(name: str) -> str | None:
    """Return a hint for an event name that does not exist: near ones first, not all hundred."""
    import difflib

    near = difflib.get_close_matches(name, EVENTS, n=2, cutoff=0.8)
    same = [known for known in EVENTS if known.split(".")[0] == name.split(".")[0]]
    if near:
        return f"did you mean {' or '.join(repr(one) for one in near)}?"
    return f"known there: {', '.join(same)}" if same else "'hooklab schema' lists them all"
