"""A DHCP server that answers as Tinkerbell's smee v0.25.0 does, in each of its modes.

Every address is a reservation. There is never a NAK; a client without a reservation, or whose
DHCP is disabled, hears nothing. The proxy modes give no addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from harness.wire import dhcp4
from harness.wire.commands import Address, Command, Note, Send
from harness.wire.dhcp4 import Code, Message, MessageType, Option
from harness.wire.dhcp_reply import reply_to, told
from harness.wire.netboot import (
    Client,
    NetbootConfig,
    Reservation,
    Reservations,
    boot_file,
    classify,
    netboot_refusal,
)
from harness.wire.proxy_dhcp import Mode, proxy_reply

_ANSWERS: Final[Mapping[int, MessageType]] = {
    MessageType.DISCOVER: MessageType.OFFER,
    MessageType.REQUEST: MessageType.ACK,
}


class DhcpServer:
    """``receive`` turns a datagram into what to send and what to note. Keeps no leases."""

    def __init__(
        self,
        *,
        config: NetbootConfig,
        reservations: Reservations,
        mode: Mode = Mode.RESERVATION,
    ) -> None:
        self.config = config
        self.reservations = reservations
        self.mode = mode

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Answer one datagram from ``peer``. Raises ``DecodeError`` for what is no DHCP."""
        del now  # nothing here depends on time: reservations do not expire
        message = dhcp4.decode(datagram, overload=False)
        client = classify(message, self.config)
        who = {"mac": client.mac, "xid": message.transaction, "stage": client.stage.value}
        kind = message.type
        if kind is None or kind not in _ANSWERS:
            return [_unanswered(message, client, who)]
        received = Note(
            name=f"dhcp.{MessageType(kind).name.lower()}.received",
            fields={
                **who,
                "vendor_class": client.vendor_class,
                "user_class": client.user_class,
                "arch": client.reported_arch,
                "giaddr": message.giaddr if message.giaddr != "0.0.0.0" else None,
            }
            | (_of_a_request(message) if kind == MessageType.REQUEST else {}),
        )
        reply = self.answer(message, client, _ANSWERS[kind])
        if isinstance(reply, str):
            ignored = {**who, "message": MessageType(kind).name, "reason": reply}
            return [received, Note(name="dhcp.ignored", fields=ignored)]
        destination = reply_destination(message, peer)
        sent = Note(
            name=f"dhcp.{_ANSWERS[kind].name.lower()}.sent",
            fields={
                **who,
                **told(reply),
                "destination": f"{destination[0]}:{destination[1]}",
            },
        )
        return [received, Send(data=dhcp4.encode(reply), destination=destination), sent]

    def timer(self, name: str, now: float) -> list[Command]:
        """Do nothing: this server sets no timers."""
        del name, now
        return []

    def answer(self, request: Message, client: Client, kind: MessageType) -> Message | str:
        """Return the OFFER or ACK for ``request``, or why there is none."""
        if self.mode is not Mode.RESERVATION:
            return proxy_reply(
                request,
                client,
                kind,
                config=self.config,
                reservations=self.reservations,
                auto=self.mode is Mode.AUTO_PROXY,
            )
        reservation = self.reservations.by_mac(client.mac)
        if reservation is None:
            return "no Hardware has this MAC"
        if reservation.disabled:
            return "DHCP is disabled"
        return self.reply(request, reservation, kind)

    def reply(self, request: Message, reservation: Reservation, kind: MessageType) -> Message:
        """Return the OFFER or ACK for ``request``, options in order of their code."""
        config = self.config
        options: dict[int, bytes] = {
            Code.MESSAGE_TYPE: bytes((kind,)),
            Code.SERVER_IDENTIFIER: dhcp4.packed(config.server),
            **_reserved_options(reservation),
        }
        if config.syslog:
            options[Code.LOG_SERVER] = dhcp4.packed(config.syslog)
        file, next_server = reservation.boot_file_name, config.server
        users_own = reservation.tftp_server_name or reservation.boot_file_name
        if config.enabled and not users_own and netboot_refusal(request) is None:
            client = classify(request, config)
            boot = boot_file(client, reservation, config)
            file, next_server = boot.file, boot.next_server
            if (request.option(Code.VENDOR_CLASS) or b"").startswith(b"HTTPClient"):
                options[Code.VENDOR_CLASS] = b"HTTPClient"
            if boot.vendor_specific is not None:
                options[Code.VENDOR_SPECIFIC] = boot.vendor_specific
            if config.no_pxedhcp:
                options[Code.IPXE] = dhcp4.encode_options([Option(176, b"\x01")])
        return reply_to(
            request, options, file=file, siaddr=next_server, yiaddr=reservation.address or "0.0.0.0"
        )


