"""Tinkerbell's metadata service (tootles v0.25.0, Hegel before it): who asks is told who it is.

Machines are told apart by the address their request comes from. There are leaves in the manner
of EC2, folders that list them, and ``/metadata`` for one action that partitions disks. Nothing
else of Hardware is told: no vendor data, no SSH keys, and ``public-keys`` is always empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from harness.wire.gohttp import GIN_NOT_FOUND, TEXT, Answer, empty

EC2: Final = "/2009-04-04/"
BY_ID: Final = "/tootles/"
HACK: Final = "/metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What Tinkerbell's Hardware says of a machine to itself. Empty text means "not set"."""

    addresses: tuple[str, ...]
    """Of all its interfaces: whose requests are its own."""
    id: str = ""
    hostname: str = ""
    plan: str = ""
    facility: str = ""
    tags: tuple[str, ...] = ()
    public_ipv4: str = ""
    public_ipv6: str = ""
    local_ipv4: str = ""
    os_slug: str = ""
    os_distro: str = ""
    os_version: str = ""
    os_image_tag: str = ""
    user_data: str = ""
    storage: Mapping[str, Any] = field(default_factory=dict)
    """``disks`` and ``filesystems`` as ``/metadata`` tells them."""


LEAVES: Final[Mapping[str, Callable[[Instance], str]]] = MappingProxyType(
    {
        "user-data": lambda i: i.user_data,
        "meta-data/instance-id": lambda i: i.id,
        "meta-data/hostname": lambda i: i.hostname,
        "meta-data/local-hostname": lambda i: i.hostname,
        "meta-data/iqn": lambda _: "",
        "meta-data/plan": lambda i: i.plan,
        "meta-data/facility": lambda i: i.facility,
        "meta-data/tags": lambda i: "\n".join(i.tags),
        "meta-data/public-ipv4": lambda i: i.public_ipv4,
        "meta-data/public-ipv6": lambda i: i.public_ipv6,
        "meta-data/local-ipv4": lambda i: i.local_ipv4,
        "meta-data/public-keys": lambda _: "",
        "meta-data/operating-system/slug": lambda i: i.os_slug,
        "meta-data/operating-system/distro": lambda i: i.os_distro,
        "meta-data/operating-system/version": lambda i: i.os_version,
        "meta-data/operating-system/image_tag": lambda i: i.os_image_tag,
        "meta-data/operating-system/license_activation/state": lambda _: "",
    }
)
"""Each leaf below the version: its path and its text."""


def _folders() -> Mapping[str, str]:
    children: dict[str, set[str]] = {}
    for leaf in LEAVES:
        parts = leaf.split("/")
        for depth in range(len(parts)):
            slash = "/" if depth + 1 < len(parts) else ""
            children.setdefault("/".join(parts[:depth]), set()).add(parts[depth] + slash)
    return {folder: "\n".join(sorted(names)) for folder, names in children.items()}


FOLDERS: Final[Mapping[str, str]] = MappingProxyType(_folders())
"""Each folder below the version, '' being the version itself: what it lists."""

_BY_ID: Final = re.compile(r"/tootles/instanceID/([^/]+)/2009-04-04(/.*)?")


class MetadataServer:
    """``answer`` is the whole of it; ``by_id`` also serves ``/tootles/instanceID/<id>/…``."""

    def __init__(self, instances: Iterable[Instance], *, by_id: bool = False) -> None:
        self._instances = tuple(instances)
        self.by_id = by_id

    def owns(self, path: str) -> bool:
        """Tell whether ``path`` is one of this server's, known or not."""
        return path.startswith(EC2) or path == HACK or (self.by_id and path.startswith(BY_ID))

    def folders(self) -> tuple[str, ...]:
        """Return the patterns that end in a slash."""
        return (EC2, BY_ID) if self.by_id else (EC2,)

    def answer(self, method: str, path: str, caller: str) -> Answer:
        """Answer a request for one of this server's paths from the address ``caller``."""
        if method != "GET":  # not even HEAD
            return GIN_NOT_FOUND
        if path == HACK:
            return self._hack(caller)
        if path.startswith(EC2):
            return self._leaf(path[len(EC2) :], lambda: self._at(caller))
        found = _BY_ID.fullmatch(path) if self.by_id else None
        if found is None:
            return GIN_NOT_FOUND
        return self._leaf((found[2] or "").removeprefix("/"), lambda: self._of(found[1]))

    def _leaf(self, below: str, find: Callable[[], Instance | None]) -> Answer:
        name = below.removesuffix("/")
        if name in FOLDERS:  # the same for everybody
            return Answer(body=FOLDERS[name].encode(), content_type=TEXT)
        leaf = LEAVES.get(name)
        if leaf is None:
            return GIN_NOT_FOUND
        instance = find()
        if instance is None:
            return empty(404)
        return Answer(body=leaf(instance).encode(), content_type=TEXT)

    def _hack(self, caller: str) -> Answer:
        instance = self._at(caller)
        if instance is None:
            return empty(404)
        storage = {"disks": None, "filesystems": None, **instance.storage}
        text = _go_json({"metadata": {"instance": {"storage": storage}}})
        return Answer(body=text.encode(), content_type="application/json; charset=utf-8")

    def _at(self, address: str) -> Instance | None:
        return _only(each for each in self._instances if address in each.addresses)

    def _of(self, instance_id: str) -> Instance | None:
        return _only(each for each in self._instances if instance_id and each.id == instance_id)


def _only(found: Iterable[Instance]) -> Instance | None:
    return next(iter(found), None)


_GO_ESCAPES: Final = {
    ord(char): f"\\u{ord(char):04x}" for char in ("<", ">", "&", "\u2028", "\u2029")
}


def _go_json(value: object) -> str:
    """Return JSON as Go writes it: compact, keys in the given order, HTML's characters escaped."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).translate(_GO_ESCAPES)
