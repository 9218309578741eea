"""The dossier of a hang (``harness.dossier``), as far as it fits into a page."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.dossier import DossierItem, read_dossier
from harness.report.record import readable
from harness.values import parse_json

_TEXT_BYTES: Final = 40_000
"""Of one text; what is longer is shown from its end."""
_IMAGE_BYTES: Final = 400_000
_ALL_BYTES: Final = 900_000
_MOST: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One thing that was seen of a machine that hung."""

    title: str
    text: str = ""
    image: str = ""
    """A ``data:`` URI."""
    note: str = ""
    """What is not shown, and where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibition:
    """What was collected when a run hung, as a page shows it."""

    taken_at_s: float
    exhibits: tuple[Exhibit, ...]


def exhibit_dossier(run_dir: Path) -> Exhibition | None:
    """Return the dossier of a run folder; None when there is none that can be read."""
    dossier = read_dossier(run_dir)
    if dossier is None:
        return None
    exhibits, left = [], _ALL_BYTES
    for item in dossier.items[:_MOST]:
        if left > 0:
            exhibit = _exhibit(run_dir, item, left)
            left -= len(exhibit.text) + len(exhibit.image)
            exhibits.append(exhibit)
    return Exhibition(taken_at_s=dossier.taken_at, exhibits=tuple(exhibits))


def _exhibit(run_dir: Path, item: DossierItem, left: int) -> Exhibit:
    try:
        content = (run_dir / item.path).read_bytes()
    except OSError as error:
        return Exhibit(title=item.title, note=f"{item.path}: {error.strerror}")
    if item.kind == "png":
        if len(content) > min(_IMAGE_BYTES, left) or not content.startswith(b"\x89PNG"):
            return Exhibit(title=item.title, note=f"{len(content):,} octets, in {item.path}")
        image = "data:image/png;base64," + base64.b64encode(content).decode()
        return Exhibit(title=item.title, image=image)
    most = min(_TEXT_BYTES, left)
    note = f"the last {most:,} of {len(content):,} octets; all of it is in {item.path}"
    text = _text(content, most, json_wanted=item.kind == "json" and len(content) <= most)
    return Exhibit(title=item.title, text=text[-most:], note=note if len(content) > most else "")


def _text(content: bytes, most: int, *, json_wanted: bool) -> str:
    if json_wanted:
        try:
            return json.dumps(parse_json(content), indent=2, ensure_ascii=False)
        except ValueError:
            pass
    return readable(content[-most:].decode("utf-8", "replace"))
