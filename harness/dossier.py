"""The dossier of a hang: what a machine and its servers looked like when nothing moved any more.

Files below the run folder's ``dossier/``, and ``dossier.json`` beside it that lists them:
``{"taken_at": 61.2, "items": [{"name", "title", "path", "kind"}, …]}``. ``taken_at`` is in seconds
since the run began, ``path`` is relative to the run folder, ``kind`` is text, png or json.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from harness.values import parse_json

FILE: Final = "dossier.json"
FOLDER: Final = "dossier"
KINDS: Final = ("text", "png", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierItem:
    """One thing that was looked at."""

    name: str
    """For programs: ``registers``."""
    title: str
    """For people: ``CPU registers``."""
    path: str
    """Relative to the run folder."""
    kind: str
    """One of ``KINDS``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """What was taken, and when."""

    taken_at: float
    """Seconds since the run began."""
    items: tuple[DossierItem, ...]

    def write(self, run_dir: Path) -> None:
        """Write ``dossier.json`` into ``run_dir``. Raises ``OSError``."""
        data = {"taken_at": round(self.taken_at, 3), "items": [asdict(one) for one in self.items]}
        (run_dir / FILE).write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_dossier(run_dir: Path) -> Dossier | None:
    """Return the dossier in ``run_dir``; None when there is none, or none that can be read.

    Items without a file, and files outside ``run_dir``, are left out.
    """
    try:
        data: Any = parse_json((run_dir / FILE).read_text("utf-8"))
        items = [
            DossierItem(**{key: str(one[key]) for key in ("name", "title", "path", "kind")})
            for one in data["items"]
        ]
        taken_at = float(data["taken_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Dossier(
        taken_at=taken_at,
        items=tuple(one for one in items if one.kind in KINDS and _is_inside(run_dir, one.path)),
    )


def _is_inside(run_dir: Path, path: str) -> bool:
    file = (run_dir / path).resolve()
    return file.is_relative_to(run_dir.resolve()) and file.is_file()
