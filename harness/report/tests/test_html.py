"""The page: self-contained, escaped, the same bytes each time, true to the run folder."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.errors import LabError
from harness.report.html import write_report
from harness.report.tests.folders import failed_boot, make_run
from harness.scenario.item import VerdictItem
from harness.scenario.tests.samples import Tape, good_boot, hello

_VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Collects text by element, and insists that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.words: dict[str, list[str]] = {}
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in _VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self.stack:
            self.words.setdefault(tag, []).append(data)

    def text(self, tag: str = "body") -> str:
        """Return the text inside all elements ``tag``, blanks joined."""
        return " ".join(" ".join(self.words.get(tag, [])).split())


def page(folder: Path) -> Page:
    """Return the page of a run folder."""
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_a_good_run(tmp_path: Path) -> None:
    shown = page(make_run(tmp_path, good_boot()))
    assert shown.text("h1") == "Passed in 66.4 s"
    body = shown.text()
    for words in (
        "A machine netboots Hook and runs a four-action workflow",
        "Workflow default/hello ended SUCCESS.",
        "192.168.77.10, ipxe.efi from 192.168.77.1",
        "worker pulled: 1",
        "52:54:00:12:34:56 pulls tink-worker:v0.12.2 once",
        "print ✓ write ✓ read ✓ disk ✓",
        f"./hooklab run {tmp_path}/scenario.lock.yaml",
    ):
        assert words in body
    assert "✗" not in body


def test_a_failed_run(tmp_path: Path) -> None:
    shown = page(make_run(tmp_path, failed_boot()))
    assert shown.text("h1") == "Failed in workflow after 60.0 s"
    body = shown.text()
    assert "Action 'write' failed: exit status 3 & <more>." in body
    assert "blame action" in body
    assert "nearest events" in body
    assert "did not end" in body


def test_a_failure_that_was_expected(tmp_path: Path) -> None:
    expected = VerdictItem(failed_in="workflow", blame="action", at="m.yaml:1:1")
    item = replace(hello(), expected_verdict=expected, expectations=())
    shown = page(make_run(tmp_path, failed_boot(), item))
    assert shown.text("h1") == "Failed in workflow after 60.0 s as expected"


def test_all_the_way_but_not_as_expected(tmp_path: Path) -> None:
    shown = page(make_run(tmp_path, good_boot().without("disk.")))
    assert shown.text("h1") == "Failed in 66.4 s"
    assert "not everything expected holds: disk vda: {at: 0, text: LABDISK}: found" in shown.text()


def test_a_run_that_was_cut_off(tmp_path: Path) -> None:
    folder = make_run(tmp_path, good_boot().until("guest.kernel.started"))
    with (folder / "timeline.jsonl").open("a") as file:
        file.write('{"seq":99,"t":1')
    assert page(folder).text("h1") == "Interrupted in hook boot after 17.0 s"


def test_a_run_that_never_began(tmp_path: Path) -> None:
    shown = page(make_run(tmp_path, Tape()))
    assert shown.text("h1") == "Interrupted in power on after 0.0 s"
    assert "svg" not in shown.tags


def test_it_stands_alone(tmp_path: Path) -> None:
    shown = page(make_run(tmp_path, good_boot()))
    assert not shown.tags & {"script", "link", "img", "iframe"}
    links = [link for link in shown.links if not link.startswith("#")]
    assert sorted(links) == ["scenario.lock.yaml", "serial-ttyS0.log", "timeline.jsonl"]
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r"url\(|@import|\bon\w+=", text)
    assert "prefers-color-scheme: dark" in text


def test_consoles_are_readable_and_escaped(tmp_path: Path) -> None:
    shown = page(make_run(tmp_path, good_boot()))
    assert "BdsDxe: starting iPXE 100% <b>&\ufffd" in shown.text("pre")
    assert "<b>&" not in (tmp_path / "report.html").read_text()


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = make_run(tmp_path, good_boot())
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_the_picture_has_a_bar_for_each_thing(tmp_path: Path) -> None:
    text = write_report(make_run(tmp_path, failed_boot())).read_text()
    titles = re.findall(r"<title>([^<]*)</title>", text)
    for title in (
        "UEFI · 6.0 s",
        "iPXE · 9.2 s",
        "firmware · 1.0 s · 192.168.77.10",
        "initramfs-x86_64 · 0.7 s · 53,000,000 bytes",
        "tink-worker · 0.3 s · 3 events",
        "print · 4.0 s · SUCCESS",
        "write · 9.0 s · FAILED",
        "workflow: 19.0 s",
        "44.00 s  GetWorkflowContexts",
    ):
        assert title in titles
    assert 'class="bar bad"' in text
    assert 'class="band even failed"' in text or 'class="band odd failed"' in text


def test_the_kernel_command_line_is_what_linux_printed(tmp_path: Path) -> None:
    tape = good_boot()
    assert "Kernel command line" not in page(make_run(tmp_path / "a", tape)).text()
    tape.add(70, "machine", "guest.cmdline.seen", cmdline="console=ttyS0 worker_id=x")
    shown = page(make_run(tmp_path / "b", tape)).text()
    assert "Kernel command line 2 words console=ttyS0 worker_id=x" in shown


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"is no run folder: it has no timeline.jsonl"):
        write_report(tmp_path)


def test_a_fact_of_another_type_is_told(tmp_path: Path) -> None:
    tape = good_boot()
    tape.add(61, "pace", "host.stalled", duration_s="x")
    with pytest.raises(LabError, match=r"timeline.jsonl can't be shown: ValueError: .*'x'"):
        write_report(make_run(tmp_path, tape))


def test_a_console_of_one_endless_line_costs_nothing(tmp_path: Path) -> None:
    folder = make_run(tmp_path, good_boot())
    (folder / "serial-ttyS1.log").write_bytes(b"a" * 1_000_000 + b"\rEND")
    began_s = time.process_time()
    assert "END" in page(folder).text("pre")
    assert time.process_time() - began_s < 2


def test_a_probe_for_tls_is_no_failure_where_pulls_succeed(tmp_path: Path) -> None:
    tape, failed = Tape(), Tape()
    for event in good_boot().events:
        for each in (tape, failed):
            if each is tape or not event.name.startswith(("registry.", "tink.", "run.finished")):
                each.add(event.t, event.source, event.name, **event.fields)
        if event.name == "guest.docker.started":
            for each in (tape, failed):
                each.add(event.t, "registry", "registry.tls.failed", reason="TLS on a plain port")
    good = write_report(make_run(tmp_path / "good", tape)).read_text()
    bad = write_report(make_run(tmp_path / "bad", failed)).read_text()
    assert 'class="mark bad"' not in good
    assert 'class="mark bad"' in bad
