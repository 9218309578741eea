"""The cache is shown by kind; what is cleared is gone, and what is in use is not."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from harness.cached import KINDS, WORDS, _by_force, cache_command
from harness.checkpoint.store import CheckpointStore, Draft, store_in
from harness.cli import main
from harness.errors import HostUnfit, LabError, ScenarioError
from harness.locks import try_lock
from harness.paths import CHECKPOINTS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache with something of each kind, and two checkpoints."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("HOOKLAB_CACHE", str(cache))
    monkeypatch.setenv("HOOKLAB_RUNTIME", str(tmp_path / "runtime"))
    for kind in ("downloads", "hook", "images", "tools", "records"):
        folder = cache / KINDS[kind][0]
        (folder / "one" / "deep").mkdir(parents=True)
        (folder / "one" / "deep" / "file").write_bytes(bytes(3 << 20))
    asyncio.run(save(store_in(cache / CHECKPOINTS), "hook-up-1a"))
    asyncio.run(save(store_in(cache / CHECKPOINTS), "ipxe-2b"))
    return cache


async def save(store: CheckpointStore, key: str) -> None:
    async with store.building(key) as draft:
        assert isinstance(draft, Draft)
        (draft.folder / "memory").write_bytes(bytes(2 << 20))
        meta = {"point": key.rpartition("-")[0], "item": "hello[uefi]", "memory_mib": 2048}
        draft.commit(meta).close()


def said(**words: object) -> list[str]:
    lines: list[str] = []
    assert cache_command(say=lines.append, **words) == 0  # type: ignore[arg-type]
    return lines


def test_every_kind_and_every_checkpoint_is_shown(cache: Path) -> None:
    with store_in(cache / CHECKPOINTS).open("ipxe-2b") or pytest.fail("not there"):
        lines = said()
    text = "\n".join(lines)
    assert set(WORDS) == set(KINDS)
    for kind in ("downloads", "hook", "images", "tools", "records"):
        assert any(line.split()[:3] == [kind, "3", "MiB"] for line in lines), text
    assert (
        "  ipxe-2b                          2 MiB   in use         ipxe of hello[uefi], 2048"
        in text
    )
    assert (
        "  hook-up-1a                       2 MiB   just now       hook-up of hello[uefi]" in text
    )


def test_a_kind_or_a_key_is_cleared_and_nothing_else(cache: Path) -> None:
    assert said(clear=["hook-up"]) == ["hook-up: 2 MiB removed"]
    assert [kept.key for kept in store_in(cache / CHECKPOINTS).kept()] == ["ipxe-2b"]
    assert said(clear=["tools"]) == ["tools: 3 MiB removed"]
    assert not (cache / "go" / "one").exists()
    assert (cache / "debian" / "one").exists()


def test_all_is_cleared_but_what_cannot_be_made_again(cache: Path) -> None:
    said(clear=[])
    left = [path.name for path in cache.rglob("*") if path.is_file() and path.name[0] != "."]
    assert left == ["file"]
    assert (cache / "bench" / "one" / "deep" / "file").exists()
    said(clear=["records"])
    assert not (cache / "bench" / "one").exists()


def test_what_was_used_lately_is_spared(cache: Path) -> None:
    long_ago = 1e9
    for path in (cache / "go" / "one", cache / "go" / "one" / "deep" / "file"):
        os.utime(path, (long_ago, long_ago))
    os.utime(cache / "checkpoints" / "ipxe-2b", (long_ago, long_ago))
    said(clear=[], older_than=timedelta(days=7))
    assert not (cache / "go" / "one").exists()
    assert (cache / "debian" / "one").exists()
    assert [kept.key for kept in store_in(cache / CHECKPOINTS).kept()] == ["hook-up-1a"]


def test_what_is_in_use_is_kept_and_named(cache: Path) -> None:
    with store_in(cache / CHECKPOINTS).open("ipxe-2b") or pytest.fail("not there"):
        assert said(clear=["ipxe"]) == ["ipxe: 0 MiB removed; in use and kept: ipxe-2b"]
    building = try_lock(cache / "go" / "one.lock")
    assert building is not None
    try:
        assert "in use and kept: one" in said(clear=["tools"])[0]
        assert (cache / "go" / "one").exists()
    finally:
        os.close(building)


def test_nothing_is_taken_away_from_a_lab(cache: Path, tmp_path: Path) -> None:
    labs = tmp_path / "runtime" / "labs"
    labs.mkdir(parents=True)
    lab = try_lock(labs / "x.lab")
    assert lab is not None
    facts = {"what": "hello[uefi]", "pid": 7, "memory_bytes": 1, "cpus": 1.0}
    (labs / "x.lab").write_text(json.dumps(facts))
    try:
        with pytest.raises(LabError, match=r"labs run from the cache: hello\[uefi\] \(process 7\)"):
            cache_command(clear=["hook"])
    finally:
        os.close(lab)
    assert (cache / "hook" / "one").exists()


def test_folders_that_cannot_be_written_are_removed_too(cache: Path) -> None:
    deep = cache / "go" / "one" / "deep"
    deep.chmod(0o500)
    (cache / "go" / "one").chmod(0o500)
    said(clear=["tools"])
    assert not (cache / "go" / "one").exists()


def test_damage_is_found_by_a_whole_look(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = cache / "checkpoints" / "ipxe-2b" / "memory"
    times = memory.stat()
    with memory.open("r+b") as stream:
        stream.write(b"x")
    os.utime(memory, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert main(["cache", "--verify"]) == 1
    assert (
        capsys.readouterr().out
        == "ipxe-2b: damaged, and removed\n1 checkpoints are whole, 1 were not\n"
    )
    assert main(["cache", "--verify"]) == 0


def test_the_same_for_a_program(cache: Path, tmp_path: Path) -> None:
    assert main(["cache", "--json", str(tmp_path / "out.json")]) == 0
    data = json.loads((tmp_path / "out.json").read_text())
    assert {kind["kind"] for kind in data["kinds"]} == set(KINDS)
    assert [each["key"] for each in data["checkpoints"]] == ["hook-up-1a", "ipxe-2b"]
    assert data["checkpoints"][0]["point"] == "hook-up"


def test_an_empty_cache_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLAB_CACHE", str(tmp_path / "none"))
    assert said()[0] == str(tmp_path / "none")


def test_names_that_there_are_not(cache: Path) -> None:
    with pytest.raises(ScenarioError, match="nothing in the cache is called 'nope'"):
        cache_command(clear=["nope"])
    with pytest.raises(ScenarioError, match="nothing in the cache is called ''"):
        cache_command(clear=[""])  # of a shell's variable that is not set: not all checkpoints
    assert main(["cache", "--older-than", "7d"]) == 2
    assert main(["cache", "clear", "--verify"]) == 2
    with pytest.raises(SystemExit):
        main(["cache", "clear", "--older-than", "soon"])


def test_the_limit_is_what_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < store_in(tmp_path / "none").limit_bytes <= 12 << 30
    for text, octets in (("2 GiB", 2 << 30), ("0", 0), ("500MB", 500_000_000)):
        monkeypatch.setenv("HOOKLAB_CHECKPOINTS_MAX", text)
        assert store_in(tmp_path).limit_bytes == octets
    monkeypatch.setenv("HOOKLAB_CHECKPOINTS_MAX", "lots")
    with pytest.raises(HostUnfit, match="expected a size"):
        store_in(tmp_path)


def test_what_a_link_points_to_is_left_alone(tmp_path: Path) -> None:
    """A root file system in the cache has links to folders of any host."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    outside.chmod(0o755)
    (tmp_path / "tree").mkdir()
    link = tmp_path / "tree" / "link"
    link.symlink_to(outside)
    _by_force(os.unlink, str(link), None)
    assert not link.is_symlink()
    assert outside.stat().st_mode & 0o777 == 0o755
    _by_force(os.unlink, str(link), None)  # which another process has removed
