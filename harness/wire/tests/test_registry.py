"""The registry's decisions, compared with what Docker's own registry 2.8.2 was seen to answer."""

from __future__ import annotations

import base64
import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.wire.oci import Descriptor, Digest, MediaType, Platform
from harness.wire.registry import Registry
from harness.wire.registry_auth import Auth, AuthKind
from harness.wire.registry_content import Manifest, Repository
from harness.wire.registry_messages import BlobRange, Request, Response

BLOB = Digest.of(b"blob")
NONE = "sha256:" + "0" * 64


def manifest(media_type: MediaType, data: bytes, **more: Any) -> Manifest:
    return Manifest(media_type=media_type, data=data, digest=Digest.of(data), **more)


OCI = manifest(MediaType.OCI_MANIFEST, b"oci")
DOCKER = manifest(MediaType.DOCKER_MANIFEST, b"docker")
LIST = manifest(
    MediaType.DOCKER_LIST,
    b"list",
    children=(
        Descriptor(
            media_type=MediaType.DOCKER_MANIFEST,
            digest=DOCKER.digest,
            size=6,
            platform=Platform(architecture="amd64"),
        ),
    ),
)
INDEX = manifest(MediaType.OCI_INDEX, b"index")
ARTIFACT = manifest(MediaType.OCI_MANIFEST, b"sig", subject=OCI.digest, artifact_type="x/sig")
REPOSITORIES = {
    "lab/tool": Repository(
        tags={
            "v1": OCI.digest,
            "docker": DOCKER.digest,
            "list": LIST.digest,
            "multi": INDEX.digest,
        },
        manifests={one.digest: one for one in (OCI, DOCKER, LIST, INDEX, ARTIFACT)},
        blobs={BLOB: 100},
    ),
    "empty": Repository(),
    "manifests/tags": Repository(tags={"list": OCI.digest}, manifests={OCI.digest: OCI}),
}
ALL_TYPES = ", ".join([MediaType.OCI_MANIFEST, MediaType.OCI_INDEX, MediaType.DOCKER_LIST])


def registry(auth: Auth | None = None) -> Registry:
    counter = itertools.count(1)
    return Registry(repositories=REPOSITORIES, auth=auth, new_token=lambda: f"token{next(counter)}")


def get(path: str, *, method: str = "GET", **headers: str) -> Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return registry().respond(Request(method=method, target=path, headers=headers))


def header(response: Response, name: str) -> str | None:
    found = [value for key, value in response.headers if key.lower() == name.lower()]
    assert len(found) < 2
    return found[0] if found else None


def body(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def code(response: Response) -> str:
    return str(body(response)["errors"][0]["code"])


def test_the_base_says_its_version() -> None:
    answer = get("/v2/")
    assert answer.status == 200
    assert answer.body == b"{}"
    assert header(answer, "docker-distribution-api-version") == "registry/2.0"
    assert header(get("/v2"), "location") == "/v2/"


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/none/manifests/v1", 404, "MANIFEST_UNKNOWN"),
        ("/v2/lab/tool/manifests/v2", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/lab/tool/manifests/{NONE}", 404, "MANIFEST_UNKNOWN"),
        ("/v2/lab/tool/manifests/v1", 404, "MANIFEST_UNKNOWN"),  # no Accept header
        ("/v2/lab/tool/manifests/multi", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/lab/tool/blobs/{NONE}", 404, "BLOB_UNKNOWN"),
        (f"/v2/empty/blobs/{BLOB}", 404, "BLOB_UNKNOWN"),
        ("/v2/lab/tool/blobs/sha256:00", 400, "DIGEST_INVALID"),
        ("/v2/lab/tool/blobs/x:", 400, "DIGEST_INVALID"),
    ],
)
def test_errors_have_their_code(path: str, status: int, error: str) -> None:
    answer = get(path)
    assert (answer.status, code(answer)) == (status, error)
    (note,) = answer.notes
    assert note.name == "registry.request.failed"
    assert note.fields["code"] == error


@pytest.mark.parametrize(
    "path", ["/x", "/v2/Lab/manifests/v1", "/v2/lab/manifests/a@b", "/v2/lab", "/v2/a/tags/x", ""]
)
def test_what_is_no_api_is_answered_in_plain_text(path: str) -> None:
    answer = get(path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "BREW"])
