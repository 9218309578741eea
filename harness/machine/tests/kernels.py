"""The smallest things that QEMU takes for a kernel."""

from __future__ import annotations


def kernel_of(code: bytes) -> bytes:
    """Return a kernel whose real-mode setup is ``code``, and that never gets beyond it."""
    header = bytearray(512)
    header[0x1F1] = 4  # setup sectors (Documentation/arch/x86/boot.rst)
    header[0x1FE:0x200] = b"\x55\xaa"
    return bytes(header) + code.ljust(4 * 512, b"\0") + bytes(4096)
