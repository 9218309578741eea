"""What makes a cache trustworthy: complete or absent, one builder at a time."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from harness.hook.store import (
    digest_of,
    digest_of_tree,
    exclusive,
    new_folder,
    remove_unused,
    write_atomically,
)

_HOLDER = (
    "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
    "print('held', flush=True); sys.stdin.read()"
)


def test_digests_tell_parts_apart() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


def test_a_tree_digest_sees_names_bytes_and_the_executable_bit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    digests = {digest_of_tree(tmp_path, [file])}
    file.chmod(0o755)
    digests.add(digest_of_tree(tmp_path, [file]))
    file.write_text("y")
    digests.add(digest_of_tree(tmp_path, [file]))
    other = file.rename(tmp_path / "b")
    digests.add(digest_of_tree(tmp_path, [other]))
    assert len(digests) == 4


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with pytest.raises(ZeroDivisionError), new_folder(target) as scratch:  # noqa: PT012
        (scratch / "half").touch()
        _ = 1 / 0
    assert list(target.parent.iterdir()) == []
    with new_folder(target) as scratch:
        (scratch / "whole").touch()
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_the_first_of_two_builders_wins(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with new_folder(target) as slow:
        (slow / "slow").touch()
        with new_folder(target) as fast:
            (fast / "fast").touch()
    assert [path.name for path in target.iterdir()] == ["fast"]
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_an_interrupted_write_leaves_the_old_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


async def test_another_process_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, str(lock),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    order: list[str] = []

    async def ours() -> None:
        async with exclusive(lock):
            order.append("ours")

    async def theirs() -> None:
        # Runs once ours waits: the lock is free only after the holder is told to end.
        order.append("released")
        assert holder.stdin is not None
        holder.stdin.close()
        await holder.wait()

    await asyncio.gather(ours(), theirs())
    assert order == ["released", "ours"]


def test_only_what_nobody_used_lately_is_removed(tmp_path: Path) -> None:
    for name, age_s in (("old", 3 * 86400), ("new", 0)):
        (tmp_path / name).touch()
        status = (tmp_path / name).stat()
        os.utime(tmp_path / name, (status.st_atime, status.st_mtime - age_s))
    remove_unused(tmp_path, unused_for=timedelta(days=2))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
