"""``serve``: one call from what a test has at hand to a server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from fake_tink_server.settings import Settings
from fake_tink_server.sources import Sources
from fake_tink_server.standalone import Server
from harness.errors import ScenarioError
from harness.timeline import Timeline

_NAME: Final = "work"
"""Of the Template and the Workflow that are made of ``actions``."""

Source = str | os.PathLike[str]


def serve(
    *paths: Source,
    template: Source | None = None,
    hardware: Source | None = None,
    workflow: Source | None = None,
    actions: Sequence[str | Mapping[str, Any]] = (),
    worker: str | Sequence[str] = (),
    devices: Mapping[str, str] | None = None,
    bind: str = "127.0.0.1",
    port: int = 0,
    profile: Literal["fast", "faithful"] = "fast",
    tls: bool | Literal["mutual"] = False,
    faults: Sequence[Mapping[str, Any]] = (),
    state_file: Path | None = None,
    bmc: bool = False,
    discovery: bool = False,
    watch: bool = False,
    events: Path | None = None,
) -> Server:
    """Return a server of Tinkerbell's workflows: ``async with serve(...) as server``.

    ``paths``, ``template``, ``hardware`` and ``workflow`` are YAML files or folders of them, or
    YAML text (what has a line break). A template may be its data alone. ``worker`` has a Workflow
    made for each Template that none names; of several ids the first is ``device_1``.
    ``devices`` is what else the template names. ``actions`` need no template: names, or mappings
    as in a template, of which ``image`` and ``timeout`` may be left out.

    ``port`` 0 is any free one. ``profile`` fast: a v2 agent's call without work is answered at
    once, not after a minute. ``tls``: with a CA made for this server (``server.ca_file``);
    ``"mutual"``: clients must show a certificate of it. ``faults``: as in YAML,
    ``[{"at": "tink", "when": {"rpc": "GetAction", "nth": 1}, "do": {"status": "UNAVAILABLE"}}]``.
    ``state_file`` keeps what happened for the next server. ``bmc``: what ``bootMode`` asks of a
    BMC is done at once. ``discovery``: a Hardware is made for each v2 agent that has none; agents
    that a WorkflowRuleSet matches are enrolled in any case. ``watch``: edits of the files are taken
    over. ``events``: a file that gets each event as a line of JSON.

    Raises ``ScenarioError`` for a mistake in what was given, with its place.
    """
    files: list[Path] = []
    texts: dict[str, str] = {}
    named = {"template": template, "hardware": hardware, "workflow": workflow}
    for name, source in (*_numbered(paths), *named.items()):
        if isinstance(source, str) and "\n" in source:
            texts[name] = source
        elif source is not None:
            files.append(Path(source))
    if actions:
        texts["actions"] = _template(actions)
    sources = Sources(
        paths=files,
        texts=texts,
        workers=[worker] if isinstance(worker, str) else list(worker),
        devices=devices or {},
    )
    settings = Settings(
        bind=bind,
        port=port,
        profile=profile,
        state_file=state_file,
        bmc=bmc,
        discovery=discovery,
        faults=faults,
        throwaway_ca=bool(tls),
        mutual_tls=tls == "mutual",
    )
    server = Server(sources, settings, timeline=Timeline(events), watch=watch)
    if actions and not server.workflows:
        server.timeline.close()
        raise ScenarioError("actions need a worker", hint='serve(actions=[…], worker="w1")')
    return server


def _numbered(paths: Sequence[Source]) -> Iterator[tuple[str, Source]]:
    for number, path in enumerate(paths, 1):
        yield f"text {number}", path


def _template(actions: Sequence[str | Mapping[str, Any]]) -> str:
    given = [{"name": each} if isinstance(each, str) else dict(each) for each in actions]
    made = [{"image": f"{each.get('name')}:v1", "timeout": 60, **each} for each in given]
    data = {
        "version": "0.1",
        "name": _NAME,
        "global_timeout": 3600,
        "tasks": [{"name": _NAME, "worker": "{{.device_1}}", "actions": made}],
    }
    return json.dumps(
        {
            "apiVersion": "tinkerbell.org/v1alpha1",
            "kind": "Template",
            "metadata": {"name": _NAME},
            "spec": {"data": json.dumps(data, ensure_ascii=False)},
        },
        ensure_ascii=False,
    )