def reply_destination(request: Message, peer: Address) -> Address:
    """Return where a reply goes: the relay's port 67, else the sender, else everybody.

    smee sends to the address a request came from and only looks at giaddr; the broadcast flag
    plays no part (unlike RFC 2131 §4.1).
    """
    if request.giaddr != "0.0.0.0":
        return request.giaddr, dhcp4.SERVER_PORT
    if peer[0] == "0.0.0.0":
        return "255.255.255.255", peer[1]
    return peer


def _reserved_options(reservation: Reservation) -> dict[int, bytes]:
    options: dict[int, bytes] = {Code.LEASE_TIME: struct.pack("!I", reservation.lease_s)}
    if reservation.address:  # the mask may have holes: Go does not mind
        mask = dhcp4.packed(reservation.netmask)
        address = int.from_bytes(dhcp4.packed(reservation.address), "big")
        host_bits = ~int.from_bytes(mask, "big") & 0xFFFF_FFFF
        options[Code.SUBNET_MASK] = mask
        options[Code.BROADCAST_ADDRESS] = (address | host_bits).to_bytes(4, "big")
    if reservation.gateway:
        options[Code.ROUTER] = dhcp4.packed(reservation.gateway)
    if reservation.name_servers:
        options[Code.NAME_SERVER] = dhcp4.addresses(reservation.name_servers)
    if reservation.time_servers:
        options[Code.TIME_SERVER] = dhcp4.addresses(reservation.time_servers)
    if reservation.hostname:
        options[Code.HOST_NAME] = reservation.hostname.encode()
    if reservation.domain:
        options[Code.DOMAIN_NAME] = reservation.domain.encode()
        # smee's library takes a dot at the end for one more label, which is empty
        end = b"\0" if reservation.domain.endswith(".") else b""
        options[Code.DOMAIN_SEARCH] = dhcp4.domain_search([reservation.domain]) + end
    if reservation.routes:
        options[Code.CLASSLESS_ROUTES] = dhcp4.classless_routes(reservation.routes)
    if reservation.tftp_server_name:
        options[Code.TFTP_SERVER_NAME] = reservation.tftp_server_name.encode()
    if reservation.boot_file_name:
        options[Code.BOOT_FILE_NAME] = reservation.boot_file_name.encode()
    return options


def _requested(message: Message) -> str | None:
    if asked := message.address(Code.REQUESTED_ADDRESS):
        return asked
    return message.ciaddr if message.ciaddr != "0.0.0.0" else None


def _of_a_request(message: Message) -> dict[str, Any]:
    """Return what a REQUEST says beside what a DISCOVER does: which server's OFFER it takes."""
    return {"requested": _requested(message), "server": message.address(Code.SERVER_IDENTIFIER)}


def _unanswered(message: Message, client: Client, who: Mapping[str, Any]) -> Note:
    """Note a message that smee only logs."""
    address = _requested(message)
    match message.type:
        case MessageType.RELEASE:
            return Note(name="dhcp.release.received", fields={**who, "address": address})
        case MessageType.DECLINE:
            said = message.text(Code.MESSAGE)
            fields = {**who, "address": address, "message": said}
            return Note(name="dhcp.decline.received", fields=fields)
        case MessageType.INFORM:
            return Note(name="dhcp.inform.received", fields={**who, "address": address})
        case other:
            name = "none" if other is None else getattr(other, "name", str(other))
            reason = "not a message a server answers"
            return Note(name="dhcp.ignored", fields={**who, "message": name, "reason": reason})
