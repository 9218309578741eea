"""Kernel modules without what no boot reads: the types of all that is in them, and a signature.

``.BTF`` is for those who trace a kernel, and for modules that offer functions to BPF: these have
``.BTF_ids``, keep their types, and do not start without. A signature costs a check at each load,
and Debian's kernel takes a module that has none.
"""

from __future__ import annotations

import struct
from typing import Final

from harness.errors import DecodeError

_RELOCATABLE: Final = 1
_NOBITS: Final = 8
_TYPES: Final = b".BTF"
_OFFERED: Final = b".BTF_ids"
_SIGNED: Final = b"~Module signature appended~\n"
"""The end of a signed module: signature, 12 octets that end with its length, and this."""


def slim_module(module: bytes) -> bytes:
    """Return ``module`` (ELF64, little endian) without types and signature.

    One that is linked in another way is returned as it is. Raises ``DecodeError``.
    """
    if module[:6] != b"\x7fELF\x02\x01" or len(module) < 64:
        raise DecodeError("not a little-endian ELF64 file", rfc="elf(5)")
    try:
        return _without_types(_without_signature(module))
    except (struct.error, LookupError, ValueError) as error:
        raise DecodeError(f"damaged ELF file: {error}", rfc="elf(5)") from error


def _without_signature(module: bytes) -> bytes:
    if not module.endswith(_SIGNED):
        return module
    end = len(module) - len(_SIGNED)
    (length,) = struct.unpack_from(">I", module, end - 4)
    return module[: max(64, end - 12 - length)]


def _without_types(module: bytes) -> bytes:
    """Lay the sections out anew, one behind the other, with nothing in the one that is not read."""
    kind = struct.unpack_from("<H", module, 16)[0]
    table = struct.unpack_from("<Q", module, 0x28)[0]
    segments, size, count, names = struct.unpack_from("<2xHHHH", module, 0x36)
    if kind != _RELOCATABLE or segments or size != 64 or not count:
        return module
    headers = [
        list(struct.unpack_from("<IIQQQQIIQQ", module, table + size * number))
        for number in range(count)
    ]
    name_at = headers[names][4]
    called = [module[name_at + h[0] : module.index(b"\0", name_at + h[0])] for h in headers]
    if _TYPES not in called or _OFFERED in called:
        return module
    headers[called.index(_TYPES)][5] = 0
    out = bytearray(module[:64])
    for header in sorted(headers, key=lambda header: header[4]):
        _, what, _, _, offset, length, _, _, alignment, _ = header
        if what == _NOBITS or not length:
            header[4] = min(offset, len(out))
            continue
        content = module[offset : offset + length]
        if len(content) != length or alignment > 1 << 16:
            raise ValueError("a section outside of the file")
        out += bytes(-len(out) % max(1, alignment))
        header[4] = len(out)
        out += content
    out += bytes(-len(out) % 8)
    struct.pack_into("<Q", out, 0x28, len(out))
    for header in headers:
        out += struct.pack("<IIQQQQIIQQ", *header)
    return bytes(out)
