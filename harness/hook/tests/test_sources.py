"""Which of a host's apt sources Hook is built from."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HostUnfit
from harness.hook.sources import MIRROR_VARIABLE, debian_sources, hint_for

pytestmark = pytest.mark.usefixtures("no_mirror")


def sources(tmp_path: Path, files: dict[str, str]) -> dict[str, str]:
    for name, text in files.items():
        path = tmp_path / "apt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return debian_sources(tmp_path / "apt")


def test_only_debians_own_sources_are_kept(tmp_path: Path) -> None:
    kept = sources(
        tmp_path,
        {
            "sources.list": "# x\ndeb http://m.test/debian bookworm main\n"
            "deb-src http://m.test/debian bookworm main\n",
            "sources.list.d/d.sources": "Types: deb\n# a remark\nURIs: http://m.test/debian-security\n"
            "Suites: s\nComponents: main\n\nTypes: deb\nURIs: https://c.test/linux/debian\n"
            "Suites: s\nComponents: stable\n\nEnabled: no\nTypes: deb\n"
            "URIs: http://m.test/debian\nSuites: x\nComponents: main\n",
            "sources.list.d/vendor.list": "deb https://p.test/apt cloud main\n",
        },
    )
    assert kept == {
        "host.sources": "Types: deb\nURIs: http://m.test/debian-security\n"
        "Suites: s\nComponents: main\n",
        "host.list": "deb http://m.test/debian bookworm main\n",
    }


def test_a_mirror_under_another_name_is_kept(tmp_path: Path) -> None:
    line = "deb [signed-by=/k.gpg] https://artifacts.test/mirror bookworm main contrib\n"
    assert sources(tmp_path, {"sources.list": line}) == {"host.list": line}


@pytest.mark.parametrize(
    ("suites", "ours"),
    [
        ("trixie trixie-updates trixie-backports", "bookworm bookworm-updates"),
        ("trixie-security", "bookworm-security"),
        ("stable", "bookworm"),
        ("sid experimental", "bookworm experimental"),
        ("bookworm bookworm-updates", "bookworm bookworm-updates"),
        ("testing\n trixie", "bookworm"),
        ("noble noble-updates", "noble noble-updates"),
    ],
)
def test_whatever_release_the_host_follows_hook_is_built_from_one(
    tmp_path: Path, suites: str, ours: str
) -> None:
    stanza = "Types: deb\nURIs: http://m.test/debian\nSuites: {}\nComponents: main\n"
    found = sources(tmp_path, {"sources.list.d/debian.sources": stanza.format(suites)})
    assert found == {"host.sources": stanza.format(ours)}


def test_so_it_is_for_sources_of_one_line(tmp_path: Path) -> None:
    lines = (
        "deb [arch=amd64] http://m.test/debian trixie main contrib\n"
        "deb http://m.test/debian trixie-backports main\n"
        "deb http://m.test/debian-security trixie-security main\n"
    )
    assert sources(tmp_path, {"sources.list": lines}) == {
        "host.list": "deb [arch=amd64] http://m.test/debian bookworm main contrib\n"
        "deb http://m.test/debian-security bookworm-security main\n"
    }


def test_nothing_but_backports_is_no_source(tmp_path: Path) -> None:
    stanza = "Types: deb\nURIs: http://m.test/debian\nSuites: trixie-backports\nComponents: main\n"
    assert sources(tmp_path, {"sources.list.d/b.sources": stanza}) == {}


def test_a_host_that_is_no_debian_names_a_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ubuntu = {"sources.list": "deb http://a.test/ubuntu noble main universe\n"}
    assert MIRROR_VARIABLE in hint_for(sources(tmp_path, ubuntu))
    monkeypatch.setenv(MIRROR_VARIABLE, "http://m.test/debian")
    with pytest.raises(HostUnfit, match="keys are not in"):
        debian_sources(tmp_path / "apt", keyrings=tmp_path)
    (tmp_path / "debian-archive-keyring.gpg").touch()
    found = debian_sources(tmp_path / "apt", keyrings=tmp_path)
    assert list(found) == ["mirror.sources"]
    assert "URIs: http://m.test/debian\nSuites: bookworm " in found["mirror.sources"]
    assert f"Signed-By: {tmp_path}/debian-archive-keyring.gpg\n" in found["mirror.sources"]
    assert MIRROR_VARIABLE not in hint_for(found)
