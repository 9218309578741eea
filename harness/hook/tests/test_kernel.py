"""The module subset: what a module says of itself, and what follows from it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BuildFailed, DecodeError
from harness.hook.kernel import closure, modinfo, read_patterns


def module(info: bytes) -> bytes:
    """A minimal ELF64 file with a .modinfo section."""
    names = b"\0.modinfo\0.shstrtab\0"
    body = info + names
    table = 64 + len(body)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2)
    sections = [
        bytes(64),
        struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, 64, len(info), 0, 0, 1, 0),
        struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, 64 + len(info), len(names), 0, 0, 1, 0),
    ]
    return head + body + b"".join(sections)


def test_modinfo_keeps_every_value_of_a_key() -> None:
    found = modinfo(module(b"license=GPL\0alias=a\0alias=b=c\0depends=x,y\0nothing\0"))
    assert found == {"license": ["GPL"], "alias": ["a", "b=c"], "depends": ["x,y"]}


@given(st.binary(max_size=400), st.booleans())
def test_arbitrary_bytes_are_read_or_refused(data: bytes, with_magic: bool) -> None:
    try:
        found = modinfo((b"\x7fELF\x02\x01" if with_magic else b"") + data)
    except DecodeError:
        return
    assert isinstance(found, dict)


DEPENDS = {
    "drivers/net/virtio_net.ko": ["net_failover"],
    "drivers/net/net_failover.ko": ["failover"],
    "net/core/failover.ko": [],
    "drivers/block/virtio_blk.ko": ["virtio-ring", "built_in_thing"],
    "drivers/virtio/virtio_ring.ko": [],
    "sound/never.ko": ["failover"],
}


def test_closure_follows_dependencies_and_takes_nothing_else() -> None:
    assert closure(["drivers/net/virtio_*.ko"], DEPENDS) == [
        "drivers/net/net_failover.ko",
        "drivers/net/virtio_net.ko",
        "net/core/failover.ko",
    ]


def test_a_dash_and_an_underscore_are_one_module_and_built_in_ones_have_no_file() -> None:
    assert closure(["drivers/block/*.ko"], DEPENDS) == [
        "drivers/block/virtio_blk.ko",
        "drivers/virtio/virtio_ring.ko",
    ]


def test_a_pattern_without_a_module_is_a_mistake_unless_it_is_marked() -> None:
    with pytest.raises(BuildFailed, match=r"fs/none\.ko"):
        closure(["fs/none.ko"], DEPENDS)
    assert closure(["?fs/none.ko"], DEPENDS) == []


def test_comments_and_empty_lines_are_no_patterns() -> None:
    assert read_patterns("# a\n\nx/*.ko  # why\n?y.ko\n") == ["x/*.ko", "?y.ko"]
