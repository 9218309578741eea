"""A machine's RAM: a file without a name, which QEMU maps and others read and fill as well."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from harness.errors import SetupFailed

HUGE_PAGE: Final = 2 << 20


class Ram:
    """RAM of ``size_bytes``, all zeros. Its memory is free again once nobody has it open."""

    def __init__(self, size_bytes: int, *, folder: Path | None = None) -> None:
        """Make it on the tmpfs that is mounted at ``folder``; None: wherever the kernel likes.

        A tmpfs of one's own may have huge pages, which emulation is faster with. Nothing is taken
        of the host until it is touched. Raises ``SetupFailed``.
        """
        self.size_bytes = size_bytes
        self._file = -1
        try:
            if folder is None:
                self._file = os.memfd_create("ram")
            else:
                self._file = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._file, size_bytes)
        except OSError as error:
            self.close()
            raise SetupFailed(
                f"the machine's {size_bytes >> 20} MiB of RAM can't be had: {error.strerror}"
            ) from error

    def fileno(self) -> int:
        """Return the file's descriptor; -1 when it is closed."""
        return self._file

    def close(self) -> None:
        """Let go of it; idempotent."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
