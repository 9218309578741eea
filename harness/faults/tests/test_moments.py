"""What a fault may ask of an event."""

from __future__ import annotations

from harness.faults.moments import event_facts


def test_an_event_has_its_name_and_a_few_fields() -> None:
    fields = {"action": "write", "state": "STATE_RUNNING", "workflow_id": "w"}
    facts = {"event": "tink.action.reported", "action": "write", "state": "RUNNING"}
    assert event_facts("tink.action.reported", fields) == facts


def test_a_fault_is_no_event_for_another() -> None:
    assert event_facts("fault.fired", {}) is None
