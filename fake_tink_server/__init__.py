"""A stand-in for Tinkerbell's gRPC server, usable without the harness.

::

    async with fake_tink_server.serve(actions=["one", "two"], worker="w1") as server:
        ...  # start a worker with server.environment()
        assert await server.finished() == {"default/work": "SUCCESS"}

``README.md`` beside this file tells of it all. Inside: Tinkerbell YAML (``objects``, ``sources``)
→ workflow (``gotemplate``, ``workflow``) → engine (sans-IO) → server (grpc.aio) → events; and
``standalone`` puts these together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fake_tink_server.serving import serve
    from fake_tink_server.standalone import Server

__all__ = ["Server", "serve"]

_PLACES = {"serve": "fake_tink_server.serving", "Server": "fake_tink_server.standalone"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``import fake_tink_server`` costs nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)
