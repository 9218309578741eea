"""Files, folders and text, and the Workflows that are made for a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_tink_server.sources import Sources
from fake_tink_server.tests.test_watch import HARDWARE, TEMPLATE, WORKFLOW
from harness.errors import ScenarioError

DATA = """\
version: "0.1"
name: mine
global_timeout: 600
tasks:
  - name: os
    worker: "{{.device_1}}"
    actions:
      - {name: one, image: "{{.image}}", timeout: 60}
"""


def test_data_alone_and_a_worker(tmp_path: Path) -> None:
    file = tmp_path / "My Template.yaml"
    file.write_text(DATA)
    sources = Sources(paths=[file], workers=["w1"], devices={"image": "a:v1"})
    [job] = sources.read().jobs()
    assert (job.run.id, job.run.workers) == ("default/my-template", ["w1"])
    assert job.run.tasks[0].actions[0].image == "a:v1"


@pytest.mark.parametrize(
    ("find", "put", "place"),
    [
        ("{{.image}}", "{{.imag}}", "8:"),
        ("timeout: 60}", "timeout: soon}", "8:51"),
        ("tasks:", "tasks: [", "5:"),
        ("version: ", "versio: ", "1:1"),
    ],
)
def test_mistakes_in_data_stand_where_they_are(
    tmp_path: Path, find: str, put: str, place: str
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(DATA.replace(find, put))
    with pytest.raises(ScenarioError) as caught:
        Sources(paths=[file], workers=["w1"], devices={"image": "a:v1"}).read().jobs()
    assert str(caught.value).startswith(f"{file}:{place}"), str(caught.value)


def test_the_hardware_of_a_worker_is_found() -> None:
    texts = {"hardware": HARDWARE, "template": TEMPLATE}
    [job] = Sources(texts=texts, workers=["52:54:00:00:00:01"]).read().jobs()
    assert job.run.hardware == "m1"
    assert job.run.tasks[0].actions[0].environment == {"DISK": "/dev/sda"}


def test_a_template_with_a_workflow_gets_no_other() -> None:
    texts = {"h": HARDWARE, "t": TEMPLATE, "w": WORKFLOW.replace("NAME", "mine")}
    [job] = Sources(texts=texts, workers=["w9"]).read().jobs()
    assert (job.run.name, job.run.workers) == ("mine", ["w1"])


def test_what_kubectl_prints() -> None:
    indented = "".join(f"    {line}\n" for line in HARDWARE.splitlines())
    text = f"apiVersion: v1\nkind: List\nitems:\n  -\n{indented}"
    catalog = Sources(texts={"list": text}).read()
    assert list(catalog.hardware) == [("default", "m1")]
    bad = text.replace("/dev/sda", "/dev/sda, colour: red")
    with pytest.raises(ScenarioError, match=r"<list>:9:34: .*colour"):
        Sources(texts={"list": bad}).read()
    with pytest.raises(ScenarioError, match="a List has items"):
        Sources(texts={"list": "kind: List\nitem: []"}).read()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no such file"):
        Sources(paths=[tmp_path / "none.yaml"]).read()


def test_a_path_that_the_kernel_refuses() -> None:
    sources = Sources(paths=[Path("a" * 300)])
    assert sources.stamp()
    with pytest.raises(ScenarioError, match="can't be read: File name too long"):
        sources.read()
