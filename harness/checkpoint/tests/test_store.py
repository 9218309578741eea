"""Checkpoints are complete or not there, whoever is killed while it writes or removes them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoint import store as stores
from harness.checkpoint.store import CheckpointStore, Draft, NotSaved, Saved
from harness.hook.store import digest_of, digest_of_file
from harness.process import run

LARGE = (1 << 20) + 4096
"""More than what is always compared with its digest."""


def a_store(folder: Path, *, limit_bytes: int = 1 << 30) -> CheckpointStore:
    return CheckpointStore(folder / "checkpoints", limit_bytes=limit_bytes)


async def save(store: CheckpointStore, key: str, content: bytes = b"ram") -> None:
    async with store.building(key) as draft:
        assert isinstance(draft, Draft)
        (draft.folder / "ram").write_bytes(content)
        (draft.folder / "disks").mkdir()
        (draft.folder / "disks" / "vda").write_bytes(b"disk")
        draft.commit({"of": key}).close()


def drafts(store: CheckpointStore) -> list[Path]:
    return list((store.folder / ".drafts").iterdir())


def keys(store: CheckpointStore) -> list[str]:
    return [kept.key for kept in store.kept()]


@contextlib.asynccontextmanager
async def another(store: CheckpointStore, body: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``body`` in another process, with ``store``; killed at the end."""
    program = f"""
import asyncio, os, sys
from pathlib import Path
from harness.checkpoint import store as stores
from harness.checkpoint.store import CheckpointStore, Draft, NotSaved, Saved
store = CheckpointStore(Path({str(store.folder)!r}), limit_bytes={store.limit_bytes})
def say(word):
    print(word, flush=True)
async def main():
{textwrap.indent(textwrap.dedent(body), "    ")}
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def heard(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def test_what_is_committed_is_found_with_its_files_and_words(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert store.open("a") is None
    await save(store, "a")
    saved = store.open("a")
    assert saved is not None
    with saved:
        assert (saved.folder / "ram").read_bytes() == b"ram"
        assert (saved.folder / "disks" / "vda").read_bytes() == b"disk"
        assert saved.meta == {"of": "a"}
        assert saved.size_bytes > 0
    assert drafts(store) == []


async def test_a_draft_that_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    store = a_store(tmp_path)

    async def goes_wrong() -> None:
        async with store.building("a") as draft:
            assert isinstance(draft, Draft)
            (draft.folder / "ram").write_bytes(b"half")
            raise RuntimeError("no guest")

    with pytest.raises(RuntimeError, match="no guest"):
        await goes_wrong()
    assert store.open("a") is None
    assert drafts(store) == []


@pytest.mark.parametrize("key", ["", "../a", ".drafts", "a/b", "a" * 200])
def test_a_key_is_a_plain_name(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        a_store(tmp_path).open(key)


async def test_a_changed_file_is_noticed_and_the_checkpoint_removed(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    for damage in ("flip", "cut", "gone", "manifest", "format"):
        await save(store, damage, bytes(LARGE))
        folder = store.folder / damage
        ram, manifest = folder / "ram", folder / "manifest.json"
        if damage == "flip":
            with ram.open("r+b") as stream:
                stream.seek(1 << 20)
                stream.write(b"x")
        elif damage == "cut":
            os.truncate(ram, LARGE - 1)
        elif damage == "gone":
            (folder / "disks" / "vda").unlink()
        elif damage == "manifest":
            manifest.write_text(manifest.read_text().replace('"of"', '"fo"'))
        else:
            content = json.loads(manifest.read_text()) | {"format": stores.FORMAT + 1}
            del content["digest"]
            manifest.write_text(json.dumps({**content, "digest": digest_of(content)}))
        assert store.open(damage) is None, damage
        assert keys(store) == []
        assert drafts(store) == []


async def test_a_copy_is_read_in_full_and_then_trusted(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    await save(store, "a", bytes(LARGE))
    shutil.move(store.folder, tmp_path / "old")
    shutil.copytree(tmp_path / "old", store.folder)
    stamp = store.folder / "a" / "stamp.json"
    before = stamp.read_text()
    saved = store.open("a")
    assert saved is not None
    saved.close()
    assert stamp.read_text() != before


@pytest.mark.parametrize("text", ["", "[]", "[" * 200_000, '{"meta": null}'])
async def test_a_manifest_that_is_none_is_damage(tmp_path: Path, text: str) -> None:
    store = a_store(tmp_path)
    await save(store, "a")
    (store.folder / "a" / "manifest.json").write_text(text)
    assert [each.meta for each in store.kept()] == [{}]
    assert store.open("a") is None
    assert keys(store) == []


async def test_damage_behind_a_stamp_is_found_by_a_whole_look(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    await save(store, "a", bytes(LARGE))
    ram = store.folder / "a" / "ram"
    times = ram.stat()
    with ram.open("r+b") as stream:
        stream.write(b"x")
    os.utime(ram, ns=(times.st_atime_ns, times.st_mtime_ns))
    trusted = store.open("a")
    assert trusted is not None  # what no file system tells us
    trusted.close()
    assert store.open("a", whole=True) is None


async def test_a_stamp_of_an_earlier_boot_of_the_host_is_not_believed(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    await save(store, "a", bytes(LARGE))
    ram = store.folder / "a" / "ram"
    times = ram.stat()
    with ram.open("r+b") as stream:  # as after a crash: length and times there, bytes not
        stream.write(b"x")
    os.utime(ram, ns=(times.st_atime_ns, times.st_mtime_ns))
    stamp = store.folder / "a" / "stamp.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"boot": "another"}))
    assert store.open("a") is None


async def test_the_least_recently_used_goes_first_and_none_that_is_in_use(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    for age_s, key in ((40, "a"), (30, "b"), (20, "c")):
        await save(store, key, bytes(LARGE))
        os.utime(store.folder / key, (1e9 - age_s, 1e9 - age_s))
    one = store.kept()[0].size_bytes
    used = store.open("a")
    assert used is not None
    with used:
        os.utime(store.folder / "a", (1e9 - 50, 1e9 - 50))
        small = a_store(tmp_path, limit_bytes=2 * one + 8192)
        assert [kept.in_use for kept in small.kept()] == [True, False, False]
        await save(small, "d", bytes(LARGE))
        assert keys(small) == ["a", "d"]  # b and c were older than d, and a is in use
        assert not small.remove("a")
    touched = small.open("a")
    assert touched is not None
    touched.close()
    assert keys(small) == ["d", "a"]
    assert small.remove("a")
    assert keys(small) == ["d"]


async def test_one_larger_than_the_limit_can_be_used_by_who_made_it(tmp_path: Path) -> None:
    store = a_store(tmp_path, limit_bytes=4096)
    async with store.building("a") as draft:
        assert isinstance(draft, Draft)
        (draft.folder / "ram").write_bytes(bytes(LARGE))
        saved = draft.commit({})
    assert (saved.folder / "ram").exists()
    saved.close()
    assert store.evict() == ["a"]


async def test_of_two_builders_one_builds_and_the_other_gets_it(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    builder = """
    async with store.building("a", on_wait=lambda: say("waits")) as got:
        if isinstance(got, Draft):
            say("builds")
            sys.stdin.readline()
            (got.folder / "ram").write_bytes(b"ram")
            got = got.commit({"by": os.getpid()})
        else:
            say("found")
        say(str(got.meta["by"]))
    """
    async with another(store, builder) as first:
        assert await heard(first) == "builds"
        async with another(store, builder) as second:
            assert await heard(second) == "waits"
            assert first.stdin is not None
            first.stdin.write(b"go\n")
            assert await heard(second) == "found"
            assert await heard(first) == await heard(second) == str(first.pid)


async def test_a_builder_that_is_killed_is_followed_by_the_one_that_waits(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    builds = """
    async with store.building("a") as draft:
        (draft.folder / "ram").write_bytes(b"half")
        say("builds")
        sys.stdin.read()
    """
    async with another(store, builds) as first:
        assert await heard(first) == "builds"
        assert len(drafts(store)) == 1
        waiting = asyncio.Event()

        async def ours() -> None:
            async with store.building("a", on_wait=waiting.set) as draft:
                assert isinstance(draft, Draft)
                assert drafts(store) == [draft.folder]  # the dead one's is gone
                (draft.folder / "ram").write_bytes(b"ours")
                draft.commit({}).close()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ours())
            await waiting.wait()
            first.send_signal(signal.SIGKILL)
    saved = store.open("a")
    assert saved is not None
    with saved:
        assert (saved.folder / "ram").read_bytes() == b"ours"


async def test_of_those_who_waited_for_a_builder_in_vain_one_builds_and_nobody_waits(
    tmp_path: Path,
) -> None:
    """Runs of one scenario, say, whose boots hang: each would wait for the one before."""
    store = a_store(tmp_path)
    drafts_made: list[Draft] = []
    refused: list[str] = []
    all_over, done = asyncio.Event(), asyncio.Event()

    async def ours() -> None:
        try:
            async with store.building("a") as draft:
                assert isinstance(draft, Draft)
                drafts_made.append(draft)
                decided()
                await all_over.wait()
        except NotSaved as error:
            refused.append(error.message)
            decided()

    def decided() -> None:
        if len(refused) + len(drafts_made) == 4:
            done.set()

    def waiting() -> int:
        inode = (store.folder / ".locks" / "a").stat().st_ino
        lines = Path("/proc/locks").read_text().splitlines()
        return sum("->" in line and f":{inode} " in line for line in lines)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        async with store.building("a"):
            for _ in range(4):
                tasks.create_task(ours())
            while waiting() < 4:
                await asyncio.to_thread(os.sched_yield)
        await done.wait()
        assert len(drafts_made) == 1
        all_over.set()
    assert refused == ["who built it gave up, and another tries now"] * 3


async def test_a_builder_that_is_killed_between_files_and_name_leaves_nothing(
    tmp_path: Path,
) -> None:
    store = a_store(tmp_path)
    builds = """
    def stop(*_):
        say("named")
        os.kill(os.getpid(), 9)
    store._take_in = stop
    async with store.building("a") as draft:
        (draft.folder / "ram").write_bytes(b"ram")
        draft.commit({})
    """
    async with another(store, builds) as killed:
        assert await heard(killed) == "named"
        assert await killed.wait() == -signal.SIGKILL
    assert store.open("a") is None
    assert len(drafts(store)) == 1
    store.sweep()
    assert drafts(store) == []


async def test_a_wait_for_a_builder_can_be_cancelled(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    waiting = asyncio.Event()

    async def waits() -> None:
        async with store.building("a", on_wait=waiting.set):
            pytest.fail("two builders")

    async with store.building("a"):
        task = asyncio.get_running_loop().create_task(waits())
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await save(store, "a")  # nobody holds the lock


async def test_a_kill_while_one_is_removed_leaves_it_whole_or_gone(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    removes = """
    def stop(folder, **_):
        os.unlink(folder / "ram")
        say("half")
        os.kill(os.getpid(), 9)
    stores.shutil.rmtree = stop
    store.remove("a")
    """
    await save(store, "a")
    async with another(store, removes) as killed:
        assert await heard(killed) == "half"
        await killed.wait()
    assert store.open("a") is None
    assert len(drafts(store)) == 1
    await save(store, "a")
    assert drafts(store) == []
    saved = store.open("a", whole=True)
    assert saved is not None
    saved.close()


async def test_one_that_another_process_has_open_is_not_removed(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    await save(store, "a")
    async with another(store, 'saved = store.open("a")\nsay("open")\nsys.stdin.read()') as user:
        assert await heard(user) == "open"
        assert [kept.in_use for kept in store.kept()] == [True]
        assert not store.remove("a")
        user.send_signal(signal.SIGKILL)
        await user.wait()
        assert store.remove("a")


async def test_readers_builders_and_removers_at_once_never_see_a_part(tmp_path: Path) -> None:
    store = a_store(tmp_path, limit_bytes=3 * LARGE)
    body = """
    import random
    dice = random.Random(os.getpid())
    for turn in range(60):
        key = dice.choice("abcd")
        what = dice.randrange(3)
        if what == 0:
            store.remove(key)
            continue
        try:
            async with store.building(key) as got:
                if isinstance(got, Draft):
                    (got.folder / "ram").write_bytes(key.encode() * 1_050_000)
                    got = got.commit({"key": key})
        except NotSaved:  # what was waited for is removed already, and built by another
            continue
        with got:
            assert got.meta == {"key": key}
            assert (got.folder / "ram").read_bytes() == key.encode() * 1_050_000
    say("well")
    """
    async with contextlib.AsyncExitStack() as stack:
        several = [await stack.enter_async_context(another(store, body)) for _ in range(4)]
        assert [await heard(each) for each in several] == ["well"] * 4
    store.evict()
    assert sum(kept.size_bytes for kept in store.kept()) <= store.limit_bytes
    store.sweep()
    assert drafts(store) == []


_SMALL_DISK = """
mount -t tmpfs -o size=2m none "$1" && exec "$2" -m harness.checkpoint.tests.test_store "$1"
"""


async def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    argv = ["unshare", "-Urm", "sh", "-c", _SMALL_DISK, "sh", str(tmp_path), sys.executable]
    done = await run(argv)
    assert done.stdout.decode().splitlines() == [
        "write: the checkpoint could not be saved below DIR/checkpoints: No space left on device",
        "commit: the checkpoint could not be saved below DIR/checkpoints: No space left on device",
        "free again",
    ]


async def fill(folder: Path) -> None:
    """Save more than fits, once while writing and once while committing; print what is said."""
    store = a_store(folder)
    os.sync()
    before = os.statvfs(folder).f_bfree
    for what in ("write", "commit"):
        try:
            async with store.building("a") as draft:
                assert isinstance(draft, Draft)
                try:
                    with (draft.folder / "ram").open("wb", buffering=0) as stream:
                        while stream.write(bytes(4096)):
                            pass
                except OSError:
                    if what == "write":
                        raise
                draft.commit({}).close()
        except NotSaved as error:
            print(f"{what}: {str(error).replace(str(folder), 'DIR')}")
    assert store.open("a") is None
    assert drafts(store) == []
    if os.statvfs(folder).f_bfree >= before - 8:
        print("free again")


def test_opening_costs_no_more_for_a_large_file(tmp_path: Path) -> None:
    """300 MB are not read again: far below what their digest takes, 0.4 s and more."""
    store = a_store(tmp_path)

    async def make() -> None:
        async with store.building("a") as draft:
            assert isinstance(draft, Draft)
            with (draft.folder / "ram").open("wb") as stream:
                stream.truncate(300 << 20)
            draft.commit({}, digests={"ram": "0" * 64}).close()

    asyncio.run(make())
    saved = store.open("a")  # its digest is wrong: had it been read, it would be gone
    assert isinstance(saved, Saved)
    saved.close()


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1])))


async def test_what_cannot_be_removed_is_not_locked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = a_store(tmp_path)
    await save(store, "a")

    def fails(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fails)
        with pytest.raises(OSError, match="No space"):
            store.remove("a")
    assert store.remove("a")


async def test_there_is_room_before_one_more_is_written(tmp_path: Path) -> None:
    """On a disk that has become full nothing would be written, and so nothing evicted."""
    await save(a_store(tmp_path), "a")
    smaller = a_store(tmp_path, limit_bytes=1)
    async with smaller.building("b"):
        assert keys(smaller) == []


async def test_what_is_being_committed_is_not_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends waits for its last checkpoint, but not for ever."""
    store = a_store(tmp_path)

    async with store.building("a") as draft:
        assert isinstance(draft, Draft)
        (draft.folder / "ram").write_bytes(b"ram")

        def meanwhile(path: Path) -> str:
            draft.discard()
            return digest_of_file(path)

        monkeypatch.setattr(stores, "digest_of_file", meanwhile)
        draft.commit({}).close()
    saved = store.open("a", whole=True)
    assert saved is not None
    saved.close()


async def test_what_is_not_ours_to_write_is_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = a_store(tmp_path)
    await save(store, "a")

    def fails(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(CheckpointStore, "_evicting", fails)
    assert keys(store) == ["a"]


async def test_the_room_is_counted_while_others_remove_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run asks how large the store may be, also while another run makes room in it."""
    store = a_store(tmp_path)
    await save(store, "a")
    await save(store, "b")
    scan = os.scandir

    def too_late(folder: Path | str) -> Any:
        if Path(folder) == store.folder / "a":
            (store.folder / "a").rename(tmp_path / "gone")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", too_late)
    assert stores.store_in(store.folder).limit_bytes > 0
    assert keys(store) == ["b"]
