"""Auto-discovery and auto-enrolment: Hardware and Workflows that are made for agents (v0.25).

Sans-IO. Texts, codes and order of the checks are tinkerbell v0.25.0's (``discovery.go`` and
``enrollment.go`` in ``tink/server/internal/grpc``). Worth knowing:

- The rule set with the most matching rules wins, not the one that fits best.
- A Hardware that discovery makes lets its agent be enrolled in the very call that made it, and
  afterwards only when ``enroll_discovered`` is set.
- An agent that has any workflow, ended or disabled, is not enrolled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fake_tink_server.answers import Code, Discovered, Enrolled, Note, NotEnrolled, Refused
from fake_tink_server.attributes import ANNOTATION, MAX_ANNOTATION
from fake_tink_server.catalog import Catalog, Loaded
from fake_tink_server.objects import API_VERSION, NAME, Hardware, Workflow, WorkflowRuleSet
from fake_tink_server.patterns import Pattern, read_pattern
from fake_tink_server.workflow import Workflow as Run
from harness.documents import suggest
from harness.errors import ScenarioError

Attributes = Mapping[str, Any]

_MAX_NAME: Final = 63
_MAC: Final = re.compile(
    r"([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|([0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """A WorkflowRuleSet whose rules were read."""

    object: WorkflowRuleSet
    patterns: tuple[Pattern, ...]

    def matching(self, attributes: Attributes | None) -> int:
        """Return how many rules match."""
        if attributes is None:
            return 0
        return sum(pattern.matches(attributes) for pattern in self.patterns)


class Auto:
    """Makes what an unknown agent needs."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        discovery: bool = False,
        namespace: str = "default",
        enroll_discovered: bool = False,
    ) -> None:
        """Enrol by the rule sets of ``catalog``; with ``discovery`` make Hardware in ``namespace``.

        ``enroll_discovered`` is what such Hardware has as ``spec.auto.enrollmentEnabled``. Raises
        ``ScenarioError`` at the place of a rule that is none.
        """
        if not NAME.fullmatch(namespace):
            raise ScenarioError(f"{namespace!r} is no namespace", hint="like default")
        self._discovery = discovery
        self._namespace = namespace
        self._enroll_discovered = enroll_discovered
        self._made: dict[tuple[str, str], Hardware] = {}
        self._fresh = ""
        """The agent whose Hardware was made in the call under way."""
        self._unrendered: set[str] = set()
        self._rule_sets: list[RuleSet] = []
        self._catalog = catalog
        self.use(catalog)

    def use(self, catalog: Catalog) -> None:
        """Go on with the objects of ``catalog``; Hardware that was made stays. Raises as above."""
        self._rule_sets = read_rule_sets(catalog)
        for key, hardware in self._made.items():
            if key not in catalog.hardware:
                catalog.put_hardware(hardware)
        self._catalog = catalog
        self._unrendered.clear()

    @property
    def enrolls(self) -> bool:
        """Whether there is any rule set."""
        return bool(self._rule_sets)

    def discover(self, agent: str, attributes: Attributes | None) -> list[Note]:
        """Make a Hardware for ``agent`` when there is none with its id."""
        self._fresh = ""
        if not self._discovery or not agent or self._of(agent, None):
            return []
        try:
            name = valid_name(agent, "discovery-")
        except ValueError:
            return []
        if (self._namespace, name) in self._catalog.hardware:
            return []
        hardware = self._hardware(name, agent, attributes)
        self._catalog.put_hardware(hardware)
        self._made[hardware.key] = hardware
        self._fresh = agent
        return [Discovered(agent=agent, hardware=f"{self._namespace}/{name}")]

    def enroll(
        self, agent: str, attributes: Attributes | None, taken: Collection[str]
    ) -> tuple[Run | None, list[Note]]:
        """Make a workflow for ``agent``, which has none; ``taken`` are ids of those there are.

        Returns None without rule sets, and for a workflow that its template does not make. Raises
        ``Refused``.
        """
        if not self.enrolls or not agent:
            return None, []
        namespace = None if self._discovery else self._namespace
        known = self._of(agent, namespace)
        hardware = known[0] if len(known) == 1 else None
        if hardware and not hardware.spec.auto.enrollment_enabled and self._fresh != agent:
            text = "auto enrollment is disabled for this hardware"
            raise Refused(Code.FAILED_PRECONDITION, text)
        try:
            name = valid_name(agent, "enrollment-")
        except ValueError as error:
            text = f"error making agentID a valid Kubernetes name: {error}"
            raise Refused(Code.INTERNAL, text) from None
        # the first of those with the most matches
        best = max(self._rule_sets, key=lambda each: each.matching(attributes))
        if not best.matching(attributes):
            text = f"no Workflow Rule Sets found or matched for Agent {agent}"
            raise Refused(Code.NOT_FOUND, text)
        wanted = best.object.spec.workflow
        workflow_id = f"{wanted.namespace}/{name}"
        if workflow_id in taken or workflow_id in self._unrendered:
            raise Refused(Code.FAILED_PRECONDITION, "existing workflow found")
        rule_set = "/".join(best.object.key)
        made = _workflow(best.object, name, agent, hardware, attributes)
        try:
            run = self._catalog.job(self._catalog.loaded(made)).run
        except ScenarioError as error:
            self._unrendered.add(workflow_id)
            note = NotEnrolled(
                agent=agent, workflow_id=workflow_id, rule_set=rule_set, reason=str(error)
            )
            return None, [note]
        template = f"{wanted.namespace}/{wanted.template.ref}"
        enrolled = Enrolled(
            agent=agent, workflow_id=workflow_id, template=template, rule_set=rule_set
        )
        return run, [enrolled]

    def _of(self, agent: str, namespace: str | None) -> list[Hardware]:
        return [
            each.object
            for (space, _), each in self._catalog.hardware.items()
            if each.object.spec.agent_id == agent and namespace in (None, space)
        ]

    def _hardware(self, name: str, agent: str, attributes: Attributes | None) -> Hardware:
        said = attributes or {}
        disks = [each for each in said.get("blockDevices", ()) if each.get("size")]
        macs = [each.get("mac", "") for each in said.get("networkInterfaces", ())]
        annotation = _json(attributes) if attributes is not None else ""
        fits = 0 < len(annotation.encode()) <= MAX_ANNOTATION
        return Hardware.model_validate(
            {
                "apiVersion": API_VERSION,
                "kind": "Hardware",
                "metadata": {
                    "name": name,
                    "namespace": self._namespace,
                    "labels": {"tinkerbell.org/auto-discovered": "true"},
                    "annotations": {ANNOTATION: annotation} if fits else {},
                },
                "spec": {
                    "agentID": agent,
                    "auto": {"enrollmentEnabled": self._enroll_discovered},
                    "disks": [{"device": f"/dev/{each.get('name', '')}"} for each in disks],
                    "interfaces": [{"dhcp": {"mac": mac}} for mac in macs if _MAC.fullmatch(mac)],
                },
            }
        )


