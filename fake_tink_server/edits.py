"""What an edit of Tinkerbell's objects means for the workflows being served."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fake_tink_server.workflow import State, Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Ids of workflows, in the order of the files."""

    added: list[str]
    changed: list[str]
    """They come out otherwise than before: begun anew, as if deleted and applied."""
    removed: list[str]


def differences(
    before: Mapping[str, Workflow],
    after: Mapping[str, Workflow],
    served: Mapping[str, Workflow],
    *,
    asleep: Collection[str],
) -> Differences:
    """Compare workflows as they were rendered, ``before`` and ``after``.

    ``served`` are those with a state. ``asleep`` are ids of Workflows that are disabled: one that
    has begun is not stopped by that, in Tinkerbell either.
    """
    return Differences(
        added=[each for each in after if each not in served],
        changed=[each for each in after if each in served and before.get(each) != after[each]],
        removed=[
            each
            for each in before
            if each not in after
            and each in served
            and (each not in asleep or served[each].state in (State.NEW, State.PENDING))
        ],
    )
