"""The frame of every reply of smee's: what it returns of the request, and in which order."""

from __future__ import annotations

from typing import Final

from harness.wire.dhcp4 import Code, Message, Option

_FILE_BYTES: Final = 127
"""smee's library keeps the last octet of ``file`` for a NUL."""


def reply_to(
    request: Message,
    options: dict[int, bytes],
    *,
    file: str,
    siaddr: str,
    yiaddr: str = "0.0.0.0",
    sname: bytes = b"",
) -> Message:
    """Return a BOOTREPLY as smee's library makes it: options in order of their code, 82 last.

    The relay's and the client's identifiers are returned (RFC 3046 §2.2, RFC 6842 §3).
    """
    for echoed in (Code.RELAY_AGENT, Code.CLIENT_IDENTIFIER):
        if value := request.option(echoed):  # an empty one is not returned
            options[echoed] = value
    relay_agent_last = sorted(options, key=lambda code: (code == Code.RELAY_AGENT, code))
    return Message(
        op=1 if request.op != 1 else 2,  # the library turns a BOOTREPLY into a BOOTREQUEST
        htype=request.htype,
        xid=request.xid,
        flags=request.flags,
        yiaddr=yiaddr,
        siaddr=siaddr,
        giaddr=request.giaddr,
        chaddr=request.chaddr,
        sname=sname,
        file=file.encode()[:_FILE_BYTES],
        options=tuple(Option(code, options[code]) for code in relay_agent_last),
    )
