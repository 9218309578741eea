"""The vocabulary of faults as JSON Schema (draft 2020-12), for editors."""

from __future__ import annotations

from typing import Any

from harness.faults.deeds import Parameter, parameters_of
from harness.faults.forms import FORMS
from harness.faults.vocabulary import COMMON, MAC, Fact, Place, Takes, places


def fault_schema() -> dict[str, Any]:
    """Return the schema of one fault."""
    return {
        "type": "object",
        "description": "At this place, when a moment is like this, do that.",
        "required": ["at", "do"],
        "properties": {"at": {"enum": list(places())}},
        "anyOf": [_of_place(place) for place in places().values()],
    }


def _of_place(place: Place) -> dict[str, Any]:
    bare = [one.name for one in place.deeds if not any(p.needed for p in parameters_of(one.deed))]
    forms: list[dict[str, Any]] = [
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {one.name: _deed(place, one) for one in place.deeds},
        }
    ]
    if bare:
        forms.insert(0, {"enum": bare})
    when: dict[str, Any] = {
        "occasion": {"enum": [one.name for one in place.occasions]},
        **{one.name: {**one.schema, "description": one.meaning} for one in COMMON},
        **{one.name: _fact(one) for one in (*place.facts, MAC)},
    }
    return {
        "description": place.meaning,
        "additionalProperties": False,
        "properties": {
            "at": {"const": place.name},
            "when": {"type": "object", "additionalProperties": False, "properties": when},
            "do": {"anyOf": forms},
        },
    }


def _fact(fact: Fact) -> dict[str, Any]:
    one: dict[str, Any]
    match fact.kind:
        case "flag":
            one = {"type": "boolean"}
        case "number":
            pattern = r"^\s*([<>]=?\s*-?\d+(\.\d+)?|\d+\s*\.\.\s*\d+)\s*$"
            one = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": pattern}]}
        case "text" if fact.values:
            spellings = dict.fromkeys((*fact.values, *(value.lower() for value in fact.values)))
            one = {"anyOf": [{"enum": list(spellings)}, {"type": "string", "pattern": r"[*?\[]"}]}
        case "text":
            one = {"type": ["string", "number"]}
    many = {"type": "array", "items": one, "minItems": 1}
    values = f" ({', '.join(fact.values)})" if fact.values and not fact.many else ""
    return {"anyOf": [one, many], "description": fact.meaning + values}


def _deed(place: Place, takes: Takes) -> dict[str, Any]:
    known = parameters_of(takes.deed)
    if not known:
        return {"type": "null", "description": takes.meaning}
    primary = next((one for one in known if one.primary), None)
    if primary and primary.form == "fields":
        return {**_parameter(place, primary), "description": takes.meaning}
    whole: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {one.name: _parameter(place, one) for one in known},
    }
    if required := [one.name for one in known if one.needed]:
        whole["required"] = required
    forms = [whole]
    if primary and all(one is primary or not one.needed for one in known):
        forms.insert(0, _parameter(place, primary))
    return {"anyOf": forms, "description": takes.meaning}


def _parameter(place: Place, one: Parameter) -> dict[str, Any]:
    schema = {**FORMS[one.form].schema, "description": one.meaning}
    if one.choices:
        schema["enum"] = list(one.choices)
    if one.least is not None or one.most is not None:
        ends = {"minimum": one.least or 0, "maximum": one.most}
        schema["allOf"] = [{key: end for key, end in ends.items() if end is not None}]
    if one.form == "fields":
        schema["properties"] = {
            field.name: {**FORMS[field.form].schema, "description": field.meaning}
            for field in place.fields
        }
        schema["additionalProperties"] = False
        if place.other_fields:
            schema["patternProperties"] = {place.other_fields_pattern: FORMS["octets"].schema}
    return schema
