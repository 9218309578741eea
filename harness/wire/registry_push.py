"""Pushing to a registry: uploads, blobs, manifests (OCI distribution-spec v1.1, "Push").

Sans-IO: the shell asks where a body goes (``intake``), stores it, and then asks what to answer.
What the specification leaves open is as in Docker's own registry, except that a monolithic POST
and the removal of a tag are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from harness.errors import DecodeError
from harness.wire.commands import Note
from harness.wire.oci import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    Digest,
    decode_descriptors,
    decode_object,
    is_repository,
    is_tag,
)
from harness.wire.registry_content import Manifest, Repository
from harness.wire.registry_messages import (
    Keep,
    Request,
    Response,
    error_response,
    not_found,
)

MANIFEST_LIMIT: Final = 4 << 20
UPLOADS_LIMIT: Final = 1000
_UPLOAD = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>[^/]*)")
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PushLimits:
    """How much may be pushed."""

    blob_bytes: int = 2 << 30
    total_bytes: int = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Where a request's body is to be stored, before the request is answered."""

    upload: str | None
    """Behind what this upload has already; None: in memory."""
    limit: int
    """Octets; a longer body is cut there and told as ``overflow``."""
    algorithm: str | None = None
    """The whole upload's digest is wanted, by this algorithm."""


@dataclass(slots=True, kw_only=True)
class _Upload:
    repository: str
    size: int = 0


