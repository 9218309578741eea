"""Faults of the HTTP server of scripts, binaries, kernel and initramfs."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from harness.faults.answers import (
    CONNECTION,
    FACTS,
    FIELDS,
    OCCASIONS,
    REQUEST,
    deeds,
    header,
    tls,
)
from harness.faults.deeds import Source
from harness.faults.vocabulary import Fact, Occasion, Place, Takes

LOOKUP: Final = "lookup"
_BOTH: Final = ("method", "path")

PLACE: Final = Place(
    name="http",
    rank=30,
    meaning="the HTTP server of scripts, boot programs, kernel and initramfs",
    occasions=(
        *OCCASIONS,
        Occasion(
            name=LOOKUP,
            meaning="the script's path has no MAC address: the machine is looked up by the address"
            " that asks",
        ),
    ),
    facts=(
        Fact(
            name="file",
            meaning="what is asked for",
            values=("script", "binary", "iso", "kernel", "initramfs", "other"),
            occasions=(REQUEST,),
        ),
        *(
            replace(fact, occasions=(REQUEST, LOOKUP)) if fact.name in _BOTH else fact
            for fact in FACTS
        ),
        Fact(name="caller", meaning="the address it comes from", occasions=(LOOKUP,)),
    ),
    deeds=(
        *(
            takes if takes.occasions else replace(takes, occasions=(REQUEST, CONNECTION))
            for takes in deeds("http", "{file: initramfs}")
        ),
        *tls("http"),
        Takes(
            deed=Source,
            meaning="it is taken to come from another address, as behind source NAT",
            example="{at: http, do: {source: {address: 192.168.77.1}}}",
            occasions=(LOOKUP,),
        ),
    ),
    fields=FIELDS,
    other_fields=header,
    other_fields_words="any header",
)
