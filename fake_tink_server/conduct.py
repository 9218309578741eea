"""How the server behaves on one connection: decided when it is accepted, plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from harness.certificates import Kind
from harness.handshake import USUAL, Manner


class Silence(StrEnum):
    """From which moment on nothing is answered, with the connection left open."""

    ACCEPT = "accept"
    """TCP only: no octet is ever sent."""
    SETTINGS = "settings"
    """HTTP/2 comes about, and no call is ever answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goaway:
    """The client is asked to leave, RFC 9113 §6.8."""

    after_s: float = 0.0
    """Seconds since the connection became gRPC."""
    code: int = 0
    """0 NO_ERROR, 11 ENHANCE_YOUR_CALM, …: RFC 9113 §7."""
    last_stream: int | None = None
    """None: the last one the client opened, so that calls under way are answered."""
    debug: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What goes wrong on one connection. The default: nothing.

    Octets count what the server sends, without TLS; seconds count from the moment the connection
    became gRPC.
    """

    certificate: Kind | None = None
    """None: the server's own."""
    manner: Manner = USUAL
    """How the TLS handshake is done."""
    tls: bool | None = None
    """Whether TLS is spoken; None: as the server is set up."""
    silent_from: Silence | None = None
    reset_at: int | None = None
    """RST after so many octets; 0: as soon as it is accepted."""
    reset_after_s: float | None = None
    close_at: int | None = None
    """FIN after so many octets; 0: as soon as it is accepted."""
    close_after_s: float | None = None
    stall_at: int | None = None
    """Half-open after so many octets: nothing is read or sent, nothing is closed."""
    stall_after_s: float | None = None
    goaway: Goaway | None = None


FAITHFUL = Conduct()

Decide = Callable[[str], Conduct]
"""Called with a connection's peer (``address:port``) when it is accepted."""
