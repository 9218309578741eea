"""The frame of every reply of smee's, in which order its options stand, and what replies tell."""

from __future__ import annotations

from typing import Any, Final

from harness.errors import DecodeError
from harness.wire.dhcp4 import Code, Message, Option, unpack_addresses

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


def told(reply: Message) -> dict[str, Any]:
    """Return what a reply tells its client, by the names that the timeline has for it."""
    return {
        "address": reply.yiaddr if reply.yiaddr != "0.0.0.0" else None,
        "file": reply.boot_file or None,
        "next_server": reply.siaddr,
        "server": reply.address(Code.SERVER_IDENTIFIER),
        "netmask": reply.address(Code.SUBNET_MASK),
        "routers": _addresses(reply, Code.ROUTER),
        "name_servers": _addresses(reply, Code.NAME_SERVER),
    }


def _addresses(reply: Message, code: int) -> list[str] | None:
    try:
        return unpack_addresses(reply.option(code) or b"") or None
    except DecodeError:
        return None