def read_rule_sets(catalog: Catalog) -> list[RuleSet]:
    """Return the rule sets of ``catalog``, by name. Raises ``ScenarioError``."""
    return [_read(catalog, each) for _, each in sorted(catalog.rule_sets.items())]


def _read(catalog: Catalog, loaded: Loaded[WorkflowRuleSet]) -> RuleSet:
    spec, document = loaded.object.spec, loaded.document
    template = (spec.workflow.namespace, spec.workflow.template.ref)
    if template not in catalog.templates:
        known = [name for space, name in catalog.templates if space == template[0]]
        raise document.error(
            f"there is no template {template[1]!r} in namespace {template[0]}",
            ("spec", "workflow", "template", "ref"),
            hint=suggest(template[1], known) or "no template was given there at all",
        )
    patterns = []
    for number, text in enumerate(spec.rules):
        path = ("spec", "rules", number)
        patterns.append(
            read_pattern(
                text,
                place=lambda line, column, path=path: document.inside(path, line, column),  # type: ignore[misc]
            )
        )
    return RuleSet(object=loaded.object, patterns=tuple(patterns))


def _workflow(
    rules: WorkflowRuleSet,
    name: str,
    agent: str,
    hardware: Hardware | None,
    attributes: Attributes | None,
) -> Workflow:
    wanted = rules.spec.workflow
    annotations = {ANNOTATION: _json(attributes)} if wanted.add_attributes else {}
    return Workflow.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "Workflow",
            "metadata": {
                "name": name,
                "namespace": wanted.namespace,
                "labels": {"tinkerbell.org/auto-enrollment": "true"},
                "annotations": annotations,
            },
            "spec": {
                "templateRef": wanted.template.ref,
                "disabled": wanted.disabled,
                "hardwareRef": hardware.metadata.name if hardware else "",
                "hardwareMap": {wanted.template.agent_value: agent, **wanted.template.kvs},
            },
        }
    )


def valid_name(agent: str, prefix: str) -> str:
    """Return an agent's id as Tinkerbell makes a Kubernetes name of it.

    Raises ``ValueError`` with Tinkerbell's text.
    """
    if not agent.strip():
        raise ValueError("name cannot be empty")
    name = prefix + agent.strip()
    if not re.match(r"[a-zA-Z0-9]", name):
        name = f"e{name}"
    if not re.search(r"[a-zA-Z0-9]\Z", name):
        name += "e"
    name = re.sub(r"-+", "-", re.sub(r"[^a-zA-Z0-9-]", "-", name)).strip("-").lower()[:_MAX_NAME]
    if name.endswith("-"):
        raise ValueError("name cannot start or end with hyphen")
    return name


def _json(attributes: Attributes | None) -> str:
    """Return what Go's encoding/json writes."""
    text = json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))
    for each in "<>&\u2028\u2029":
        text = text.replace(each, f"\\u{ord(each):04x}")
    return text
