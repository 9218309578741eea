"""The dossier of a hang, as far as it fits into a page.

``dossier.json`` of a run folder: ``{"taken_at": SECONDS, "items": [{"name", "title", "path",
"kind": "text" | "png" | "json"}, …]}``; paths are relative to the run folder.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOSSIER_NAME: Final = "dossier.json"
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
class Dossier:
    """What was collected when a run hung."""

    taken_at_s: float | None
    exhibits: tuple[Exhibit, ...]


def read_dossier(run_dir: Path) -> Dossier | None:
    """Return the dossier of a run folder; None when there is none that can be read."""
    try:
        data = json.loads((run_dir / DOSSIER_NAME).read_bytes())
        items = list(data["items"])
        taken = data.get("taken_at")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    exhibits, left = [], _ALL_BYTES
    for item in items[:_MOST]:
        if isinstance(item, dict) and left > 0:
            exhibit = _exhibit(run_dir, item, left)
            left -= len(exhibit.text) + len(exhibit.image)
            exhibits.append(exhibit)
    at = float(taken) if isinstance(taken, int | float) else None
    return Dossier(taken_at_s=at, exhibits=tuple(exhibits))


def _exhibit(run_dir: Path, item: dict[str, object], left: int) -> Exhibit:
    title = str(item.get("title") or item.get("name") or "?")
    name = str(item.get("path") or "")
    file = (run_dir / name).resolve()
    if not file.is_relative_to(run_dir.resolve()):
        return Exhibit(title=title, note=f"{name} is not in the run folder")
    try:
        content = file.read_bytes()
    except OSError as error:
        return Exhibit(title=title, note=f"{name}: {error.strerror}")
    if item.get("kind") == "png":
        if len(content) > min(_IMAGE_BYTES, left) or not content.startswith(b"\x89PNG"):
            return Exhibit(title=title, note=f"{len(content):,} octets, in {name}")
        image = "data:image/png;base64," + base64.b64encode(content).decode()
        return Exhibit(title=title, image=image)
    most = min(_TEXT_BYTES, left)
    note = f"the last {most:,} of {len(content):,} octets; all of it is in {name}"
    text = _text(content, most, json_wanted=item.get("kind") == "json" and len(content) <= most)
    return Exhibit(title=title, text=text[-most:], note=note if len(content) > most else "")


def _text(content: bytes, most: int, *, json_wanted: bool) -> str:
    from harness.report.record import readable

    if json_wanted:
        try:
            return json.dumps(json.loads(content), indent=2, ensure_ascii=False)
        except ValueError:
            pass
    return readable(content[-most:].decode("utf-8", "replace"))
