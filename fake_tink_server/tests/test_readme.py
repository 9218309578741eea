"""The page: what it shows is run as somebody else's test suite, without hooklab's plugin."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fake_tink_server
from fake_tink_server import cli
from fake_tink_server.conformance import command as conformance

PACKAGE = Path(__file__).parents[1]
PAGE = (PACKAGE / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def test_the_python_examples(tmp_path: Path) -> None:
    names = []
    for block in blocks("python"):
        match = re.match(r"# (\S+\.py)\n", block)
        assert match, f"which file is this?\n{block[:80]}"
        names.append(match[1])
        (tmp_path / match[1]).write_text(block)
    assert len(set(names)) == len(names) == 4
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--import-mode=prepend", "-p", "no:hooklab"),
            *("-p", "no:cacheprovider", "-o", "asyncio_mode=strict"),
            *("-o", "asyncio_default_fixture_loop_scope=function"),
            *("--rootdir", str(tmp_path)),
        ],
        cwd=tmp_path,
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
            "PYTHONPATH": str(PACKAGE.parent),
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = sum(block.count("def test_") for block in blocks("python"))
    assert f"{tests} passed" in done.stdout


def test_the_command_lines_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line[2:] for block in blocks("console") for line in block.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "fake-tink-server"
        parser = cli._parser(program)
        if words[0] == "conformance":
            parser, words = conformance._parser(), words[1:]
        assert parser.parse_args(words)


def test_every_option_is_told() -> None:
    known = set(re.findall(r"--[a-z-]+", cli._parser("x").format_help()))
    assert set(re.findall(r"(?<=`)--[a-z-]+", PAGE)) <= known


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (PACKAGE / target).is_file(), target


def test_import_is_quick() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys, fake_tink_server; print(*sys.modules)"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"grpc", "pydantic", "asyncio", "ruamel.yaml", "harness.timeline"} & set(said)
    with pytest.raises(AttributeError, match="no attribute 'sreve'"):
        fake_tink_server.sreve  # noqa: B018
