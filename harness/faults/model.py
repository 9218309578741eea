"""Faults as a person writes them: read from YAML's data, refused with position and suggestion.

``FaultForm`` is the type of a fault in a pydantic model; it validates to a ``Fault``, which is
plain data. ``load_faults`` reads a file that has nothing but faults. Mistakes stand at the key or
value they are in, as all of ``harness.documents`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError
from pydantic_core import InitErrorDetails

from harness.documents import Document, KeyPath, load, validate
from harness.faults.fault import Fault
from harness.faults.reading import FaultReader
from harness.faults.schema import fault_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema


def _read(data: Any) -> Fault:
    """Return the fault in ``data``. Raises ``ValidationError`` with every mistake at its place."""
    reader = FaultReader(data)
    fault = reader.read()
    if fault is not None and not reader.mistakes:
        return fault
    errors = [
        InitErrorDetails(type="value_error", loc=path, input=data, ctx={"error": mistake})
        for path, mistake in reader.mistakes
    ]
    raise ValidationError.from_exception_data("Fault", errors)


class _FaultType:
    """Makes pydantic read a ``Fault`` with ``FaultReader``, and describe it in JSON Schema."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(_read)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return fault_schema()


FaultForm = Annotated[Fault, _FaultType]
"""A fault in a pydantic model."""


class FaultFile(BaseModel):
    """A file with faults and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    seed: int = 0
    """Decides probabilities and what is corrupted."""
    faults: list[FaultForm]
    """What goes wrong."""


class _FaultList(RootModel[list[FaultForm]]):
    """A file that is a bare list of faults."""


def load_faults(file: Path, *, places: Iterable[str] = ()) -> tuple[tuple[Fault, ...], int]:
    """Return the faults in ``file``, and the seed.

    The file is a list of faults, or a mapping with ``faults`` and ``seed``. ``places`` are those
    the caller can serve; empty: all. Raises ``ScenarioError``.
    """
    document = load(file)
    path: KeyPath = ()
    seed = 0
    if isinstance(document.data, list):
        faults = placed(document, validate(document, _FaultList).root, path)
    else:
        path = ("faults",)
        read = validate(document, FaultFile)
        faults, seed = placed(document, read.faults, path), read.seed
    known = sorted(places)
    for number, fault in enumerate(faults):
        if known and fault.place not in known:
            hint = f"known here: {', '.join(known)}"
            where = (*path, number, "at")
            raise document.error(f"there is no {fault.place} here", where, hint=hint)
    return faults, seed


def placed(
    document: Document, faults: Iterable[Fault], path: KeyPath = ("faults",)
) -> tuple[Fault, ...]:
    """Return ``faults`` with the place in ``document`` where each is written."""
    return tuple(
        replace(fault, at=str(document.position((*path, number))))
        for number, fault in enumerate(faults)
    )
