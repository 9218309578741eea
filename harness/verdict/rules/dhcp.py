"""DHCP, which three phases begin with."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from harness.phases import Party
from harness.timeline import Event
from harness.verdict.rules.case import Case, Finding, argument, lines_with, quoted, times


def dhcp_exchange(case: Case, stages: tuple[str, ...], who: str, party: Party) -> Finding | None:
    """Judge a DHCP exchange of ``who``; None when its ACK was taken (RFC 2131, section 3.1)."""

    def of(*names: str) -> list[Event]:
        return [event for event in case.seen(*names) if event.get("stage") in stages]

    if another := _another_server(case, stages, who):
        return another
    if acks := of("dhcp.ack.sent"):
        began = max((event.seq for event in of("dhcp.discover.received")), default=0)
        requests = [event for event in of("dhcp.request.received") if event.seq > began]
        return _acks_unheard(who, [event for event in acks if event.seq > began], requests)
    naks = of("dhcp.nak.sent")
    if naks:
        requests = of("dhcp.request.received")
        wanted = requests[-1].get("requested") if requests else None
        return Finding(
            blame=Party.DHCP,
            because=(
                f"DHCP refused {who} the address {wanted or 'it asked for'}: NAK,"
                f" {times(len(naks))}"
            ),
            evidence=[*requests[-2:], *naks[-3:]],
            hint="do two DHCP servers hand out addresses here, or did its lease move elsewhere?",
            conclusive=True,
        )
    ignored = of("dhcp.ignored")
    asked = of("dhcp.discover.received", "dhcp.request.received")
    offers = of("dhcp.offer.sent")
    if ignored and not offers:
        return _ignored(who, asked, ignored)
    if offers and not of("dhcp.request.received"):
        return _offers_not_taken(case, who, asked, offers, ignored)
    if offers:
        requests = of("dhcp.request.received")
        return Finding(
            blame=Party.DHCP,
            because=(
                f"{who} asked {times(len(requests))} for the address it was offered and got no ACK"
            ),
            evidence=[*offers[-2:], *requests[-3:]],
            hint="do two DHCP servers believe that the address is theirs?",
        )
    if asked:
        return Finding(
            blame=Party.DHCP,
            because=f"{who} asked {times(len(asked))} for an address and got no answer",
            evidence=asked[-5:],
        )
    in_vain = lines_with(_IN_VAIN, case.said("firmware found no network", "ipxe error"))
    if in_vain:
        return asked_in_vain(who, in_vain)
    return Finding(blame=party, because=f"{who} never asked for an address", evidence=case.here[:1])


def _acks_unheard(who: str, acks: list[Event], requests: list[Event]) -> Finding | None:
    """Judge a client that goes on asking for what it was acknowledged, with the same xid."""
    if not acks:
        return None
    xid = acks[-1].get("xid")
    first = next(event for event in acks if event.get("xid") == xid)
    again = [event for event in requests if event.get("xid") == xid and event.seq > first.seq]
    if xid is None or len(again) < _ASKED_AGAIN - 1:
        return None
    evidence = [first, *again[-3:], acks[-1]]
    asked, answers = again[-1].get("server"), acks[-1].get("server")
    if asked and answers and asked != answers:
        return Finding(
            blame=Party.DHCP,
            because=(
                f"{who} took the OFFER of {asked}, and the ACK it gets says that it is of {answers}"
            ),
            evidence=evidence,
            hint="option 54 has to be the same in OFFER and ACK",
        )
    return Finding(
        blame=Party.LINK,
        because=(
            f"{who} asked again, {times(len(again))}, for the address that DHCP had acknowledged:"
            " no ACK arrived, or it can't be read"
        ),
        evidence=evidence,
        hint="look for the ACK at both ends: is it sent where the client hears it?",
    )


_IN_VAIN: Final = re.compile(
    r"PXE-E18|No configuration methods succeeded|\bipxe\.org/(?:040ee1|4c1060)"
)
"""edk2's "server response timeout", and how iPXE ends its ``dhcp``."""


