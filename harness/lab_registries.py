"""The registries of one lab: each with its own images, credentials and certificate."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from harness.certificates import Authority, Kind
from harness.faults.plan import Strike, no_strike
from harness.handshake import Manner, context_for
from harness.net.neighbours import identify
from harness.oci.content import Mount, has_image
from harness.oci.derived import add_layer
from harness.oci.layer import File
from harness.scenario.item import Item, RegistryItem
from harness.seal import PRIVATE_DIR
from harness.services.registry import RegistryService
from harness.wire.registry_auth import Auth, AuthKind

CA_FILE: Final = "/etc/ssl/certs/hooklab-ca.pem"
"""Go reads every file of this folder, besides the distribution's bundle."""

_KINDS: Final = {
    "anonymous": AuthKind.NONE,
    "basic": AuthKind.BASIC,
    "bearer": AuthKind.BEARER,
}


def make_registries(
    item: Item,
    common: dict[str, Any],
    *,
    zone: str,
    run_dir: Path,
    authority: Callable[[], Authority],
    strike: Strike = no_strike,
) -> list[RegistryService]:
    """Return the registry that Hook pulls from, then the others.

    ``authority`` is asked only when one speaks TLS. ``strike`` is told a registry's name.
    """

    @cache
    def built_upon() -> Path:
        folder = PRIVATE_DIR / "worker-with-ca"
        entries = {CA_FILE: File(content=authority().certificate)}
        add_layer(_layout_of(item, item.worker_image), item.worker_image, entries, folder)
        return folder

    def trusting(registry: RegistryItem) -> list[Mount]:
        """Return the worker's image that knows the lab's CA, if it is to: it hides the other."""
        absent = registry.images is not None and item.worker_image not in registry.images
        if absent or not item.tink.trusted:
            return []
        prefixes = (registry.prefix or "",)
        return [Mount(layout=built_upon(), reference=item.worker_image, prefixes=prefixes)]

    def make(registry: RegistryItem) -> RegistryService:
        host = f"{registry.name}.{zone}"

        def context(kind: Kind | None, manner: Manner) -> ssl.SSLContext:
            shown = kind or Kind(registry.certificate)
            issued = authority().issue(item.network.server, host, kind=shown, keys=manner.keys)
            return context_for(issued, manner, alpn=("http/1.1",))

        tls = None
        if registry.scheme == "https":
            kind = Kind(registry.certificate)
            issued = authority().issue(item.network.server, host, kind=kind)
            files = issued.write(PRIVATE_DIR, registry.name)
            tls = (files.chain, files.key)
        users = {registry.username: registry.password or ""} if registry.username else {}
        return RegistryService(
            **common,
            name=registry.name,
            layouts=[*_mounts(item, registry), *trusting(registry)],
            port=registry.port,
            tls=tls,
            contexts=cache(context),
            auth=Auth(kind=_KINDS[registry.auth], users=users, realm=registry.realm),
            prefix=registry.prefix or "",
            push_to=run_dir / "pushed" / registry.name if registry.push else None,
            identify=identify,
            strike=strike if strike is no_strike else partial(strike, registry=registry.name),
        )

    return [make(registry) for registry in (item.registry, *item.registries)]


def _layout_of(item: Item, reference: str) -> Path:
    """Return the layout that ``reference`` is served from."""
    for image in item.images:
        if image.reference == reference:
            return image.layout
    return next(layout for layout in reversed(item.layouts) if has_image(layout, reference))


def _mounts(item: Item, registry: RegistryItem) -> Sequence[Mount]:
    prefixes = (registry.prefix or "",)
    own = [
        Mount(layout=image.layout, reference=image.reference, prefixes=prefixes)
        for image in item.images
    ]
    if registry.images is None:
        return [*(Mount(layout=layout, prefixes=prefixes) for layout in item.layouts), *own]
    mounts = [mount for mount in own if mount.reference in registry.images]
    found = {mount.reference for mount in mounts}
    for layout in item.layouts:
        mounts += [
            Mount(layout=layout, reference=reference, prefixes=prefixes)
            for reference in registry.images
            if reference not in found and has_image(layout, reference)
        ]
    return mounts
