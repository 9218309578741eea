"""Write comments onto frames of a capture, where packet analysers show and filter them.

The file is written anew beside the old one, unchanged stretches copied as they are, and then put
in its place: whoever reads meanwhile has a whole file. ``frame.comment`` finds them in Wireshark.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harness.net.captured import CapturedFrames, Frame
from harness.net.pcapng import comment_option

_SIZE: Final = struct.Struct("<I")
_COPY_BYTES: Final = 8 << 20


def annotate(path: Path, comments: Mapping[int, str]) -> None:
    """Give the frames numbered in ``comments`` these comments, and every other frame none.

    Raises ``OSError``, and ``ValueError`` when ``path`` is no capture of ours.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        with CapturedFrames(path) as capture, fresh.open("wb") as file:
            view = memoryview(capture.data)
            copied = 0
            try:
                for frame in capture:
                    comment = comments.get(frame.number)
                    if comment is None and not frame.options_bytes:
                        continue
                    _copy(view, copied, frame.block_at, file.fileno())
                    os.write(file.fileno(), _block(capture, frame, comment))
                    copied = frame.block_at + frame.block_bytes
                _copy(view, copied, len(view), file.fileno())
            finally:
                view.release()
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def _block(capture: CapturedFrames, frame: Frame, comment: str | None) -> bytes:
    """Return a frame's block with ``comment`` as its only option."""
    body = capture.data[frame.block_at + 8 : frame.options_at]
    body += comment_option(comment) if comment else b""
    size = _SIZE.pack(12 + len(body))
    return capture.data[frame.block_at : frame.block_at + 4] + size + body + size


def _copy(view: memoryview, start: int, end: int, fd: int) -> None:
    while start < end:
        start += os.write(fd, view[start : min(end, start + _COPY_BYTES)])
