"""Faults of the IPv6 router that the lab says there is none of."""

from __future__ import annotations

from typing import Final

from harness.faults.deeds import Corrupt, Delay, Drop, Duplicate, Replace, Truncate
from harness.faults.vocabulary import Fact, Field, Occasion, Place, Takes

REPLY: Final = "reply"
REQUEST: Final = "request"

PLACE: Final = Place(
    name="radv",
    rank=11,
    meaning="router advertisements (IPv6): iPXE waits for one before it asks for DHCP",
    occasions=(
        Occasion(name=REPLY, meaning="the lab says that there is no router"),
        Occasion(name=REQUEST, meaning="a machine looks for a router"),
    ),
    facts=(Fact(name="source", meaning="the machine's IPv6 address; :: before it has one"),),
    deeds=(
        Takes(
            deed=Drop,
            meaning="no advertisement: iPXE waits out its time",
            example="{at: radv, do: drop}",
        ),
        Takes(
            deed=Delay,
            meaning="it comes later",
            example="{at: radv, do: {delay: 2 s}}",
            occasions=(REPLY,),
        ),
        Takes(
            deed=Duplicate,
            meaning="it comes more than once",
            example="{at: radv, do: {duplicate: 3}}",
            occasions=(REPLY,),
        ),
        Takes(
            deed=Corrupt,
            meaning="octets of its frame are changed",
            example="{at: radv, do: {corrupt: {at: 56}}}",
            occasions=(REPLY,),
        ),
        Takes(
            deed=Truncate,
            meaning="its frame is cut off",
            example="{at: radv, do: {truncate: 60}}",
            occasions=(REPLY,),
        ),
        Takes(
            deed=Replace,
            meaning="it says something else: that there is a router, or a DHCPv6 server",
            example="{at: radv, do: {replace: {managed: true, lifetime: 30 min}}}",
            occasions=(REPLY,),
        ),
    ),
    fields=(
        Field(name="lifetime", form="duration", meaning="how long it is a router; 0: it is none"),
        Field(name="managed", form="flag", meaning="addresses come by DHCPv6"),
        Field(name="other", form="flag", meaning="the rest comes by DHCPv6"),
        Field(name="hop limit", form="count", meaning="of what machines send"),
        Field(name="prefix", form="text", meaning="such as 2001:db8::/64: make an address of it"),
        Field(name="mtu", form="count", meaning="the link's MTU"),
    ),
)
