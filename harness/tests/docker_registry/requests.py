"""From a seed: what is pushed to a registry, pulled from it, and asked of it wrongly."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

DOCKER: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(data: bytes) -> str:
    """Return the digest of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. ``@N`` in the path: where the N-th upload that was begun goes on."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    begins: int | None = None
    """Its answer begins (or continues) the upload with this number."""


BLOBS: Final = tuple(bytes([n]) * (1000 + n) for n in range(4))
CONFIG: Final = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


def _described(data: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "size": len(data), "digest": digest_of(data)}


def _manifest(kind: str, *layers: bytes) -> bytes:
    oci = kind == OCI
    config = "application/vnd.oci.image.config.v1+json" if oci else _CONFIG
    layer = "application/vnd.oci.image.layer.v1.tar+gzip" if oci else _LAYER
    document = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": _described(CONFIG, config),
        "layers": [_described(each, layer) for each in layers],
    }
    return json.dumps(document).encode()


def _index(kind: str, *manifests: tuple[bytes, str, str]) -> bytes:
    listed = [
        {**_described(data, media), "platform": {"architecture": arch, "os": "linux"}}
        for data, media, arch in manifests
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": listed}).encode()


PLAIN: Final = _manifest(DOCKER, BLOBS[0], BLOBS[1])
OTHER: Final = _manifest(DOCKER, BLOBS[1])
OPEN: Final = _manifest(OCI, BLOBS[0])
LIST: Final = _index(DOCKER_LIST, (PLAIN, DOCKER, "amd64"), (OTHER, DOCKER, "arm64"))
FOREIGN: Final = _index(DOCKER_LIST, (OTHER, DOCKER, "s390x"))
INDEX: Final = _index(OCI_INDEX, (OPEN, OCI, "amd64"))
MANIFESTS: Final = {
    "plain": (PLAIN, DOCKER),
    "other": (OTHER, DOCKER),
    "open": (OPEN, OCI),
    "list": (LIST, DOCKER_LIST),
    "foreign": (FOREIGN, DOCKER_LIST),
    "index": (INDEX, OCI_INDEX),
}
NAME: Final = "team/tool"
_ABSENT: Final = "sha256:" + "0" * 64


def setup() -> list[Ask]:
    """Return what fills an empty registry."""
    asks = []
    for number, blob in enumerate((CONFIG, *BLOBS[:3])):
        asks.append(Ask(method="POST", path=f"/v2/{NAME}/blobs/uploads/", begins=number))
        asks.append(Ask(method="PUT", path=f"@{number}&digest={digest_of(blob)}", body=blob))
    for tag, (data, kind) in MANIFESTS.items():
        head = (("Content-Type", kind),)
        asks.append(Ask(method="PUT", path=f"/v2/{NAME}/manifests/{tag}", headers=head, body=data))
    return asks


@dataclass(slots=True)
class Session:
    """Requests in order, and how many uploads they began."""

    rng: random.Random
    asks: list[Ask] = field(default_factory=setup)
    uploads: int = 4

    def add(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        named = tuple((headers or {}).items())
        self.asks.append(Ask(method=method, path=path, headers=named, body=body))

    def begin(self, path: str, method: str = "POST", body: bytes = b"") -> int:
        self.uploads += 1
        number = self.uploads
        self.asks.append(Ask(method=method, path=path, body=body, begins=number))
        return number

    def go_on(self, number: int, body: bytes) -> None:
        self.asks.append(Ask(method="PATCH", path=f"@{number}", body=body, begins=number))


def session(seed: int, count: int) -> list[Ask]:
    """Return the filling of a registry and ``count`` steps after it, some of several requests."""
    made = Session(random.Random(seed))
    steps = (_manifest_step, _manifest_step, _blob_step, _blob_step, _list_step, _upload_step,
             _upload_step, _odd_step, _push_step, _delete_step)  # fmt: skip
    for _ in range(count):
        made.rng.choice(steps)(made)
    return made.asks


def _repository(rng: random.Random) -> str:
    return NAME if rng.random() < 0.8 else rng.choice(("nobody", "team", "team/tool/more"))


def _method(rng: random.Random) -> str:
    return rng.choice(("GET", "GET", "HEAD"))


_ACCEPTS: Final = (
    "", "*/*", DOCKER, DOCKER_LIST, OCI, OCI_INDEX, f"{DOCKER}, {DOCKER_LIST}", f"{OCI},{DOCKER}",
    f"{OCI_INDEX}, {OCI}, {DOCKER_LIST}, {DOCKER}", f"{DOCKER};q=0.5, {OCI};q=0.1", "text/html",
    "application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json",
)  # fmt: skip
_RANGES: Final = (
    "bytes=0-9", "bytes=10-", "bytes=-5", "bytes=0-99999", "bytes=99999-", "bytes=5-2", "bytes=",
    "lines=0-1", "bytes=0-0", "bytes=-0",
)  # fmt: skip


def _manifest_step(made: Session) -> None:
    rng = made.rng
    tags = (*MANIFESTS, "none", "plain2", "UPPER", ".dot", "a" * 129, "x:y", "sha256:short")
    digests = [digest_of(data) for data, _ in MANIFESTS.values()] + [
        *(
            _ABSENT,
            digest_of(CONFIG),
            "sha512:" + "0" * 128,
            "md5:" + "0" * 32,
            "sha256:" + "G" * 64,
        ),
    ]
    reference = rng.choice(tags if rng.random() < 0.6 else digests)
    headers = {"Accept": rng.choice(_ACCEPTS)}
    if rng.random() < 0.15:
        data, _ = rng.choice(list(MANIFESTS.values()))
        headers["If-None-Match"] = rng.choice((f'"{digest_of(data)}"', digest_of(data), "*", '"x"'))
    headers = {key: value for key, value in headers.items() if value}
    made.add(_method(rng), f"/v2/{_repository(rng)}/manifests/{reference}", headers=headers)


def _blob_step(made: Session) -> None:
    rng = made.rng
    digest = rng.choice(
        [digest_of(each) for each in (*BLOBS, CONFIG, PLAIN, LIST)]
        + [_ABSENT, "sha256:0", "sha256:" + "Z" * 64, "nothing", "sha512:" + "1" * 128]
    )
    headers = {"Range": rng.choice(_RANGES)} if rng.random() < 0.45 else {}
    made.add(_method(rng), f"/v2/{_repository(rng)}/blobs/{digest}", headers=headers)


def _list_step(made: Session) -> None:
    rng = made.rng
    query = rng.choice(
        ("", "?n=1", "?n=2", "?n=0", "?n=99", "?last=open", "?n=2&last=list", "?n=x")
    )
    if rng.random() < 0.6:
        made.add(_method(rng), f"/v2/{_repository(rng)}/tags/list{query}")
    else:
        made.add("GET", f"/v2/_catalog{query}")


def _odd_step(made: Session) -> None:
    rng = made.rng
    path = rng.choice(
        (
            *(
                "/v2/",
                "/v2",
                "/",
                "/v1/",
                "/v2/_catalog",
                "/v2/UPPER/manifests/a",
                "/v2//tags/list",
            ),
            *(
                "/v2/a/b/c",
                "/v2/x",
                "/v2/team/tool/tags",
                "/v2/team/tool/tags/",
                "/v2/-a/tags/list",
            ),
            *(f"/v2/{NAME}/manifests/", f"/v2/{NAME}/blobs/", f"/v2/{NAME}/referrers/{_ABSENT}"),
            *(f"/v2/{NAME}/tags/list/", f"/v2/{'a/' * 130}b/tags/list", "/v2/a..b/tags/list"),
            *(f"/v2/{NAME}/manifests/plain", f"/v2/{NAME}/blobs/{digest_of(CONFIG)}"),
        )
    )
    methods = ("GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    method = rng.choice(methods)
    # a tag that only one of them deletes would show in all that follows
    made.add("GET" if method == "DELETE" and path.endswith("/plain") else method, path)


def _upload_step(made: Session) -> None:
    rng = made.rng
    name = rng.choice((NAME, NAME, "fresh", "UPPER"))
    blob = rng.randbytes(rng.randrange(1, 3000))
    kind = rng.randrange(9)
    start = f"/v2/{name}/blobs/uploads/"
    wanted = digest_of(blob)
    if kind == 0:  # in one request
        made.add("POST", f"/v2/{NAME}/blobs/uploads/?digest={wanted}", blob)
    elif kind == 1:  # mounted
        source = rng.choice((NAME, "nobody", "BAD", ""))
        digest = rng.choice((digest_of(BLOBS[0]), _ABSENT, "sha256:x"))
        made.begin(f"/v2/copy/blobs/uploads/?mount={digest}&from={source}")
    elif kind == 2:  # wrong digest
        number = made.begin(start)
        made.add(
            "PUT", f"@{number}&digest={rng.choice((_ABSENT, 'sha256:x', 'nothing', ''))}", blob
        )
    elif kind == 3:  # no digest
        number = made.begin(start)
        made.add("PUT", f"@{number}", blob)
    elif kind == 4:  # given up
        number = made.begin(start)
        made.add("GET", f"@{number}")
        made.add("DELETE", f"@{number}")
        made.add("GET", f"@{number}")
    elif kind == 5:  # of nobody
        upload = "00000000-0000-4000-8000-000000000000"
        made.add(rng.choice(("GET", "PATCH", "PUT", "DELETE", "HEAD")), f"{start}{upload}")
    else:
        number = made.begin(start)
        cut = rng.randrange(0, len(blob))
        made.go_on(number, blob[:cut])
        if rng.random() < 0.4:
            made.add("GET", f"@{number}")
        if kind == 8:
            made.go_on(number, blob[cut:])
            cut = len(blob)
        made.add("PUT", f"@{number}&digest={wanted}", blob[cut:])
        made.add(rng.choice(("GET", "HEAD")), f"/v2/{name}/blobs/{wanted}")


def _push_step(made: Session) -> None:
    rng = made.rng
    broken = json.dumps({"schemaVersion": 2, "mediaType": DOCKER}).encode()
    absent = _manifest(DOCKER, b"never pushed")
    data, kind = rng.choice(
        [*MANIFESTS.values(), (b"", DOCKER), (b"{", DOCKER), (broken, DOCKER), (absent, DOCKER),
         (PLAIN, OCI), (OPEN, DOCKER), (PLAIN, "text/plain")]
    )  # fmt: skip
    reference = rng.choice(("new", "new2", digest_of(data), _ABSENT, "sha256:x", ".bad"))
    name = NAME if rng.random() < 0.85 else "UPPER"
    made.add("PUT", f"/v2/{name}/manifests/{reference}", data, {"Content-Type": kind})


def _delete_step(made: Session) -> None:
    rng = made.rng
    if rng.random() < 0.5:
        reference = rng.choice(("none", digest_of(FOREIGN), _ABSENT, "sha256:x"))
        made.add("DELETE", f"/v2/{_repository(rng)}/manifests/{reference}")
    else:
        digest = rng.choice((digest_of(BLOBS[2]), _ABSENT, "sha256:x", digest_of(b"no")))
        made.add("DELETE", f"/v2/{_repository(rng)}/blobs/{digest}")
