"""What an OCI image is made of, as bytes: digests, references, media types, descriptors.

Sources: OCI image-spec v1.1 (descriptor.md, media-types.md), distribution's reference grammar
(``distribution/reference``), Docker's image manifest v2 schema 2.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from harness.errors import DecodeError

REF_NAME: Final = "org.opencontainers.image.ref.name"
"""The annotation that names an image in a layout's ``index.json``."""

_HEX_LENGTH: Final = {"sha256": 64, "sha384": 96, "sha512": 128}
_DIGEST = re.compile(r"(?P<algorithm>[a-z0-9]+(?:[+._-][a-z0-9]+)*):(?P<encoded>[a-zA-Z0-9=_-]+)")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_NAME_LIMIT: Final = 255


class MediaType(StrEnum):
    """The media types of images; others exist and are carried as plain strings."""

    OCI_INDEX = "application/vnd.oci.image.index.v1+json"
    OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
    OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
    OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
    OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
    OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
    DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
    DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
    DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
    DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"


INDEX_TYPES: Final = frozenset({MediaType.OCI_INDEX, MediaType.DOCKER_LIST})
MANIFEST_TYPES: Final = frozenset({MediaType.OCI_MANIFEST, MediaType.DOCKER_MANIFEST})


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A content address, ``algorithm:encoded`` (image-spec descriptor.md, "Digests")."""

    algorithm: str
    encoded: str

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the SHA-256 digest of ``data``."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that ``text`` writes. Raises ``DecodeError``."""
        match = _DIGEST.fullmatch(text)
        if not match:
            raise DecodeError(
                f"{text!r} is no digest", field="digest", rfc="OCI image-spec descriptor.md"
            )
        length = _HEX_LENGTH.get(match["algorithm"])
        if length and not re.fullmatch(f"[a-f0-9]{{{length}}}", match["encoded"]):
            raise DecodeError(
                f"{text!r}: {match['algorithm']} takes {length} lower-case hex digits",
                field="digest",
                rfc="OCI image-spec descriptor.md",
            )
        return cls(match["algorithm"], match["encoded"])

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"

    @property
    def blob_path(self) -> str:
        """Where a layout keeps this blob, relative to the layout (image-layout.md)."""
        return f"blobs/{self.algorithm}/{self.encoded}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image's name: ``[domain/]repository[:tag][@digest]``.

    As docker does, the part before the first slash is a domain only if it has a dot, a colon or
    an upper-case letter, or is ``localhost``; ``lab/init`` has none.
    """

    repository: str
    domain: str | None = None
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that ``text`` writes. Raises ``DecodeError``."""
        rest, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text) if at else None
        domain: str | None = None
        first, slash, remainder = rest.partition("/")
        if slash and _looks_like_domain(first):
            domain, rest = first, remainder
        repository, colon, tag = rest.partition(":")
        if domain is not None and not _DOMAIN.fullmatch(domain):
            raise _bad_reference(text, f"{domain!r} is no host or host:port")
        if not is_repository(repository):
            raise _bad_reference(text, f"{repository!r} is no repository name")
        if len(repository) > _NAME_LIMIT:
            raise _bad_reference(text, f"the repository name is longer than {_NAME_LIMIT}")
        if colon and not is_tag(tag):
            raise _bad_reference(text, f"{tag!r} is no tag")
        return cls(domain=domain, repository=repository, tag=tag if colon else None, digest=digest)

    def __str__(self) -> str:
        return (
            (f"{self.domain}/" if self.domain else "")
            + self.repository
            + (f":{self.tag}" if self.tag else "")
            + (f"@{self.digest}" if self.digest else "")
        )

    def normalized(self) -> Reference:
        """Return what docker makes of it: ``docker.io``, ``library/`` and ``latest`` filled in."""
        domain = self.domain or "docker.io"
        if domain == "index.docker.io":
            domain = "docker.io"
        bare = domain == "docker.io" and "/" not in self.repository
        return replace(
            self,
            domain=domain,
            repository=f"library/{self.repository}" if bare else self.repository,
            tag=self.tag or (None if self.digest else "latest"),
        )


def _looks_like_domain(first: str) -> bool:
    return (
        "." in first or ":" in first or first == "localhost" or first != first.lower()
    )  # distribution/reference normalize.go: splitDockerDomain


def _bad_reference(text: str, reason: str) -> DecodeError:
    return DecodeError(
        f"{text!r} is no image reference: {reason}",
        field="reference",
        rfc="distribution/reference: grammar",
    )


def is_tag(text: str) -> bool:
    """Return whether ``text`` may be a tag: 1 to 128 characters of ``[A-Za-z0-9_.-]``."""
    return _TAG.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Return whether ``text`` may be a repository's name (distribution-spec, "Pull")."""
    return _REPOSITORY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Where an image runs: Go's GOOS and GOARCH names."""

    architecture: str
    os: str = "linux"
    variant: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        data = {"architecture": self.architecture, "os": self.os}
        return data | ({"variant": self.variant} if self.variant else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A typed pointer to a blob."""

    media_type: str
    digest: Digest
    size: int
    """In bytes, as stored (compressed)."""
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        data: dict[str, Any] = {
            "mediaType": str(self.media_type),
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.platform:
            data["platform"] = self.platform.to_json()
        if self.annotations:
            data["annotations"] = dict(self.annotations)
        return data

    @classmethod
    def from_json(cls, data: object) -> Descriptor:
        """Return the descriptor that a JSON value holds. Raises ``DecodeError``."""
        match data:
            case {"digest": str(digest), "size": int(size), **rest} if size >= 0:
                pass
            case _:
                raise DecodeError("no descriptor: digest or size is missing", field="descriptor")
        media_type = rest.get("mediaType", "")
        annotations = rest.get("annotations") or {}
        if not isinstance(media_type, str) or not isinstance(annotations, dict):
            raise DecodeError("no descriptor: mediaType or annotations", field="descriptor")
        return cls(
            media_type=media_type,
            digest=Digest.parse(digest),
            size=size,
            platform=_platform(rest.get("platform")),
            annotations={str(key): str(value) for key, value in annotations.items()},
        )


def _platform(data: object) -> Platform | None:
    match data:
        case {"architecture": str(architecture), "os": str(os), **rest}:
            variant = rest.get("variant")
            return Platform(
                architecture=architecture,
                os=os,
                variant=variant if isinstance(variant, str) and variant else None,
            )
        case _:
            return None


def decode_object(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object that ``data`` holds. Raises ``DecodeError`` naming ``what``."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"{what} is no JSON: {error}", field=what) from error
    if not isinstance(value, dict):
        raise DecodeError(f"{what} is no JSON object", field=what)
    return value


def decode_descriptors(data: Mapping[str, Any], key: str) -> list[Descriptor]:
    """Return the descriptors listed under ``key``. Raises ``DecodeError``."""
    values = data.get(key) or []
    if not isinstance(values, list):
        raise DecodeError(f"{key} is no list", field=key)
    return [Descriptor.from_json(value) for value in values]


def canonical_json(value: object) -> bytes:
    """Return ``value`` as the one JSON text it has here: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
