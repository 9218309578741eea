"""What Go's HTTP server does before and around every handler of Tinkerbell's."""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final
from urllib.parse import quote

TEXT: Final = "text/plain; charset=utf-8"
_NOSNIFF: Final = (("X-Content-Type-Options", "nosniff"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response that is known as a whole. A HEAD request gets it without its body."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    """None: the header is not sent."""
    headers: tuple[tuple[str, str], ...] = field(default=())

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


NOT_FOUND: Final = Answer(
    status=404, body=b"404 page not found\n", content_type=TEXT, headers=_NOSNIFF
)
"""What the mux says of a path nobody has; gin's own lacks the newline, see ``GIN_NOT_FOUND``."""
GIN_NOT_FOUND: Final = Answer(status=404, body=b"404 page not found", content_type="text/plain")
NOT_ALLOWED: Final = Answer(
    status=405, body=b"Method not allowed\n", content_type=TEXT, headers=_NOSNIFF
)
OK: Final = Answer(body=b"ok", content_type="text/plain")
"""``/healthz`` and ``/readyz``."""


def empty(status: int) -> Answer:
    """Return an answer of a status and nothing else."""
    return Answer(status=status)


def mux_redirect(
    path: str, query: str, method: str, folders: Collection[str] = ()
) -> Answer | None:
    """Return the mux's 307 to the clean form of ``path``, or None when it is clean.

    ``folders`` are patterns that end in a slash: their path without it is redirected there.
    """
    clean = _clean(path)
    target = f"{clean}/" if f"{clean}/" in folders else clean
    if target == path:
        return None
    location = quote(target, safe="/:@!$&'()*+,;=-._~") + (f"?{query}" if query else "")
    if method not in ("GET", "HEAD"):
        return Answer(status=307, headers=(("Location", location),))
    body = f'<a href="{escape(location)}">Temporary Redirect</a>.\n\n'.encode()
    return Answer(
        status=307,
        body=body,
        content_type="text/html; charset=utf-8",
        headers=(("Location", location),),
    )


def _clean(path: str) -> str:
    """Do as Go's cleanPath: no ``.``, ``..`` or ``//``; a slash at the end stays."""
    rooted = path if path.startswith("/") else f"/{path}"
    clean = "/" + posixpath.normpath(rooted).lstrip("/")
    if clean != "/" and rooted.endswith(("/", "/.", "/..")) and rooted.endswith("/"):
        clean += "/"
    return clean


def base(path: str) -> str:
    """Return the last element of ``path``; a slash at its end does not count (Go's path.Base)."""
    return path.rstrip("/").rpartition("/")[2] or ("/" if path else ".")


def parent(path: str) -> str:
    """Return the name of the folder that holds ``path`` (Go's path.Base(path.Dir(path)))."""
    return base(posixpath.normpath(path.rpartition("/")[0] or "/"))


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[str]) -> str:
    """Return whom a request is from, by X-Forwarded-For if ``peer`` is a trusted proxy.

    ``trusted`` are networks; without any the header is not looked at. Of several addresses the
    last that is not trusted counts, as every proxy adds the address it saw.
    """
    networks = [ipaddress.ip_network(each, strict=False) for each in trusted]

    def is_trusted(address: str) -> bool:
        return any(ipaddress.ip_address(address) in network for network in networks)

    if not networks or not forwarded_for or not _is_address(peer) or not is_trusted(peer):
        return peer
    found = ""
    for each in reversed([part.strip() for part in forwarded_for.split(",")]):
        if not _is_address(each):
            break
        found = each
        if not is_trusted(each):
            break
    return found or peer


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
