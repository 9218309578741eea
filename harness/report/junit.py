"""Results as JUnit XML, the form in which CI systems show tests: one case a boot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol
from xml.etree import ElementTree

from harness.report.failure import Result, failure_sentence, failure_text

_KINDS: Final = {
    "failed": "failure",
    "error": "error",
    "interrupted": "skipped",
    "host too slow": "skipped",
}
"""What is skipped says nothing about what was tested."""
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 §2.2 can't hold."""


class TimedResult(Result, Protocol):
    """What a run came to, and how long it took."""

    @property
    def duration_s(self) -> float:
        """From the start of its lab to the end."""

    @property
    def run_dir(self) -> Path:
        """Where its files are."""


def write_junit(results: Sequence[TimedResult], file: Path) -> None:
    """Write ``results`` to ``file``. Raises ``OSError``."""
    suite = ElementTree.Element("testsuite", name="hooklab", tests=str(len(results)))
    counts = {"failures": 0, "errors": 0, "skipped": 0}
    for result in results:
        item, verdict = result.item, result.verdict
        case = ElementTree.SubElement(
            suite, "testcase", classname=_clean(str(item.source)), name=_clean(item.id),
            time=f"{result.duration_s:.3f}",
        )  # fmt: skip
        properties = ElementTree.SubElement(case, "properties")
        for name, value in (
            ("title", item.title),
            ("report", item.report or ""),
            ("run_dir", str(result.run_dir)),
            ("reached", verdict.reached.value),
            ("blame", verdict.blame.value if verdict.blame else ""),
            ("because", verdict.because),
        ):
            ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
        kind = _KINDS.get(result.outcome)
        if kind is not None:
            counts[{"failure": "failures", "error": "errors"}.get(kind, kind)] += 1
            told = ElementTree.SubElement(case, kind, message=_clean(failure_sentence(result)))
            told.text = _clean(failure_text(result))
    suite.attrib |= {name: str(count) for name, count in counts.items()}
    suite.set("time", f"{sum(result.duration_s for result in results):.3f}")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    return _NO_XML.sub("�", text)
