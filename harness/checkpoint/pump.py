"""The child process that packs a machine's memory into a file, or unpacks it from one.

``python -m harness.checkpoint.pump pack FILE`` reads stdin; ``… unpack FILE BYTES`` writes so many
octets to stdout. The file is one zstd frame with a checksum of its content: what is cut off or
changed makes ``unpack`` end with a status other than 0, which is looked at before the machine runs.
``pack`` prints a line of JSON with the SHA-256 and the sizes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Final

_CHUNK: Final = 1 << 20
_LEVEL: Final = -1
"""A tenth larger than with 1, and unpacked a fifth faster."""
_THREADS: Final = 2


def pack(path: str) -> dict[str, int | str]:
    """Write what stdin holds to ``path``. Raises ``OSError``."""
    import zstandard

    packer = zstandard.ZstdCompressor(
        level=_LEVEL, threads=_THREADS, write_checksum=True
    ).compressobj()
    digest, size, packed = hashlib.sha256(), 0, 0
    with open(path, "wb") as file:  # noqa: PTH123 - pathlib is 5 ms

        def put(data: bytes) -> None:
            nonlocal packed
            packed += len(data)
            digest.update(data)
            file.write(data)

        while data := os.read(0, _CHUNK):
            size += len(data)
            put(packer.compress(data))
        put(packer.flush())
    return {"sha256": digest.hexdigest(), "bytes": packed, "memory_bytes": size}


def unpack(path: str, size: int) -> None:
    """Write the ``size`` octets that ``pack`` read. Raises ``OSError`` and ``ValueError``."""
    import zstandard

    buffer, done = bytearray(_CHUNK), 0
    view = memoryview(buffer)  # one buffer: to have new memory each time takes as long as unpacking
    try:
        with (
            open(path, "rb", buffering=0) as file,  # noqa: PTH123
            zstandard.ZstdDecompressor().stream_reader(file, read_size=_CHUNK) as frame,
        ):
            while count := frame.readinto(buffer):
                done += count
                at = 0
                while at < count:
                    at += os.write(1, view[at:count])
    except zstandard.ZstdError as error:
        raise ValueError(f"damaged: {error}") from None
    if done != size:
        raise ValueError(f"{done} octets instead of {size}")


def main(argv: list[str]) -> int:
    """Run one of both; exit status 1 and words on stderr when it can't."""
    try:
        if argv[0] == "pack":
            print(json.dumps(pack(argv[1])), flush=True)
        else:
            unpack(argv[1], int(argv[2]))
    except (OSError, ValueError) as error:
        print(f"{argv[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