class PushDesk:
    """What was begun to be uploaded, and what becomes of it."""

    def __init__(
        self,
        repositories: dict[str, Repository],
        *,
        limits: PushLimits,
        new_id: Callable[[], str],
    ) -> None:
        """Change ``repositories`` as content is pushed; ``new_id`` makes unguessable names."""
        self._repositories = repositories
        self._limits = limits
        self._new_id = new_id
        self._uploads: dict[str, _Upload] = {}
        self._forgotten: list[str] = []
        self._total = 0

    @staticmethod
    def repository_of(request: Request) -> str | None:
        """Return whose upload a path is about; None: it is no upload's."""
        match = _UPLOAD.fullmatch(request.path)
        return match["name"] if match and is_repository(match["name"]) else None

    def forgotten(self) -> list[str]:
        """Return uploads that had to go because others were begun, since the last call."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def intake(self, request: Request) -> Intake | None:
        """Return where the body of ``request`` goes; None: it is not wanted."""
        match = _UPLOAD.fullmatch(request.path)
        if match is None:
            return Intake(upload=None, limit=MANIFEST_LIMIT) if request.method == "PUT" else None
        wanted = request.parameter("digest")
        id = match["id"]
        if request.method == "POST" and not id and wanted is not None:
            id = self._begin(match["name"])
        upload = self._uploads.get(id)
        if upload is None or request.method not in ("POST", "PATCH", "PUT"):
            return None
        if self._out_of_order(request, upload) is not None:
            return None
        limit = min(self._limits.blob_bytes - upload.size, self._limits.total_bytes - self._total)
        return Intake(upload=id, limit=max(0, limit), algorithm=_algorithm(wanted))

    # -- uploads

    def upload(self, request: Request) -> Response:
        """Answer a request about an upload."""
        match = _UPLOAD.fullmatch(request.path)
        if match is None:
            return not_found(request)
        name, id = match["name"], match["id"] or (request.stored.upload if request.stored else "")
        if request.method == "POST" and not match["id"]:
            return self._post(request, name, id)
        upload = self._uploads.get(id)
        if upload is None or upload.repository != name:
            return error_response(request, 404, "BLOB_UPLOAD_UNKNOWN", detail=id)
        match request.method:
            case "GET" | "HEAD":
                return self._accepted(request, id, status=204)
            case "DELETE":
                del self._uploads[id]
                return Response(status=204, keep=Keep(upload=id))
            case "PATCH":
                return self._patch(request, id, upload)
            case "PUT":
                return self._finish(request, id, upload)
        failed = error_response(request, 405, "UNSUPPORTED")
        return replace(failed, headers=(*failed.headers, ("Allow", "GET, PATCH, PUT, DELETE")))

    def _begin(self, name: str) -> str:
        while len(self._uploads) >= UPLOADS_LIMIT:
            oldest = next(iter(self._uploads))
            del self._uploads[oldest]
            self._forgotten.append(oldest)
        id = self._new_id()
        self._uploads[id] = _Upload(repository=name)
        return id

    def _post(self, request: Request, name: str, id: str) -> Response:
        mount, source = request.parameter("mount"), request.parameter("from")
        if mount is not None and source is not None:
            digest = _digest(mount)
            size = (
                self._repositories.get(source, Repository()).blobs.get(digest) if digest else None
            )
            if digest and size is not None:
                self._add_blob(name, digest, size)
                return self._created(request, name, digest, "blobs")
        if id:  # monolithic: the body is there, unless others were begun meanwhile
            upload = self._uploads.get(id)
            if upload is None:
                return error_response(request, 404, "BLOB_UPLOAD_UNKNOWN", detail=id)
            return self._finish(request, id, upload)
        return self._accepted(request, self._begin(name), status=202)

    def _patch(self, request: Request, id: str, upload: _Upload) -> Response:
        failed = self._out_of_order(request, upload) or self._took(request, id, upload)
        return failed or self._accepted(request, id, status=202)

    def _finish(self, request: Request, id: str, upload: _Upload) -> Response:
        wanted = _digest(request.parameter("digest") or "")
        if wanted is None or _algorithm(str(wanted)) is None:
            return error_response(request, 400, "DIGEST_INVALID", detail={})
        failed = self._out_of_order(request, upload) or self._took(request, id, upload)
        if failed:
            return failed
        found = request.stored.digest if request.stored else None
        if found != wanted:
            del self._uploads[id]
            bad = error_response(request, 400, "DIGEST_INVALID", detail={})
            return replace(bad, keep=Keep(upload=id))
        del self._uploads[id]
        self._total += upload.size
        self._add_blob(upload.repository, wanted, upload.size)
        done = self._created(request, upload.repository, wanted, "blobs")
        pushed = Note(
            name="registry.blob.pushed",
            fields={
                "repository": upload.repository,
                "digest": str(wanted),
                "bytes": upload.size,
            },
        )
        return replace(done, keep=Keep(upload=id, digest=wanted), notes=(pushed,))

    def _out_of_order(self, request: Request, upload: _Upload) -> Response | None:
        told = request.headers.get("content-range")
        if told is None:
            return None
        match = _CONTENT_RANGE.fullmatch(told.strip())
        if match and int(match[1]) == upload.size and int(match[2]) + 1 >= int(match[1]):
            return None
        failed = error_response(request, 416, "RANGE_INVALID")
        return replace(failed, headers=(*failed.headers, ("Range", _range(upload.size))))

    def _took(self, request: Request, id: str, upload: _Upload) -> Response | None:
        """Count what was stored; return why it can't be kept."""
        if request.stored is None:
            return None
        upload.size = request.stored.size
        if not request.stored.overflow:
            return None
        del self._uploads[id]
        return replace(error_response(request, 413, "SIZE_INVALID"), keep=Keep(upload=id))

    def _accepted(self, request: Request, id: str, *, status: int) -> Response:
        upload = self._uploads[id]
        path = f"/v2/{upload.repository}/blobs/uploads/{id}"
        return Response(
            status=status,
            headers=(
                ("Location", request.origin + path),
                ("Range", _range(upload.size)),
                ("Docker-Upload-Uuid", id),
            ),
        )

    def _created(self, request: Request, name: str, digest: Digest, kind: str) -> Response:
        location = f"{request.origin}/v2/{name}/{kind}/{digest}"
        headers = (("Location", location), ("Docker-Content-Digest", str(digest)))
        return Response(status=201, headers=headers)

    def _add_blob(self, name: str, digest: Digest, size: int) -> None:
        repository = self._repositories.get(name, Repository())
        self._repositories[name] = replace(repository, blobs={**repository.blobs, digest: size})

    # -- manifests

    def put_manifest(self, request: Request, name: str, reference: str) -> Response:
        """Take a manifest or an index whose parts are all there."""
        by_digest = ":" in reference
        if request.stored and request.stored.overflow:
            return error_response(request, 413, "SIZE_INVALID")
        data = request.body
        digest = Digest.of(data)
        if by_digest:
            asked = _digest(reference)
            if asked is None or (asked.algorithm == "sha256" and asked != digest):
                return error_response(request, 400, "DIGEST_INVALID", detail={})
            digest = asked
        elif not is_tag(reference):
            return not_found(request)  # no route, in Docker's
        try:
            manifest, parts = _parse(data, digest, request.headers.get("content-type", ""))
        except DecodeError as error:
            return error_response(request, 400, "MANIFEST_INVALID", detail=str(error))
        repository = self._repositories.get(name, Repository())
        absent = [
            part.digest
            for part in parts
            if part.digest not in repository.blobs and part.digest not in repository.manifests
        ]
        if absent:
            detail = {"digest": str(absent[0])}
            return error_response(request, 400, "MANIFEST_BLOB_UNKNOWN", detail=detail)
        tags = {} if by_digest else {reference: digest}
        self._repositories[name] = replace(
            repository,
            tags={**repository.tags, **tags},
            manifests={**repository.manifests, digest: manifest},
            blobs={**repository.blobs, digest: len(data)},
        )
        done = self._created(request, name, digest, "manifests")
        if manifest.subject:
            subject = ("OCI-Subject", str(manifest.subject))
            done = replace(done, headers=(*done.headers, subject))
        pushed = Note(
            name="registry.manifest.pushed",
            fields={
                "repository": name,
                "reference": reference,
                "digest": str(digest),
                "media_type": manifest.media_type,
                "bytes": len(data),
            },
        )
        return replace(done, keep=Keep(digest=digest, data=data), notes=(pushed,))

    def delete(self, request: Request, name: str, kind: str, reference: str) -> Response:
        """Forget a tag, a manifest with its tags, or a blob. What is stored stays stored."""
        repository = self._repositories.get(name, Repository())
        unknown = {"manifests": "MANIFEST_UNKNOWN", "blobs": "BLOB_UNKNOWN"}[kind]
        if kind == "manifests" and is_tag(reference) and reference in repository.tags:
            tags = {tag: at for tag, at in repository.tags.items() if tag != reference}
            changed = replace(repository, tags=tags)
        else:
            digest = _digest(reference)
            if digest is None and ":" in reference:
                return error_response(request, 400, "DIGEST_INVALID", detail={})
            known: Any = repository.manifests if kind == "manifests" else repository.blobs
            if digest is None or digest not in known:
                return error_response(request, 404, unknown, detail=reference)
            kept = {each: value for each, value in known.items() if each != digest}
            if kind == "manifests":
                tags = {tag: at for tag, at in repository.tags.items() if at != digest}
                changed = replace(repository, manifests=kept, tags=tags)
            else:
                changed = replace(repository, blobs=kept)
        self._repositories[name] = changed
        gone = Note(
            name="registry.content.deleted", fields={"repository": name, "reference": reference}
        )
        return Response(status=202, notes=(gone,))


