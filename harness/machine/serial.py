"""The line between a serial port of a QEMU and us: two FIFOs, with room for what is printed.

A guest does not wait for whoever reads: Linux tries for 10 ms (8250_port.c, wait_for_xmitr), and
then writes over what is still in the port. QEMU gives each octet away by a call of its own. A unix
socket keeps a buffer of its own for each of these and is full after some 280 octets; in a pipe
they lie side by side.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
from pathlib import Path
from typing import Final

ROOM_BYTES: Final = 1 << 20
"""More than any boot prints; what everybody may ask for (pipe(7), pipe-max-size)."""


class SerialLine:
    """``path.in`` and ``path.out``, as QEMU's ``-chardev pipe`` wants them.

    ``reading`` and ``writing`` belong to whoever takes them, and are not blocking. Raises
    ``OSError``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = [path.with_name(path.name + suffix) for suffix in (".in", ".out")]
        into, out = self._files
        self._held: list[int] = []
        """Ends that QEMU will have: without them ours would see an end of file before it came."""
        try:
            for file in self._files:
                os.mkfifo(file, 0o600)
            self._held.append(os.open(into, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            self.reading = _opened(out, os.O_RDONLY)
            self.writing = _opened(into, os.O_WRONLY)
            self._held.append(os.open(out, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            self.taken()
            raise
        with contextlib.suppress(OSError):  # somebody's other pipes have all the room
            fcntl.fcntl(self.reading, fcntl.F_SETPIPE_SZ, ROOM_BYTES)

    def close(self) -> None:
        """Close everything: nobody takes it."""
        self.reading.close()
        self.writing.close()
        self.taken()

    def taken(self) -> None:
        """QEMU has opened its ends, or never will: no other is held, no file is left."""
        while self._held:
            os.close(self._held.pop())
        for file in self._files:
            file.unlink(missing_ok=True)


def _opened(file: Path, flags: int) -> io.FileIO:
    def opener(path: str, _flags: int) -> int:
        return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)

    return io.FileIO(os.fspath(file), "r" if flags == os.O_RDONLY else "w", opener=opener)
