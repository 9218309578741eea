"""Somebody presses a machine's reset button while an action runs."""

from __future__ import annotations

from harness.lab import Lab
from harness.scenario.python import scenario


@scenario(
    "one-action.yaml",
    acts_from="worker-up",
    changes={
        "expect": [{"event": "machine.reset"}, {"workflow": "RUNNING"}],
        "verdict": {  # nobody waits for how that ends
            "failed in": "workflow",
            "blame": "unknown",
            "because": "the machine was reset in mid-workflow, once*",
        },
    },
)
async def test_a_machine_that_is_reset_asks_for_its_address_again(lab: Lab) -> None:
    await lab.machine.power_on()
    await lab.tink.wait_for_action("print", "RUNNING")
    await lab.machine.reset()
    reset = await lab.wait_for("machine.reset")
    asked = await lab.wait_for("dhcp.discover.received", after=reset)
    assert asked["stage"] == "firmware"
