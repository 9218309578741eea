"""The Tinkerbell objects at hand, and the workflows they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from fake_tink_server.goview import template_data
from fake_tink_server.objects import (
    API_VERSION,
    KINDS,
    Hardware,
    Template,
    Workflow,
    WorkflowRuleSet,
)
from fake_tink_server.release import NEWEST, Release
from fake_tink_server.template import Compiled, compile_template
from fake_tink_server.workflow import BootOptions
from fake_tink_server.workflow import Workflow as Run
from harness.documents import Document, KeyPath, load, load_all, suggest, validate
from harness.errors import Position, ScenarioError, ScenarioErrors

T = TypeVar("T", Hardware, Template, Workflow, WorkflowRuleSet)
_TEMPLATE_HEAD: Final = f"apiVersion: {API_VERSION}\nkind: Template"
Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[T]):
    """An object and the document it was read from."""

    object: T
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A Workflow object, rendered: what the engine runs, and where it came from."""

    run: Run
    workflow: Loaded[Workflow]
    template: Loaded[Template]
    hardware: Loaded[Hardware] | None
    compiled: Compiled
    warnings: list[ScenarioError]


@dataclass(slots=True)
class Catalog:
    """Objects by namespace and name."""

    hardware: dict[Key, Loaded[Hardware]] = field(default_factory=dict)
    templates: dict[Key, Loaded[Template]] = field(default_factory=dict)
    workflows: dict[Key, Loaded[Workflow]] = field(default_factory=dict)
    rule_sets: dict[Key, Loaded[WorkflowRuleSet]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    """Kinds that were read and mean nothing to this server (Machine, Secret, …)."""

    def add(self, source: Path | str, *, file: Path | None = None) -> list[Any]:
        """Read every object of a file, or of text that ``file`` names; return them.

        Raises ``ScenarioError`` for what is no Tinkerbell object, or is there already.
        """
        documents = load_all(source, file=file)
        if not documents:
            load(source, file=file)  # says that there is nothing
        parts = [part for document in documents for part in _items(document)]
        return [item for item in map(self._add, parts) if item is not None]

    def add_template_data(self, text: str, *, file: Path, name: str) -> None:
        """Take what belongs into ``spec.data`` of a Template, alone in a file. Raises as ``add``.

        Mistakes in it stand where they are in ``file``.
        """
        head = f"{_TEMPLATE_HEAD}\nmetadata: {{name: '{name}'}}\nspec:\n  data: |2\n"
        above, indent = head.count("\n"), "    "
        body = "".join(f"{indent}{line}\n" if line else "\n" for line in text.split("\n"))

        def place(line: int, column: int) -> Position:
            return Position(
                file=file, line=max(1, line - above), column=max(1, column - len(indent))
            )

        for document in load_all(head + body, file=file, place=place):
            self._add(document)

    def add_object(self, item: Hardware | Template | Workflow) -> None:
        """Take an object that was made, not read."""
        from fake_tink_server.derive import as_yaml

        self.add(as_yaml(item), file=Path(f"<{item.kind} {item.metadata.name}>"))

    def put_hardware(self, hardware: Hardware) -> None:
        """Take a Hardware that was made, whatever there is; two may have one MAC address then."""
        self.hardware[hardware.key] = self.loaded(hardware)

    @staticmethod
    def loaded(item: T) -> Loaded[T]:
        """Return an object that was made, as if it had been read."""
        from fake_tink_server.derive import as_yaml

        file = Path(f"<{item.kind} {item.metadata.name}>")
        return Loaded(object=item, document=load(as_yaml(item), file=file))

    def overlaid(self, other: Catalog) -> Catalog:
        """Return a catalog with the objects of both; of two with one name that of ``other``."""
        return Catalog(
            hardware={**self.hardware, **other.hardware},
            templates={**self.templates, **other.templates},
            workflows={**self.workflows, **other.workflows},
            rule_sets={**self.rule_sets, **other.rule_sets},
            ignored=[*self.ignored, *other.ignored],
        )

    def jobs(self, *, release: Release | None = None, disabled: bool = False) -> list[Job]:
        """Render every Workflow that is not disabled; those too with ``disabled``.

        ``release`` says whose templates and, until a worker's report tells, whose controller it is;
        None: the newest one's templates, and what both controllers do.

        Raises ``ScenarioError``, or ``ScenarioErrors`` for several workflows with mistakes.
        """
        found: list[Job] = []
        errors: list[ScenarioError] = []
        for loaded in self.workflows.values():
            if loaded.object.spec.disabled and not disabled:
                continue
            try:
                found.append(self.job(loaded, release))
            except ScenarioErrors as several:
                errors += several.errors
            except ScenarioError as error:
                errors.append(error)
        if errors:
            raise errors[0] if len(errors) == 1 else ScenarioErrors(errors)
        return found

    def _add(self, document: Document) -> Any:
        data = document.data
        if not isinstance(data, dict):
            raise document.error("expected a Tinkerbell object", hint=f"one of {', '.join(KINDS)}")
        kind, version = data.get("kind"), str(data.get("apiVersion", ""))
        if kind is None:
            hint = f"known here: {', '.join(KINDS)}"
            if "tasks" in data:
                hint = "this looks like a template's data: it belongs into spec.data of a Template"
            raise document.error("'kind' is missing", hint=hint)
        if kind not in KINDS:
            if version.startswith("tinkerbell.org/"):
                message = f"the kind {kind!r} is not known"
                raise document.error(message, ("kind",), hint=suggest(kind, KINDS))
            self.ignored.append(str(kind))
            return None
        match validate(document, KINDS[kind]):
            case Hardware() as hardware:
                self._check_macs(hardware, document)
                self._put(self.hardware, hardware, document)
                return hardware
            case Template() as template:
                self._put(self.templates, template, document)
                return template
            case Workflow() as workflow:
                self._put(self.workflows, workflow, document)
                return workflow
            case WorkflowRuleSet() as rule_set:
                self._put(self.rule_sets, rule_set, document)
                return rule_set
        raise AssertionError(kind)

    def _put(self, place: dict[Key, Loaded[T]], item: T, document: Document) -> None:
        earlier = place.get(item.key)
        path: KeyPath = ("metadata", "name")
        if earlier is not None:
            raise document.error(
                f"there is a {item.kind} {'/'.join(item.key)} already",
                path,
                hint=f"it stands at {earlier.document.position(path)}",
            )
        place[item.key] = Loaded(object=item, document=document)

    def _check_macs(self, hardware: Hardware, document: Document) -> None:
        known = {
            interface.dhcp.mac.lower(): loaded.document.position(_mac_path(number))
            for loaded in self.hardware.values()
            for number, interface in enumerate(loaded.object.spec.interfaces)
            if interface.dhcp and interface.dhcp.mac
        }
        for number, interface in enumerate(hardware.spec.interfaces):
            mac = interface.dhcp.mac.lower() if interface.dhcp else ""
            if mac in known:
                message = f"the MAC address {mac} is given twice"
                hint = f"it was given at {known[mac]} already"
                raise document.error(message, _mac_path(number), hint=hint)
            if mac:
                known[mac] = document.position(_mac_path(number))

    def job(self, loaded: Loaded[Workflow], release: Release | None = None) -> Job:
        """Render a Workflow, which need not be one of the catalog. Raises ``ScenarioError``."""
        spec, (namespace, name) = loaded.object.spec, loaded.object.key
        template = _find(self.templates, loaded, spec.template_ref, "templateRef")
        hardware = (
            _find(self.hardware, loaded, spec.hardware_ref, "hardwareRef")
            if spec.hardware_ref
            else None
        )
        known, rules = hardware.object if hardware else None, release or NEWEST
        data = template_data(known, spec.hardware_map, rules)
        compiled = compile_template(template.document, data, rules)
        custom = spec.boot_options.customboot_config
        return Job(
            run=Run(
                namespace=namespace,
                name=name,
                tasks=compiled.tasks,
                global_timeout_s=compiled.global_timeout_s,
                hardware=spec.hardware_ref,
                boot=BootOptions(
                    toggle_allow_netboot=spec.boot_options.toggle_allow_netboot,
                    mode=spec.boot_options.boot_mode,
                    iso_url=spec.boot_options.iso_url,
                    bmc=bool(hardware and hardware.object.spec.bmc_ref),
                    preparing_actions=bool(custom.get("preparingActions")),
                    post_actions=bool(custom.get("postActions")),
                ),
                disabled=bool(spec.disabled),
                protocol=release.protocol if release else None,
            ),
            workflow=loaded,
            template=template,
            hardware=hardware,
            compiled=compiled,
            warnings=[*compiled.warnings, *_worker_warnings(compiled)],
        )


def _items(document: Document) -> list[Document]:
    """Return the objects of a document: several when it is a List, as ``kubectl get`` prints."""
    data = document.data
    if not isinstance(data, dict) or data.get("kind") != "List":
        return [document]
    items = data.get("items")
    if not isinstance(items, list):
        raise document.error("a List has items", ("items",), hint="items: [...]")
    return [document.at(("items", number)) for number in range(len(items))]


def _mac_path(number: int) -> KeyPath:
    return ("spec", "interfaces", number, "dhcp", "mac")


def _find(
    place: Mapping[Key, Loaded[T]], workflow: Loaded[Workflow], name: str, key: str
) -> Loaded[T]:
    namespace = workflow.object.metadata.namespace
    found = place.get((namespace, name))
    if found is None:
        kind = key.removesuffix("Ref")
        names = [other for space, other in place if space == namespace]
        raise workflow.document.error(
            f"there is no {kind} {name!r} in namespace {namespace}",
            ("spec", key),
            hint=suggest(name, names) or f"no {kind} was given at all",
        )
    return found


def _worker_warnings(compiled: Compiled) -> list[ScenarioError]:
    return [
        compiled.document.error(
            f"worker {task.worker} has capitals: Hook's worker_id is the MAC in lower case, "
            "and ids are compared byte by byte",
            ("tasks", number, "worker"),
        )
        for number, task in enumerate(compiled.tasks)
        if task.worker != task.worker.lower()
    ]
