"""Faults of the metadata service."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from harness.faults.answers import FACTS, FIELDS, REQUEST, deeds, header
from harness.faults.deeds import Source
from harness.faults.vocabulary import Fact, Occasion, Place, Takes

LOOKUP: Final = "lookup"
_OVER_CONNECTION: Final = "{occasion: connection, first: 3}"

PLACE: Final = Place(
    name="metadata",
    rank=35,
    meaning="the metadata service: EC2-style leaves and /metadata",
    occasions=(
        Occasion(name=REQUEST, meaning="a request came, and its answer is about to be sent"),
        Occasion(name=LOOKUP, meaning="the caller is looked up by the address it comes from"),
    ),
    facts=(
        *(
            replace(fact, occasions=(REQUEST, LOOKUP)) if fact.name in ("method", "path") else fact
            for fact in FACTS
            if REQUEST in fact.occasions
        ),
        Fact(name="caller", meaning="the address it comes from", occasions=(LOOKUP,)),
    ),
    deeds=(
        *(
            replace(
                takes,
                occasions=(REQUEST,),
                example=takes.example.replace(_OVER_CONNECTION, "{first: 3}"),
            )
            for takes in deeds("metadata", "{path: '*/user-data'}")
        ),
        Takes(
            deed=Source,
            meaning="it is taken to come from another address, as behind source NAT",
            example="{at: metadata, do: {source: {address: 192.168.77.1}}}",
            occasions=(LOOKUP,),
        ),
    ),
    fields=FIELDS,
    other_fields=header,
    other_fields_words="any header",
)
