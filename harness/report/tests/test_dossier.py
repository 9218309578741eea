"""The dossier of a hang in the page: texts, pictures, all of it bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.report.dossier import exhibit_dossier
from harness.report.html import write_report
from harness.report.tests.folders import failed_boot, make_run

_PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def lay_out(folder: Path, items: list[dict[str, Any]]) -> Path:
    """Write a dossier's index; return the folder."""
    items = [{"name": "x", "kind": "text", **item} for item in items]
    (folder / "dossier.json").write_text(json.dumps({"taken_at": 61.5, "items": items}))
    return folder


def test_texts_and_pictures(tmp_path: Path) -> None:
    folder = make_run(tmp_path, failed_boot())
    (folder / "registers.txt").write_text("RIP=0010 <x>\x1b[1m\n")
    (folder / "status.json").write_text('{"status":"running"}')
    (folder / "screen.png").write_bytes(_PNG)
    lay_out(
        folder,
        [
            {"name": "r", "title": "Registers", "path": "registers.txt", "kind": "text"},
            {"name": "s", "title": "Status", "path": "status.json", "kind": "json"},
            {"name": "p", "title": "Screen", "path": "screen.png", "kind": "png"},
        ],
    )
    page = write_report(folder).read_text()
    assert "RIP=0010 &lt;x&gt;" in page
    assert "&#34;status&#34;: &#34;running&#34;" in page
    assert '<img src="data:image/png;base64,iVBORw0K' in page
    assert "when it hung, at 60.500 s" in page


def test_it_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(b"a" * 100_000 + b"END")
    (tmp_path / "large.png").write_bytes(_PNG + bytes(500_000))
    items = [
        {"title": "Long", "path": "long.txt", "kind": "text"},
        {"title": "Large", "path": "large.png", "kind": "png"},
        *[{"title": "Long", "path": "long.txt", "kind": "text"}] * 100,
    ]
    dossier = exhibit_dossier(lay_out(tmp_path, items))
    assert dossier is not None
    long, large = dossier.exhibits[:2]
    assert long.text.endswith("aEND")
    assert len(long.text) == 40_000
    assert "of 100,003 octets; all of it is in long.txt" in long.note
    assert (large.image, large.note) == ("", "500,108 octets, in large.png")
    assert sum(len(one.text) for one in dossier.exhibits) <= 900_000


def test_what_can_not_be_read_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    assert exhibit_dossier(folder) is None
    (tmp_path / "secret").write_text("no")
    items = [{"title": "A", "path": "../secret"}, {"title": "B", "path": "gone.txt"}]
    dossier = exhibit_dossier(lay_out(folder, items))
    assert dossier is not None
    assert dossier.exhibits == ()
    (folder / "dossier.json").write_text("null")
    assert exhibit_dossier(folder) is None
