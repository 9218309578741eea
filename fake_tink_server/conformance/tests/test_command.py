"""The verb: usage, workers that are none, and a worker written for the purpose."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fake_tink_server.conformance.command import main
from harness.process import run

IDLER = """
import os, sys, time, grpc
channel = grpc.insecure_channel(os.environ["TINKERBELL_GRPC_AUTHORITY"])
poll = channel.unary_stream("/proto.WorkflowService/GetWorkflowContexts")
id = sys.argv[1].encode()
while True:
    try:
        list(poll(bytes([10, len(id)]) + id))
    except grpc.RpcError:
        pass
    time.sleep(0.05)
"""
"""A worker of ten lines: it asks for work under the id it is told, and never does any."""


async def kit(*words: str, status: int) -> str:
    argv = [sys.executable, "-m", "fake_tink_server", "conformance", *words]
    done = await run(argv, ok=(status,))
    return (done.stdout if status != 2 else done.stderr).decode()


async def test_bad_usage_is_said_in_words() -> None:
    assert "there is no COMMAND" in await kit(status=2)
    said = await kit("--only", "sigtem", "--", "true", status=2)
    assert said.startswith("there is no rule 'sigtem'\n    did you mean 'sigterm'?")
    assert said.count("did you mean") == 1
    said = await kit("--", "/nowhere/worker", status=2)
    assert said.startswith("/nowhere/worker can't be started: No such file")


async def test_a_program_that_never_asks_is_no_worker() -> None:
    assert "made no call for work" in await kit("--patience", "2", "--", "sleep", "9", status=1)


def test_the_list_names_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["1", "asks-with-its-id"]
    assert any("(recommended)" in line for line in lines)


async def test_a_worker_that_only_asks(tmp_path: Path) -> None:
    (tmp_path / "idler.py").write_text(IDLER)
    only = ["asks-with-its-id", "asks-again", "idles", "in-order", "removes", "sigterm"]
    said = await kit(
        "--patience", "3", "--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml"),
        *[word for name in only for word in ("--only", name)],
        "--", sys.executable, str(tmp_path / "idler.py"), "{id}", status=1,
    )  # fmt: skip
    outcomes = dict(re.findall(r"^ *\d+  (?:pass|fail|no|skip|n/a) +.*$", said, re.M) and [
        (line.split()[2], line.split()[1]) for line in said.splitlines()[1:-1]
    ])  # fmt: skip
    assert outcomes == {
        "asks-with-its-id": "pass",
        "asks-again": "pass",
        "idles": "pass",
        "in-order": "fail",
        "removes": "no",
        "sigterm": "pass",
    }
    assert said.splitlines()[-1] == "required: 4 pass, 1 fail; recommended: 0 of 1"
    data = json.loads((tmp_path / "r.json").read_text())
    assert [rule["outcome"] for rule in data["rules"]] == ["pass"] * 3 + ["fail"] * 2 + ["pass"]
    suite = ET.parse(tmp_path / "r.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("6", "1")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["in-order"]


async def test_a_worker_under_another_name_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "idler.py").write_text(IDLER)
    words = ["--only", "1", "--", sys.executable, str(tmp_path / "idler.py"), "somebody"]
    assert "it called itself 'somebody'" in await kit(*words, status=1)


async def test_a_worker_that_ends_has_broken_the_rule() -> None:
    said = await kit("--protocol", "v1", "--only", "idles", "--", "false", status=1)
    assert "the worker ended with status 1 while" in said
