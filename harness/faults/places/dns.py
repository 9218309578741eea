"""Faults of the DNS server and of the way between it and its clients."""

from __future__ import annotations

from typing import Final

from harness.faults.answers import CONNECTION
from harness.faults.datagrams import on_the_way
from harness.faults.deeds import Close, Remove, Replace, Reset, Source, Status
from harness.faults.vocabulary import Fact, Field, Occasion, Place, Takes

_MESSAGES: Final = ("reply", "request")

PLACE: Final = Place(
    name="dns",
    rank=40,
    meaning="the DNS server over UDP and TCP, and the way between it and the machine",
    occasions=(
        Occasion(name="reply", meaning="the server answers"),
        Occasion(name="request", meaning="a client asks"),
        Occasion(name=CONNECTION, meaning="a client connected over TCP, and said nothing yet"),
    ),
    facts=(
        Fact(name="name", meaning="the name that is asked for, lower case, no final dot",
             occasions=_MESSAGES),
        Fact(name="type", meaning="the record type that is asked for: A, AAAA, …",
             occasions=_MESSAGES),
        Fact(name="transport", meaning="how it came", values=("udp", "tcp")),
        Fact(name="rcode", meaning="the answer's code: NOERROR, NXDOMAIN, …",
             occasions=("reply",)),
    ),
    deeds=(
        *on_the_way(
            "dns", "name: registry.*, type: A", messages=_MESSAGES, also=(CONNECTION,)
        ),
        Takes(
            deed=Close,
            meaning="the connection is closed at once",
            example="{at: dns, do: close}",
            occasions=(CONNECTION,),
        ),
        Takes(
            deed=Reset,
            meaning="the connection is broken off at once",
            example="{at: dns, when: {first: 1}, do: reset}",
            occasions=(CONNECTION,),
        ),
        Takes(
            deed=Status,
            meaning="no answer but this response code",
            example="{at: dns, when: {name: registry.*, first: 3}, do: {status: SERVFAIL}}",
            occasions=("reply",),
        ),
        Takes(
            deed=Replace,
            meaning="the answer says something else",
            example="{at: dns, when: {type: A}, do: {replace: {answers: [192.168.77.250]}}}",
            occasions=("reply",),
        ),
        Takes(
            deed=Remove,
            meaning="parts of the answer are missing",
            example="{at: dns, when: {name: '*.lab'}, do: {remove: answers}}",
            occasions=("reply",),
        ),
        Takes(
            deed=Source,
            meaning="the answer comes from another address or port (UDP)",
            example="{at: dns, do: {source: {address: 192.168.77.53}}}",
            occasions=("reply",),
        ),
    ),
    fields=(
        Field(name="answers", form="addresses", meaning="the addresses"),
        Field(name="id", form="number", meaning="added to the identifier: 1 makes it wrong"),
        Field(name="tc", form="flag", meaning="truncated: ask again over TCP (transport: udp)"),
        Field(name="aa", form="flag", meaning="authoritative"),
        Field(name="question", form="text", meaning="the question that is echoed (remove only)"),
    ),
)  # fmt: skip
