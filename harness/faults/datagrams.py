"""The deeds that any datagram service can do, since they need not know what a datagram says."""

from __future__ import annotations

from harness.faults.deeds import Corrupt, Delay, Drop, Duplicate, Reorder, Truncate
from harness.faults.vocabulary import Takes


def on_the_way(
    place: str, when: str, *, messages: tuple[str, ...] = (), also: tuple[str, ...] = ()
) -> tuple[Takes, ...]:
    """Return drop, delay, duplicate, reorder, corrupt and truncate; ``when`` is an example's.

    ``messages`` are the occasions that have a message (empty: all); what is not one (``also``)
    can only be dropped and delayed.
    """

    def example(do: str) -> str:
        return f"{{at: {place}, when: {{{when}}}, do: {do}}}"

    return (
        Takes(
            deed=Drop,
            meaning="lost on the way: the server did answer, or never heard the request",
            example=example("drop"),
            occasions=(*messages, *also),
        ),
        Takes(
            deed=Delay,
            meaning="arrives later; what comes after it may overtake it",
            example=example("{delay: 3 s}"),
            occasions=(*messages, *also),
        ),
        Takes(
            deed=Duplicate,
            meaning="arrives more than once",
            example=example("{duplicate: 2}"),
            occasions=messages,
        ),
        Takes(
            deed=Reorder,
            meaning="arrives after those that follow it",
            example=example("reorder"),
            occasions=messages,
        ),
        Takes(
            deed=Corrupt,
            meaning="some octets arrive changed",
            example=example("{corrupt: {octets: 4, at: 8}}"),
            occasions=messages,
        ),
        Takes(
            deed=Truncate,
            meaning="the datagram is cut off",
            example=example("{truncate: 40}"),
            occasions=messages,
        ),
    )
