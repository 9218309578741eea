"""What a program needs at run time: its interpreter and shared libraries (ELF64, little endian)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DecodeError

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_DYNSYM = 11
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 15, 29


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the dynamic linker must find; all empty for a static program."""

    interpreter: str = ""
    libraries: tuple[str, ...] = ()
    run_path: tuple[str, ...] = ()


def is_elf(path: Path) -> bool:
    """Return whether ``path`` is an ELF file."""
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def needs_of(path: Path) -> Needs:
    """Return what the ELF file ``path`` needs. Raises ``DecodeError`` when it is damaged."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise DecodeError(f"{path} is no little-endian ELF64 file", rfc="elf(5)")
    try:
        return _read(data)
    except (struct.error, ValueError, IndexError) as error:
        raise DecodeError(f"{path} is a damaged ELF file: {error}", rfc="elf(5)") from error


def undefined_names(path: Path) -> frozenset[bytes]:
    """Return the names that the ELF file ``path`` looks up in others. Raises ``DecodeError``."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise DecodeError(f"{path} is no little-endian ELF64 file", rfc="elf(5)")
    try:
        return frozenset(_undefined(data))
    except (struct.error, ValueError, IndexError) as error:
        raise DecodeError(f"{path} is a damaged ELF file: {error}", rfc="elf(5)") from error


def _undefined(data: bytes) -> Iterator[bytes]:
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<4xI16xQQI", data, table + size * i) for i in range(count)]
    for kind, offset, length, link in sections:
        if kind != _DYNSYM:
            continue
        names = sections[link][1]
        for name, section in struct.iter_unpack("<I2xH16x", data[offset : offset + length]):
            if section == 0 and name:
                yield data[names + name : data.index(b"\0", names + name)]


def _read(data: bytes) -> Needs:
    (table,) = struct.unpack_from("<Q", data, 0x20)
    size, count = struct.unpack_from("<HH", data, 0x36)
    segments = [struct.unpack_from("<IIQQQQQQ", data, table + size * i) for i in range(count)]
    interpreter = ""
    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, length, _, _ in segments:
        if kind == _INTERP:
            interpreter = data[offset : offset + length].rstrip(b"\0").decode()
        elif kind == _DYNAMIC:
            for at in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<QQ", data, at)
                if tag == _DT_NULL:
                    break
                entries.append((tag, value))
    strings = next((value for tag, value in entries if tag == _DT_STRTAB), None)
    if strings is None:
        return Needs(interpreter=interpreter)
    base = next(
        offset + strings - address
        for kind, _, offset, address, _, length, _, _ in segments
        if kind == _LOAD and address <= strings < address + length
    )

    def text(value: int) -> str:
        return data[base + value : data.index(b"\0", base + value)].decode()

    paths = [text(value) for tag, value in entries if tag in (_DT_RPATH, _DT_RUNPATH)]
    return Needs(
        interpreter=interpreter,
        libraries=tuple(text(value) for tag, value in entries if tag == _DT_NEEDED),
        run_path=tuple(path for joined in paths for path in joined.split(":")),
    )
