"""Runs a coroutine in a network namespace of its own, with a cable between two interfaces.

``lab0`` is the server's end (192.168.77.1), ``machine0`` the client's (no address). A test calls
``inside("module:coroutine")``; the coroutine's result comes back as JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from typing import Any

from harness.process import run

SERVER = "192.168.77.1"
LAB, MACHINE = "lab0", "machine0"
MAC = "52:54:00:00:00:01"


async def inside(coroutine: str) -> Any:
    """Return what ``package.module:coroutine`` returns when run in a fresh namespace."""
    done = await run(["unshare", "-Urn", sys.executable, "-m", __name__, coroutine])
    return json.loads(done.stdout.splitlines()[-1])


def _cable() -> None:
    for command in (
        "link set lo up",
        f"link add {LAB} type veth peer name {MACHINE} address {MAC}",
        f"addr add {SERVER}/24 dev {LAB}",
        f"link set {LAB} up",
        f"link set {MACHINE} up",
    ):
        subprocess.run(["ip", *command.split()], check=True, timeout=10)


def main() -> None:
    """Build the cable and run the coroutine named by the first argument."""
    module, _, name = sys.argv[1].partition(":")
    _cable()
    result = asyncio.run(getattr(importlib.import_module(module), name)())
    print(json.dumps(result, default=str))


if __name__ == "__main__":
    main()
