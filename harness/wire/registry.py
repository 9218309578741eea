"""A registry's decisions: a request in, a response out (OCI distribution-spec v1.1).

Where the specification leaves room this does what Docker's own registry does (``distribution``
v2.8, observed): its order of checks, its error texts, its headers. Pushing is decided in
``registry_push``, and answered 405 ``UNSUPPORTED`` where it is not allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from harness.errors import DecodeError
from harness.wire.commands import Note
from harness.wire.http_range import Unsatisfiable, parse_range
from harness.wire.oci import Digest, MediaType, canonical_json, is_repository, is_tag
from harness.wire.registry_auth import Access, Auth, AuthKind, Granted, Refused, TokenDesk
from harness.wire.registry_content import Manifest, Repository
from harness.wire.registry_messages import (
    BlobRange,
    Request,
    Response,
    accepted_types,
    error_response,
    etag_matches,
    json_response,
    not_found,
)
from harness.wire.registry_push import Intake, PushDesk, PushLimits

_API_VERSION: Final = ("Docker-Distribution-Api-Version", "registry/2.0")
_DEFAULT_ARCHITECTURE: Final = "amd64"
_ROUTE = re.compile(
    r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|referrers|tags)/(?P<reference>[^/]+)"
)
_DIGITS_LIMIT: Final = 18
_CODES: Final = {
    400: "UNSUPPORTED",
    401: "UNAUTHORIZED",
    403: "DENIED",
    405: "UNSUPPORTED",
    429: "TOOMANYREQUESTS",
    500: "UNKNOWN",
}


class Registry:
    """The decisions of a registry."""

    def __init__(
        self,
        *,
        repositories: Mapping[str, Repository],
        auth: Auth | None = None,
        new_token: Callable[[], str],
        push: PushLimits | None = None,
        prefix: str = "",
    ) -> None:
        """Serve ``repositories``, by name; ``new_token`` makes unguessable strings.

        ``push`` None: nothing can be pushed. ``prefix``: ``/prefix/v2/name`` is ``/v2/prefix/name``
        too, as some mirrors have it.
        """
        self.repositories: dict[str, Repository] = dict(repositories)
        self.auth = auth or Auth()
        self._desk = TokenDesk(self.auth, new_token, writable=push is not None)
        self._push = PushDesk(self.repositories, limits=push, new_id=new_token) if push else None
        self._prefix = prefix.strip("/")

    def intake(self, request: Request) -> Intake | None:
        """Return where the body of ``request`` is to be stored before ``respond``; None: nowhere.

        The answer to a body that is not wanted does not depend on it.
        """
        if self._push is None:
            return None
        request = self._unprefixed(request)
        name = self._push.repository_of(request)
        if name is None:
            match = _ROUTE.fullmatch(request.path)
            if not match or match["kind"] != "manifests" or request.method != "PUT":
                return None
            name = match["name"]
        access = Access("repository", name, "push")
        if self._desk.check(request.headers.get("authorization"), access, request.now):
            return None
        return self._push.intake(request)

    def forgotten_uploads(self) -> list[str]:
        """Return uploads that nobody may go on with, since the last call: nothing is kept."""
        return self._push.forgotten() if self._push else []

    def _unprefixed(self, request: Request) -> Request:
        start = f"/{self._prefix}/v2/"
        if not self._prefix or not request.target.startswith(start):
            return request
        rest = request.target.removeprefix(start)
        inside = rest and not rest.startswith(("?", "_catalog"))
        return replace(request, target=f"/v2/{self._prefix}/{rest}" if inside else f"/v2/{rest}")

    def respond(self, request: Request) -> Response:
        """Return the answer to ``request``; any request has one."""
        request = self._unprefixed(request)
        response = self._respond(request)
        names = {name.lower() for name, _ in response.headers}
        headers = list(response.headers)
        if "content-length" not in names and response.status not in (204, 304):
            headers.append(("Content-Length", str(response.length)))
        if request.path.startswith("/v2"):
            headers.append(_API_VERSION)
        return replace(response, headers=tuple(headers))

    def refuse(self, request: Request, status: int, message: str = "") -> Response:
        """Return the error answer with ``status``, as a registry in that trouble words it."""
        code = _CODES.get(status, "UNAVAILABLE" if status >= 500 else "UNKNOWN")
        subject = self.subject(request)
        if status == 404:
            code = {"manifest": "MANIFEST_UNKNOWN", "blob": "BLOB_UNKNOWN"}.get(
                subject["object"], "NAME_UNKNOWN"
            )
        failed = error_response(request, status, code, message=message or None)
        headers = list(failed.headers)
        if status == 401:
            name = subject.get("repository")
            access = Access("repository", name, "pull") if name else None
            headers.append(("WWW-Authenticate", self._challenge(request, access, None)))
        headers += [("Content-Length", str(failed.length)), _API_VERSION]
        return replace(failed, headers=tuple(headers))

    def subject(self, request: Request) -> dict[str, str]:
        """Return what a request is about: ``object``, ``repository``, ``reference``, ``digest``."""
        path = self._unprefixed(request).path
        if path == self.auth.token_path and self.auth.kind is AuthKind.BEARER:
            return {"object": "token"}
        if path in ("/v2", "/v2/"):
            return {"object": "ping"}
        if path == "/v2/_catalog":
            return {"object": "catalog"}
        match = _ROUTE.fullmatch(path)
        if not match:
            return {"object": "upload" if "/blobs/uploads/" in path else "other"}
        kind = match["kind"].removesuffix("s") if match["kind"] != "tags" else "tags"
        found = {"object": kind, "repository": match["name"], "reference": match["reference"]}
        if ":" in match["reference"]:
            found["digest"] = match["reference"]
        elif kind == "manifest" and (
            digest := self.repositories.get(match["name"], Repository()).tags.get(
                match["reference"]
            )
        ):
            found["digest"] = str(digest)
        return found

    def _challenge(self, request: Request, access: Access | None, error: str | None) -> str:
        origin = f"{request.scheme}://{request.headers.get('host', 'localhost')}"
        return self.auth.challenge(access, origin=origin, error=error)

    def _respond(self, request: Request) -> Response:
        path = request.path
        if path == "/":
            return Response(status=200, headers=(("Cache-Control", "no-cache"),))
        if path == "/v2":
            return Response(status=301, headers=(("Location", "/v2/"),))
        if path == self.auth.token_path and self.auth.kind is AuthKind.BEARER:
            return self._token(request)
        if not path.startswith("/v2/"):
            return not_found(request)
        if path == "/v2/":
            return self._guarded(request, None, lambda: json_response({}))
        if path == "/v2/_catalog":
            return self._guarded(
                request, Access("registry", "catalog", "*"), lambda: self._catalog(request)
            )
        return self._repository(request, path)

    def _repository(self, request: Request, path: str) -> Response:
        if self._push and (owner := self._push.repository_of(request)):
            access = Access("repository", owner, "push")
            push = self._push
            return self._guarded(request, access, lambda: push.upload(request))
        match = _ROUTE.fullmatch(path)
        if not match or not is_repository(match["name"]):
            return not_found(request)
        name, kind, reference = match["name"], match["kind"], match["reference"]
        answers: dict[str, Callable[[Request, str, str], Response]] = {
            "manifests": self._manifest,
            "blobs": self._blob,
            "referrers": self._referrers,
            "tags": self._tags,
        }
        if kind == "tags" and reference != "list":
            return not_found(request)
        if self._push and kind in ("manifests", "blobs") and request.method in ("PUT", "DELETE"):
            push = self._push
            if request.method == "DELETE":
                change = lambda: push.delete(request, name, kind, reference)  # noqa: E731
            elif kind == "manifests":
                change = lambda: push.put_manifest(request, name, reference)  # noqa: E731
            else:
                change = lambda: _not_allowed(request)  # noqa: E731
            return self._guarded(request, Access("repository", name, "push"), change)
        return self._guarded(
            request,
            Access("repository", name, "pull"),
            lambda: answers[kind](request, name, reference),
        )

    # -- who may

    def _guarded(
        self, request: Request, access: Access | None, answer: Callable[[], Response]
    ) -> Response:
        verdict = self._desk.check(request.headers.get("authorization"), access, request.now)
        if isinstance(verdict, Refused):
            challenge = self._challenge(request, access, verdict.error)
            refused = verdict.user is not None or verdict.error is not None
            note = (
                Note(name="registry.auth.refused", fields={"path": request.path} | _user(verdict))
                if refused
                else Note(
                    name="registry.auth.challenged",
                    fields={"path": request.path, "scheme": self.auth.kind.value},
                )
            )
            detail = [access.to_json()] if access else None
            failed = error_response(request, 401, "UNAUTHORIZED", detail=detail)
            return replace(
                failed,
                headers=(*failed.headers, ("WWW-Authenticate", challenge)),
                notes=(note, *failed.notes),
            )
        writes = access is not None and access.action == "push"
        if request.method not in ("GET", "HEAD") and not writes:
            return _not_allowed(request)
        return answer()

    def _token(self, request: Request) -> Response:
        if request.method == "POST":  # the OAuth2 form of the token protocol
            try:
                fields = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
            except ValueError:
                fields = []
            outcome = self._desk.grant_form(fields, request.now)
        elif request.method in ("GET", "HEAD"):
            outcome = self._desk.grant(
                request.headers.get("authorization"),
                [value for key, value in request.query if key == "scope"],
                request.now,
            )
        else:
            return error_response(request, 405, "UNSUPPORTED")
        if isinstance(outcome, Granted):
            note = Note(
                name="registry.token.issued",
                fields={"scope": outcome.scope} | ({"user": outcome.user} if outcome.user else {}),
            )
            return replace(json_response(outcome.to_json()), notes=(note,))
        note = Note(name="registry.auth.refused", fields={"path": request.path} | _user(outcome))
        failed = error_response(request, 401, "UNAUTHORIZED")
        challenge = f'Basic realm="{self.auth.service}"'
        return replace(
            failed,
            headers=(*failed.headers, ("WWW-Authenticate", challenge)),
            notes=(note, *failed.notes),
        )

    # -- what there is

    def _catalog(self, request: Request) -> Response:
        return self._page(request, "/v2/_catalog", sorted(self.repositories), "repositories", {})

    def _tags(self, request: Request, name: str, _list: str) -> Response:
        repository = self.repositories.get(name)
        if repository is None:
            return error_response(request, 404, "NAME_UNKNOWN", detail={"name": name})
        path = f"/v2/{name}/tags/list"
        return self._page(request, path, sorted(repository.tags), "tags", {"name": name})

    def _page(
        self, request: Request, path: str, names: Sequence[str], key: str, rest: dict[str, Any]
    ) -> Response:
        asked, last = request.parameter("n"), request.parameter("last")
        remaining = [name for name in names if last is None or name > last]
        # Docker's registry takes a number that is none for "no limit"; so does this.
        number = asked is not None and asked.isascii() and asked.isdigit()
        limit = int(asked[:_DIGITS_LIMIT]) if asked and number else None
        shown = remaining if limit is None else remaining[:limit]
        page = json_response(rest | {key: shown})
        if shown and len(shown) < len(remaining):
            query = urlencode({"last": shown[-1], "n": limit})
            link = f'<{quote(path)}?{query}>; rel="next"'
            page = replace(page, headers=(*page.headers, ("Link", link)))
        return page

    def _manifest(self, request: Request, name: str, reference: str) -> Response:
        repository = self.repositories.get(name, Repository())
        by_tag = is_tag(reference)
        if by_tag:
            digest = repository.tags.get(reference)
            detail: dict[str, str] = {"Tag": reference}
        else:
            try:
                digest = Digest.parse(reference)
            except DecodeError:
                known_shape = ":" in reference
                return (
                    error_response(request, 400, "DIGEST_INVALID", detail={})
                    if known_shape
                    else not_found(request)
                )
            detail = {"Name": name, "Revision": reference}
        manifest = repository.manifests.get(digest) if digest else None
        if manifest is None:
            return error_response(request, 404, "MANIFEST_UNKNOWN", detail=detail)
        accepted = accepted_types(request.headers.get("accept", ""))
        if manifest.media_type == MediaType.OCI_MANIFEST and manifest.media_type not in accepted:
            message = "OCI manifest found, but accept header does not support OCI manifests"
            return error_response(request, 404, "MANIFEST_UNKNOWN", message=message)
        if manifest.media_type == MediaType.OCI_INDEX and manifest.media_type not in accepted:
            message = "OCI index found, but accept header does not support OCI indexes"
            return error_response(request, 404, "MANIFEST_UNKNOWN", message=message)
        is_list = manifest.media_type == MediaType.DOCKER_LIST
        if by_tag and is_list and manifest.media_type not in accepted:
            # An old client gets the image of the default platform (distribution: GetManifest).
            chosen = _for_platform(manifest, repository)
            if chosen is None:
                return error_response(request, 404, "MANIFEST_UNKNOWN", detail=detail)
            manifest = chosen
        etag = f'"{manifest.digest}"'
        headers = (
            ("Docker-Content-Digest", str(manifest.digest)),
            ("Etag", etag),
        )
        if etag_matches(request.headers.get("if-none-match", ""), manifest.digest):
            return Response(status=304, headers=headers)
        served = Note(
            name="registry.manifest.served",
            fields={
                "method": request.method,
                "repository": name,
                "reference": reference,
                "digest": str(manifest.digest),
                "media_type": manifest.media_type,
            },
        )
        return Response(
            status=200,
            headers=(("Content-Type", manifest.media_type), *headers),
            body=manifest.data,
            served=served,
        )

    def _referrers(self, request: Request, name: str, reference: str) -> Response:
        try:
            subject = Digest.parse(reference)
        except DecodeError:
            return error_response(request, 400, "DIGEST_INVALID", detail={})
        wanted = request.parameter("artifactType")
        found = [
            {
                "mediaType": manifest.media_type,
                "digest": str(manifest.digest),
                "size": len(manifest.data),
                "artifactType": manifest.artifact_type,
            }
            for manifest in self.repositories.get(name, Repository()).manifests.values()
            if manifest.subject == subject and wanted in (None, manifest.artifact_type)
        ]
        index = {"schemaVersion": 2, "mediaType": MediaType.OCI_INDEX.value, "manifests": found}
        headers: tuple[tuple[str, str], ...] = (("Content-Type", MediaType.OCI_INDEX.value),)
        if wanted is not None:
            headers += (("OCI-Filters-Applied", "artifactType"),)
        return Response(status=200, headers=headers, body=canonical_json(index))

    def _blob(self, request: Request, name: str, reference: str) -> Response:
        try:
            digest = Digest.parse(reference)
        except DecodeError:
            if ":" not in reference:
                return not_found(request)  # no route, in Docker's
            return error_response(request, 400, "DIGEST_INVALID", detail={})
        size = self.repositories.get(name, Repository()).blobs.get(digest)
        if size is None:
            return error_response(request, 404, "BLOB_UNKNOWN", detail=reference)
        headers = (
            ("Docker-Content-Digest", str(digest)),
            ("Etag", f'"{digest}"'),
            ("Cache-Control", "max-age=31536000"),
        )
        if etag_matches(request.headers.get("if-none-match", ""), digest):
            return Response(status=304, headers=headers)
        asked = request.headers.get("range", "")
        condition = request.headers.get("if-range")
        if condition is not None and condition.strip() != f'"{digest}"':
            asked = ""
        try:
            part = parse_range(asked, size)
        except Unsatisfiable:
            return self._unsatisfiable(request, size, headers)
        fields: dict[str, Any] = {
            "method": request.method,
            "repository": name,
            "digest": str(digest),
            "length": size,
        }
        more = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes")]
        start, end = part or (0, size)
        if part:
            fields["range"] = f"{start}-{end - 1}"
            more.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
        return Response(
            status=206 if part else 200,
            headers=(*more, *headers),
            body=BlobRange(digest=digest, start=start, length=end - start),
            served=Note(name="registry.blob.served", fields=fields),
        )

    def _unsatisfiable(
        self, request: Request, size: int, headers: tuple[tuple[str, str], ...]
    ) -> Response:
        failed = Note(
            name="registry.request.failed",
            fields={"method": request.method, "path": request.path, "status": 416},
        )
        return Response(
            status=416,
            headers=(
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Range", f"bytes */{size}"),
                *headers,
            ),
            body=b"invalid range: failed to overlap\n",
            notes=(failed,),
        )


def _not_allowed(request: Request) -> Response:
    failed = error_response(request, 405, "UNSUPPORTED")
    return replace(failed, headers=(*failed.headers, ("Allow", "GET, HEAD")))


def _user(refused: Refused) -> dict[str, str]:
    return {} if refused.user is None else {"user": refused.user}


def _for_platform(manifest: Manifest, repository: Repository) -> Manifest | None:
    for child in manifest.children:
        platform = child.platform
        if platform and (platform.os, platform.architecture) == ("linux", _DEFAULT_ARCHITECTURE):
            return repository.manifests.get(child.digest)
    return None
