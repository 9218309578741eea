"""Faults of the DHCP server and of the way between it and its clients."""

from __future__ import annotations

import re
from typing import Final

from harness.faults.datagrams import on_the_way
from harness.faults.deeds import Remove, Replace, SecondServer, Source
from harness.faults.vocabulary import Fact, Field, Occasion, Place, Takes
from harness.wire.dhcp4 import MessageType
from harness.wire.netboot import Stage

STAGES: Final = tuple(stage.value for stage in Stage)
_MESSAGES: Final = tuple(kind.name for kind in MessageType)
_NUMBER: Final = re.compile(r"(?:option )?(\d{1,3})")

FIELDS: Final = (
    Field(name="op", form="count", meaning="1 BOOTREQUEST, 2 BOOTREPLY"),
    Field(name="xid", form="octets", meaning="transaction identifier, 4 octets"),
    Field(name="secs", form="count", meaning="header field"),
    Field(name="flags", form="count", meaning="header field; 32768 asks for a broadcast"),
    Field(name="ciaddr", form="address", meaning="header field: the client's address"),
    Field(name="yiaddr", form="address", meaning="header field: the address that is given"),
    Field(name="siaddr", form="address", meaning="header field: the next server"),
    Field(name="giaddr", form="address", meaning="header field: the relay agent"),
    Field(name="chaddr", form="octets", meaning="header field: the client's MAC"),
    Field(name="sname", form="text", meaning="header field: the server's name"),
    Field(name="file", form="text", meaning="header field: the boot file"),
    Field(name="subnet mask", form="address", meaning="option 1: the netmask"),
    Field(name="router", form="addresses", meaning="option 3: the gateway"),
    Field(name="name server", form="addresses", meaning="option 6: DNS servers"),
    Field(name="log server", form="addresses", meaning="option 7: syslog servers"),
    Field(name="host name", form="text", meaning="option 12"),
    Field(name="domain name", form="text", meaning="option 15"),
    Field(name="broadcast address", form="address", meaning="option 28"),
    Field(name="time server", form="addresses", meaning="option 42: NTP servers"),
    Field(name="vendor specific", form="octets", meaning="option 43"),
    Field(name="requested address", form="address", meaning="option 50"),
    Field(name="lease time", form="duration", meaning="option 51"),
    Field(name="message type", form="text", meaning="option 53: OFFER, NAK, …"),
    Field(name="server identifier", form="address", meaning="option 54"),
    Field(name="message", form="text", meaning="option 56"),
    Field(name="vendor class", form="text", meaning="option 60"),
    Field(name="client identifier", form="octets", meaning="option 61"),
    Field(name="tftp server name", form="text", meaning="option 66"),
    Field(name="boot file name", form="text", meaning="option 67"),
    Field(name="user class", form="text", meaning="option 77"),
    Field(name="relay agent", form="octets", meaning="option 82"),
    Field(name="ipxe", form="octets", meaning="option 175"),
)


def _by_number(name: str) -> Field | None:
    """Return the field of an option that is named by its number: ``43``, ``option 43``."""
    match = _NUMBER.fullmatch(name)
    if match is None or not 1 <= int(match[1]) <= 254:
        return None
    return Field(name=f"option {int(match[1])}", form="octets", meaning=f"option {match[1]}")


PLACE: Final = Place(
    name="dhcp",
    rank=10,
    meaning="the DHCP server, and the way between it and the machine",
    occasions=(
        Occasion(name="reply", meaning="the server answers: OFFER, ACK"),
        Occasion(name="request", meaning="a client asks: DISCOVER, REQUEST"),
    ),
    facts=(
        Fact(
            name="message",
            meaning="its type; DISCOVER and REQUEST are requests, OFFER and ACK replies",
            values=_MESSAGES,
            only_at={
                **dict.fromkeys(("DISCOVER", "REQUEST", "DECLINE", "RELEASE", "INFORM"), "request"),
                **dict.fromkeys(("OFFER", "ACK", "NAK"), "reply"),
            },
        ),
        Fact(name="stage", meaning="how far the client is", values=STAGES),
        Fact(name="to", meaning="the same", values=STAGES, occasions=("reply",)),
        Fact(name="from", meaning="the same", values=STAGES, occasions=("request",)),
        Fact(name="vendor class", meaning="option 60 of the request"),
        Fact(name="user class", meaning="option 77 of the request"),
        Fact(name="arch", meaning="option 93 of the request", kind="number"),
        Fact(name="requested", meaning="option 50 of the request"),
        Fact(name="file", meaning="the boot file that is named", occasions=("reply",)),
        Fact(name="address", meaning="the address that is given", occasions=("reply",)),
    ),
    deeds=(
        *on_the_way("dhcp", "message: OFFER, to: firmware, until: 20 s"),
        Takes(
            deed=Replace,
            meaning="header fields and options say something else",
            example=(
                "{at: dhcp, when: {message: ACK}, "
                "do: {replace: {file: wrong.efi, lease time: 60 s}}}"
            ),
            occasions=("reply", "request"),
        ),
        Takes(
            deed=Remove,
            meaning="header fields are empty, options are missing",
            example="{at: dhcp, when: {to: guest}, do: {remove: [router, name server, option 42]}}",
        ),
        Takes(
            deed=Source,
            meaning="the answer comes from another address or port",
            example="{at: dhcp, when: {message: OFFER}, do: {source: {address: 192.168.77.99}}}",
            occasions=("reply",),
        ),
        Takes(
            deed=SecondServer,
            meaning="a second server answers too, with its own identifier, next server and fields",
            example=(
                "{at: dhcp, when: {message: OFFER, to: firmware}, "
                "do: {second server: {address: 192.168.77.66, fields: {file: rogue.efi}}}}"
            ),
            occasions=("reply",),
        ),
    ),
    fields=FIELDS,
    other_fields=_by_number,
    other_fields_pattern=r"^(option )?\d{1,3}$",
    other_fields_words="option NUMBER",
)
