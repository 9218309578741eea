"""Faults of the time server and of the way between it and its clients."""

from __future__ import annotations

from typing import Final

from harness.faults.datagrams import on_the_way
from harness.faults.deeds import Remove, Replace, Source, Status
from harness.faults.vocabulary import Fact, Field, Occasion, Place, Takes

PLACE: Final = Place(
    name="ntp",
    rank=41,
    meaning="the time server, and the way between it and the machine",
    occasions=(
        Occasion(name="reply", meaning="the server tells the time"),
        Occasion(name="request", meaning="a client asks"),
    ),
    facts=(
        Fact(name="version", meaning="protocol version", kind="number"),
        Fact(name="mode", meaning="3 client, 4 server", kind="number"),
    ),
    deeds=(
        *on_the_way("ntp", "first: 2"),
        Takes(
            deed=Status,
            meaning="a kiss-o'-death with this code: RATE, DENY, RSTR",
            example="{at: ntp, do: {status: RATE}}",
            occasions=("reply",),
        ),
        Takes(
            deed=Replace,
            meaning="the server claims something else",
            example="{at: ntp, do: {replace: {offset: -2 h, stratum: 16, leap: 3}}}",
            occasions=("reply",),
        ),
        Takes(
            deed=Remove,
            meaning="time stamps are 0",
            example="{at: ntp, do: {remove: transmitted}}",
            occasions=("reply",),
        ),
        Takes(
            deed=Source,
            meaning="the answer comes from another address or port",
            example="{at: ntp, do: {source: 1234}}",
            occasions=("reply",),
        ),
    ),
    fields=(
        Field(name="offset", form="offset", meaning="how far the clock is off"),
        Field(name="stratum", form="count", meaning="16 is not synchronised"),
        Field(name="leap", form="count", meaning="3 is not synchronised"),
        Field(name="version", form="count", meaning="protocol version, 1 to 7"),
        Field(name="mode", form="count", meaning="4 is a server"),
        Field(name="origin", form="count", meaning="what should echo the client's time stamp"),
        Field(name="reference id", form="octets", meaning="4 octets"),
        Field(name="reference", form="count", meaning="time stamp (64 bits)"),
        Field(name="received", form="count", meaning="time stamp (64 bits)"),
        Field(name="transmitted", form="count", meaning="time stamp (64 bits)"),
    ),
)
