"""Hundreds of expressions: templates render as v0.12.2's and v0.25.0's own controllers do it."""

from __future__ import annotations

import base64
import re
from typing import Any, Final

import pytest

from fake_tink_server.gotemplate import TemplateRefused, render
from fake_tink_server.goview import template_data
from fake_tink_server.objects import Hardware
from fake_tink_server.release import Release
from fake_tink_server.tests.tinkerbell.expressions import (
    DEVICES,
    MACHINE,
    expressions,
    objects_of,
    template_of,
)
from fake_tink_server.tests.tinkerbell.real import real_tinkerbell
from fake_tink_server.tests.tinkerbell.worlds import NOW

pytestmark = pytest.mark.service

SEED: Final = 20261121
COUNT: Final = 700
_AT_ONCE: Final = 50
TOOLS: Final = {Release.V0_12: "tink", Release.V0_25: "tinkerbell"}


async def rendered_by(release: Release, sources: list[str]) -> dict[int, str | None]:
    """Return what the real controller makes of each; None: an error."""
    found: dict[int, str | None] = {}
    async with real_tinkerbell(TOOLS[release]) as real:
        for start in range(0, len(sources), _AT_ONCE):
            objects = [MACHINE]
            for number, source in enumerate(sources[start : start + _AT_ONCE], start):
                objects += objects_of(source, number)
            state = await real.load(objects, NOW)
            for workflow in state["workflows"]:
                found[int(workflow["metadata"]["name"][1:])] = _output(workflow["status"])
    return found


def _output(status: dict[str, Any]) -> str | None:
    tasks = status.get("tasks")
    return _decoded(tasks[0]["actions"][0]["environment"]["OUT"]) if tasks else None


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode(errors="surrogateescape")


def rendered_here(release: Release, source: str) -> tuple[str | None, str]:
    """Return what this renderer makes of it, or None and why."""
    data = template_data(Hardware.model_validate(MACHINE), dict(DEVICES), release)
    try:
        text = render(template_of(source), data, release).text
    except TemplateRefused as refused:
        return None, str(refused)
    found = re.search(r'OUT: "(.*)"', text)
    assert found is not None
    return _decoded(found[1]), ""


@pytest.mark.parametrize("release", list(Release))
async def test_every_expression_gives_the_same_text_or_an_error(release: Release) -> None:
    sources = expressions(SEED, COUNT)
    real = await rendered_by(release, sources)
    assert len(real) == COUNT
    differences, refused, same = [], 0, 0
    for number, source in enumerate(sources):
        ours, why = rendered_here(release, source)
        if ours == real[number]:
            same += ours is not None
        elif ours is None and re.search("not support|can't be printed|can't quote", why):
            refused += 1
        else:
            differences.append(f"{source}\n  real {real[number]!r}\n  ours {ours!r} {why}")
    print(
        f"{release}: {COUNT} expressions, {same} give the same text, {refused} are refused here "
        f"only, {len(differences)} differ (seed {SEED})"
    )
    assert not differences, "\n".join(differences[:40])
    assert same > COUNT // 3
    assert refused < COUNT // 8
