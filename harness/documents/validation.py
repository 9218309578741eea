"""Hold a document against a pydantic model; say every mistake where it stands."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import ScenarioError, ScenarioErrors

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from harness.documents.document import Document, KeyPath

M = TypeVar("M", bound="BaseModel")


class Mistake(ValueError):
    """What a model's validator raises to give the user a hint as well.

    ``key`` says that it is the key that is wrong, not its value.
    """

    def __init__(self, message: str, *, hint: str | None = None, key: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.key = key


def suggest(word: object, known: Iterable[object]) -> str | None:
    """Return "did you mean …? known here: …" for a ``word`` that is none of ``known``."""
    names = [str(name) for name in known]
    if not names:
        return None
    lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(str(word).lower(), lower, n=1, cutoff=0.6)
    meant = f"did you mean '{lower[close[0]]}'? " if close else ""
    return f"{meant}known here: {', '.join(names)}"


def validate(document: Document, model: type[M]) -> M:
    """Return ``document``'s data as a ``model``.

    Raises ``ScenarioError`` for one mistake, ``ScenarioErrors`` for several, in the order in
    which they stand in the file.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        found = _translate(document, model, error.errors(include_url=False))
    found.sort(key=lambda e: (e.at.line, e.at.column) if e.at else (0, 0))
    if len(found) == 1:
        raise found[0] from None
    raise ScenarioErrors(found) from None


def describe(path: KeyPath) -> str:
    """Return a path as a person reads it: ``machine.disks[0].size``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text or "the document"


class _Located:
    """A pydantic error whose ``loc`` has been told apart into real path and union branches."""

    def __init__(self, document: Document, details: ErrorDetails) -> None:
        self.details = details
        self.tags: list[tuple[KeyPath, str]] = []
        path: KeyPath = ()
        steps = list(details["loc"])
        names_absent = details["type"] in ("missing", "extra_forbidden")
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            if (last and names_absent) or document.has((*path, step)):
                path = (*path, step)
            elif step != "[key]":
                self.tags.append((path, str(step)))
        self.path = path


def _translate(
    document: Document, model: type[BaseModel], details: list[ErrorDetails]
) -> list[ScenarioError]:
    located = [_Located(document, item) for item in details]
    kept = [item for item in located if _in_best_branch(item, located)]
    by_place: dict[tuple[KeyPath, str], list[_Located]] = {}
    for item in kept:
        alike = "expected" if item.details["msg"].startswith("Input should be") else ""
        by_place.setdefault((item.path, alike or item.details["msg"]), []).append(item)
    return [_say(document, model, group) for group in by_place.values()]


def _in_best_branch(item: _Located, all_items: list[_Located]) -> bool:
    """Whether no other branch of the unions on the way came closer to what was written."""
    for at, tag in item.tags:
        best: dict[str, int] = {}
        for other in all_items:
            for other_at, other_tag in other.tags:
                if other_at == at:
                    depth = len(other.path) - len(at)
                    best[other_tag] = max(best.get(other_tag, 0), depth)
        if best.get(tag, 0) < max(best.values(), default=0):
            return False
    return True


def _say(document: Document, model: type[BaseModel], group: list[_Located]) -> ScenarioError:
    first = group[0]
    kind, path = first.details["type"], first.path
    where = describe(document.prefix + path)
    context: dict[str, Any] = first.details.get("ctx") or {}
    if kind == "extra_forbidden":
        parent = describe(document.prefix + path[:-1])
        hint = suggest(path[-1], _known_keys(model, first))
        return document.error(f"unknown key {path[-1]!r} in {parent}", path, key=True, hint=hint)
    if kind == "missing":
        parent = describe(document.prefix + path[:-1])
        known = ", ".join(_known_keys(model, first))
        return document.error(
            f"{path[-1]!r} is missing in {parent}",
            path[:-1],
            key=True,
            hint=f"known here: {known}" if known else None,
        )
    if kind == "value_error":
        cause = context.get("error")
        if isinstance(cause, Mistake):
            return document.error(f"{where}: {cause}", path, key=cause.key, hint=cause.hint)
        return document.error(f"{where}: {cause}", path)
    if kind == "union_tag_invalid":
        tag = str(context.get("discriminator", "")).strip("'")
        expected = str(context.get("expected_tags", "")).replace("'", "").split(", ")
        return document.error(
            f"{where}.{tag}: {context.get('tag')!r} is not known",
            (*path, tag),
            hint=suggest(context.get("tag"), expected),
        )
    found = first.details["input"]
    if kind in ("enum", "literal_error"):
        expected = str(context.get("expected", "")).replace(" or ", ", ").split(", ")
        hint = suggest(found, [name.strip("'") for name in expected])
        return document.error(f"{where}: {_shown(found)} is not known", path, hint=hint)
    wishes = dict.fromkeys(_wish(item.details["msg"]) for item in group)
    wish = " or ".join(wishes).replace(" or expected ", " or ")
    return document.error(f"{where}: {wish}, found {_shown(found)}", path)


_WORDS = {
    "a valid integer": "a whole number",
    "a valid string": "a text",
    "a valid boolean": "true or false",
    "a valid number": "a number",
    "a valid list": "a list",
    "a valid dictionary": "a mapping",
}


def _wish(message: str) -> str:
    """Turn "Input should be a valid integer, unable to parse …" into "expected a whole number"."""
    if not message.startswith("Input should be "):
        return message[:1].lower() + message[1:]
    wish = message.removeprefix("Input should be ")
    for known, word in _WORDS.items():
        if wish.startswith(known):
            return f"expected {word}"
    if wish.startswith("a valid dictionary or instance of"):
        return "expected a mapping"
    return f"expected {wish}"


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"


def _known_keys(model: type[BaseModel], item: _Located) -> list[str]:
    """Return the keys that the model knows at the parent of ``item``'s path."""
    tags = {tag for _, tag in item.tags}
    here: list[Any] = [model]
    for step in item.path[:-1]:
        here = [inner for one in here for inner in _descend(one, step)]
    named = [m for m in here if m.__name__ in tags or _is_tagged(m, tags)]
    keys: dict[str, None] = {}
    for candidate in named or here:
        for name, info in candidate.model_fields.items():
            alias = info.validation_alias
            keys[alias if isinstance(alias, str) else info.alias or name] = None
    return list(keys)


def _is_tagged(model: Any, tags: set[str]) -> bool:
    """Whether a field of ``model`` can only be one of ``tags``: it is a union's discriminator."""
    literals = (typing.get_args(info.annotation) for info in model.model_fields.values())
    return any(len(args) == 1 and args[0] in tags for args in literals)


def _descend(model: Any, step: str | int) -> list[Any]:
    if isinstance(step, int):
        return [model]  # lists were looked through already
    for name, info in model.model_fields.items():
        if step in (name, info.alias, info.validation_alias):
            return _models(info.annotation)
    extra = getattr(model, "__pydantic_root_model__", False)
    return _models(model.model_fields["root"].annotation) if extra else [model]


def _models(annotation: Any) -> list[Any]:
    """Return the pydantic models that an annotation mentions, through lists, dicts and unions."""
    from pydantic import BaseModel

    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    inner = getattr(annotation, "__value__", None)  # a `type X = …` alias
    if inner is not None:
        return _models(inner)
    return [model for part in typing.get_args(annotation) for model in _models(part)]
