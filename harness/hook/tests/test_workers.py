"""Tinkerbell's workers as images, at the pinned version and at others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BuildFailed
from harness.hook.workers import WORKERS, _explain, _go_mod, check_program, worker_layout
from harness.oci.content import Mount, load_content
from harness.paths import cache_root
from harness.process import CommandFailed
from harness.progress import SilentProgress

THEIRS = """\
module github.com/tinkerbell/tinkerbell

go 1.26.3

require k8s.io/api v0.36.0 // as it is

exclude example.org/old v0.1.0

replace (
\tgithub.com/tinkerbell/tinkerbell/api => ./api
\tk8s.io/api => k8s.io/api v0.36.3 // a comment
)

replace k8s.io/streaming => k8s.io/streaming v0.36.3
"""


def test_another_version_is_built_as_its_own_module_says() -> None:
    assert _go_mod(WORKERS["tink-agent"], "v0.26.0", THEIRS).splitlines() == [
        "module hooklab/workers/tink-agent",
        "go 1.26.3",
        "require github.com/tinkerbell/tinkerbell v0.26.0",
        "replace k8s.io/streaming => k8s.io/streaming v0.36.3",
        "replace github.com/tinkerbell/tinkerbell/api => "
        "github.com/tinkerbell/tinkerbell/api v0.26.0",
        "replace k8s.io/api => k8s.io/api v0.36.3",
        "exclude example.org/old v0.1.0",
    ]


@pytest.mark.parametrize(
    ("output", "said", "hint"),
    [
        (
            "…@v9.9.9: invalid version: unknown revision v9.9.9",
            "there is no tink-worker@v9",
            "v0.12",
        ),
        ("dial tcp: connection refused", "can't be fetched", "GOPROXY"),
    ],
)
def test_a_version_that_can_not_be_had(output: str, said: str, hint: str) -> None:
    failed = CommandFailed(["go"], 1, output)
    with pytest.raises(BuildFailed, match=said) as caught:
        _explain(WORKERS["tink-worker"], "v9.9.9", failed)
    assert hint in (caught.value.hint or "")


async def test_tink_agent_in_an_image() -> None:
    cache = cache_root()
    layout = await worker_layout("tink-agent", "v0.25.0", cache=cache, progress=SilentProgress())
    content = load_content([Mount(layout=layout)])
    digest = content.repositories["tink-agent"].tags["v0.25.0"]
    manifest = json.loads(_blob(layout, str(digest)))
    config = json.loads(_blob(layout, manifest["config"]["digest"]))["config"]
    assert config["Entrypoint"] == ["/tink-agent"]
    assert any(each.startswith("PATH=") for each in config["Env"])
    assert await worker_layout("tink-agent", "v0.25.0", cache=cache, progress=SilentProgress()) == (
        layout
    )
    programs = cache.glob("go/*/tink-agent")
    for program in programs:
        check_program(program)  # static, x86-64: what Hook can run


def _blob(layout: Path, digest: str) -> bytes:
    kind, _, name = digest.partition(":")
    return (layout / "blobs" / kind / name).read_bytes()