def asked_in_vain(who: str, said: list[Event]) -> Finding:
    """Return what a client that says it asked, and of which nothing was heard, tells."""
    return Finding(
        blame=Party.LINK,
        because=(
            f"{who} says that it asked for an address, and nothing of that arrived:"
            f" {quoted(said[0].get('line'))}"
        ),
        evidence=said[:3],
        hint="does the switch's port forward, in the right VLAN, and is there a relay if need be?",
    )


def _another_server(case: Case, stages: tuple[str, ...], who: str) -> Finding | None:
    """Judge a REQUEST that takes the OFFER of a server which is none of those known here.

    A client says by option 54 whose OFFER it takes, and minds no other's ACK (RFC 2131, 4.3.2).
    """
    offers = [e for e in case.seen("dhcp.offer.sent") if e.get("stage") in stages]
    known = {event.get("server") for event in offers if event.get("server")}
    requests = [e for e in case.seen("dhcp.request.received") if e.get("stage") in stages]
    if not known or not requests or requests[-1].get("server") in (None, *known):
        return None
    strange = [event for event in requests if event.get("server") not in (None, *known)]
    return Finding(
        blame=Party.DHCP,
        because=(
            f"{who} took the OFFER of another DHCP server, {strange[-1].get('server')}, instead of"
            f" that of {' or '.join(sorted(map(str, known)))}, {times(len(strange))}"
        ),
        evidence=[*offers[-2:], *strange[-3:]],
        hint="whose is that server? it must not answer this machine, or else know its boot file",
    )


def lease_elsewhere(case: Case, stage: str = "guest", who: str = "Hook") -> Finding | None:
    """Judge a lease: an address or a netmask that is not this network's, or a server's address."""
    leases = _leases(case, stage)
    here = _interface(case)
    if not leases or here is None or (stage == "guest" and argument(case, "ipam")):
        return None
    network = here.network
    last = leases[-1]
    address, mask = str(last.get("address") or "0.0.0.0"), last.get("netmask")
    if IPv4Address(address) not in network:
        wrong = f"{address}, which is not in this network"
    elif IPv4Address(address) == here.ip:
        wrong = f"{address}, which is that of the lab's servers"
    elif mask and mask != str(network.netmask):
        wrong = f"{address} with the netmask {mask}, which is not this network's"
    else:
        return None
    return Finding(
        blame=Party.DHCP,
        because=f"DHCP gave {who} the address {wrong} ({network})",
        evidence=[*case.seen("segment.created")[:1], *leases[-2:]],
        hint="is the address in its Hardware one of the network it is plugged into?",
    )


def lease_lost(case: Case) -> Finding | None:
    """Judge a Hook that had an address, asks for one again and is heard of in no other way."""
    leases = hooks_leases(case)
    if not leases:
        return None
    last = leases[-1]
    asked, offers = (
        [e for e in case.seen(name, stage="guest")
         if e.seq > last.seq and e.get("mac") == last.get("mac")]
        for name in ("dhcp.discover.received", "dhcp.offer.sent")
    )  # fmt: skip
    if len(asked) < _ASKED_AGAIN:
        return None
    if any(event.seq > asked[1].seq for event in case.seen(*_FROM_HOOK)):
        return None
    what = (
        f"the OFFERs that it was sent, {times(len(offers))}, were not taken"
        if offers
        else "it got no answer"
    )
    return Finding(
        blame=Party.LINK if offers else Party.DHCP,
        because=(
            f"Hook's lease of {last.get('address')} ran out: it asked for an address again,"
            f" {times(len(asked))}, and {what}"
        ),
        evidence=[last, *asked[-3:], *offers[-1:]],
        hint="is the DHCP server still there, and does what it sends arrive? a longer lease helps",
    )


_ASKED_AGAIN: Final = 3
_FROM_HOOK: Final = (
    "registry.request.received",
    "tink.rpc.received",
    "syslog.message.received",
    "http.request.received",
)
"""What only a machine with an address can send."""


def hooks_leases(case: Case) -> list[Event]:
    """Return what Hook was given for the NIC it booted from; a BMC's may well be elsewhere."""
    return _leases(case, "guest")


def _leases(case: Case, stage: str) -> list[Event]:
    machine = case.tracker.machine
    own = machine.get("mac") if machine else None
    return [
        event
        for event in case.seen("dhcp.ack.sent", stage=stage)
        if (own is None or event.get("mac") == own) and event.get("address")
    ]