def test_writing_is_unsupported(method: str) -> None:
    answer = get("/v2/lab/tool/manifests/v1", method=method)
    assert (answer.status, code(answer)) == (405, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("reference", "accept", "found"),
    [
        ("v1", MediaType.OCI_MANIFEST, OCI),
        ("v1", f"x/y;q=1, {MediaType.OCI_MANIFEST}; q=0.5", OCI),
        (str(OCI.digest), MediaType.OCI_MANIFEST, OCI),
        ("docker", "*/*", DOCKER),
        ("docker", "", DOCKER),
        ("list", MediaType.DOCKER_LIST, LIST),
        ("list", MediaType.DOCKER_MANIFEST, DOCKER),  # an old client: default platform
        (str(LIST.digest), MediaType.DOCKER_MANIFEST, LIST),  # by digest it is what it is
        ("multi", MediaType.OCI_INDEX, INDEX),
    ],
)
def test_negotiation(reference: str, accept: str, found: Manifest) -> None:
    answer = get(f"/v2/lab/tool/manifests/{reference}", accept=accept)
    assert (answer.status, answer.body) == (200, found.data)
    assert header(answer, "content-type") == found.media_type
    assert header(answer, "docker-content-digest") == str(found.digest)
    assert answer.served
    assert answer.served.fields["reference"] == reference
    tag = header(answer, "etag") or ""
    again = get(f"/v2/lab/tool/manifests/{reference}", accept=accept, if_none_match=tag)
    assert (again.status, again.body, header(again, "content-length")) == (304, b"", None)


def test_repositories_may_be_called_like_routes() -> None:
    answer = get("/v2/manifests/tags/manifests/list", accept=ALL_TYPES)
    assert answer.body == OCI.data
    assert body(get("/v2/manifests/tags/tags/list")) == {"name": "manifests/tags", "tags": ["list"]}


def test_pages() -> None:
    first = get("/v2/_catalog?n=2")
    assert body(first) == {"repositories": ["empty", "lab/tool"]}
    link = re.fullmatch('<(.*)>; rel="next"', header(first, "link") or "")
    assert link
    second = get(link[1])
    assert body(second) == {"repositories": ["manifests/tags"]}
    assert header(second, "link") is None
    assert body(get("/v2/lab/tool/tags/list?n=1&last=list"))["tags"] == ["multi"]
    assert body(get("/v2/_catalog?n=0")) == {"repositories": []}
    assert len(body(get("/v2/_catalog?n=x"))["repositories"]) == 3
    assert len(body(get("/v2/_catalog?n=" + "9" * 5000))["repositories"]) == 3


def test_referrers() -> None:
    found = body(get(f"/v2/lab/tool/referrers/{OCI.digest}"))["manifests"]
    assert [one["digest"] for one in found] == [str(ARTIFACT.digest)]
    assert body(get(f"/v2/lab/tool/referrers/{OCI.digest}?artifactType=y"))["manifests"] == []


@pytest.mark.parametrize(
    ("asked", "status", "part", "content_range"),
    [
        ("", 200, (0, 100), None),
        ("bytes=0-0", 206, (0, 1), "bytes 0-0/100"),
        ("bytes=90-", 206, (90, 10), "bytes 90-99/100"),
        ("bytes=90-500", 206, (90, 10), "bytes 90-99/100"),
        ("bytes=-5", 206, (95, 5), "bytes 95-99/100"),
        ("bytes=0-99", 206, (0, 100), "bytes 0-99/100"),
        ("bytes=5-2", 200, (0, 100), None),
        ("bytes=0-1,3-4", 200, (0, 100), None),
        ("lines=0-1", 200, (0, 100), None),
        ("bytes=100-", 416, None, "bytes */100"),
        ("bytes=-0", 416, None, "bytes */100"),
    ],
)
def test_ranges(
    asked: str, status: int, part: tuple[int, int] | None, content_range: str | None
) -> None:
    answer = get(f"/v2/lab/tool/blobs/{BLOB}", **({"range": asked} if asked else {}))
    assert answer.status == status
    assert header(answer, "content-range") == content_range
    if part:
        assert answer.body == BlobRange(digest=BLOB, start=part[0], length=part[1])
        assert header(answer, "content-length") == str(part[1])


def test_a_range_of_another_version_is_ignored() -> None:
    path = f"/v2/lab/tool/blobs/{BLOB}"
    assert get(path, range="bytes=1-2", if_range='"old"').status == 200
    assert get(path, range="bytes=1-2", if_range=f'"{BLOB}"').status == 206


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def ask(core: Registry, target: str, authorization: str | None = None, **more: Any) -> Response:
    headers = {"host": "reg:5000"}
    if authorization:
        headers["authorization"] = authorization
    return core.respond(Request(**({"method": "GET"} | more), target=target, headers=headers))


