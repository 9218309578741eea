"""Tinkerbell's server restarts while an action runs."""

from __future__ import annotations

from harness.lab import Lab
from harness.scenario.python import scenario


@scenario(
    "hello.yaml",
    firmware="uefi",
    acts_from="worker-up",
    changes={
        "template": "../fixtures/templates/long-action.yaml",
        "expect": [
            {"worker pulled": "once"},
            {"actions": ["long", "after"]},
            {"workflow": "SUCCESS"},
        ],
    },
)
async def test_a_server_that_restarts_during_an_action(lab: Lab) -> None:
    await lab.machine.power_on()
    await lab.tink.wait_for_action("long", "RUNNING")
    await lab.tink.restart()
    await lab.wait_for_workflow("SUCCESS")
    assert lab.registry.pulls("tink-worker") == 1
    assert lab.tink.runs("long") == 1
    assert lab.tink.runs("after") == 1
