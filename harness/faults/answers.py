"""What the places that speak HTTP have in common: moments, facts and deeds of an answer.

Octets are counted in the body. ``at: 0`` is before the head: the client gets nothing at all.
"""

from __future__ import annotations

from typing import Final

from harness.faults.deeds import (
    Certificate,
    Close,
    Corrupt,
    Delay,
    Drop,
    Handshake,
    Redirect,
    Remove,
    Replace,
    Reset,
    Speak,
    Stall,
    Status,
    Trickle,
    Truncate,
)
from harness.faults.vocabulary import Fact, Field, Occasion, Takes

REQUEST: Final = "request"
CONNECTION: Final = "connection"

OCCASIONS: Final = (
    Occasion(name=REQUEST, meaning="a request came, and its answer is about to be sent"),
    Occasion(name=CONNECTION, meaning="a client connected, and has said nothing yet"),
)
FACTS: Final = (
    Fact(name="method", meaning="GET, HEAD, …", occasions=(REQUEST,)),
    Fact(name="path", meaning="without the query", occasions=(REQUEST,)),
    Fact(name="agent", meaning="the client's User-Agent", occasions=(REQUEST,)),
    Fact(name="range", meaning="the Range header", occasions=(REQUEST,)),
    Fact(
        name="status",
        meaning="what would be answered",
        kind="number",
        occasions=(REQUEST,),
    ),
    Fact(name="peer", meaning="the client, ADDRESS:PORT", occasions=(CONNECTION,)),
)
FIELDS: Final = (
    Field(name="status", form="count", meaning="the status code"),
    Field(name="body", form="text", meaning="the whole body; its length follows"),
    Field(name="content-length", form="count", meaning="the length that is told, true or not"),
    Field(name="content-type", form="text", meaning="the type that is told"),
)


def header(name: str) -> Field | None:
    """Return the field of any other header."""
    if not name or not all(char.isalnum() or char == "-" for char in name):
        return None
    return Field(name=name.lower(), form="text", meaning="header field")


def deeds(place: str, some: str) -> tuple[Takes, ...]:
    """Return the deeds of an HTTP server; ``some`` is the ``when`` of the examples."""

    def example(do: str, when: str = some) -> str:
        return f"{{at: {place}, when: {when}, do: {do}}}"

    connected = "{occasion: connection, first: 3}"
    return (
        Takes(
            deed=Status,
            meaning="the server refuses, in its usual words",
            example=example(
                "{status: {code: 503, headers: {Retry-After: '5'}}}", some[:-1] + ", first: 3}"
            ),
            occasions=(REQUEST,),
        ),
        Takes(
            deed=Redirect,
            meaning="the answer names another place",
            example=example("{redirect: 'http://192.168.77.1:9/nowhere'}"),
            occasions=(REQUEST,),
        ),
        Takes(
            deed=Replace,
            meaning="status, body or headers say something else; a wrong length is kept",
            example=example("{replace: {content-type: text/html, content-length: 1000}}"),
            occasions=(REQUEST,),
        ),
        Takes(
            deed=Remove,
            meaning="headers are missing, or the body",
            example=example("{remove: [etag, accept-ranges]}"),
            occasions=(REQUEST,),
        ),
        Takes(
            deed=Truncate,
            meaning="the body is shorter, and its length says so; 'close' keeps the length",
            example=example("{truncate: 1 KiB}"),
            occasions=(REQUEST,),
        ),
        Takes(
            deed=Corrupt,
            meaning="some octets of the body are changed",
            example=example("{corrupt: {octets: 8, at: 100}}"),
            occasions=(REQUEST,),
        ),
        Takes(
            deed=Trickle,
            meaning="the body comes slowly",
            example=example("{trickle: {octets_per_s: 1 KiB, at: 1 MiB}}"),
            occasions=(REQUEST,),
        ),
        Takes(
            deed=Delay,
            meaning="the answer, or the connection's service, comes later",
            example=example("{delay: 5 s}"),
        ),
        Takes(
            deed=Drop,
            meaning="no answer at all, and the connection stays open",
            example=example("drop", connected),
        ),
        Takes(
            deed=Close,
            meaning="the connection ends after so many octets of the body; 0: before the head",
            example=example("{close: 1 MiB}"),
        ),
        Takes(
            deed=Reset,
            meaning="the same with an RST",
            example=example("reset", connected),
        ),
        Takes(
            deed=Stall,
            meaning="nothing more comes after so many octets of the body; 0: not even the head",
            example=example("{stall: {at: 1 MiB}}"),
        ),
    )


def tls(place: str) -> tuple[Takes, ...]:
    """Return what can be done to the TLS of a server."""
    return (
        Takes(
            deed=Certificate,
            meaning="the certificate that is shown is wrong (where the server speaks TLS)",
            example=f"{{at: {place}, when: {{first: 2}}, do: {{certificate: expired}}}}",
            occasions=(CONNECTION,),
        ),
        Takes(
            deed=Handshake,
            meaning="other TLS versions, another kind of key, smaller records or segments",
            example=f"{{at: {place}, do: {{handshake: {{at_most: TLSv1.2, records: 100}}}}}}",
            occasions=(CONNECTION,),
        ),
        Takes(
            deed=Speak,
            meaning="plain HTTP where TLS is expected, or the reverse",
            example=f"{{at: {place}, when: {{nth: 1}}, do: {{speak: plaintext}}}}",
            occasions=(CONNECTION,),
        ),
    )
