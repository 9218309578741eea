"""A history made by hand: seeded noise, and steps where they are planted."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

USUAL: Final = {
    "firmware-dhcp": 5.1,
    "nbp-download": 0.9,
    "ipxe": 8.0,
    "kernel-initramfs": 2.6,
    "hook-boot": 19.0,
    "worker-pull": 6.2,
    "workflow": 25.0,
}
BEGAN: Final = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)


def history(
    runs: int,
    *,
    seed: int = 1,
    step: Mapping[str, float] | None = None,
    step_at: int = 0,
    noise: float = 0.05,
    strays: float = 0.0,
    **more: Any,
) -> list[dict[str, Any]]:
    """Return ``runs`` records; from number ``step_at`` on phases take ``step`` times as long."""
    dice = random.Random(seed)
    records = []
    for number in range(runs):
        factors = step if step and number >= step_at else {}
        phases = {
            name: round(
                seconds
                * factors.get(name, 1.0)
                * max(0.3, dice.gauss(1, noise))
                * (dice.uniform(1.5, 3) if dice.random() < strays else 1.0),
                3,
            )
            for name, seconds in USUAL.items()
        }
        began = BEGAN + timedelta(hours=5 * number, minutes=dice.randrange(60))
        records.append(
            {
                "at": began.isoformat(),
                "item": "hello[uefi]",
                "outcome": "passed",
                "start": "cold",
                "accel": "tcg",
                "profile": "faithful",
                "net": phases,
                "stalled_s": round(dice.choice([0, 0, 0, dice.uniform(4, 20)]), 1),
                "code": f"{1000 + number // 5:x}abcdef"[:8],
                **more,
            }
        )
    return records
