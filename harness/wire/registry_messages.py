"""A registry's requests and answers as values, and how HTTP's fields in them are read.

Error answers are the distribution-spec's JSON; texts are those of Docker's own registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from harness.wire.commands import Note
from harness.wire.oci import Digest, canonical_json

_JSON: Final = ("Content-Type", "application/json; charset=utf-8")
_MESSAGES: Final = {
    "BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UPLOAD_UNKNOWN": "blob upload unknown to registry",
    "DENIED": "requested access to the resource is denied",
    "DIGEST_INVALID": "provided digest did not match uploaded content",
    "MANIFEST_BLOB_UNKNOWN": "blob unknown to registry",
    "MANIFEST_INVALID": "manifest invalid",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "NAME_INVALID": "invalid repository name",
    "NAME_UNKNOWN": "repository name not known to registry",
    "PAGINATION_NUMBER_INVALID": "invalid number of results requested",
    "RANGE_INVALID": "invalid content range",
    "SIZE_INVALID": "provided length did not match content length",
    "TOOMANYREQUESTS": "too many requests",
    "UNAUTHORIZED": "authentication required",
    "UNAVAILABLE": "service unavailable",
    "UNKNOWN": "unknown error",
    "UNSUPPORTED": "The operation is unsupported.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the shell stored of a request's body."""

    upload: str
    size: int
    """Octets that the whole upload has now."""
    digest: Digest | None = None
    """Of the whole upload, where one was asked for."""
    overflow: bool = False
    """Whether there was more than may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What the shell is to do with an upload, or with ``data``, before it answers."""

    upload: str = ""
    digest: Digest | None = None
    """Keep it as this blob; None: drop it."""
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request's head, and its body where the core needs one (token endpoint, manifests)."""

    method: str
    target: str
    """Path and query as they were sent, percent signs included."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name; repeated fields are joined with commas."""
    body: bytes = b""
    now: float = 0.0
    """Seconds on any monotonic clock; tokens expire by it."""
    scheme: str = "http"
    stored: Stored | None = None

    @property
    def origin(self) -> str:
        """Scheme and host, as the client sees them."""
        return f"{self.scheme}://{self.headers.get('host', 'localhost')}"

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(self.target.partition("?")[0], errors="replace")

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's fields, in order."""
        try:
            return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)
        except ValueError:  # more fields than the library takes
            return []

    def parameter(self, name: str) -> str | None:
        """Return the first query field called ``name``."""
        return next((value for key, value in self.query if key == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRange:
    """A body that the shell sends from storage: ``length`` octets from ``start``."""

    digest: Digest
    start: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What to answer. ``Content-Length`` is in ``headers`` always, for HEAD too."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | BlobRange = b""
    """Not sent in answer to HEAD."""
    notes: tuple[Note, ...] = ()
    """To be recorded before the body is sent."""
    keep: Keep | None = None
    served: Note | None = None
    """To be recorded, with ``bytes``, when the body was sent."""

    @property
    def length(self) -> int:
        """Length of the body in octets."""
        return self.body.length if isinstance(self.body, BlobRange) else len(self.body)


def json_response(value: object) -> Response:
    return Response(status=200, headers=(_JSON,), body=canonical_json(value))


def not_found(request: Request) -> Response:
    """A path that is no API at all: Docker's registry answers these in plain text."""
    note = Note(
        name="registry.request.failed",
        fields={"method": request.method, "path": request.path, "status": 404},
    )
    return Response(
        status=404,
        headers=(("Content-Type", "text/plain; charset=utf-8"),),
        body=b"404 page not found\n",
        notes=(note,),
    )


def error_response(
    request: Request,
    status: int,
    code: str,
    *,
    message: str | None = None,
    detail: object = None,
) -> Response:
    """Return an error answer (distribution-spec, "Error Codes")."""
    error: dict[str, object] = {"code": code, "message": message or _MESSAGES[code]}
    if detail is not None:
        error["detail"] = detail
    note = Note(
        name="registry.request.failed",
        fields={"method": request.method, "path": request.path, "status": status, "code": code},
    )
    return Response(
        status=status, headers=(_JSON,), body=canonical_json({"errors": [error]}), notes=(note,)
    )


def accepted_types(accept: str) -> set[str]:
    """Return the media types of an Accept header.

    As in Docker's registry, ``*/*`` is no media type: what isn't named isn't accepted.
    """
    return {part.partition(";")[0].strip().lower() for part in accept.split(",")}


def etag_matches(header: str, digest: Digest) -> bool:
    """RFC 9110 §13.1.2, weak comparison."""
    tags = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in tags or f'"{digest}"' in tags or str(digest) in tags
