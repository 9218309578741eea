"""Faults of the way to the syslog sink."""

from __future__ import annotations

from typing import Final

from harness.faults.datagrams import on_the_way
from harness.faults.vocabulary import Fact, Occasion, Place
from harness.wire.syslog import FACILITIES, SEVERITIES

PLACE: Final = Place(
    name="syslog",
    rank=42,
    meaning="the way to the syslog sink; what is lost there, the lab does not know either",
    occasions=(Occasion(name="request", meaning="a message arrives"),),
    facts=(
        Fact(name="tag", meaning="the program that says it"),
        Fact(name="message", meaning="its text"),
        Fact(name="severity", meaning="how bad", values=SEVERITIES),
        Fact(name="facility", meaning="which part of the system", values=FACILITIES),
        Fact(name="length", meaning="octets of the datagram", kind="number"),
    ),
    deeds=on_the_way("syslog", "length: '> 1024'"),
)
