"""``allowPXE`` of every Hardware as it is now: as written, and as toggled by the controller."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fake_tink_server.catalog import Catalog, Key
    from fake_tink_server.objects import Hardware


class Permissions:
    """Which machines may netboot."""

    def __init__(self, catalog: Catalog, record: Callable[..., object]) -> None:
        """Begin with what ``catalog`` says; later changes are recorded."""
        self._record = record
        self._written: dict[Key, Hardware] = {}
        self._allowed: dict[Key, bool | None] = {}
        self._read(catalog)

    def of(self, key: Key) -> bool | None:
        """Return whether a Hardware may netboot; None when it does not say."""
        return self._allowed.get(key)

    def take(self, catalog: Catalog) -> None:
        """Go on with ``catalog``. What was toggled stays until its Hardware is edited."""
        before = self._written
        toggled = dict(self._allowed)
        self._read(catalog)
        for key in {**before, **self._written}:
            change = "added" if key not in before else "edited"
            if key not in self._written:
                self._record("tink.hardware.changed", hardware="/".join(key), change="removed")
            elif before.get(key) == self._written[key]:
                self._allowed[key] = toggled[key]
            else:
                self._told(key, change)

    def toggle(self, name: str, allow: bool) -> None:
        """Note what the controller does to the Hardware called ``name``, in whichever namespace."""
        for key in self._allowed:
            if key[1] == name:
                self._allowed[key] = allow
                self._told(key, "toggled")

    def _read(self, catalog: Catalog) -> None:
        self._written = {key: each.object for key, each in catalog.hardware.items()}
        self._allowed = {key: _first(hardware) for key, hardware in self._written.items()}

    def _told(self, key: Key, change: str) -> None:
        self._record(
            "tink.hardware.changed",
            hardware="/".join(key),
            change=change,
            allow_pxe=self._allowed[key],
        )


def _first(hardware: Hardware) -> bool | None:
    """Return ``allowPXE`` of the first interface that says it."""
    for interface in hardware.spec.interfaces:
        if interface.netboot is not None and interface.netboot.allow_pxe is not None:
            return interface.netboot.allow_pxe
    return None
