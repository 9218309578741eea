"""Run a test in network and user namespaces of its own, in a forked child."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import inspect
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000


def _enter() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNET | (0 if uid == 0 else _CLONE_NEWUSER)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def in_own_network(test: Callable[..., Any]) -> Callable[..., None]:
    """Make ``test`` (a function or a coroutine function) run in a network of its own.

    What it starts must ask for a death signal or be stopped by it: the child ends with
    ``os._exit``.
    """

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(reads)
                _enter()
                if inspect.iscoroutinefunction(test):
                    asyncio.run(test(*args, **kwargs))
                else:
                    test(*args, **kwargs)
                status = 0
            except BaseException:
                os.write(writes, traceback.format_exc().encode()[-60000:])
            finally:
                os._exit(status)
        os.close(writes)
        with os.fdopen(reads, "rb") as stream:
            words = stream.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
        if status != 0:
            pytest.fail(words or f"the child ended with {status}", pytrace=False)

    # pytest would look through functools.wraps and take an async test for a coroutine.
    wrapper.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    del wrapper.__wrapped__
    return wrapper
