"""A registry that misbehaves, as a real client of it (skopeo) sees it.

Each fault strikes a bounded number of times, so that the same client can try again without it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.documents import load
from harness.faults.fault import Fault
from harness.faults.plan import FaultPlan
from harness.faults.reading import FaultReader
from harness.oci.image import Image, ImageConfig, write_layout
from harness.oci.layer import File, layer_from_files
from harness.process import CommandFailed, run
from harness.services.registry import RegistryService
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Timeline, named
from harness.wire.oci import Platform
from harness.wire.registry_auth import Auth, AuthKind

pytestmark = needs("skopeo")

BEARER = Auth(kind=AuthKind.BEARER, users={"u": "p"})
LAYER = layer_from_files({"a": File(content=b"small" * 500)})
"""The only layer of each image. An image's config newer skopeos look at twice, and once in vain."""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "layout"

    def image(reference: str, architecture: str) -> Image:
        config = ImageConfig(platform=Platform(architecture=architecture), cmd=["x"])
        return Image(ref=reference, config=config, layers=[LAYER])

    write_layout(
        folder,
        [
            image("tool:v1", "amd64"),
            *(image("everywhere:v1", name) for name in ("amd64", "arm64")),
            *(image("elsewhere:v1", name) for name in ("arm64", "riscv64")),
        ],
    )
    return folder


class Served:
    """A registry with faults, and what they did."""

    def __init__(
        self, service: RegistryService, timeline: Timeline, plan: FaultPlan, folder: Path
    ) -> None:
        self._service = service
        self._folder = folder
        self._copies = 0
        self.timeline = timeline
        self.plan = plan

    async def pull(self, reference: str = "tool:v1") -> str:
        """Return what skopeo complains of; nothing when it got the image."""
        self._copies += 1
        target = self._folder / f"copy{self._service.port}-{self._copies}"
        try:
            await run(
                ["skopeo", "--override-arch=amd64", "--override-os=linux", "copy", "-q",
                 "--src-tls-verify=false", "--src-creds=u:p",
                 f"docker://127.0.0.1:{self._service.port}/{reference}", f"dir:{target}"]
            )  # fmt: skip
        except CommandFailed as failed:
            return failed.output
        assert (target / "manifest.json").is_file()
        return ""

    def asked_for(self, path: str) -> int:
        """Return how often something was asked for below ``path``."""
        seen = named(self.timeline, "registry.request.received")
        return sum(path in str(event["path"]) for event in seen)


@asynccontextmanager
async def served(
    layout: Path, folder: Path, *faults: str, auth: Auth | None = None
) -> AsyncIterator[Served]:
    timeline, tasks = Timeline(None), TaskKeeper()
    plan = FaultPlan([read(one) for one in faults], record=lambda *_, **__: 0, now=lambda: 0.0)
    strike = plan.at("registry")
    service = RegistryService(
        timeline=timeline,
        tasks=tasks,
        bind="127.0.0.1",
        port=0,
        layouts=[layout],
        auth=auth,
        strike=lambda occasion, /, **facts: strike(occasion, registry="registry", **facts),
    )
    await service.start()
    try:
        yield Served(service, timeline, plan, folder)
    finally:
        await service.stop()
        await tasks.close()


def read(text: str) -> Fault:
    reader = FaultReader(load(text).data)
    fault = reader.read()
    assert fault is not None, reader.mistakes
    return fault


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        # HEAD says that it is there, GET that it is not
        ("when: {object: manifest, method: GET, nth: 1}, do: {status: 404}", "manifest unknown"),
        (
            "when: {digest: LAYER, method: GET, nth: 1}, do: {status: 404}",
            "registry 404|blob unknown",
        ),
        # other octets than their digest says
        ("when: {digest: LAYER, nth: 1}, do: {corrupt: 3}", "[Dd]igest"),
        ("when: {digest: LAYER, nth: 1}, do: {truncate: 100}", "[Dd]igest|unexpected EOF|size"),
        ("when: {object: manifest, nth: 1}, do: {status: 500}", "500|unknown error"),
    ],
)
async def test_it_fails_once_and_then_not(
    layout: Path, tmp_path: Path, fault: str, complaint: str
) -> None:
    fault = fault.replace("LAYER", f"'{LAYER.digest}'")
    async with served(layout, tmp_path, f"{{at: registry, {fault}}}") as lab:
        assert re.search(complaint, await lab.pull())
        assert not lab.plan.unfired()
        assert await lab.pull() == ""


async def test_a_manifest_that_is_not_the_one_asked_for(layout: Path, tmp_path: Path) -> None:
    listed = json.loads((layout / "index.json").read_text())["manifests"]
    digest = next(
        each["digest"] for each in listed if "tool:v1" in each.get("annotations", {}).values()
    )
    fault = "{at: registry, when: {object: manifest, nth: 1}, do: {corrupt: {octets: 1, at: 30}}}"
    async with served(layout, tmp_path, fault) as lab:
        assert "does not match" in await lab.pull(f"tool@{digest}")
        assert not lab.plan.unfired()
        assert await lab.pull(f"tool@{digest}") == ""


async def test_an_image_for_other_machines_only(layout: Path, tmp_path: Path) -> None:
    async with served(layout, tmp_path) as lab:
        complaint = await lab.pull("elsewhere:v1")
        assert "no image found" in complaint
        assert "amd64" in complaint
        assert lab.asked_for("/v2/elsewhere/blobs/") == 0
        assert await lab.pull("everywhere:v1") == ""


@pytest.mark.parametrize("auth", [None, BEARER], ids=["anonymous", "bearer"])
async def test_unauthorized_whatever_is_shown(
    layout: Path, tmp_path: Path, auth: Auth | None
) -> None:
    fault = "{at: registry, when: {object: manifest}, do: {status: 401}}"
    async with served(layout, tmp_path, fault, auth=auth) as lab:
        assert "unauthorized" in await lab.pull()
        # a client that asks again and again would never end
        assert 1 <= lab.asked_for("/manifests/") <= 5
        assert not lab.plan.unfired()
    async with served(layout, tmp_path, auth=auth) as lab:
        assert await lab.pull() == ""


async def test_too_many_requests_and_when_to_come_again(layout: Path, tmp_path: Path) -> None:
    fault = (
        "{at: registry, when: {object: manifest, nth: 1}, "
        "do: {status: {code: 429, headers: {Retry-After: '1'}}}}"
    )
    async with served(layout, tmp_path, fault) as lab:
        began_s = time.monotonic()
        assert await lab.pull() == ""
        assert time.monotonic() - began_s >= 1.0
        assert lab.asked_for("/manifests/") == 2
        assert not lab.plan.unfired()
        assert await lab.pull() == ""
        assert lab.asked_for("/manifests/") == 3


async def test_blobs_that_are_said_to_be_elsewhere_are_told_with_the_place(
    layout: Path, tmp_path: Path
) -> None:
    place = "http://127.0.0.1:9/nowhere"
    deed = f"{{redirect: {{to: '{place}', code: 307}}}}"
    fault = f"{{at: registry, when: {{object: blob}}, do: {deed}}}"
    async with served(layout, tmp_path, fault) as registry:
        assert "127.0.0.1:9" in await registry.pull()
        told = named(registry.timeline, "registry.request.redirected")
        assert (told[0]["status"], told[0]["location"]) == (307, place)
        assert "/blobs/" in told[0]["path"]
        assert not named(registry.timeline, "registry.request.failed")
