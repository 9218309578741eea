"""A program of 200 octets for x86-64 that ends, or lets another run for a while and then ends.

``ENDER PROGRAM ARGUMENTS…`` needs nothing but a kernel: it fits into any container of any Hook.
"""

from __future__ import annotations

import struct
from typing import Final

_BASE: Final = 0x400000
_HEADERS: Final = 64 + 56
_TICK_NS: Final = 100_000_000
_EXIT, _WAIT, _KILL, _FORK, _EXECVE, _SETSID, _NANOSLEEP = 231, 61, 62, 57, 59, 112, 35
"""System calls (arch/x86/entry/syscalls/syscall_64.tbl)."""


def ender(*, after_s: float, code: int) -> bytes:
    """Return the program (ELF).

    It runs what its arguments say in a session of its own, at most ``after_s`` seconds, kills
    the session's processes and exits with ``code``; with 0 seconds it exits at once. A program
    that ends before has its own exit status passed on.
    """
    code &= 0xFF
    ticks = max(1, round(after_s * 1e9 / _TICK_NS)) if after_s > 0 else 0
    body = _finish(code) if not ticks else _guard(ticks, code)
    return _elf(body)


def _guard(ticks: int, code: int) -> bytes:
    fork = _call(_FORK) + b"\x85\xc0"  # test eax, eax
    wait = b"".join(
        (
            b"\x41\x89\xc4",  # mov r12d, eax: the child
            b"\x41\xbd" + struct.pack("<I", ticks),  # mov r13d, ticks
            b"\x48\x83\xec\x10",  # sub rsp, 16
        )
    )
    sleep = b"".join(
        (
            b"\x68" + struct.pack("<i", _TICK_NS),  # push nanoseconds
            b"\x6a\x00",  # push seconds
            b"\x48\x89\xe7",  # mov rdi, rsp
            b"\x31\xf6",  # xor esi, esi
            _call(_NANOSLEEP),
            b"\x48\x83\xc4\x10",  # add rsp, 16
        )
    )
    reap = b"".join(
        (
            b"\x44\x89\xe7",  # mov edi, r12d
            b"\x48\x89\xe6",  # mov rsi, rsp
            b"\xba\x01\x00\x00\x00",  # mov edx, WNOHANG
            b"\x45\x31\xd2",  # xor r10d, r10d
            _call(_WAIT),
            b"\x44\x39\xe0",  # cmp eax, r12d
        )
    )
    kill = b"".join(
        (
            b"\x44\x89\xe7\xf7\xdf",  # mov edi, r12d; neg edi: its process group
            b"\xbe\x09\x00\x00\x00",  # mov esi, SIGKILL
            _call(_KILL),
            _finish(code),
        )
    )
    ended = b"".join(
        (
            b"\x0f\xb6\x7c\x24\x01",  # movzx edi, byte [rsp+1]: its exit status
            b"\xb8" + struct.pack("<I", _EXIT) + b"\x0f\x05",
        )
    )
    tick = b"\x41\xff\xcd"  # dec r13d
    # sleep; reap; je ended; dec; jnz sleep; kill; ended:
    back = -(len(sleep) + len(reap) + 2 + len(tick) + 2)
    over = len(tick) + 2 + len(kill)
    loop = b"".join(
        (sleep, reap, b"\x74" + bytes([over]), tick, b"\x75" + struct.pack("b", back), kill, ended)
    )
    parent = wait + loop
    child = b"".join(
        (
            _call(_SETSID),
            b"\x48\x8b\x04\x24",  # mov rax, [rsp]: argc
            b"\x48\x8d\x54\xc4\x10",  # lea rdx, [rsp+rax*8+16]: the environment
            b"\x48\x8b\x7c\x24\x10",  # mov rdi, [rsp+16]: argv[1]
            b"\x48\x8d\x74\x24\x10",  # lea rsi, [rsp+16]
            _call(_EXECVE),
            _finish(127),
        )
    )
    return fork + b"\x0f\x84" + struct.pack("<i", len(parent)) + parent + child  # je child


def _call(number: int) -> bytes:
    return b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"  # mov eax, number; syscall


def _finish(code: int) -> bytes:
    return b"\xbf" + struct.pack("<I", code) + _call(_EXIT)  # mov edi, code


def _elf(body: bytes) -> bytes:
    """Return a static executable with one segment (elf(5))."""
    size = _HEADERS + len(body)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return head + segment + body