def absent_neighbour(case: Case, address: str | None) -> str | None:
    """Return where the lab's servers are when ``address`` is of their network and not theirs.

    None for a name, and for an address of another network: there may be a way to it.
    """
    here = _interface(case)
    try:
        asked = IPv4Address(address or "")
    except ValueError:
        return None
    if here is None or asked == here.ip or asked not in here.network:
        return None
    return str(here.ip)


def _interface(case: Case) -> IPv4Interface | None:
    """Return the lab's own address, with its network."""
    for event in case.seen("segment.created"):
        try:
            return IPv4Interface(str(event.get("address")))
        except ValueError:
            return None
    return None


def _ignored(who: str, asked: list[Event], ignored: list[Event]) -> Finding:
    """F10: silence on purpose."""
    reason = str(ignored[-1].get("reason"))
    unknown = "hardware" in reason.lower()
    mac = f" ({ignored[-1].get('mac')})" if unknown else ""
    return Finding(
        blame=Party.TINK if unknown else Party.DHCP,
        because=f"DHCP did not answer {who}: {reason}{mac}",
        evidence=[*asked[-3:], *ignored[-3:]],
        hint="is there Hardware with this MAC, and does it allow DHCP and netboot?",
        conclusive=True,
    )


def _offers_not_taken(
    case: Case, who: str, asked: list[Event], offers: list[Event], ignored: list[Event]
) -> Finding:
    """F8, F13, F14: OFFERs that are lost, or that are of no use.

    iPXE and dhcpcd take any OFFER with an address. edk2 (PxeBcDhcp4.c) wants a boot file as well,
    and tells what it got: E16 after OFFERs that are none of them valid, E18 after none at all.
    """
    said = [
        event
        for event in case.seen("guest.error.seen")
        if event.seq > offers[0].seq and "PXE-E1" in str(event.get("line"))
    ]
    code = next((c for c in ("PXE-E16", "PXE-E18") if said and c in str(said[0].get("line"))), "")
    evidence = [*asked[-3:], *offers[-3:], *said[:1]]
    without = [event for event in offers if not event.get("file")]
    firmware = any(event.get("stage") == "firmware" for event in offers)
    if firmware and len(without) == len(offers):
        reason = ""
        if ignored:
            reason = f": {ignored[-1].get('reason')}"
        elif any(event.get("arch") is None for event in asked):
            reason = ": its requests lack option 93, so that it is no netboot client"
        return Finding(
            blame=Party.DHCP,
            because=(
                f"DHCP offered the firmware an address, {times(len(offers))}, but never a boot"
                f" file{reason}"
            ),
            evidence=[*evidence, *ignored[-2:]],
            hint="who is to tell the boot file: this server, or a proxy beside it? is it up?",
        )
    if code == "PXE-E16":
        servers = sorted({str(event.get("server")) for event in offers if event.get("server")})
        from_whom = f" of {' and '.join(servers)}" if servers else ""
        return Finding(
            blame=Party.DHCP,
            because=(
                f"the firmware found none of the OFFERs{from_whom} valid ({times(len(offers))}"
                f" sent, {code})"
            ),
            evidence=evidence,
            hint="an OFFER needs an address and a boot file: by one server, or by it and a proxy",
        )
    ipxe_or_linux = not firmware and len(offers) > 1
    if code == "PXE-E18" or ipxe_or_linux:
        told = f", which says {code}" if code else ""
        return Finding(
            blame=Party.LINK,
            because=(
                f"DHCP answered {who}, {times(len(offers))}, and none of it arrived{told}: it is"
                " lost on the way, or can't be read"
            ),
            evidence=evidence,
            hint=(
                "look for the OFFER at both ends: does a relay send it where the client hears it,"
                " is the switch's port forwarding yet?"
            ),
        )
    return Finding(
        blame=Party.UNKNOWN,
        because=(
            f"{who} never took the OFFER ({times(len(offers))} sent): not enough evidence"
            " whether it was lost or refused"
        ),
        evidence=evidence,
        hint="look for the OFFER in the capture",
    )
