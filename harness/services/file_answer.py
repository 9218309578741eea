"""A file, or a part of it, as the answer to a request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO

from harness.services.answer import Answer, FilePart
from harness.wire.http_range import Unsatisfiable, parse_range


def of_file(file: IO[bytes], asked: Mapping[str, str]) -> Answer:
    """Answer with a file or a range of it (RFC 9110 §13, §14)."""
    size, mtime_ns = _size_and_mtime(file)
    etag = f"{mtime_ns:x}-{size:x}"
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{etag}"',
        "Content-Type": "application/octet-stream",
    }
    known = asked.get("If-None-Match", "")
    if known.strip() == "*" or f'"{etag}"' in known:
        return Answer(status=304, headers=tuple(headers.items()))
    wanted = asked.get("Range")
    if_range = asked.get("If-Range")
    if if_range is not None and if_range != f'"{etag}"':
        wanted = None
    try:
        span = parse_range(wanted, size)
    except Unsatisfiable:
        return Answer(
            status=416, headers=(("Content-Range", f"bytes */{size}"), ("Content-Length", "0"))
        )
    start, end = span or (0, size)
    if span:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    return Answer(
        status=206 if span else 200,
        headers=tuple(headers.items()),
        body=FilePart(stream=file, start=start, length=end - start),
    )


def _size_and_mtime(file: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
