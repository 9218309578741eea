"""A disk that boots: it prints one line, and that is all it does.

What an installed system is to a netboot test: the proof that the firmware went on to the disk. The
disk is one FAT16 volume without partitions. Its boot sector is what a BIOS starts (BIOS Boot
Specification 1.01, "IPL device"), its ``\\EFI\\BOOT\\BOOTX64.EFI`` what UEFI does (UEFI 2.10,
3.5.1.1). Both are written here octet by octet: there is nothing to build or to download.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from harness.errors import SetupFailed

MARKER: Final = "hooklab: the machine booted from disk {name}"
"""What the disk prints; consoles know it again."""
MIN_BYTES: Final = 4 << 20
"""The volume's size. More of the disk is left alone."""

_SECTOR: Final = 512
_SECTORS: Final = MIN_BYTES // _SECTOR
_ROOT_ENTRIES: Final = 512
_FAT_SECTORS: Final = 32  # 8,192 entries of 2 octets: one for each sector of the volume
_ROOT_AT: Final = 1 + _FAT_SECTORS
_DATA_AT: Final = _ROOT_AT + _ROOT_ENTRIES * 32 // _SECTOR
_CODE_AT: Final = 0x3E
"""Behind the BIOS parameter block, where the first jump leads."""
_LOADED_AT: Final = 0x7C00
_DIRECTORY: Final = 0x10
_END_OF_CHAIN: Final = 0xFFFF


def make_bootable(path: Path, name: str) -> None:
    """Write the volume onto the disk at ``path``, which boots with ``MARKER`` from then on.

    Raises ``SetupFailed`` when the disk is smaller than ``MIN_BYTES`` or can't be written.
    """
    try:
        if path.stat().st_size < MIN_BYTES:
            raise SetupFailed(f"the disk {name} is too small to boot from: at least 4 MiB")
        with path.open("r+b") as disk:
            for sector, data in _volume(MARKER.format(name=name)).items():
                disk.seek(sector * _SECTOR)
                disk.write(data)
    except OSError as error:
        raise SetupFailed(f"the disk {path} can't be written: {error.strerror}") from error


