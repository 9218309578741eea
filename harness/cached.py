"""``hooklab cache``: what was downloaded, built and saved, by kind; and making room."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from harness.checkpoint.store import CheckpointStore, Kept, store_in
from harness.errors import LabError, ScenarioError
from harness.host.capacity import Capacity, runtime_folder
from harness.locks import try_lock
from harness.paths import CHECKPOINTS, cache_root

RECORDS: Final = "records"
KINDS: Final[dict[str, tuple[str, ...]]] = {
    "downloads": ("debian",),
    "hook": (
        "hook", "iso", "kernel", "layers", "linuxkit-imported", "overlays", "segments", "tarballs",
    ),
    "images": ("images", "layouts", "workers"),
    "tools": ("go", "ipxe", "linuxkit"),
    CHECKPOINTS: (CHECKPOINTS,),
    RECORDS: ("bench", "history"),
}  # fmt: skip
"""Which folders of the cache are of a kind. Records can't be made again: cleared by name only."""
WORDS: Final = {
    "downloads": "Debian's packages",
    "hook": "the embedded Hook and its parts",
    "images": "the worker and the actions",
    "tools": "Go programs, iPXE",
    CHECKPOINTS: "labs, saved on their way",
    RECORDS: "runs and benchmarks, as measured",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that was downloaded, built or saved."""

    path: Path
    size_bytes: int
    """What it takes of the disk."""
    used_at_s: float
    """When it was last read or written, in seconds since 1970."""


def entries_of(cache: Path, kind: str) -> Iterator[Entry]:
    """Yield what there is of ``kind``, without what others are doing with it now."""
    for name in KINDS[kind]:
        with contextlib.suppress(OSError):
            for path in sorted((cache / name).iterdir()):
                if not path.name.startswith("."):
                    size_bytes, used_at_s = _facts(path)
                    yield Entry(path=path, size_bytes=size_bytes, used_at_s=used_at_s)


def _facts(path: Path) -> tuple[int, float]:
    """Return what ``path`` and all below take of the disk, and when they were last of use."""
    size, used_at_s = 0, 0.0
    below = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    for file in (path, *below):
        with contextlib.suppress(OSError):
            facts = file.stat(follow_symlinks=False)
            size += facts.st_blocks * 512
            used_at_s = max(used_at_s, facts.st_mtime, facts.st_atime if file is not path else 0.0)
    return size, used_at_s


def cache_command(
    *,
    clear: Sequence[str] | None = None,
    older_than: timedelta | None = None,
    verify: bool = False,
    json_file: Path | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Show the cache; with ``clear`` remove these kinds and keys, all kinds when it names none.

    ``older_than`` spares what was used since. ``verify`` reads all checkpoints and removes those
    that are damaged. Raises ``ScenarioError`` for a name that there is not, and ``LabError`` when
    a lab runs from what is to be removed.
    """
    cache = cache_root()
    store = store_in(cache / CHECKPOINTS)
    if clear is not None:
        _clear(cache, store, clear, older_than, say)
    elif verify:
        return _verify(store, say)
    else:
        _show(cache, store, say)
    if json_file is not None:
        text = json.dumps(_to_data(cache, store), indent=2)
        json_file.write_text(text + "\n", encoding="utf-8")
    return 0


def _show(cache: Path, store: CheckpointStore, say: Callable[[str], None]) -> None:
    say(f"{cache}")
    total = 0
    for kind, words in WORDS.items():
        entries = list(entries_of(cache, kind))
        size = sum(entry.size_bytes for entry in entries)
        total += size
        if entries:
            used = _ago(max(entry.used_at_s for entry in entries))
            say(f"  {kind:<12} {_size(size):>9}   {used:<14} {words}")
    say(f"  {'':<12} {_size(total):>9}   {_size(shutil.disk_usage(_there(cache)).free)} free")
    kept = store.kept()
    if not kept:
        return
    taken = sum(each.size_bytes for each in kept)
    say(f"checkpoints: {_size(taken)} of {_size(store.limit_bytes)} (HOOKLAB_CHECKPOINTS_MAX)")
    for each in reversed(kept):
        use = "in use" if each.in_use else _ago(each.used_at_s)
        say(f"  {each.key[:28]:<28} {_size(each.size_bytes):>9}   {use:<14} {_of(each)}")


def _of(kept: Kept) -> str:
    """Return what a checkpoint is of, in words: ``hook-up of hello[uefi], 2048 MiB``."""
    meta = kept.meta
    if not meta:
        return "damaged"
    words = f"{meta.get('point', 'a point')} of {meta.get('item', 'a lab')}"
    memory = meta.get("memory_mib")
    return f"{words}, {memory} MiB" if memory else words


def _clear(
    cache: Path,
    store: CheckpointStore,
    names: Sequence[str],
    older_than: timedelta | None,
    say: Callable[[str], None],
) -> None:
    kinds = [name for name in names if name in KINDS]
    keys = {name: _keys(store, name) for name in names if name not in KINDS}
    if not names:
        kinds = [kind for kind in KINDS if kind != RECORDS]
    latest_s = time.time() - older_than.total_seconds() if older_than is not None else None
    for kind in kinds:
        if kind == CHECKPOINTS:
            wanted = [each.key for each in store.kept() if _old(each.used_at_s, latest_s)]
            _tell(kind, *_remove_checkpoints(store, wanted), say)
        else:
            _need_no_lab(kind)
            wanted_paths = [e for e in entries_of(cache, kind) if _old(e.used_at_s, latest_s)]
            _tell(kind, *_remove_entries(wanted_paths), say)
    for name, found in keys.items():
        _tell(name, *_remove_checkpoints(store, found), say)


def _keys(store: CheckpointStore, start: str) -> list[str]:
    found = [each.key for each in store.kept() if start and each.key.startswith(start)]
    if not found:
        raise ScenarioError(
            f"nothing in the cache is called '{start}'",
            hint=f"kinds: {', '.join(KINDS)}; or the start of a checkpoint's key",
        )
    return found


def _old(used_at_s: float, latest_s: float | None) -> bool:
    return latest_s is None or used_at_s < latest_s


def _need_no_lab(kind: str) -> None:
    holders = Capacity(runtime_folder()).holders()
    if holders and kind != RECORDS:
        names = ", ".join(map(str, holders))
        raise LabError(f"labs run from the cache: {names}", hint="clear it when they have ended")


def _remove_checkpoints(store: CheckpointStore, keys: Iterable[str]) -> tuple[int, list[str]]:
    """Remove checkpoints; return the octets that are free now, and the keys that are in use."""
    sizes = {each.key: each.size_bytes for each in store.kept()}
    freed, busy = 0, []
    for key in keys:
        if store.remove(key):
            freed += sizes.get(key, 0)
        else:
            busy.append(key)
    store.sweep()
    return freed, busy


def _remove_entries(entries: Iterable[Entry]) -> tuple[int, list[str]]:
    """Remove what nobody builds; return the octets that are free now, and what is being built."""
    freed, busy = 0, []
    for entry in entries:
        lock = next((lock for lock in _locks_of(entry.path) if _is_held(lock)), None)
        if lock is not None:
            busy.append(entry.path.name)
            continue
        if entry.path.is_dir() and not entry.path.is_symlink():
            _remove_tree(entry.path)
        else:
            entry.path.unlink(missing_ok=True)
        freed += entry.size_bytes
    return freed, busy


def _locks_of(path: Path) -> Iterator[Path]:
    """Yield the locks that say that somebody builds ``path``: its own, and its folder's."""
    for lock in (path, path.with_name(f"{path.name}.lock"), path.parent / "lock"):
        if lock.name.endswith("lock") and lock.is_file():
            yield lock


def _is_held(lock: Path) -> bool:
    with contextlib.suppress(OSError):
        descriptor = try_lock(lock)
        if descriptor is None:
            return True
        os.close(descriptor)
    return False


def _remove_tree(folder: Path) -> None:
    if sys.version_info >= (3, 12):  # where onerror is deprecated
        shutil.rmtree(folder, onexc=_by_force)
    else:
        shutil.rmtree(folder, onerror=_by_force)


def _by_force(function: Callable[..., Any], path: str, _: Any) -> None:
    """Remove what lies in a folder that can't be written: Go's module cache is like that."""
    Path(path).parent.chmod(0o700)
    if Path(path).is_dir() and not Path(path).is_symlink():
        Path(path).chmod(0o700)
    with contextlib.suppress(FileNotFoundError):  # somebody else removes it, too
        function(path)


def _tell(what: str, freed: int, busy: list[str], say: Callable[[str], None]) -> None:
    kept = f"; in use and kept: {', '.join(busy)}" if busy else ""
    say(f"{what}: {_size(freed)} removed{kept}")


def _verify(store: CheckpointStore, say: Callable[[str], None]) -> int:
    damaged = 0
    for kept in store.kept():
        saved = store.open(kept.key, whole=True)
        if saved is None:
            damaged += 1
            say(f"{kept.key}: damaged, and removed")
        else:
            saved.close()
    say(f"{len(store.kept())} checkpoints are whole" + (f", {damaged} were not" if damaged else ""))
    return 1 if damaged else 0


def _to_data(cache: Path, store: CheckpointStore) -> dict[str, Any]:
    kinds = []
    for kind in KINDS:
        entries = list(entries_of(cache, kind))
        kinds.append(
            {
                "kind": kind,
                "entries": len(entries),
                "size_bytes": sum(entry.size_bytes for entry in entries),
                "used_at": _iso(max((entry.used_at_s for entry in entries), default=None)),
            }
        )
    checkpoints = [
        {
            "key": kept.key,
            "size_bytes": kept.size_bytes,
            "used_at": _iso(kept.used_at_s),
            "in_use": kept.in_use,
            "point": kept.meta.get("point"),
            "item": kept.meta.get("item"),
        }
        for kept in store.kept()
    ]
    return {"cache": str(cache), "kinds": kinds, "checkpoints": checkpoints,
            "checkpoints_limit_bytes": store.limit_bytes}  # fmt: skip


def _iso(at_s: float | None) -> str | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")


def _there(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _ago(at_s: float) -> str:
    seconds = max(0, time.time() - at_s)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def _size(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB" if count < 10 << 30 else f"{count / (1 << 30):.1f} GiB"
