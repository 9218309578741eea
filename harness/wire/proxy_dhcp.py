"""How Tinkerbell's smee v0.25.0 answers as a ProxyDHCP server: boot data, never an address.

Beside it stands a DHCP server that hands out addresses and knows nothing of netboot. Mode
``proxy`` answers machines that have Hardware, ``auto-proxy`` every netboot client.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from harness.wire import dhcp4
from harness.wire.dhcp4 import Code, Message, MessageType
from harness.wire.dhcp_reply import reply_to
from harness.wire.netboot import (
    BINARIES,
    Client,
    ClientKind,
    NetbootConfig,
    Reservations,
    file_of,
    netboot_refusal,
    next_server,
    vendor_specific,
)

_BOOTREQUEST: Final = 1


class Mode(StrEnum):
    """smee's ``--dhcp-mode``."""

    RESERVATION = "reservation"
    """Addresses and boot data, for machines that have Hardware."""
    PROXY = "proxy"
    """Boot data only, for machines that have Hardware."""
    AUTO_PROXY = "auto-proxy"
    """Boot data only, for every netboot client; without Hardware it gets the static script."""


def proxy_reply(
    request: Message,
    client: Client,
    kind: MessageType,
    *,
    config: NetbootConfig,
    reservations: Reservations,
    auto: bool,
) -> Message | str:
    """Return the OFFER or ACK for ``request``, or why there is none.

    As in smee: option 97 is returned even when it was not sent (then empty), an architecture
    without a binary is silence although the Hardware may name one, the script's URL is never the
    Hardware's own, and ``disableDhcp`` does not matter.
    """
    if request.op != _BOOTREQUEST:
        return "no BOOTREQUEST"
    if not config.enabled:
        return "netboot is off"
    if reason := netboot_refusal(request):
        return f"no netboot client: {reason}"
    binary = {**BINARIES, **config.binaries}.get(client.arch, "")
    if not binary:
        return "there is no iPXE for this architecture"
    reservation = reservations.by_mac(client.mac)
    if reservation is None and not auto:
        return "no Hardware has this MAC"
    if reservation and not reservation.allow_pxe:
        file = f"/{client.mac}/netboot-not-allowed"
    else:
        own = reservation.ipxe_binary if reservation else ""
        file = file_of(client, own or binary, config.script_url_for(None, client.mac), config)
    server = next_server(client, config)
    options: dict[int, bytes] = {
        Code.VENDOR_SPECIFIC: vendor_specific(client.mac, trace=False),
        Code.MESSAGE_TYPE: bytes((kind,)),
        Code.SERVER_IDENTIFIER: dhcp4.packed(server),
        Code.VENDOR_CLASS: (client.kind or ClientKind.PXE).value.encode(),
        Code.MACHINE_IDENTIFIER: request.option(Code.MACHINE_IDENTIFIER) or b"",
    }
    return reply_to(request, options, file=file, siaddr=server, sname=server.encode())
