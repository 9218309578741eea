"""Where the Tinkerbell objects come from: files, folders, text, and what is made for a worker."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.documents.document import MAX_BYTES
from harness.errors import Position, ScenarioError

if TYPE_CHECKING:
    from fake_tink_server.catalog import Catalog
    from fake_tink_server.objects import Hardware, Template

SUFFIXES: Final = (".yaml", ".yml", ".json")
_DATA: Final = re.compile(r"^tasks[ \t]*:", re.MULTILINE)
_OBJECT: Final = re.compile(r"^(kind|apiVersion)[ \t]*:", re.MULTILINE)

Stamp = tuple[tuple[str, int, int, int], ...]
"""Of each file its path, inode, size and time of change in ns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a server is to serve, before it is read."""

    paths: Sequence[Path] = ()
    """Files, and folders whose files (not those of folders within) are all read."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """YAML that is in no file, by the name that messages give it."""
    workers: Sequence[str] = ()
    """For each Template that no Workflow names a Workflow is made: the first of these is its
    ``device_1``, the second ``device_2``, …"""
    devices: Mapping[str, str] = field(default_factory=dict)
    """What else those Workflows' ``hardwareMap`` has."""

    def files(self) -> list[Path]:
        """Return every file, each once. A path that is not there is returned as it is."""
        found: dict[Path, None] = {}
        for path in self.paths:
            inside = _inside(path)
            found |= dict.fromkeys([path] if inside is None else inside)
        return list(found)

    def stamp(self) -> Stamp:
        """Return what is another value as soon as a file was added, edited or removed."""
        return tuple(_stamps(self.files()))

    def read(self) -> Catalog:
        """Return the objects. Raises ``ScenarioError`` at the mistake's place."""
        from fake_tink_server.catalog import Catalog

        catalog = Catalog()
        if not all(self.workers):
            raise ScenarioError("a worker's id is empty", hint="like 52:54:00:12:34:56")
        for path in self.paths:
            if _inside(path) == []:
                raise ScenarioError(
                    f"there is no YAML in this folder: {', '.join(SUFFIXES)}",
                    at=Position(file=path, line=0),
                )
        for path in self.files():
            _add_file(catalog, path)
        for name, text in self.texts.items():
            file = Path(f"<{name}>")
            if _is_data(text):
                catalog.add_template_data(text, file=file, name=_name(name))
            else:
                catalog.add(text, file=file)
        self._make_workflows(catalog)
        return catalog

    def _make_workflows(self, catalog: Catalog) -> None:
        if not self.workers:
            return
        used = {(each.object.key[0], each.object.spec.template_ref) for each in
                catalog.workflows.values()}  # fmt: skip
        for loaded in list(catalog.templates.values()):
            if loaded.object.key not in used:
                self._make_workflow(catalog, loaded.object)

    def _make_workflow(self, catalog: Catalog, template: Template) -> None:
        from fake_tink_server.objects import API_VERSION, Workflow

        devices = {f"device_{number}": worker for number, worker in enumerate(self.workers, 1)}
        namespace = template.metadata.namespace
        candidates = [each.object for each in catalog.hardware.values()]
        owner = next((hw for hw in candidates if _belongs(hw, self.workers[0], namespace)), None)
        spec = {
            "templateRef": template.metadata.name,
            "hardwareRef": owner.metadata.name if owner else "",
            "hardwareMap": {**devices, **self.devices},
        }
        made = {
            "apiVersion": API_VERSION,
            "kind": "Workflow",
            "metadata": {"name": template.metadata.name, "namespace": namespace},
            "spec": spec,
        }
        catalog.add_object(Workflow.model_validate(made))


def _belongs(hardware: Hardware, worker: str, namespace: str) -> bool:
    if hardware.metadata.namespace != namespace:
        return False
    macs = [each.dhcp.mac.lower() for each in hardware.spec.interfaces if each.dhcp]
    return worker == hardware.spec.agent_id or worker.lower() in macs


def _inside(path: Path) -> list[Path] | None:
    """Return the files of a folder; None for what is none, or can't be looked into."""
    try:
        if not path.is_dir():
            return None
        named = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
        return [each for each in named if each.is_file()]
    except OSError:  # whoever reads it is told why
        return None


def _stamps(files: Sequence[Path]) -> Iterator[tuple[str, int, int, int]]:
    for file in files:
        try:
            seen = file.stat()
        except OSError:
            yield str(file), 0, 0, 0
        else:
            yield str(file), seen.st_ino, seen.st_size, seen.st_mtime_ns


def _add_file(catalog: Catalog, path: Path) -> None:
    """Read a file once, as it may be a pipe."""
    try:
        with path.open("rb") as file:
            text = file.read(4 * MAX_BYTES + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        catalog.add(path)  # says what is wrong, and where
        return
    if _is_data(text):
        catalog.add_template_data(text, file=path, name=_name(path.stem))
    else:
        catalog.add(text, file=path)


def _is_data(text: str) -> bool:
    return bool(_DATA.search(text)) and not _OBJECT.search(text)


def _name(word: str) -> str:
    from fake_tink_server.derive import object_name

    return object_name(word)
