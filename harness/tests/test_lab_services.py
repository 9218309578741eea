"""Whose time the services around a machine tell: the machine's, which may have been saved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from cryptography.x509 import load_pem_x509_certificate

from harness.brief import Brief
from harness.certificates import Kind
from harness.checkpoint.store import Saved
from harness.checkpoint.tests import test_key
from harness.clock import Clock
from harness.faults.plan import FaultPlan
from harness.lab_resumption import Resumption
from harness.lab_services import Surroundings
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

ipxe = test_key.ipxe
item = test_key.item
SAVED = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""When the machine was at its point, which is long ago."""


def _turned_back() -> Clock:
    class Fake:
        key = "hook-up-1"
        meta = {  # noqa: RUF012
            "point": "hook-up",
            "t": 90.0,
            "started_at": (SAVED - timedelta(seconds=90)).isoformat(),
        }

    clock = Clock()
    Resumption(cast(Saved, Fake())).turn_back(clock)
    return clock


async def test_certificates_and_tinkerbell_have_the_calendar_of_the_machine(
    item: Any, tmp_path: Path
) -> None:
    """A machine of last month finds a certificate of today not valid yet.

    And its agent seems to be a month late, which the controller adds to a workflow's timeout.
    """
    item = replace(item, tink=replace(item.tink, tls=True))
    timeline = Timeline(None, _turned_back())
    around = Surroundings(
        Brief(item=item, reservations=(), workflows=(), origin_s=0.0),
        run_dir=tmp_path,
        timeline=timeline,
        tasks=TaskKeeper(),
        interface="lo",
        faults=FaultPlan((), record=print, now=timeline.clock.now),
    )
    tink = around.make_tink()
    assert abs(tink._desk.wall() - SAVED.timestamp()) < 60
    right = load_pem_x509_certificate(around._issue_tink(Kind.RIGHT).chain)
    assert right.not_valid_before_utc < SAVED < right.not_valid_after_utc
    expired = load_pem_x509_certificate(around._issue_tink(Kind.EXPIRED).chain)
    assert expired.not_valid_after_utc < SAVED
    late = load_pem_x509_certificate(around._issue_tink(Kind.NOT_YET_VALID).chain)
    assert SAVED < late.not_valid_before_utc < SAVED + timedelta(days=2)
    ca = load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    assert ca.not_valid_before_utc < SAVED < ca.not_valid_after_utc
