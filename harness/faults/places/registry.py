"""Faults of the OCI registry."""

from __future__ import annotations

from typing import Final

from harness.faults.answers import FACTS, FIELDS, OCCASIONS, REQUEST, deeds, header, tls
from harness.faults.vocabulary import Fact, Place

PLACE: Final = Place(
    name="registry",
    rank=35,
    meaning="the OCI registry that Hook and the worker pull from",
    occasions=OCCASIONS,
    facts=(
        Fact(name="registry", meaning="its name in `registries:`; Hook's own is `registry`"),
        Fact(
            name="object",
            meaning="what is asked for",
            values=(
                *("ping", "token", "manifest", "blob", "upload"),
                *("tags", "catalog", "referrer", "other"),
            ),
            occasions=(REQUEST,),
        ),
        Fact(name="repository", meaning="such as tink-worker", occasions=(REQUEST,)),
        Fact(name="reference", meaning="tag or digest, as asked", occasions=(REQUEST,)),
        Fact(
            name="digest",
            meaning="of the manifest or blob, also when a tag was asked for",
            occasions=(REQUEST,),
        ),
        *FACTS,
    ),
    deeds=(*deeds("registry", "{object: blob}"), *tls("registry")),
    fields=FIELDS,
    other_fields=header,
    other_fields_words="any header",
)
