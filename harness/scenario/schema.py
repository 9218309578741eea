"""``hooklab schema``: the scenario models as JSON Schema, for editors and for people."""

from __future__ import annotations

import json
from typing import Any

from harness.events import EVENTS
from harness.scenario.models import DiskExpectation, Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file."""
    schema = Scenario.model_json_schema(by_alias=True)
    expect = schema["$defs"]["Expect"]
    expect["patternProperties"] = {"^disk vd[a-z]$": {"$ref": "#/$defs/DiskExpectation"}}
    expect |= {"additionalProperties": False, "minProperties": 1, "maxProperties": 1}
    schema["$defs"]["DiskExpectation"] = DiskExpectation.model_json_schema(by_alias=True)
    _tidy(schema)
    _allow_base(schema)
    event = schema["$defs"]["EventExpectation"]["properties"]["name"]
    event["anyOf"] = [
        {"const": name, "description": kind.meaning} for name, kind in EVENTS.items()
    ]
    return {"$schema": DIALECT, "title": "hooklab scenario", **_without(schema, "title")}


def _without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}


def _tidy(node: Any) -> None:
    """Drop the titles pydantic makes of key names; join docstrings' broken lines."""
    if isinstance(node, dict):
        for key in [k for k, value in node.items() if k == "title" and isinstance(value, str)]:
            del node[key]
        if isinstance(node.get("description"), str):
            node["description"] = " ".join(node["description"].split()).replace("``", "`")
        for value in node.values():
            _tidy(value)
    elif isinstance(node, list):
        for value in node:
            _tidy(value)


def _allow_base(schema: dict[str, Any]) -> None:
    """What a file leaves out its ``base`` may say: then nothing but the title is required."""
    required = schema.pop("required")
    machine_required = schema["$defs"]["Machine"].pop("required")
    schema["required"] = ["scenario"]
    schema["if"] = {"not": {"required": ["base"]}}
    schema["then"] = {
        "required": required,
        "properties": {"machine": {"required": machine_required}},
    }


def schema_text() -> str:
    """Return the schema as ``hooklab schema`` prints it."""
    return json.dumps(scenario_schema(), indent=2, ensure_ascii=False) + "\n"
