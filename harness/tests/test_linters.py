"""The linters are tests: what they say fails the test run, here as in continuous integration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.paths import source_root

ROOT = source_root()
LONGEST_MODULE = 600

_MADE = {".git", ".venv", ".cache", "runs", "dist", "__pycache__", ".hypothesis"}
_GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")


def tracked_files() -> list[Path]:
    """Return the checkout's own files; without git, all but those that are made."""
    git = shutil.which("git")
    if git:
        done = subprocess.run(
            [git, "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            names = done.stdout.decode().split("\0")
            return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file()
        and not any(
            part in _MADE or part.endswith("_cache") for part in path.relative_to(ROOT).parts
        )
    ]


def modules() -> list[Path]:
    """Return every Python file that a person wrote."""
    return [
        path
        for path in tracked_files()
        if path.suffix == ".py" and not _GENERATED.search(path.name)
    ]


def lint(*argv: str) -> None:
    """Run a linter of this environment in the checkout; fail with its own words."""
    beside = Path(sys.executable).parent / argv[0]
    program = str(beside) if beside.exists() else shutil.which(argv[0])
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(f"{argv[0]} is not installed", pytrace=False)
        pytest.skip(f"{argv[0]} is not installed")
    done = subprocess.run(
        [program, *argv[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"{argv[0]}:\n{done.stdout}{done.stderr}", pytrace=False)


def test_ruff_finds_nothing() -> None:
    lint("ruff", "check", ".")


def test_everything_is_formatted() -> None:
    lint("ruff", "format", "--check", ".")


def test_types_are_sound() -> None:
    lint("mypy")


def test_layers_point_one_way() -> None:
    lint("lint-imports")


def test_shell_scripts_are_clean() -> None:
    scripts = [
        path
        for path in tracked_files()
        if path.suffix == ".sh"
        or (not path.suffix and re.match(rb"#!/bin/(ba)?sh\b", path.read_bytes()[:16]))
    ]
    assert {ROOT / "hooklab", ROOT / ".ci" / "run"} <= set(scripts)
    lint("shellcheck", *map(str, scripts))


def test_no_module_is_too_long() -> None:
    lengths = {path: len(path.read_bytes().splitlines()) for path in modules()}
    assert lengths
    assert {path: n for path, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_a_test_stands_beside_what_it_tests() -> None:
    """By its name, or by what it imports where it is about several modules of its package."""
    tests = [path for path in modules() if path.name.startswith("test_")]
    not_python = [ROOT / "hooklab", *(ROOT / "linuxkit").iterdir()]
    strays = []
    for path in tests:
        if path.parent.name != "tests":
            continue  # a scenario in Python
        folder = path.parent.parent
        package = ".".join(folder.relative_to(ROOT).parts)
        subject = path.stem.removeprefix("test_")
        if subject not in {entry.stem for entry in (*folder.iterdir(), *not_python)} and (
            f"from {package}" not in path.read_text(encoding="utf-8")
        ):
            strays.append(str(path.relative_to(ROOT)))
    assert tests
    assert strays == []


def _hosts_of(text: str) -> set[str]:
    return {host for word in re.split(r"[\s,|]+", text) if (host := urlsplit(word).hostname)}


def registry_hosts() -> set[str]:
    """Return the hosts of the package registries that this machine's own tools use."""

    def said_by(*argv: str) -> str:
        if shutil.which(argv[0]) is None:
            return ""
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    settings = " ".join(
        line.partition("=")[2].strip("'\"")
        for line in said_by(sys.executable, "-m", "pip", "config", "list").splitlines()
        if "index" in line
    )
    # What pip uses when nothing is set is known to pip alone.
    default = said_by(
        sys.executable,
        "-c",
        "from pip._internal.models.index import PyPI; print(PyPI.url, 'x://' + "
        "PyPI.file_storage_domain)",
    )
    go = said_by("go", "env", "GOPROXY") + " x://" + said_by("go", "env", "GOSUMDB").strip()
    apt = said_by("apt-get", "indextargets", "--format", "$(SITE)")
    return _hosts_of(" ".join([settings, default, go, apt])) - {"localhost", "127.0.0.1"}


def test_no_registry_is_named() -> None:
    """Where packages come from is the host's setting, never ours."""
    hosts = registry_hosts()
    assert hosts
    named = re.compile("|".join(re.escape(host) for host in sorted(hosts)).encode())
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked_files()
        if (match := named.search(path.read_bytes()))
    ]
    assert found == []


def test_no_path_of_this_machine_is_named() -> None:
    places = {str(ROOT)} | {home for home in [str(Path.home())] if home.count("/") > 1}
    named = re.compile("|".join(map(re.escape, sorted(places))).encode() + rb"(?![\w-])")
    found = [
        str(path.relative_to(ROOT)) for path in tracked_files() if named.search(path.read_bytes())
    ]
    assert found == []
