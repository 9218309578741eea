"""Sans-IO codecs and protocol state machines.

A server is ``receive(datagram, now) -> list[Command]``: it owns no socket, clock or log. ``now``
is in seconds. A small asyncio shell in ``harness.services`` does what the commands say.
"""

from harness.wire.commands import CancelTimer, Command, Note, Send, SetTimer

__all__ = ["CancelTimer", "Command", "Note", "Send", "SetTimer"]