def test_basic() -> None:
    core = registry(Auth(kind=AuthKind.BASIC, users={"u": "p:w"}))
    first = ask(core, "/v2/")
    assert (first.status, code(first)) == (401, "UNAUTHORIZED")
    assert header(first, "www-authenticate") == 'Basic realm="hooklab"'
    assert next(note.name for note in first.notes) == "registry.auth.challenged"
    wrong = ask(core, "/v2/", basic("u", "no"))
    assert wrong.status == 401
    assert wrong.notes[0].name == "registry.auth.refused"
    assert wrong.notes[0].fields == {"path": "/v2/", "user": "u"}
    assert ask(core, "/v2/", basic("u", "p:w")).status == 200
    for odd in ("Basic", "Basic !!!", "Basic " + "é", "Bearer x", "basic " + "dQ=="):
        assert ask(core, "/v2/", odd).status == 401


def bearer() -> Registry:
    return registry(Auth(kind=AuthKind.BEARER, users={"u": "p"}, token_lifetime_s=60))


def test_bearer() -> None:
    core = bearer()
    path = "/v2/lab/tool/tags/list"
    first = ask(core, path, scheme="https")
    assert header(first, "www-authenticate") == (
        'Bearer realm="https://reg:5000/token",service="hooklab",scope="repository:lab/tool:pull"'
    )
    scope = "repository:lab/tool:pull,push"
    given = ask(core, f"/token?service=hooklab&scope={scope}", basic("u", "p"), now=100.0)
    assert body(given)["scope"] == "repository:lab/tool:pull"
    assert given.notes[0].name == "registry.token.issued"
    token = "Bearer " + body(given)["token"]
    assert ask(core, path, token, now=159.9).status == 200
    expired = ask(core, path, token, now=160.0)
    assert expired.status == 401
    assert 'error="invalid_token"' in (header(expired, "www-authenticate") or "")
    other = ask(core, "/v2/empty/tags/list", token, now=101.0)
    assert 'error="insufficient_scope"' in (header(other, "www-authenticate") or "")
    assert ask(core, "/v2/", token, now=101.0).status == 200


def test_bearer_by_form() -> None:
    core = bearer()
    form = b"grant_type=password&username=u&password=p&scope=registry:catalog:*&client_id=x"
    given = ask(core, "/token", method="POST", body=form)
    token = "Bearer " + body(given)["access_token"]
    assert ask(core, "/v2/_catalog", token).status == 200
    assert ask(core, "/token", method="POST", body=form.replace(b"=p&", b"=q&")).status == 401
    assert ask(core, "/token", method="POST", body=b"\xff=" * 2000).status == 401


def test_tokens_need_a_known_user() -> None:
    for authorization in (None, basic("u", "no"), "Basic x"):
        refused = ask(bearer(), "/token?scope=a", authorization)
        assert refused.status == 401
        assert refused.notes[0].name == "registry.auth.refused"


def test_without_users_everybody_gets_a_token() -> None:
    core = registry(Auth(kind=AuthKind.BEARER))
    given = ask(core, "/token?scope=repository:lab/tool:pull&scope=repository:empty:pull")
    token = "Bearer " + body(given)["token"]
    assert ask(core, "/v2/lab/tool/tags/list", token).status == 200
    assert ask(core, "/v2/empty/tags/list", token).status == 200


PATHS = st.text(max_size=60) | st.lists(
    st.sampled_from(
        ["v2", "lab", "tool", "manifests", "blobs", "tags", "list", "referrers", "_catalog", "v1",
         str(OCI.digest), str(BLOB), "%00", "%ff", "..", "?", "?n=1", "&last=", "token", "", "é"]
    ),
    max_size=8,
).map(lambda parts: "/" + "/".join(parts))  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(["accept", "range", "authorization", "if-none-match", "if-range", "host"]),
    st.text(max_size=40) | st.sampled_from(["bytes=1-2", "Bearer token1", "Basic Og==", ALL_TYPES]),
)


@given(
    path=PATHS,
    headers=HEADERS,
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "X"]),
    data=st.binary(max_size=40),
    kind=st.sampled_from(AuthKind),
)
def test_any_request_has_an_answer(
    path: str, headers: dict[str, str], method: str, data: bytes, kind: AuthKind
) -> None:
    core = registry(Auth(kind=kind, users={"u": "p"}))
    answer = core.respond(Request(method=method, target=path, headers=headers, body=data))
    assert answer.status in {200, 206, 301, 304, 400, 401, 404, 405, 416}
    if answer.status >= 400:
        assert "registry.request.failed" in {note.name for note in answer.notes}
