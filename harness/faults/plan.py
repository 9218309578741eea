"""Decides which faults fire on which moments, and tells afterwards which never did.

Sans-IO: a service says what is about to happen (``strike``) and gets the deeds that are to be done
to it. One plan serves a whole lab, so that its faults are numbered as they are written.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from harness.faults.deeds import Corrupt, Deed, Delay, Down, Power, make_deed
from harness.faults.fault import Fault
from harness.faults.matching import fits

_SHOWN: Final = 4
"""Values named when it is told how near a fault came."""
_RECORDED: Final = 500
"""Firings of one fault that are events of their own; a wire has millions of frames."""


class Strike(Protocol):
    """Asks which deeds are to be done to a moment of one place, in the faults' order."""

    def __call__(self, occasion: str, /, **facts: Any) -> tuple[Deed, ...]:
        """``facts`` as the place's vocabulary names them; None: not known."""


def no_strike(occasion: str, /, **facts: Any) -> tuple[Deed, ...]:
    """Be the strike of a place that no fault names."""
    del occasion, facts
    return ()


@dataclass(slots=True)
class _Watch:
    """One fault while it waits for its moment."""

    number: int
    fault: Fault
    deed: Deed
    chance: random.Random
    moments: int = 0
    """Moments of its occasion."""
    passed: Counter[str] = field(default_factory=Counter)
    """Condition → moments that met it and all conditions before it."""
    missed: dict[str, Counter[str]] = field(default_factory=dict)
    """Condition → what was there instead, among moments that met all conditions before it."""
    fitting: Counter[str | None] = field(default_factory=Counter)
    """MAC → moments that met all conditions but the counting ones."""
    fired: int = 0
    fired_s: float = 0.0
    """When it fired last."""

    def meets(self, condition: str, met: bool, found: object) -> bool:
        if met:
            self.passed[condition] += 1
        else:
            self.missed.setdefault(condition, Counter())[str(found)] += 1
        return met


