"""Virtual media: a BMC's end of it, which reads an ISO from a web server range by range."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import LabError
from harness.wire.iso import MAGIC

if TYPE_CHECKING:
    import aiohttp

PIECE_BYTES: Final = 1 << 20
"""How much one request asks for. Real BMCs ask for as little as 20 kB, as the machine reads."""
_TOTAL: Final = re.compile(r"bytes \d+-\d+/(\d+)")


class MediumRefused(LabError):
    """A web server has no ISO for this machine, or not a whole one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """What was read."""

    size_bytes: int
    requests: int
    placeholder: bool
    """Whether it still holds the text that smee writes a machine's arguments over."""


async def read_medium(
    url: str, target: Path, *, magic: bytes = MAGIC, piece_bytes: int = PIECE_BYTES
) -> Medium:
    """Read ``url`` into ``target``; a server that knows no ranges is read at one go.

    ``magic`` is the placeholder.

    Raises ``MediumRefused``. Has no deadline of its own.
    """
    import aiohttp

    requests = at = 0
    total: int | None = None
    try:
        async with aiohttp.ClientSession(trust_env=False) as session:
            with target.open("wb") as file:
                while total is None or at < total:
                    requests += 1
                    last = at + piece_bytes - 1
                    body, total = await _piece(session, url, at, last)
                    if not body:
                        raise MediumRefused(f"{url}: the server sends no octets from {at} on")
                    at += file.write(body)
    except (aiohttp.ClientError, OSError) as error:
        raise MediumRefused(f"{url}: {error}") from error
    return Medium(size_bytes=at, requests=requests, placeholder=_holds(target, magic))


def _holds(file: Path, text: bytes) -> bool:
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(text) >= 0


async def _piece(
    session: aiohttp.ClientSession, url: str, first: int, last: int
) -> tuple[bytes, int]:
    """Return a range, and the size of the whole."""
    headers = {"Range": f"bytes={first}-{last}", "User-Agent": "hooklab-bmc"}
    async with session.get(url, headers=headers) as answer:
        body = await answer.read()
        if answer.status == 200 and first == 0:
            return body, len(body)
        found = _TOTAL.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status != 206 or found is None:
            raise MediumRefused(f"{url}: the server answers {answer.status}")
        return body, int(found[1])
