"""A Template's data: rendered, parsed and checked, every mistake at its line of the file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_tink_server.catalog import Catalog
from fake_tink_server.release import Release
from fake_tink_server.template import Compiled, check_image, compile_template
from harness.documents import Mistake, load
from harness.errors import ScenarioError, ScenarioErrors

HEAD = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Template
metadata:
  name: t
spec:
  data: |
"""
BODY = """\
version: "0.1"
name: t
global_timeout: 600
tasks:
  - name: one
    worker: "{{.device_1}}"
    volumes: [/dev:/dev]
    environment: {PORT: 8080, RATIO: 1.0, OCTAL: 012, ON: true, EMPTY: null, BOTH: task}
    actions:
      - name: first
        image: print:v1
        timeout: 60
        command: [a, 1]
        environment: {BOTH: action}
        pid: host
        on-failure: [x]
      - name: second
        image: quay.io/some/action:v1.2@sha256:{{ .digest }}
        timeout: 90
        volumes: [/tmp:/tmp]
"""
DATA = {"device_1": "52:54:00:00:00:01", "digest": "a" * 64}


def compiled(body: str = BODY) -> Compiled:
    text = HEAD + "".join(f"    {line}\n" if line else "\n" for line in body.split("\n"))
    return compile_template(load(text, file=Path("t.yaml")), DATA)


def mistakes(body: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        compiled(body)
    error = caught.value
    found = error.errors if isinstance(error, ScenarioErrors) else [error]
    return [str(item).replace("\n    ", " | ") for item in found]


def test_a_good_template() -> None:
    made = compiled()
    [task] = made.tasks
    assert (made.name, made.global_timeout_s, task.worker) == ("t", 600, "52:54:00:00:00:01")
    assert task.environment == {
        "PORT": "8080",
        "RATIO": "1.0",
        "OCTAL": "012",
        "ON": "true",
        "EMPTY": "",
        "BOTH": "task",
    }
    first, second = task.actions
    assert (first.command, first.pid, first.timeout_s) == (["a", "1"], "host", 60)
    assert second.image.endswith("a" * 64)
    assert second.volumes == ["/tmp:/tmp"]


def test_what_tinkerbell_takes_and_does_nothing_good_with_is_a_warning() -> None:
    assert [str(w) for w in compiled().warnings] == [
        "t.yaml:22:13: on-failure of first is never sent to a worker"
    ]
    body = BODY.replace("global_timeout: 600", "global_timeout: 0").replace("timeout: 90", "pid: x")
    found = [str(w) for w in compiled(body).warnings]
    assert found[0].startswith("t.yaml:7:5: global_timeout is 0: Tinkerbell's controller marks")
    assert found[-1].startswith("t.yaml:23:13: the timeout of second is 0")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: second", "name: first", "t.yaml:23:19: two actions in a task cannot have same"),
        ("print:v1", "Print:v1", "t.yaml:17:20: tasks[0].actions[0].image: invalid action image"),
        ("print:v1", '""', "t.yaml:17:20: tasks[0].actions[0].image: invalid action image"),
        ("timeout: 60\n", "timeout: soon\n", "t.yaml:9:21: global_timeout: expected"),
        ("timeout: 60\n", 'timeout: "60"\n', "t.yaml:18:22: tasks[0].actions[0].timeout: expected"),
        ("name: t\n", f"name: {'x' * 200}\n", "t.yaml:8:11: name: a name has 1 to 199"),
        ("name: one", "name: ''", "t.yaml:11:15: tasks[0].name: a name has 1 to 199"),
        ("{{.device_1}}", "{{.device_2}}", "t.yaml:12:20: map has no entry for key 'device_2' | "),
        ("{{.device_1}}", "", "t.yaml:12:17: tasks[0].worker: the worker is empty"),
        ("{{.device_1}}", "{{if .x}}", "t.yaml:12:20: {{if}} is not supported"),
        ("command:", "comand:", "t.yaml:19:13: unknown key 'comand' in tasks[0].actions[0] | did"),
        ("    actions:", "   actions:", "t.yaml:15:8: not YAML"),
    ],
)
def test_mistakes_are_named_in_the_outer_file(old: str, new: str, expected: str) -> None:
    body = BODY.replace(old, new, 1) if "soon" not in new else BODY.replace("600", "soon", 1)
    assert mistakes(body)[0].startswith(expected)


def test_two_tasks_of_one_name() -> None:
    body = BODY + BODY.partition("tasks:\n")[2]
    assert mistakes(body) == ["t.yaml:27:15: two tasks in a template cannot have same name (one)"]


def test_no_tasks() -> None:
    assert mistakes("name: t\ntasks: []\n")[0].startswith("t.yaml:8:12: tasks: ")


GOOD = [
    "print", "print:v1", "a/b", "localhost:5000/a", "quay.io/tinkerbell/actions/image2disk:v1.0",
    "192.168.77.1:5000/a/b-c__d.e:t", "[::1]:5000/x", "A.io/x", "hello-world",
    "x@sha256:" + "0" * 64,
]  # fmt: skip
BAD = [
    "",
    " ",
    "Print",
    "a//b",
    "a/",
    "/a",
    "a:",
    "a@b",
    "a:b:c",
    "-a",
    "a-$#@-",
    "http://a/b",
    "é",
]


def test_image_references() -> None:
    for good in GOOD:
        assert check_image(good) == good
    for bad in [*BAD, "a" * 300, "0" * 64]:
        with pytest.raises(Mistake, match="invalid action image"):
            check_image(bad)


@given(st.text(max_size=30).map(lambda text: text.replace("\r", "")))
def test_arbitrary_data_never_crashes(body: str) -> None:
    at = None
    try:
        compiled(body)
    except ScenarioError as error:
        found = error.errors if isinstance(error, ScenarioErrors) else [error]
        at = found[0].at
    assert at is not None, "no text of 30 characters is a template"
    assert at.file == Path("t.yaml")


@pytest.mark.parametrize(
    ("data", "release", "complaint"),
    [
        ("{{ toYaml .device_1 }}", Release.V0_12, "v0.12.2 has no template function 'toYaml'"),
        ("{{ netmaskToPrefixLength .device_1 }}", Release.V0_12, "v0.25.0 has it"),
        ("{{ env `HOME` }}", Release.V0_25, "has no template function 'env' any more"),
        ("{{ .hardware.kind }}", Release.V0_12, "no entry for key 'hardware'"),
    ],
)
def test_what_another_release_has_is_refused_with_its_place(
    data: str, release: Release, complaint: str
) -> None:
    catalog = Catalog()
    text = json.dumps(f"name: t\n# {data}\n")
    catalog.add(
        f"{_HEAD}kind: Template\nmetadata: {{name: t}}\nspec: {{data: {text}}}\n", file=_FILE
    )
    catalog.add(
        f"{_HEAD}kind: Workflow\nmetadata: {{name: w}}\n"
        "spec: {templateRef: t, hardwareMap: {device_1: x}}\n",
        file=_FILE,
    )
    with pytest.raises(ScenarioError, match=re.escape(complaint)):
        catalog.jobs(release=release)


_HEAD = "apiVersion: tinkerbell.org/v1alpha1\n"
_FILE = Path("objects.yaml")
