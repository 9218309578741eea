"""From a Template's data to tasks and actions: render, parse, check, as tink-controller does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from fake_tink_server.gotemplate import TemplateRefused, render
from fake_tink_server.release import NEWEST, Release
from fake_tink_server.workflow import Action, Namespaces, Task
from harness.documents import Document, KeyPath, Mistake, PlainText, load, validate
from harness.errors import ScenarioError, ScenarioErrors

MAX_NAME: Final = 199
"""Octets: Tinkerbell's message says 200, its comparison allows 199."""

_COMPONENT: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST: Final = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE: Final = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::[\w][\w.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
"""github.com/distribution/reference's grammar of an image reference."""


def check_image(reference: str) -> str:
    """Return ``reference`` when it names an image, as docker would parse it; else ``Mistake``."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        lower = _REFERENCE.fullmatch(reference.lower())
        hint = "a repository's name is lower case" if lower else "like quay.io/some/action:v1"
        raise Mistake(f"invalid action image ({reference}): invalid reference format", hint=hint)
    if len(match["name"]) > 255:
        raise Mistake("invalid action image: the repository name is longer than 255 characters")
    if re.fullmatch(r"[0-9a-f]{64}", reference):
        raise Mistake(
            f"invalid action image: the repository name {reference} is a digest",
            hint="64 hexadecimal digits alone are an image's id, not its name",
        )
    return reference


def _text(value: Any) -> Any:
    """yaml.v3 puts any plain scalar into a string field as it was written, null as ``""``."""
    return "" if value is None else str(value) if isinstance(value, PlainText) else value


def _number(value: Any) -> Any:
    return 0 if value is None else value.value if isinstance(value, PlainText) else value


def _named(value: str) -> str:
    if not 0 < len(value.encode()) <= MAX_NAME:
        raise Mistake(f"a name has 1 to {MAX_NAME} characters, this one {len(value.encode())}")
    return value


def _worker(value: str) -> str:
    if not value:
        raise Mistake("the worker is empty", hint='like worker: "{{.device_1}}"')
    return value


def _empty(value: Any) -> Any:
    return [] if value is None else value


def _empty_map(value: Any) -> Any:
    return {} if value is None else value


_Text = Annotated[str, BeforeValidator(_text)]
_Number = Annotated[int, BeforeValidator(_number)]
_Name = Annotated[str, AfterValidator(_named), BeforeValidator(_text)]
_Image = Annotated[str, AfterValidator(check_image), BeforeValidator(_text)]
_Texts = Annotated[list[_Text], BeforeValidator(_empty)]
_TextMap = Annotated[dict[str, _Text], BeforeValidator(_empty_map)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Namespaces(_Model):
    network: _Text = ""
    pid: _Text = ""


class _Action(_Model):
    name: _Name
    image: _Image
    timeout: _Number = 0
    command: _Texts = []
    on_timeout: Annotated[_Texts, Field(alias="on-timeout")] = []
    on_failure: Annotated[_Texts, Field(alias="on-failure")] = []
    volumes: _Texts = []
    environment: _TextMap = {}
    pid: _Text = ""
    namespaces: _Namespaces = _Namespaces()


class _Task(_Model):
    name: _Name
    worker: Annotated[str, AfterValidator(_worker), BeforeValidator(_text)]
    actions: Annotated[list[_Action], BeforeValidator(_empty)] = []
    volumes: _Texts = []
    environment: _TextMap = {}


class _Data(_Model):
    version: _Text = ""
    name: _Name
    id: _Text = ""
    global_timeout: _Number = 0
    tasks: Annotated[list[_Task], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A rendered and checked template."""

    name: str
    global_timeout_s: int
    tasks: list[Task]
    document: Document
    """The rendered YAML; its positions are in the Template's own file."""
    warnings: list[ScenarioError]
    """What Tinkerbell accepts and then does something unexpected with."""

    def action_error(
        self, task: int, action: int, field: str, message: str, *, hint: str | None = None
    ) -> ScenarioError:
        """Return an error that points at a field of an action, by its indexes."""
        return self.document.error(message, ("tasks", task, "actions", action, field), hint=hint)


def compile_template(
    template: Document, data: Mapping[str, Any], release: Release = NEWEST
) -> Compiled:
    """Render and check ``spec.data`` of a Template's document, as ``release`` does.

    Raises ``ScenarioError`` or ``ScenarioErrors`` at the line of the Template's file.
    """
    path: KeyPath = ("spec", "data")
    source = template.at(path).data
    try:
        rendered = render(source, data, release)
    except TemplateRefused as refused:
        at = template.inside(path, refused.line, refused.column)
        raise ScenarioError(str(refused), at=at, hint=refused.hint) from None
    document = load(
        rendered.text,
        file=template.file,
        place=lambda line, column: template.inside(path, *rendered.origin(line, column)),
    )
    model = validate(document.textual(), _Data)
    _check_unique(document, model)
    return Compiled(
        name=model.name,
        global_timeout_s=model.global_timeout,
        tasks=[_make_task(task, release) for task in model.tasks],
        document=document,
        warnings=_warnings(document, model, release),
    )


def _check_unique(document: Document, model: _Data) -> None:
    errors: list[ScenarioError] = []
    tasks: set[str] = set()
    for t, task in enumerate(model.tasks):
        if task.name in tasks:
            message = f"two tasks in a template cannot have same name ({task.name})"
            errors.append(document.error(message, ("tasks", t, "name")))
        tasks.add(task.name)
        actions: set[str] = set()
        for a, action in enumerate(task.actions):
            if action.name in actions:
                message = f"two actions in a task cannot have same name: {action.name}"
                errors.append(document.error(message, ("tasks", t, "actions", a, "name")))
            actions.add(action.name)
    if errors:
        raise errors[0] if len(errors) == 1 else ScenarioErrors(errors)


def _warnings(document: Document, model: _Data, release: Release) -> list[ScenarioError]:
    found: list[ScenarioError] = []
    gone = "Tinkerbell's controller marks the workflow STATE_TIMEOUT as soon as it runs"
    if model.global_timeout <= 0:
        found.append(document.error(f"global_timeout is {model.global_timeout}: {gone}"))
    for t, task in enumerate(model.tasks):
        for a, action in enumerate(task.actions):
            path: KeyPath = ("tasks", t, "actions", a)
            if action.timeout <= 0:
                message = f"the timeout of {action.name} is {action.timeout}: {gone}"
                found.append(document.error(message, path))
            if release is Release.V0_12 and _make_namespaces(action.namespaces):
                message = f"Tinkerbell {release} passes over the namespaces of {action.name}"
                found.append(document.error(message, (*path, "namespaces"), key=True))
            for key, value in (
                ("on-timeout", action.on_timeout),
                ("on-failure", action.on_failure),
            ):
                if value:
                    message = f"{key} of {action.name} is never sent to a worker"
                    found.append(document.error(message, (*path, key), key=True))
    return found


def _make_task(task: _Task, release: Release) -> Task:
    return Task(
        name=task.name,
        worker=task.worker,
        volumes=list(task.volumes),
        environment=dict(task.environment),
        actions=[
            Action(
                name=action.name,
                image=action.image,
                timeout_s=action.timeout,
                command=list(action.command),
                volumes=list(action.volumes),
                environment=dict(action.environment),
                pid=action.pid,
                namespaces=(
                    _make_namespaces(action.namespaces) if release is Release.V0_25 else None
                ),
                on_timeout=list(action.on_timeout),
                on_failure=list(action.on_failure),
            )
            for action in task.actions
        ],
    )


def _make_namespaces(given: _Namespaces) -> Namespaces | None:
    if not given.network and not given.pid:
        return None
    return Namespaces(network=given.network, pid=given.pid)
