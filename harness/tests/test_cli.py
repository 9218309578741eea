"""The command line as a process: what it prints, how it exits, and how soon it answers."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import exit_status, explain, main, make_parser
from harness.errors import BuildFailed, HostUnfit, Position, ScenarioError, SetupFailed
from harness.paths import source_root
from harness.verbs import VERBS


def hooklab(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder that is not the checkout."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "harness", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(source_root()), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert f"  {name}" in shown
        assert verb.summary in shown


@pytest.mark.parametrize("name", VERBS)
def test_help_of_a_verb_teaches_by_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"  hooklab {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in VERBS if name != "test"])
def test_examples_are_command_lines_that_parse(name: str) -> None:
    parser = make_parser()
    for line in VERBS[name].examples.splitlines():
        command = line.strip().partition("   ")[0]
        if command.startswith("hooklab "):
            assert parser.parse_args(command.split()[1:]).verb == name


def test_help_answers_at_once(tmp_path: Path) -> None:
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert hooklab("--help", cwd=tmp_path).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # CPU time: what else runs on the host makes it no slower
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.5


@pytest.mark.parametrize(
    "words", [(), ("fly",), ("doctor", "--jsno", "x"), ("run",), ("doctor", "extra")]
)
def test_bad_usage_exits_2_without_a_traceback(words: tuple[str, ...], tmp_path: Path) -> None:
    done = hooklab(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "usage: hooklab" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_can_not_be_written_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    done = hooklab("schema", "--output", str(tmp_path / "no" / "such" / "folder"), cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith(f"hooklab: {tmp_path / 'no' / 'such'}")
    assert done.stderr.endswith(": No such file or directory\n")
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_early_is_no_error_worth_a_word(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -P -m harness schema | head -c 1', sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source_root())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "{"
    assert done.stderr == ""


def test_every_error_has_its_exit_status() -> None:
    assert exit_status(ScenarioError("x")) == 2
    assert exit_status(HostUnfit("x")) == 3
    assert exit_status(BuildFailed("x")) == 3
    assert exit_status(SetupFailed("x")) == 1


def test_an_error_is_told_with_its_place_and_what_to_do() -> None:
    error = ScenarioError("unknown key", at=Position(file=Path("a.yaml"), line=7), hint="try b")
    assert explain(error) == "a.yaml:7:1: unknown key\n    try b"
    assert explain(HostUnfit("no QEMU", hint="install it")) == "hooklab: no QEMU\n    install it"


def test_characters_that_a_terminal_lacks_are_escaped(tmp_path: Path) -> None:
    """The C locale, and a Python that was told to leave it as it is."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = hooklab("faults", "dhcp", cwd=tmp_path, **ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2192" in done.stdout


@pytest.mark.parametrize("verb", [("run", "x.yaml"), ("storm",), ("bench",)])
def test_a_result_that_nobody_could_write_is_refused_before_the_work(
    verb: tuple[str, ...], tmp_path: Path
) -> None:
    done = hooklab(*verb, "--json", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"--json: {tmp_path} is a folder\n    name a file\n"


def test_what_is_asked_for_in_vain_is_named(tmp_path: Path) -> None:
    done = hooklab("attach", cwd=tmp_path)
    assert done.stderr.endswith("the following arguments are required: RUN\n")
