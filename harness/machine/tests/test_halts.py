"""Which machines stopped for good, by what QEMU says of their processors."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.machine.halts import stopped_at

DECOMPRESSOR = """\
CPU#0
RAX=0000000000000091 RBX=000000001ee00000 RCX=0000000000000011 RDX=00000000000003d5
RIP=0000000004f3df19 RFL=00000003 [------C] CPL=0 II=0 A20=1 SMM=0 HLT=1
EFER=0000000000000500
"""
NOT_STARTED = """
CPU#1
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000f61
EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1
"""


def test_where_a_machine_stopped() -> None:
    assert stopped_at(DECOMPRESSOR) == "0000000004f3df19"
    assert stopped_at(DECOMPRESSOR.replace("\n", "\r\n")) == "0000000004f3df19"
    assert stopped_at(DECOMPRESSOR + NOT_STARTED) == "0000000004f3df19"


@pytest.mark.parametrize(
    "moves",
    [
        DECOMPRESSOR.replace("RFL=00000003", "RFL=00000202"),  # idle: an interrupt wakes it
        DECOMPRESSOR.replace("HLT=1", "HLT=0"),
        DECOMPRESSOR + NOT_STARTED.replace("HLT=1", "HLT=0"),
        "",
        "CPU#0\n",
        "unknown command: 'info registers -a'",
    ],
)
def test_one_that_goes_on_or_may(moves: str) -> None:
    assert stopped_at(moves) is None


@given(st.text(string.printable))
def test_any_text_is_an_answer(text: str) -> None:
    assert stopped_at(text) is None or "HLT=1" in text
