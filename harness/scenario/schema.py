"""``hooklab schema``: the scenario models as JSON Schema, for editors and for people."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from harness.events import EVENTS
from harness.scenario.loader import TWIN_LACKS
from harness.scenario.models import DiskExpectation, Scenario
from harness.scenario.models.machine import DISK_NAME

_DEFAULTS = {"PT0S": "0 s", "PT10M": "10 min", str(2 << 30): "2 GiB"}
"""Defaults as a person writes them, where pydantic would show the parsed value."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file."""
    schema = Scenario.model_json_schema(by_alias=True)
    expect = schema["$defs"]["Expect"]
    expect["patternProperties"] = {f"^disk {DISK_NAME}$": {"$ref": "#/$defs/DiskExpectation"}}
    expect |= {"additionalProperties": False, "minProperties": 1, "maxProperties": 1}
    schema["$defs"]["DiskExpectation"] = DiskExpectation.model_json_schema(by_alias=True)
    _tidy(schema)
    _allow_base(schema)
    schema["$defs"]["EventName"] = {
        "anyOf": [{"const": name, "description": kind.meaning} for name, kind in EVENTS.items()]
    }
    name = {"$ref": "#/$defs/EventName"}
    schema["$defs"]["EventExpectation"]["properties"]["name"] |= name
    for key in ("event", "no event"):
        expect["properties"][key]["anyOf"].insert(0, name)
    _describe_twin(schema)
    return {"$schema": DIALECT, "title": "hooklab scenario", **_without(schema, "title")}


def _without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}


def _tidy(node: Any) -> None:
    """Make pydantic's schema read as if a person had written it."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        if node.get("default", ...) is None:
            del node["default"]
        if str(node.get("default")) in _DEFAULTS:
            node["default"] = _DEFAULTS[str(node["default"])]
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
        # without a workflow, what is expected says when the run ends
        "anyOf": [{"required": ["template"]}, {"required": ["expect"]}],
    }


def _describe_twin(schema: dict[str, Any]) -> None:
    """A twin takes every key of a scenario but those that tell which failure this is."""
    keys = schema["properties"].keys() - TWIN_LACKS
    schema["properties"]["twin"] = {
        "description": schema["properties"]["twin"]["description"],
        "type": "object",
        "properties": {key: {"$ref": f"#/properties/{quote(key)}"} for key in sorted(keys)},
        "additionalProperties": False,
    }


def schema_text() -> str:
    """Return the schema as ``hooklab schema`` prints it."""
    return json.dumps(scenario_schema(), indent=2, ensure_ascii=False) + "\n"
