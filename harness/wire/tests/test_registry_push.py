"""Pushing, as the distribution-spec says: a table of good and bad requests."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from harness.wire.oci import Digest, MediaType
from harness.wire.registry import Registry
from harness.wire.registry_content import Repository
from harness.wire.registry_messages import Request, Response, Stored
from harness.wire.registry_push import PushLimits

UPLOADS = "/v2/lab/tool/blobs/uploads/"
BLOB = b"a blob"
DIGEST = Digest.of(BLOB)
NONE = "sha256:" + "0" * 64


class Shell:
    """Does what the service does, with uploads in memory."""

    def __init__(self, **options: Any) -> None:
        numbers = itertools.count(1)
        self.core = Registry(
            repositories={"other": Repository(blobs={DIGEST: len(BLOB)})},
            new_token=lambda: f"u{next(numbers)}",
            push=PushLimits(blob_bytes=1000, total_bytes=1500),
            **options,
        )
        self.files: dict[str, bytes] = {}
        self.blobs: dict[Digest, bytes] = {}

    def __call__(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method=method, target=target, headers={"host": "reg", **named})
        intake = self.core.intake(request)
        if intake is not None:
            data, overflow = body[: intake.limit], len(body) > intake.limit
            if intake.upload is None:
                stored = Stored(upload="", size=len(data), overflow=overflow)
                request = replace(request, stored=stored, body=data)
            else:
                whole = self.files[intake.upload] = self.files.get(intake.upload, b"") + data
                stored = Stored(
                    upload=intake.upload,
                    size=len(whole),
                    digest=Digest.of(whole) if intake.algorithm else None,
                    overflow=overflow,
                )
                request = replace(request, stored=stored)
        response = self.core.respond(request)
        if keep := response.keep:
            kept = self.files.pop(keep.upload, keep.data)
            if keep.digest:
                self.blobs[keep.digest] = kept
        return response

    def begin(self) -> str:
        location = header(self("POST", UPLOADS), "Location")
        return location.removeprefix("http://reg")


def header(response: Response, name: str) -> str:
    return dict(response.headers)[name]


def code(response: Response) -> str:
    assert isinstance(response.body, bytes)
    return str(json.loads(response.body)["errors"][0]["code"])


def test_a_blob_in_one_put() -> None:
    shell = Shell()
    begun = shell("POST", UPLOADS)
    assert (begun.status, header(begun, "Range"), header(begun, "Content-Length")) == (
        202,
        "0-0",
        "0",
    )
    where = header(begun, "Location").removeprefix("http://reg")
    done = shell("PUT", f"{where}?digest={DIGEST}", BLOB)
    assert done.status == 201
    assert header(done, "Docker-Content-Digest") == str(DIGEST)
    assert header(done, "Location").endswith(f"/v2/lab/tool/blobs/{DIGEST}")
    assert shell.blobs == {DIGEST: BLOB}
    assert shell("HEAD", f"/v2/lab/tool/blobs/{DIGEST}").status == 200
    assert shell("PUT", f"{where}?digest={DIGEST}", BLOB).status == 404  # it is over


def test_a_blob_in_chunks_which_can_be_looked_at() -> None:
    shell = Shell()
    where = shell.begin()
    first = shell("PATCH", where, BLOB[:2], content_range="0-1")
    assert (first.status, header(first, "Range")) == (202, "0-1")
    again = shell("PATCH", where, BLOB[:2], content_range="0-1")
    assert (again.status, code(again), header(again, "Range")) == (416, "RANGE_INVALID", "0-1")
    looked = shell("GET", where)
    assert (looked.status, header(looked, "Range")) == (204, "0-1")
    assert shell("PATCH", where, BLOB[2:], content_range=f"2-{len(BLOB) - 1}").status == 202
    assert shell("PUT", f"{where}?digest={DIGEST}").status == 201
    assert shell.blobs == {DIGEST: BLOB}


def test_a_blob_in_one_post_and_one_by_mounting() -> None:
    shell = Shell()
    assert shell("POST", f"{UPLOADS}?digest={DIGEST}", BLOB).status == 201
    mounted = shell("POST", f"/v2/new/blobs/uploads/?mount={DIGEST}&from=other")
    assert mounted.status == 201
    assert header(mounted, "Location") == f"http://reg/v2/new/blobs/{DIGEST}"
    assert shell("POST", f"/v2/new/blobs/uploads/?mount={NONE}&from=other").status == 202


def test_an_upload_that_is_given_up() -> None:
    shell = Shell()
    where = shell.begin()
    shell("PATCH", where, BLOB)
    assert shell("DELETE", where).status == 204
    assert shell("GET", where).status == 404
    assert not shell.files


@pytest.mark.parametrize(
    ("query", "body", "status", "expected"),
    [
        ("", BLOB, 400, "DIGEST_INVALID"),
        ("?digest=nonsense", BLOB, 400, "DIGEST_INVALID"),
        (f"?digest={NONE}", BLOB, 400, "DIGEST_INVALID"),
        (f"?digest={DIGEST}", b"", 400, "DIGEST_INVALID"),
        (f"?digest={DIGEST}", b"x" * 1001, 413, "SIZE_INVALID"),
    ],
)
def test_a_blob_that_is_not_what_it_says(
    query: str, body: bytes, status: int, expected: str
) -> None:
    shell = Shell()
    failed = shell("PUT", shell.begin() + query, body)
    assert (failed.status, code(failed)) == (status, expected)
    assert not shell.blobs
    assert shell("HEAD", f"/v2/lab/tool/blobs/{DIGEST}").status == 404


def test_all_of_it_together_has_a_limit() -> None:
    shell = Shell()
    for body, status in ((b"a" * 900, 201), (b"b" * 900, 413), (b"c" * 500, 201)):
        done = shell("PUT", f"{shell.begin()}?digest={Digest.of(body)}", body)
        assert done.status == status


def manifest(*layers: tuple[Digest, int], **more: Any) -> bytes:
    def described(digest: Digest, size: int) -> dict[str, Any]:
        return {"mediaType": MediaType.OCI_LAYER, "digest": str(digest), "size": size}

    document = {
        "schemaVersion": 2,
        "mediaType": MediaType.OCI_MANIFEST,
        "config": described(DIGEST, len(BLOB)),
        "layers": [described(*layer) for layer in layers],
    }
    return json.dumps(document | more).encode()


@pytest.mark.parametrize(
    ("reference", "data", "kind", "status", "expected"),
    [
        ("v1", manifest((DIGEST, 6)), None, 201, ""),
        (str(Digest.of(manifest())), manifest(), None, 201, ""),
        (NONE, manifest(), None, 400, "DIGEST_INVALID"),
        ("v1", manifest((Digest.of(b"?"), 1)), None, 400, "MANIFEST_BLOB_UNKNOWN"),
        ("v1", b"{", None, 400, "MANIFEST_INVALID"),
        ("v1", b"[]", None, 400, "MANIFEST_INVALID"),
        ("v1", manifest(schemaVersion=1), None, 400, "MANIFEST_INVALID"),
        ("v1", manifest(), "text/plain", 400, "MANIFEST_INVALID"),
        ("v1", manifest(), MediaType.DOCKER_MANIFEST, 400, "MANIFEST_INVALID"),
        ("-", manifest(), None, 404, "404 page not found\n"),  # a path of no API
        ("v1", b" " * ((4 << 20) + 1), None, 413, "SIZE_INVALID"),
    ],
)
def test_manifests(
    reference: str, data: bytes, kind: str | None, status: int, expected: str
) -> None:
    shell = Shell()
    shell("POST", f"{UPLOADS}?digest={DIGEST}", BLOB)
    path = f"/v2/lab/tool/manifests/{reference}"
    done = shell("PUT", path, data, content_type=kind or MediaType.OCI_MANIFEST)
    assert done.status == status
    if status != 201:
        assert done.body == expected.encode() if status == 404 else code(done) == expected
        return
    assert header(done, "Docker-Content-Digest") == str(Digest.of(data))
    got = shell("GET", path, accept=MediaType.OCI_MANIFEST)
    assert got.body == data


def test_content_can_be_taken_away() -> None:
    shell = Shell()
    shell("POST", f"{UPLOADS}?digest={DIGEST}", BLOB)
    base, data = "/v2/lab/tool/manifests/", manifest()
    for tag in ("v1", "v2"):
        shell("PUT", base + tag, data, content_type=MediaType.OCI_MANIFEST)
    assert shell("DELETE", base + "v1").status == 202
    assert shell("DELETE", base + "v1").status == 404
    assert shell.core.repositories["lab/tool"].tags.keys() == {"v2"}
    assert shell("DELETE", base + str(Digest.of(data))).status == 202
    assert not shell.core.repositories["lab/tool"].tags
    assert shell("DELETE", f"/v2/lab/tool/blobs/{DIGEST}").status == 202
    assert shell("HEAD", f"/v2/lab/tool/blobs/{DIGEST}").status == 404
    assert shell("DELETE", "/v2/lab/tool/blobs/sha256:x").status == 400


def test_where_nothing_can_be_pushed_it_is_405() -> None:
    core = Registry(repositories={}, new_token=str)
    for method, target in (("PUT", "/v2/a/manifests/v1"), ("DELETE", f"/v2/a/blobs/{DIGEST}")):
        assert core.respond(Request(method=method, target=target)).status == 405


def test_a_prefix_before_v2_is_one_behind_it() -> None:
    core = Registry(
        repositories={"mirror/tool": Repository(blobs={DIGEST: 6})}, new_token=str, prefix="mirror"
    )
    for target in (f"/v2/mirror/tool/blobs/{DIGEST}", f"/mirror/v2/tool/blobs/{DIGEST}"):
        assert core.respond(Request(method="HEAD", target=target)).status == 200
    assert core.respond(Request(method="GET", target="/mirror/v2/")).status == 200
    assert core.respond(Request(method="HEAD", target=f"/v2/tool/blobs/{DIGEST}")).status == 404
