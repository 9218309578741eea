"""DHCP, which three phases begin with."""

from __future__ import annotations

from harness.phases import Party
from harness.timeline import Event
from harness.verdict.rules.case import Case, Finding, times


def dhcp_exchange(case: Case, stages: tuple[str, ...], who: str, party: Party) -> Finding | None:
    """Judge a DHCP exchange of ``who``; None when it ended in an ACK."""

    def of(*names: str) -> list[Event]:
        return [event for event in case.seen(*names) if event.get("stage") in stages]

    if of("dhcp.ack.sent"):
        return None
    ignored = of("dhcp.ignored")
    asked = of("dhcp.discover.received", "dhcp.request.received")
    if ignored:
        return Finding(
            blame=Party.DHCP,
            because=f"DHCP did not answer {who}: {ignored[-1].get('reason')}",
            evidence=[*asked[-3:], *ignored[-3:]],
            hint="is there Hardware with this MAC, and does it allow DHCP and netboot?",
        )
    offers = of("dhcp.offer.sent")
    if offers and not of("dhcp.request.received"):
        return Finding(
            blame=Party.UNKNOWN,
            because=(
                f"{who} never took the OFFER ({times(len(offers))} sent): not enough evidence"
                " whether it was lost or refused"
            ),
            evidence=[*asked[-3:], *offers[-3:]],
            hint="look for the OFFER in the capture",
        )
    if asked:
        return Finding(
            blame=Party.DHCP,
            because=f"{who} asked {times(len(asked))} for an address and got no answer",
            evidence=asked[-5:],
        )
    return Finding(blame=party, because=f"{who} never asked for an address", evidence=case.here[:1])