class FaultPlan:
    """The faults of one run."""

    def __init__(
        self,
        faults: Sequence[Fault],
        *,
        record: Callable[..., object],
        now: Callable[[], float],
        seed: int = 0,
        phase: Callable[[], str | None] = lambda: None,
    ) -> None:
        """``record(name, **fields)`` gets ``fault.fired`` and ``fault.unfired``.

        ``now`` is in seconds; ``seed`` decides probabilities and what is corrupted; ``phase``
        tells the machine's current phase (``harness.phases``), None when nobody knows.
        """
        self.faults = tuple(faults)
        self.seed = seed
        self._record = record
        self._now = now
        self._phase = phase
        self._began_s: float | None = None
        self._watches = [
            _Watch(
                number=number,
                fault=fault,
                deed=make_deed(fault.deed, fault.parameters),
                # Each fault has its own numbers: one more fault does not change another's.
                chance=random.Random(f"{seed}:{fault.place}:{fault.text}"),
            )
            for number, fault in enumerate(faults, 1)
        ]

    def begin(self, *, at_s: float | None = None) -> None:
        """Count ``after`` and ``until`` from now, or ``at_s``: power-on, or a server's start.

        Before this, no time has passed.
        """
        self._began_s = self._now() if at_s is None else at_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since ``begin``."""
        return 0.0 if self._began_s is None else max(0.0, self._now() - self._began_s)

    def at(self, place: str) -> Strike:
        """Return the ``strike`` of one place; at a place no fault names it costs nothing."""
        watches = [watch for watch in self._watches if watch.fault.place == place]
        if not watches:
            return no_strike

        def strike(occasion: str, /, **facts: Any) -> tuple[Deed, ...]:
            return self._strike(watches, occasion, facts)

        return strike

    def strike(self, place: str, occasion: str, /, **facts: Any) -> tuple[Deed, ...]:
        """Return the deeds of every fault that fires on this moment; each is recorded."""
        return self.at(place)(occasion, **facts)

    def named(self, place: str) -> tuple[Fault, ...]:
        """Return the faults of ``place``, in order."""
        return tuple(fault for fault in self.faults if fault.place == place)

    def unfired(self) -> list[Fault]:
        """Return the faults that never fired."""
        return [watch.fault for watch in self._watches if not watch.fired]

    def unsettled(self) -> set[str]:
        """Return the places where a fault is still to begin or to end by itself.

        By time, or because it is through only a part of the moments it is for.
        """
        return {one.fault.place for one in self._watches if _is_unsettled(one, self.elapsed_s)}

    def finish(self) -> list[str]:
        """Record ``fault.unfired`` for each that never fired; return a sentence for each.

        One that fired more often than there are ``fault.fired`` of it is ``fault.counted``.
        """
        sentences = []
        for watch in self._watches:
            if watch.fired:
                if watch.fired > _RECORDED:
                    self._record(
                        "fault.counted",
                        fault=watch.number,
                        place=watch.fault.place,
                        deed=watch.fault.deed,
                        text=watch.fault.text,
                        where=watch.fault.at or None,
                        times=watch.fired,
                    )
                continue
            nearest = _nearest(watch)
            sentences.append(f"the fault {watch.fault.title} never fired: {nearest}")
            self._record(
                "fault.unfired",
                fault=watch.number,
                place=watch.fault.place,
                occasion=watch.fault.occasion,
                deed=watch.fault.deed,
                text=watch.fault.text,
                where=watch.fault.at or None,
                nearest=nearest,
            )
        return sentences

    def _strike(
        self, watches: Sequence[_Watch], occasion: str, facts: dict[str, Any]
    ) -> tuple[Deed, ...]:
        deeds = []
        for watch in watches:
            if watch.fault.occasion == occasion and self._fires(watch, facts):
                watch.fired += 1
                watch.fired_s = self.elapsed_s
                deeds.append(_now_of(watch))
                if watch.fired > _RECORDED:
                    continue
                known = {key: value for key, value in facts.items() if value is not None}
                self._record(
                    "fault.fired",
                    fault=watch.number,
                    place=watch.fault.place,
                    occasion=occasion,
                    deed=watch.fault.deed,
                    text=watch.fault.text,
                    where=watch.fault.at or None,
                    mac=known.pop("mac", None),
                    facts=known,
                )
        return tuple(deeds)

    def _fires(self, watch: _Watch, facts: dict[str, Any]) -> bool:
        fault = watch.fault
        watch.moments += 1
        for name, wanted in fault.facts.items():
            found = facts.get(name)
            if not watch.meets(name, fits(wanted, found), found):
                return False
        if fault.phases:
            phase = self._phase()
            if not watch.meets("phase", phase in fault.phases, phase):
                return False
        elapsed = self.elapsed_s
        if fault.after_s is not None and not watch.meets(
            "after", elapsed >= fault.after_s, f"{elapsed:.1f} s"
        ):
            return False
        if fault.until_s is not None and not watch.meets(
            "until", elapsed <= fault.until_s, f"{elapsed:.1f} s"
        ):
            return False
        machine = facts.get("mac")
        if fault.once and watch.fitting[machine]:
            return False
        watch.fitting[machine] += 1
        number = watch.fitting[machine]
        if fault.nth and number not in fault.nth:
            return False
        if fault.first is not None and number > fault.first:
            return False
        if fault.every is not None and number % fault.every:
            return False
        return fault.probability is None or watch.chance.random() < fault.probability


def _is_unsettled(watch: _Watch, elapsed_s: float) -> bool:
    fault = watch.fault
    if elapsed_s < max(fault.after_s or 0.0, fault.until_s or 0.0):
        return True
    if not watch.fired:
        return False
    lasts_s = _lasts_s(watch.deed)
    if elapsed_s < watch.fired_s + lasts_s and not (
        watch.fired > _USUAL_BY_NOW and lasts_s <= _SHORT_S
    ):
        return True
    seen = max(watch.fitting.values(), default=0)
    return seen < max(fault.first or 0, *fault.nth, 0)


_USUAL_BY_NOW: Final = 5
_SHORT_S: Final = 5.0
"""What was late by so little so often is how things are here, not something that ends."""


def _lasts_s(deed: Deed) -> float:
    """Return how long a deed goes on, as far as it ends by itself."""
    seconds: float = getattr(deed, "seconds", 0.0)
    if isinstance(deed, Down):
        return seconds * deed.times + deed.up * (deed.times - 1)
    if isinstance(deed, Power) and deed.what != "cycle":
        return 0.0
    more: float = getattr(deed, "jitter", 0.0)
    return seconds + more


def _now_of(watch: _Watch) -> Deed:
    """Return the deed with what chance decides filled in."""
    match watch.deed:
        case Corrupt():
            return replace(watch.deed, seed=watch.chance.getrandbits(32))
        case Delay(jitter=jitter) if jitter:
            more = watch.chance.uniform(0.0, jitter)
            return Delay(seconds=watch.deed.seconds + more)
        case _:
            return watch.deed


def _nearest(watch: _Watch) -> str:
    """Say how near a fault came: "3 replies with message OFFER seen, none to firmware"."""
    fault = watch.fault
    what = f"{fault.occasion} at {fault.place}"
    if not watch.moments:
        return f"no {what} was seen"
    seen, so_far = watch.moments, f"{what}"
    timing = [name for name in ("phase", "after", "until") if name in _timing(fault)]
    for name in [*fault.facts, *timing]:
        wish = _wish(fault, name)
        if not watch.passed[name]:
            others = watch.missed[name].most_common(_SHOWN)
            found = ", ".join(f"{value} ×{count}" for value, count in others)
            return f"{seen} {so_far} seen, none {wish} (found: {found})"
        seen, so_far = watch.passed[name], f"{so_far} {wish}"
    wanted = []
    if fault.nth:
        wanted.append(f"nth: {', '.join(map(str, fault.nth))}")
    if fault.first is not None:
        wanted.append(f"first: {fault.first}")
    if fault.every is not None:
        wanted.append(f"every: {fault.every}")
    if fault.probability is not None:
        wanted.append(f"probability: {fault.probability:g}")
    return f"{seen} {so_far} seen, which {' and '.join(wanted)} passed over"


def _timing(fault: Fault) -> dict[str, object]:
    given = {"phase": fault.phases or None, "after": fault.after_s, "until": fault.until_s}
    return {name: value for name, value in given.items() if value is not None}


def _wish(fault: Fault, name: str) -> str:
    if name == "phase":
        return f"in phase {' or '.join(fault.phases)}"
    if name in ("after", "until"):
        return f"{name} {_timing(fault)[name]:g} s"
    wanted = " or ".join(str(one) for one in fault.facts[name])
    return f"to {wanted}" if name == "to" else f"with {name} {wanted}"
