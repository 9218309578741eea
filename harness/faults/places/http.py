"""Faults of the HTTP server of scripts, binaries, kernel and initramfs."""

from __future__ import annotations

from typing import Final

from harness.faults.answers import FACTS, FIELDS, OCCASIONS, REQUEST, deeds, header, tls
from harness.faults.vocabulary import Fact, Place

PLACE: Final = Place(
    name="http",
    rank=30,
    meaning="the HTTP server of scripts, boot programs, kernel and initramfs",
    occasions=OCCASIONS,
    facts=(
        Fact(
            name="file",
            meaning="what is asked for",
            values=("script", "binary", "iso", "kernel", "initramfs", "other"),
            occasions=(REQUEST,),
        ),
        *FACTS,
    ),
    deeds=(*deeds("http", "{file: initramfs}"), *tls("http")),
    fields=FIELDS,
    other_fields=header,
    other_fields_words="any header",
)