def _parse(data: bytes, digest: Digest, content_type: str) -> tuple[Manifest, list[Descriptor]]:
    """Return a manifest and what it refers to. Raises ``DecodeError``."""
    document = decode_object(data, "manifest")
    told = str(document.get("mediaType") or "")
    media_type = content_type.partition(";")[0].strip() or told
    if told and told != media_type:
        raise DecodeError(f"it calls itself {told}, and was sent as {media_type}")
    if document.get("schemaVersion") != 2:
        raise DecodeError("schemaVersion must be 2")
    is_index = media_type in INDEX_TYPES
    if not is_index and media_type not in MANIFEST_TYPES:
        raise DecodeError(f"{media_type or 'no media type'} is neither image nor index")
    if is_index:
        parts = children = decode_descriptors(document, "manifests")
    else:
        children = []
        config = Descriptor.from_json(document.get("config"))
        parts = [config, *decode_descriptors(document, "layers")]
    subject = document.get("subject")
    manifest = Manifest(
        data=data,
        media_type=media_type,
        digest=digest,
        children=tuple(children),
        subject=Descriptor.from_json(subject).digest if subject else None,
        artifact_type=str(document.get("artifactType") or ""),
    )
    return manifest, parts


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except DecodeError:
        return None


def _algorithm(digest: str | None) -> str | None:
    found = (digest or "").partition(":")[0]
    return found if found in ("sha256", "sha384", "sha512") else None


def _range(size: int) -> str:
    return f"0-{max(0, size - 1)}"
