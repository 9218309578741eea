"""Give a position-independent program its place once, when an image is made, not at each start.

Debian links dockerd to run at any address. The dynamic linker then writes 244,000 addresses into
24 MB of it whenever it starts, and docker starts itself three times for each container. The
program that Hook's own image holds is linked to one address, which is what this makes of Debian's.
What only other programs could look up in it, 170,000 names, is blanked on the way: it would be
downloaded and unpacked at each boot. Names that its libraries look up are kept. A program that has
its place already is only rid of its names.

A relocation of a kind that is not known here, or one that depends on the machine, is an error: the
program is taken as it came then, and starts more slowly.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness.errors import BuildFailed, DecodeError
from harness.hook.elf import is_elf, undefined_names
from harness.hook.store import digest_of, digest_of_file, new_folder
from harness.oci.layer import Entry, File
from harness.progress import Progress

_RECIPE: Final = 2
"""Raise it when the same program gives other bytes."""
BASE: Final = 0x400000
"""Where linkers put a program that has an address of its own."""
_EXEC, _DYN = 2, 3
_LOAD, _DYNAMIC, _STACK = 1, 2, 0x6474E551
_RELATIVE, _IRELATIVE = 8, 37
_OF_SYMBOLS: Final = frozenset({1, 5, 6, 7, 16, 17, 18})
"""R_X86_64_64, COPY, GLOB_DAT, JUMP_SLOT, DTPMOD64, DTPOFF64, TPOFF64: left to the dynamic linker,
which goes by a symbol or by the place of thread-local storage, never by where the program lies."""
_TLS, _UNDEFINED, _ABSOLUTE = 6, 0, 0xFFF1
_SYMBOL, _RELOCATION = 24, 24
# Tags of the dynamic section (System V ABI; the GNU ones from glibc's elf.h).
_NEEDED, _PLTRELSZ, _HASH, _STRTAB, _SYMTAB, _RELA, _RELASZ = 1, 2, 4, 5, 6, 7, 8
_SONAME, _RPATH, _TEXTREL, _JMPREL, _RUNPATH, _RELR = 14, 15, 22, 23, 29, 36
_GNU_HASH, _VERSYM, _RELACOUNT, _FLAGS_1 = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFF9, 0x6FFFFFFB
_VERNEED, _VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_PIE: Final = 0x08000000
_ADDRESSES: Final = frozenset(
    {3, _HASH, _STRTAB, _SYMTAB, _RELA, 12, 13, _JMPREL, 25, 26, 32, _GNU_HASH, _VERSYM, _VERNEED}
    | {0x6FFFFFFC}
)  # fmt: skip


def prelink(program: Path, cache: Path, *, looked_up: Collection[bytes] = ()) -> Path:
    """Return ``program`` at a fixed address, made once below ``cache``.

    ``looked_up`` are names that others look up in it, as far as it has them. Raises
    ``DecodeError``.
    """
    names = sorted(name.decode("latin-1") for name in looked_up)
    folder = cache / digest_of(_RECIPE, digest_of_file(program), names)[:32]
    if not folder.is_dir():
        with new_folder(folder) as scratch:
            moved = prelinked(program.read_bytes(), looked_up=looked_up)
            (scratch / program.name).write_bytes(moved)
            (scratch / program.name).chmod(0o755)
    return folder / program.name


def prelink_programs(
    image: str,
    paths: Sequence[str],
    entries: Mapping[str, Entry],
    *,
    cache: Path,
    progress: Progress,
) -> dict[str, Entry]:
    """Return the programs at ``paths`` of an image's ``entries``, at a fixed address each.

    One that can't have any is left out, with a word of it: a new version of a program must not be
    the end of all builds. Raises ``BuildFailed`` where there is no such program.
    """
    found: dict[str, Entry] = {}
    looked_up = _looked_up(entries) if paths else frozenset()
    for path in paths:
        entry = entries.get(path)
        if not isinstance(entry, File) or not isinstance(entry.content, Path):
            raise BuildFailed(f"{image}: prelink: no package brings {path}")
        try:
            found[path] = replace(entry, content=prelink(entry.content, cache, looked_up=looked_up))
        except DecodeError as error:
            why = f"{path} gets no fixed address and starts more slowly: {error}"
            progress.say(f"note: {image}: {why}")
    return found


def _looked_up(entries: Mapping[str, Entry]) -> frozenset[bytes]:
    """Return the names that the libraries of an image look up in others, programs included."""
    files = {
        entry.content
        for path, entry in entries.items()
        if ".so" in path and isinstance(entry, File) and isinstance(entry.content, Path)
    }
    found: set[bytes] = set()
    for file in files:
        if is_elf(file):
            found |= undefined_names(file)
    return frozenset(found)


def prelinked(program: bytes, *, looked_up: Collection[bytes] = ()) -> bytes:
    """Return a position-independent ELF64 program as one that is loaded at ``BASE``.

    One that has an address keeps it, and one that is linked to nothing is returned as it is. Names
    in ``looked_up`` are kept. Raises ``DecodeError`` for what is no program for x86-64, and for one
    that has to be relocated in ways that depend on the machine.
    """
    if program[:6] != b"\x7fELF\x02\x01" or len(program) < 64:
        raise DecodeError("not a little-endian ELF64 file", rfc="elf(5)")
    try:
        elf = _Elf(bytearray(program))
        return elf.moved(frozenset(looked_up)) if elf.is_linked else program
    except (struct.error, LookupError, OverflowError, StopIteration, ValueError) as error:
        raise DecodeError(f"damaged ELF file: {error}", rfc="elf(5)") from error


@dataclass(slots=True)
class _Segment:
    at: int
    kind: int
    offset: int
    address: int
    length: int


class _Elf:
    """A program that is being moved; addresses in here are those it had before."""

    def __init__(self, data: bytearray) -> None:
        self._data = data
        kind, machine = struct.unpack_from("<HH", data, 16)
        if kind not in (_EXEC, _DYN) or machine != 62:
            raise DecodeError("no program for x86-64", rfc="elf(5)")
        self._by = BASE if kind == _DYN else 0
        """How far it is moved."""
        table, self._sections = struct.unpack_from("<QQ", data, 32)
        size, count, self._section_size, self._section_count = struct.unpack_from("<4H", data, 54)
        self._segments = [
            _Segment(at, *struct.unpack_from("<I4xQQ8xQ", data, at))
            for at in range(table, table + size * count, size)
        ]
        self.is_linked = kind == _DYN or any(s.kind == _DYNAMIC for s in self._segments)
        """Whether the dynamic linker has anything to do with it."""
        dynamic = self._dynamic() if self.is_linked else ()
        self._tags = {tag: (at, value) for at, tag, value in dynamic}

    def moved(self, looked_up: frozenset[bytes]) -> bytes:
        if _RELR in self._tags or _TEXTREL in self._tags:
            raise DecodeError("relocations of a kind that is not known here", rfc="elf(5)")
        used = self._relocate()
        self._move_symbols(used, looked_up)
        self._move_tags()
        data = self._data
        struct.pack_into("<H", data, 16, _EXEC)
        _add(data, 24, self._by)
        for segment in self._segments:
            if segment.kind != _STACK:
                _add(data, segment.at + 16, self._by)
                _add(data, segment.at + 24, self._by)
        for at in self._section_headers():
            if struct.unpack_from("<Q", data, at + 16)[0]:
                _add(data, at + 16, self._by)
        return bytes(data)

    def _dynamic(self) -> Iterator[tuple[int, int, int]]:
        segment = next(s for s in self._segments if s.kind == _DYNAMIC)
        for at in range(segment.offset, segment.offset + segment.length, 16):
            tag, value = struct.unpack_from("<QQ", self._data, at)
            if tag == 0:
                return
            yield at, tag, value

    def _section_headers(self) -> range:
        end = self._sections + self._section_size * self._section_count
        return range(self._sections, end, self._section_size)

    def _offset(self, address: int) -> int:
        for segment in self._segments:
            behind = address - segment.address
            if segment.kind == _LOAD and 0 <= behind < segment.length:
                return segment.offset + behind
        raise DecodeError(f"nothing in the file lies at {address:#x}", rfc="elf(5)")

    def _value(self, tag: int) -> int:
        return self._tags[tag][1] if tag in self._tags else 0

    def _relocate(self) -> set[int]:
        """Write every address that needs no symbol; return the symbols that the rest needs."""
        data, used = self._data, set()
        start = self._offset(self._value(_RELA))
        length = min(self._value(_RELASZ), len(data) - start)
        kept = bytearray()
        targets = sorted((s for s in self._segments if s.kind == _LOAD), key=lambda s: -s.address)
        for where, info, addend in struct.iter_unpack("<QQq", data[start : start + length]):
            kind = info & 0xFFFFFFFF
            if kind == _IRELATIVE:
                raise DecodeError("an address that only the processor decides", rfc="elf(5)")
            if kind == _RELATIVE:
                segment = next(s for s in targets if s.address <= where)
                at = segment.offset + where - segment.address
                struct.pack_into("<Q", data, at, addend + self._by)
            elif kind not in _OF_SYMBOLS:
                raise DecodeError(f"relocation {kind} is not known here", rfc="elf(5)")
            else:
                kept += struct.pack("<QQq", where + self._by, info, addend)
                used.add(info >> 32)
        data[start : start + length] = kept.ljust(length, b"\0")
        struct.pack_into("<Q", data, self._tags[_RELASZ][0] + 8, len(kept))
        if _RELACOUNT in self._tags:
            struct.pack_into("<Q", data, self._tags[_RELACOUNT][0] + 8, 0)
        if _JMPREL in self._tags:
            first = self._offset(self._value(_JMPREL))
            for at in range(first, first + self._value(_PLTRELSZ), _RELOCATION):
                where, info = struct.unpack_from("<QQ", data, at)
                if info & 0xFFFFFFFF not in _OF_SYMBOLS:
                    raise DecodeError(
                        f"relocation {info & 0xFFFFFFFF} is not known here", rfc="elf(5)"
                    )
                _add(data, at, self._by)
                slot = self._offset(where)
                if struct.unpack_from("<Q", data, slot)[0]:  # lazy binding: back into the table
                    _add(data, slot, self._by)
                used.add(info >> 32)
        return used

    def _move_symbols(self, used: set[int], looked_up: frozenset[bytes]) -> None:
        """Move the symbols in ``used``, and those of these names; blank the others, their names,
        and the way to find them.

        A program with few names, whose table has no room for another kind, keeps them all.
        """
        data = self._data
        sizes = {
            address: min(size, len(data))
            for at in self._section_headers()
            for address, size in [struct.unpack_from("<Q8xQ", data, at + 16)]
            if address
        }
        symbols, strings = self._value(_SYMTAB), self._value(_STRTAB)
        table, text = self._offset(symbols), self._offset(strings)
        names = {value for _, tag, value in self._dynamic()
                 if tag in (_NEEDED, _SONAME, _RPATH, _RUNPATH)}  # fmt: skip
        names |= set(self._version_names())
        count, own = sizes[symbols] // _SYMBOL, []
        room = sizes.get(self._value(_GNU_HASH), 0) if _HASH not in self._tags else 0
        blank = room >= 4 * (3 + count)
        for number in range(count):
            at = table + number * _SYMBOL
            if blank and number not in used and not self._is_named(at, text, looked_up):
                data[at : at + _SYMBOL] = bytes(_SYMBOL)
                continue
            name, info, section = struct.unpack_from("<IBxH", data, at)
            names.add(name)
            if section != _UNDEFINED and number:
                own.append(number)
            if section not in (_UNDEFINED, _ABSOLUTE) and info & 15 != _TLS:
                _add(data, at + 8, self._by)
        if not blank:
            return
        old = bytes(data[text : text + sizes[strings]])
        new = bytearray(len(old))
        for start in names:
            end = old.index(b"\0", start)
            new[start:end] = old[start:end]
        data[text : text + len(old)] = new
        self._hash(own, count, room)

    def _is_named(self, symbol: int, strings: int, names: frozenset[bytes]) -> bool:
        if not names:
            return False
        start = strings + struct.unpack_from("<I", self._data, symbol)[0]
        return bytes(self._data[start : self._data.index(b"\0", start)]) in names

    def _hash(self, own: Sequence[int], count: int, room: int) -> None:
        """Put a table of the older kind, which may have gaps, in place of GNU's: one chain."""
        at, address = self._tags[_GNU_HASH]
        chain = [0] * count
        for number, following in zip(own, [*own, 0][1:], strict=True):
            chain[number] = following
        table = struct.pack(f"<III{count}I", 1, count, own[0] if own else 0, *chain)
        start = self._offset(address)
        self._data[start : start + room] = table.ljust(room, b"\0")
        struct.pack_into("<Q", self._data, at, _HASH)

    def _version_names(self) -> Iterator[int]:
        at = self._offset(self._value(_VERNEED)) if _VERNEED in self._tags else 0
        for _ in range(min(self._value(_VERNEEDNUM), len(self._data))):
            count, file, first, following = struct.unpack_from("<2xHIII", self._data, at)
            yield file
            needed = at + first
            for _ in range(count):
                name, step = struct.unpack_from("<8xII", self._data, needed)
                yield name
                needed += step
            at += following

    def _move_tags(self) -> None:
        for tag, (at, _) in self._tags.items():
            if tag in _ADDRESSES:
                _add(self._data, at + 8, self._by)
        if _FLAGS_1 in self._tags:
            at, flags = self._tags[_FLAGS_1]
            struct.pack_into("<Q", self._data, at + 8, flags & ~_PIE)


def _add(data: bytearray, at: int, number: int) -> None:
    (value,) = struct.unpack_from("<Q", data, at)
    struct.pack_into("<Q", data, at, value + number)
