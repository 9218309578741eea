"""The lab's stand-ins: thin asyncio shells around the cores in ``harness.wire``.

* ``udp`` — the one shell of every UDP service: commands become datagrams, timers and events.
* ``web_service`` — the same for HTTP: ``http`` and ``registry`` say what is answered.
* ``dhcp``, ``tftp``, ``http`` — what brings a machine from its firmware into Hook.
* ``dns``, ``ntp``, ``syslog``, ``radv`` — what Hook and old iPXEs look for on their network.
* ``registry`` — OCI images for the docker engine in the machine.

A service is built with keyword arguments only, does nothing until ``start``, and can be stopped
at any time. Malformed input becomes a ``….malformed`` event; a bug fails the lab at once through
``TaskKeeper.fail``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

Identify = Callable[[str], str | None]
"""Tells the MAC behind an IPv4 address, or None when the neighbour table does not know it."""


@runtime_checkable
class Numbers(Protocol):
    """What tells of its requests by numbers, which go on in a lab that is resumed."""

    numbered: int
    """How many requests have a number; the next one's is one more."""


class Service(Protocol):
    """What every stand-in offers."""

    name: str

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed`` with the cause when that is impossible."""

    async def stop(self) -> None:
        """Stop listening; may be called twice, and returns soon."""
