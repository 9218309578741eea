"""Where the cache is: one for all clones of a user, unless something is said or forbidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HostUnfit
from harness.host.capacity import runtime_folder
from harness.paths import cache_root, runs_root, source_root


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOOKLAB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_all_clones_share_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_root() == tmp_path / ".cache" / "hooklab"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "hooklab"


def test_what_is_said_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOOKLAB_CACHE", "~/mine")
    assert cache_root() == tmp_path / "mine"


def test_without_a_home_a_checkout_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert cache_root() == source_root() / ".cache"
    monkeypatch.setenv("HOME", "/nonexistent")
    assert cache_root() == source_root() / ".cache"


def test_a_home_that_is_nobodys_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLAB_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(HostUnfit, match="nobody knows where that home is"):
        cache_root()
    monkeypatch.setenv("HOOKLAB_RUNTIME", "~nobody-of-this-name/x")
    with pytest.raises(HostUnfit, match="nobody knows where that home is"):
        runtime_folder()


def test_run_folders_have_names_that_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLAB_RUNS", "/tmp/\udcff")
    with pytest.raises(HostUnfit, match="which is not UTF-8"):
        runs_root()
    monkeypatch.setenv("HOOKLAB_RUNS", "/tmp/a b/läufe, all")
    assert runs_root() == Path("/tmp/a b/läufe, all")