def _volume(text: str) -> dict[int, bytes]:
    """Return what is on the volume: sector → octets. One cluster is one sector."""
    program = _efi_program(text)
    clusters = -(-len(program) // _SECTOR)
    first = 4  # clusters count from 2: \\EFI, \\EFI\\BOOT, then the program
    chain = [*range(first + 1, first + clusters), _END_OF_CHAIN]
    fat = struct.pack(f"<{4 + clusters}H", 0xFFF8, _END_OF_CHAIN, *[_END_OF_CHAIN] * 2, *chain)
    return {
        0: _boot_sector(text),
        1: fat,
        _ROOT_AT: _entry("EFI", _DIRECTORY, 2),
        _DATA_AT: _folder(2, 0) + _entry("BOOT", _DIRECTORY, 3),
        _DATA_AT + 1: _folder(3, 2) + _entry("BOOTX64 EFI", 0, first, len(program)),
        _DATA_AT + 2: program,
    }


def _folder(own: int, parent: int) -> bytes:
    return _entry(".", _DIRECTORY, own) + _entry("..", _DIRECTORY, parent)


def _entry(name: str, attributes: int, cluster: int, size: int = 0) -> bytes:
    """Return a directory entry (Microsoft's FAT specification 1.03, "FAT Directory Structure")."""
    a_day = (2020 - 1980) << 9 | 1 << 5 | 1
    return struct.pack(
        "<11sB10xHHHI", name.ljust(11).encode("ascii"), attributes, 0, a_day, cluster, size
    )


def _boot_sector(text: str) -> bytes:
    head = struct.pack(
        "<2sx8sHBHBHHBHHHII",
        b"\xeb\x3c",  # jmp _CODE_AT
        b"HOOKLAB ",
        _SECTOR,
        1,  # sectors a cluster
        1,  # reserved sectors: this one
        1,  # one FAT
        _ROOT_ENTRIES,
        _SECTORS,
        0xF8,  # a fixed disk
        _FAT_SECTORS,
        32,  # sectors a track, and
        64,  # heads: nobody reads by them
        0,
        0,
    )
    rest = struct.pack("<BxBI11s8s", 0x80, 0x29, 0x48001AB0, b"HOOKLAB    ", b"FAT16   ")
    sector = (head + rest).ljust(_CODE_AT, b"\0") + _bios_code(text)
    return sector.ljust(_SECTOR - 2, b"\0") + b"\x55\xaa"


def _bios_code(text: str) -> bytes:
    """Return real-mode code that prints ``text`` and halts.

    First all of it on the screen, then all of it on the serial port: SeaBIOS can repeat the screen
    on that port, and two halves of a line would mix.
    """
    code = (
        b"\xfc\x31\xc0\x8e\xd8"  # cld, ds = 0
        b"\xbe%s"  # si = the text
        b"\xac\x84\xc0\x74\x09"  # next: al = [si++], 0 ends
        b"\xb4\x0e\xbb\x07\x00\xcd\x10"  # int 10h, ah = 0Eh: teletype
        b"\xeb\xf2"  # jmp next
        b"\xbe%s"  # si = the text
        b"\xac\x84\xc0\x74\x10"  # next: al = [si++], 0 ends
        b"\x50\xba\xfd\x03\xec\xa8\x20\x74\xfb"  # until the port's transmitter is empty
        b"\x58\xba\xf8\x03\xee"  # out 3F8h
        b"\xeb\xeb"  # jmp next
        b"\xf4\xeb\xfd"  # hlt, for ever
    )
    at = struct.pack("<H", _LOADED_AT + _CODE_AT + len(code))  # "%s" is as long as what it becomes
    return code % (at, at) + f"\r\n{text}\r\n".encode("ascii") + b"\0"


def _efi_program(text: str) -> bytes:
    """Return a PE32+ image that prints ``text`` and halts; its code runs wherever it is loaded."""
    code = (
        b"\x53\x48\x83\xec\x20"  # push rbx; the callee's 32 octets
        b"\x48\x89\xd3"  # rbx = EFI_SYSTEM_TABLE
        b"\x48\x8b\x43\x60"  # rax = BootServices
        b"\x31\xc9\x31\xd2\x45\x31\xc0\x45\x31\xc9"  # SetWatchdogTimer(0, 0, 0, NULL): it would
        b"\xff\x90\x00\x01\x00\x00"  # reset the machine after five minutes
        b"\x48\x8b\x4b\x40"  # rcx = ConOut
        b"\x48\x8d\x15\x06\x00\x00\x00"  # rdx = the text behind this code
        b"\xff\x51\x08"  # OutputString
        b"\xf4\xeb\xfd"  # hlt, for ever
    )
    section = code + f"\r\n{text}\r\n\0".encode("utf-16-le")
    raw = -(-len(section) // _SECTOR) * _SECTOR
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 112 + 6 * 8, 0x0022)
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII",
        0x20B,  # PE32+
        1,
        0,
        raw,  # code
        0,
        0,
        0x1000,  # entry point
        0x1000,  # base of code
        0,  # image base: there is nothing to relocate
        0x1000,  # alignment in memory
        _SECTOR,  # alignment in the file
        *(0, 0, 0, 0, 2, 0),  # versions
        0,
        0x2000,  # size in memory
        _SECTOR,  # size of the headers
        0,
        10,  # EFI application
        0,
        *(0x10000, 0x1000, 0x10000, 0x1000),  # stack and heap: unused
        0,
        6,  # data directories, all empty
    )
    table = struct.pack(
        "<8sIIIIIIHHI", b".text", len(section), 0x1000, raw, _SECTOR, 0, 0, 0, 0, 0xE0000020
    )
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    headers = dos + b"PE\0\0" + coff + optional.ljust(112 + 6 * 8, b"\0") + table
    return headers.ljust(_SECTOR, b"\0") + section.ljust(raw, b"\0")
