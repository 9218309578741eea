"""Fields of messages whose kind is not known, held against protobuf."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import example, given
from hypothesis import strategies as st

from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.wirefields import GROUP, Field, fields_of


@given(
    name=st.text(max_size=300),
    state=st.integers(1, 4),
    seconds=st.integers(-(2**63), 2**63 - 1).filter(bool),
)
def test_a_message(name: str, state: int, seconds: int) -> None:
    message = pb.WorkflowActionStatus(action_name=name or "x", seconds=seconds)
    message.action_status = state  # type: ignore[assignment]
    assert [(field.number, field.value) for field in fields_of(message.SerializeToString())] == [
        (3, (name or "x").encode()),
        (4, state),
        (5, seconds % 2**64),
    ]


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


SCALAR = st.one_of(
    st.integers(0, 2**64 - 1).map(lambda value: (0, varint(value))),
    st.binary(min_size=8, max_size=8).map(lambda octets: (1, octets)),
    st.binary(max_size=200).map(lambda octets: (2, varint(len(octets)) + octets)),
    st.binary(min_size=4, max_size=4).map(lambda octets: (5, octets)),
)
FIELDS = st.lists(st.tuples(st.integers(1, 2**29 - 1), SCALAR), max_size=6).map(
    lambda fields: b"".join(varint(n << 3 | kind) + octets for n, (kind, octets) in fields)
)
GROUPS = st.builds(
    lambda before, n, inner: before + varint(n << 3 | 3) + inner + varint(n << 3 | 4),
    FIELDS,
    st.integers(1, 99),
    FIELDS,
)


@given(FIELDS | GROUPS | st.binary(max_size=80))
@example(bytes.fromhex("0b22000c2001"))
@example(bytes.fromhex("0d000000002101020304050607080a0161"))
def test_what_protobuf_reads_is_read_alike(data: bytes) -> None:
    found = list(fields_of(data))
    try:
        theirs: Any = UnknownFieldSet(Empty.FromString(data))
    except DecodeError:
        return  # broken somewhere; what came before may be anything
    seen = [Field(each.field_number, each.wire_type, value_of(each)) for each in theirs]
    assert found == seen


def value_of(each: object) -> int | bytes | None:
    wire_type, data = each.wire_type, each.data  # type: ignore[attr-defined]
    if wire_type in (1, 5):
        assert isinstance(data, int)
        return data.to_bytes(8 if wire_type == 1 else 4, "little")
    return None if wire_type == GROUP else data


@pytest.mark.parametrize("data", ["08", "0a05", "0d00", "00", "0c", "0aff", "08" + "ff" * 11])
def test_what_is_broken_ends_it(data: str) -> None:
    assert list(fields_of(bytes.fromhex("1001" + data))) == [Field(2, 0, 1)]
