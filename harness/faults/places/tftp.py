"""Faults of the TFTP server and of the way between it and its clients."""

from __future__ import annotations

from typing import Final

from harness.faults.datagrams import on_the_way
from harness.faults.deeds import Remove, Replace, Source, Status
from harness.faults.vocabulary import Fact, Field, Occasion, Place, Takes
from harness.wire.tftp import Opcode

PLACE: Final = Place(
    name="tftp",
    rank=20,
    meaning="the TFTP server, and the way between it and the machine",
    occasions=(
        Occasion(name="reply", meaning="the server sends: OACK, DATA, ERROR"),
        Occasion(name="request", meaning="a client sends: RRQ, ACK, ERROR"),
    ),
    facts=(
        Fact(name="opcode", meaning="which packet", values=tuple(code.name for code in Opcode),
             only_at={"RRQ": "request", "WRQ": "request", "ACK": "request",
                      "DATA": "reply", "OACK": "reply"}),
        Fact(name="file", meaning="the file of the transfer, as it was asked for"),
        Fact(name="block", meaning="number of a DATA or ACK, from 1; it does not wrap",
             kind="number"),
        Fact(name="options", meaning="names of options in an RRQ or OACK: blksize, tsize, …"),
        Fact(name="code", meaning="code of an ERROR", kind="number"),
    ),
    deeds=(
        *on_the_way("tftp", "file: '*.efi', opcode: DATA, block: 3"),
        Takes(
            deed=Status,
            meaning="the server sends an ERROR with this code instead",
            example="{at: tftp, when: {file: '*.efi', opcode: OACK}, "
            "do: {status: {code: access violation, message: denied}}}",
            occasions=("reply",),
        ),
        Takes(
            deed=Replace,
            meaning="options, block number or file say something else",
            example="{at: tftp, when: {opcode: OACK}, do: {replace: {blksize: 1468}}}",
        ),
        Takes(
            deed=Remove,
            meaning="options are missing",
            example="{at: tftp, when: {opcode: RRQ}, do: {remove: [tsize, windowsize]}}",
        ),
        Takes(
            deed=Source,
            meaning="packets come from another address or port",
            example="{at: tftp, when: {opcode: DATA}, do: {source: 40000}}",
            occasions=("reply",),
        ),
    ),
    fields=(
        Field(name="blksize", form="count", meaning="option of an RRQ or OACK (RFC 2348)"),
        Field(name="windowsize", form="count", meaning="option of an RRQ or OACK (RFC 7440)"),
        Field(name="tsize", form="count", meaning="option of an RRQ or OACK (RFC 2349)"),
        Field(name="timeout", form="count", meaning="option of an RRQ or OACK (RFC 2349)"),
        Field(name="block", form="count", meaning="number of a DATA or ACK"),
        Field(name="file", form="text", meaning="name in an RRQ"),
        Field(name="code", form="count", meaning="code of an ERROR"),
        Field(name="text", form="text", meaning="text of an ERROR"),
    ),
)  # fmt: skip
