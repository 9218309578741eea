"""What each phase of a boot usually takes, from earlier runs of the same kind, or as a guess.

A run is of the same kind when item, accelerator, profile and start (cold, or from which
checkpoint) are the same. What it took is counted without what a busy host held it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median, quantiles
from typing import Any, Final

from harness.host.history import figure_of

FEWEST_RUNS: Final = 4
"""With fewer the built-in guess is taken."""
_LATEST_RUNS: Final = 40
_SPREADS: Final = 4.0
_LEAST_MORE_S: Final = 2.0
_LEAST_MORE: Final = 1.25

Budget = dict[str, float]
"""``usual_s``, ``low_s``, ``high_s``, ``most_s``: above that it is worth a word; ``runs``."""

_BUILT_IN: Final[Mapping[str, tuple[float, float]]] = {
    "firmware-dhcp": (2, 16),
    "nbp-download": (0.5, 4),
    "ipxe": (2, 18),
    "kernel-initramfs": (1, 6),
    "hook-boot": (12, 30),
    "worker-pull": (4, 14),
}
"""Phase → seconds that it took at least and at most, of boots without faults, emulated on the
reference host. Workflows and disks differ too much for a guess."""
_WITH_BIOS: Final[Mapping[str, tuple[float, float]]] = {"kernel-initramfs": (4, 36)}
"""What differs there: iPXE copies what it downloads in real mode, octet by octet."""


def robust_spread(values: Iterable[float]) -> float:
    """Return the spread of most of ``values``: 1.4826 × the median distance from the median.

    That is the standard deviation where they are normal, and a few strays don't change it.
    """
    known = list(values)
    middle = median(known)
    return 1.4826 * median(abs(value - middle) for value in known)


def budget_of(values: Iterable[float]) -> Budget:
    """Return the budget that earlier durations give; there must be some."""
    known = list(values)
    low, high = min(known), max(known)
    if len(known) >= 8:
        tenths = quantiles(known, n=10, method="inclusive")
        low, high = tenths[0], tenths[-1]
    usual = median(known)
    most = max(usual + _SPREADS * robust_spread(known), high * _LEAST_MORE, high + _LEAST_MORE_S)
    return {
        "usual_s": round(usual, 2),
        "low_s": round(low, 2),
        "high_s": round(high, 2),
        "most_s": round(most, 2),
        "runs": len(known),
    }


def budgets_of(
    records: Iterable[Mapping[str, Any]],
    *,
    item: str,
    accel: str,
    profile: str,
    firmware: str = "uefi",
    factor: float = 1.0,
    guess: bool = False,
) -> dict[str, dict[str, Budget]]:
    """Return start → phase → budget, from the history's records of runs that passed.

    With ``guess`` the built-in figures for ``firmware``, times ``factor``, stand in where there are
    too few runs from a cold start.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for record in records:
        same = (record.get("item"), record.get("accel"), record.get("profile"))
        phases = record.get("net")
        if same != (item, accel, profile) or record.get("outcome") != "passed":
            continue
        if isinstance(phases, Mapping):
            kept = found.setdefault(str(record.get("start", "cold")), {})
            for name, seconds in phases.items():
                if (figure := figure_of(seconds)) is not None:
                    kept.setdefault(str(name), []).append(figure)
    budgets = {
        start: {
            name: budget_of(values[-_LATEST_RUNS:])
            for name, values in phases.items()
            if len(values) >= FEWEST_RUNS
        }
        for start, phases in found.items()
    }
    if guess:
        cold = budgets.setdefault("cold", {})
        known = {**_BUILT_IN, **(_WITH_BIOS if firmware == "bios" else {})}
        for name, (low, high) in known.items():
            cold.setdefault(name, _guess(low * factor, high * factor))
    return {start: phases for start, phases in budgets.items() if phases}


def _guess(low: float, high: float) -> Budget:
    return {
        "usual_s": round((low + high) / 2, 2),
        "low_s": round(low, 2),
        "high_s": round(high, 2),
        "most_s": round(high * 2, 2),
        "runs": 0,
    }
