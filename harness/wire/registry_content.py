"""What a registry has: repositories with their tags, manifests and blobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.wire.oci import Descriptor, Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest or index, as stored."""

    data: bytes
    media_type: str
    digest: Digest
    children: tuple[Descriptor, ...] = ()
    """An index's manifests."""
    subject: Digest | None = None
    artifact_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One repository's content. Blobs are visible in the repositories that refer to them only."""

    tags: Mapping[str, Digest] = field(default_factory=dict)
    manifests: Mapping[Digest, Manifest] = field(default_factory=dict)
    blobs: Mapping[Digest, int] = field(default_factory=dict)
    """Size in octets by digest."""
