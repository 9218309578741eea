"""Imported by a zygote, this makes it one that may make no namespaces."""

import sys

from harness.errors import SetupFailed


def barred() -> None:
    """Fail as on a host whose AppArmor knows ``unshare`` only."""
    raise SetupFailed("a lab's namespaces can't be made")


sys.modules["__main__"].enter_namespaces = barred  # type: ignore[attr-defined]
