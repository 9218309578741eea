"""The registries a scenario asks for, with their defaults filled in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from harness.documents import suggest
from harness.scenario.item import NetworkItem, RegistryItem
from harness.scenario.loader import LoadedScenario
from harness.scenario.models import OtherRegistry, Registry

PORT: Final = 5000
_TAKEN: Final = {53, 69, 80, 123, 514, 7080, 42113, PORT}
_NAMES: Final = ("registry", "tink", "smee")


def resolve_registries(
    loaded: LoadedScenario, network: NetworkItem
) -> tuple[RegistryItem, tuple[RegistryItem, ...]]:
    """Return the registry Hook pulls from, and those beside it.

    Raises ``ScenarioError`` for a port or name that is taken.
    """
    scenario = loaded.scenario
    taken = set(_TAKEN)
    others = []
    for name, registry in scenario.registries.items():
        if name in _NAMES:
            raise loaded.error(
                f"registries: the name {name!r} is taken", ("registries", name), key=True
            )
        if registry.port in taken:
            raise loaded.error(
                f"registries.{name}: port {registry.port} is taken",
                ("registries", name, "port"),
                hint=f"taken are {', '.join(map(str, sorted(taken)))}",
            )
        taken.add(registry.port)
        others.append(_item(name, registry, network, registry.port))
    return _item("registry", scenario.registry, network, PORT), tuple(others)


def check_images(loaded: LoadedScenario, available: Collection[str]) -> None:
    """Raise ``ScenarioError`` when a registry is to have an image that there is not."""
    for name, registry in loaded.scenario.registries.items():
        for number, reference in enumerate(registry.images or ()):
            if reference not in available:
                raise loaded.error(
                    f"registries.{name}: there is no image {reference!r}",
                    ("registries", name, "images", number),
                    hint=suggest(reference, sorted(available)),
                )


def _item(name: str, registry: Registry, network: NetworkItem, port: int) -> RegistryItem:
    named = registry.auth != "anonymous"
    images = registry.images if isinstance(registry, OtherRegistry) else None
    return RegistryItem(
        name=name,
        scheme=registry.scheme,
        auth=registry.auth,
        address=f"{network.server}:{port}",
        port=port,
        username=(registry.username or "hook") if named else None,
        password=(registry.password or "hook-password") if named else None,
        certificate=registry.certificate,
        prefix=registry.prefix,
        realm=registry.realm,
        push=registry.push,
        images=None if images is None else tuple(images),
    )
