"""What a boot does not read of a kernel module is gone, and all else is where it was."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.hook.kernel import modinfo
from harness.hook.modules import slim_module

_PROGBITS, _STRINGS, _NOBITS = 1, 3, 8
_TRAILER = b"~Module signature appended~\n"


def built(sections: dict[str, tuple[int, bytes, int]], *, kind: int = 1) -> bytes:
    """An ELF64 file of sections (type, content, alignment), with a gap of junk behind each."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*sections, ".shstrtab"])
    out = bytearray(64)
    headers = [bytes(64)]
    every = {**sections, ".shstrtab": (_STRINGS, names, 1)}
    for name, (what, content, alignment) in every.items():
        out += b"\xaa" * (-len(out) % alignment)
        at = names.index(b"\0" + name.encode() + b"\0") + 1
        size = len(content)
        headers.append(
            struct.pack("<IIQQQQIIQQ", at, what, 2, 0, len(out), size, 0, 0, alignment, 0)
        )
        if what != _NOBITS:
            out += content + b"\xbb" * 5
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    last = len(headers) - 1
    head += struct.pack(
        "<HHIQQQIHHHHHH", kind, 62, 1, 0, 0, len(out), 0, 64, 0, 0, 64, last + 1, last
    )
    out[:64] = head
    return bytes(out) + b"".join(headers)


def sections_of(module: bytes) -> dict[str, tuple[int, bytes, int]]:
    table = struct.unpack_from("<Q", module, 0x28)[0]
    count, names = struct.unpack_from("<HH", module, 0x3C)
    headers = [struct.unpack_from("<IIQQQQIIQQ", module, table + 64 * i) for i in range(count)]
    found = {}
    for name, what, _, _, offset, size, _, _, alignment, _ in headers[1:]:
        start = headers[names][4] + name
        assert alignment == 0 or offset % alignment == 0 or size == 0 or what == _NOBITS
        content = bytes(size) if what == _NOBITS else module[offset : offset + size]
        assert len(content) == size
        found[module[start : module.index(b"\0", start)].decode()] = (what, content, alignment)
    return found


SECTIONS = {
    ".text": (_PROGBITS, b"\x90" * 77, 16),
    ".BTF": (_PROGBITS, b"types" * 400, 1),
    ".modinfo": (_PROGBITS, b"depends=a,b\0license=GPL\0", 1),
    ".bss": (_NOBITS, bytes(4096), 32),
    ".data": (_PROGBITS, b"data" * 9, 64),
}


@pytest.mark.parametrize("signature", [b"", b"s" * 300 + bytes(8) + b"\0\0\x01\x2c" + _TRAILER])
def test_types_and_signature_are_gone_and_all_else_is_there(signature: bytes) -> None:
    module = built(SECTIONS) + signature
    slim = slim_module(module)
    assert len(slim) < len(module) - 2000
    assert _TRAILER not in slim
    expected = {**sections_of(module), ".BTF": (_PROGBITS, b"", 1)}
    assert sections_of(slim) == expected
    assert modinfo(slim) == {"depends": ["a,b"], "license": ["GPL"]}
    assert slim_module(slim) == slim


def test_a_module_that_offers_functions_to_bpf_keeps_its_types() -> None:
    module = built({**SECTIONS, ".BTF_ids": (_PROGBITS, b"\0" * 24, 4)})
    assert slim_module(module) == module
    assert slim_module(module + b"s" * 30 + bytes(11) + b"\x1e" + _TRAILER) == module


def test_a_program_is_left_alone() -> None:
    program = built(SECTIONS, kind=2)
    assert slim_module(program) == program


@given(
    st.dictionaries(
        st.from_regex(r"\.[a-z]{1,8}", fullmatch=True).filter(lambda name: name != ".shstrtab"),
        st.tuples(
            st.sampled_from([_PROGBITS, _NOBITS]),
            st.binary(max_size=40).map(lambda content: content or b"x"),
            st.sampled_from([1, 2, 8, 64]),
        ),
        max_size=8,
    )
)
def test_every_other_section_keeps_its_content(sections: dict[str, tuple[int, bytes, int]]) -> None:
    module = built({**sections, ".BTF": (_PROGBITS, b"types", 4)})
    expected = {**sections_of(module), ".BTF": (_PROGBITS, b"", 4)}
    assert sections_of(slim_module(module)) == expected


@given(st.integers(0, 63), st.binary(min_size=1, max_size=8))
def test_damage_is_refused_and_never_a_traceback(at: int, junk: bytes) -> None:
    module = bytearray(built(SECTIONS))
    module[at : at + len(junk)] = junk
    try:
        slim_module(bytes(module))
    except DecodeError:
        return


def test_what_is_no_module_is_refused() -> None:
    for wrong in (b"", b"\x7fELF\x01\x01" + bytes(80)):
        with pytest.raises(DecodeError):
            slim_module(wrong)
