"""Every mistake in a document is named where it stands."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from harness.documents import Mistake, load, suggest, validate
from harness.errors import ScenarioError, ScenarioErrors


class Firmware(StrEnum):
    BIOS = "bios"
    UEFI = "uefi"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Disk(_Strict):
    size: int


class Machine(_Strict):
    mac: str
    firmware: Firmware = Firmware.BIOS
    boot_order: Annotated[Literal["network", "disk"], Field(alias="bootOrder")] = "network"
    disks: list[Disk] = []
    labels: dict[str, Disk] = {}
    wait: int | Disk | None = None

    @field_validator("mac")
    @classmethod
    def _mac(cls, value: str) -> str:
        if len(value) != 17:
            raise Mistake(f"{value!r} is no MAC address", hint="like 52:54:00:00:00:01")
        return value


class Fetch(_Strict):
    kind: Literal["fetch"]
    path: str


class Order(_Strict):
    kind: Literal["order"]
    actions: list[str]


class Scenario(_Strict):
    machine: Machine
    expect: list[Annotated[Fetch | Order, Field(discriminator="kind")]] = []


def mistakes(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        validate(load(text, file=Path("s.yaml")), Scenario)
    error = caught.value
    found = error.errors if isinstance(error, ScenarioErrors) else [error]
    return [str(e).replace("\n    ", " | ") for e in found]


def test_good_input_gives_the_model() -> None:
    model = validate(load("machine: {mac: 52:54:00:00:00:01, bootOrder: disk}"), Scenario)
    assert model.machine.boot_order == "disk"


def test_unknown_key_points_at_the_key_and_suggests() -> None:
    assert mistakes("machine:\n  mac: 52:54:00:00:00:01\n  firmwares: uefi\n") == [
        "s.yaml:3:3: unknown key 'firmwares' in machine | did you mean 'firmware'? "
        "known here: mac, firmware, bootOrder, disks, labels, wait"
    ]


def test_all_mistakes_at_once_in_the_order_of_the_file() -> None:
    found = mistakes(
        "machine:\n  firmware: uefo\n  mac: '52'\n  disks:\n    - size: big\n    - {}\n"
        "  labels: {a: {sise: 1}}\n"
    )
    assert found == [
        "s.yaml:2:13: machine.firmware: 'uefo' is not known | did you mean 'uefi'? "
        "known here: bios, uefi",
        "s.yaml:3:8: machine.mac: '52' is no MAC address | like 52:54:00:00:00:01",
        "s.yaml:5:13: machine.disks[0].size: expected a whole number, found 'big'",
        "s.yaml:6:7: 'size' is missing in machine.disks[1] | known here: size",
        "s.yaml:7:12: 'size' is missing in machine.labels.a | known here: size",
        "s.yaml:7:16: unknown key 'sise' in machine.labels.a | did you mean 'size'? "
        "known here: size",
    ]


def test_a_missing_section() -> None:
    assert mistakes("expect: []\n") == [
        "s.yaml:1:1: 'machine' is missing in the document | known here: machine, expect"
    ]
    assert mistakes("- 1\n") == ["s.yaml:1:1: the document: expected a mapping, found a list"]


def test_the_branch_of_a_union_that_came_closest_is_reported() -> None:
    start = "machine:\n  mac: 52:54:00:00:00:01\n"
    assert mistakes(f"{start}  wait: {{size: x}}\n") == [
        "s.yaml:3:16: machine.wait.size: expected a whole number, found 'x'"
    ]
    assert mistakes(f"{start}  wait: soon\n") == [
        "s.yaml:3:9: machine.wait: expected a whole number or a mapping, found 'soon'"
    ]
    assert mistakes(f"{start}expect:\n- kind: fetched\n") == [
        "s.yaml:4:9: expect[0].kind: 'fetched' is not known | did you mean 'fetch'? "
        "known here: fetch, order"
    ]
    assert mistakes(f"{start}expect:\n- kind: order\n  action: []\n") == [
        "s.yaml:4:3: 'actions' is missing in expect[0] | known here: kind, actions",
        "s.yaml:5:3: unknown key 'action' in expect[0] | did you mean 'actions'? "
        "known here: kind, actions",
    ]


def test_a_part_of_a_document_keeps_its_full_name() -> None:
    document = load("kind: Lab\nspec:\n  machine: {mac: x}\n", file=Path("s.yaml"))
    with pytest.raises(ScenarioError, match=r"s\.yaml:3:18: spec\.machine\.mac: 'x' is no MAC"):
        validate(document.at(("spec",)), Scenario)


def test_suggest() -> None:
    assert suggest("x", []) is None
    assert suggest("zzz", ["alpha", "beta"]) == "known here: alpha, beta"
    assert suggest("Alfa", ["alpha", "beta"]) == "did you mean 'alpha'? known here: alpha, beta"
