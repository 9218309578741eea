"""TLS of a registry that faults bend: curl is the client, and says what it thinks of it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import Authority, KeyKind, Kind, ServerCertificate
from harness.clock import Deadline
from harness.documents import load
from harness.faults.fault import Fault
from harness.faults.plan import FaultPlan
from harness.faults.reading import FaultReader
from harness.handshake import Manner, context_for
from harness.oci.image import Image, ImageConfig, write_layout
from harness.oci.layer import File, layer_from_files
from harness.process import CommandFailed, run
from harness.services.registry import RegistryService
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Timeline, named

pytestmark = needs("curl")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(keys=KeyKind.ECDSA)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "layout"
    layer = layer_from_files({"a": File(content=b"small")})
    write_layout(folder, [Image(ref="tool:v1", config=ImageConfig(), layers=[layer])])
    return folder


def read(text: str) -> Fault:
    reader = FaultReader(load(text).data)
    fault = reader.read()
    assert fault is not None, reader.mistakes
    return fault


class Served:
    """A registry with one fault."""

    def __init__(self, service: RegistryService, timeline: Timeline, folder: Path) -> None:
        self._service = service
        self.timeline = timeline
        self._folder = folder

    async def ask(self, *words: str, scheme: str = "") -> str:
        """Return what curl got of /v2/, or what it complains of."""
        url = f"{scheme or self._service.scheme}://localhost:{self._service.port}/v2/"
        known = ["--cacert", str(self._folder / "ca.pem"), "--noproxy", "*"]
        try:
            return (await run(["curl", "-sS", "-v", *known, *words, url])).stdout.decode()
        except CommandFailed as failed:
            return str(failed)

    async def failure(self) -> str:
        found = self.timeline.wait_for(lambda event: event.name == "registry.tls.failed")
        tasks = TaskKeeper()
        limit = Deadline.after(timedelta(seconds=10))
        return str((await tasks.race(found, limit, waiting_for="a failure"))["reason"])


@pytest.fixture
def serve(authority: Authority, layout: Path, tmp_path: Path) -> Any:
    @asynccontextmanager
    async def served(
        *faults: str, tls: bool = True, name: str = "registry"
    ) -> AsyncIterator[Served]:
        def context(kind: Kind | None, manner: Manner) -> ssl.SSLContext:
            issued = authority.issue("localhost", kind=kind or Kind.RIGHT, keys=manner.keys)
            return context_for(issued, manner, alpn=("http/1.1",))

        (tmp_path / "ca.pem").write_bytes(authority.certificate)
        own: ServerCertificate = authority.issue("localhost").write(tmp_path, "own")
        timeline, tasks = Timeline(None), TaskKeeper()
        plan = FaultPlan([read(one) for one in faults], record=lambda *_, **__: 0, now=lambda: 0.0)
        strike = plan.at("registry")
        service = RegistryService(
            timeline=timeline,
            tasks=tasks,
            bind="127.0.0.1",
            port=0,
            layouts=[layout],
            identify=lambda _: None,
            tls=(own.chain, own.key) if tls else None,
            contexts=cache(context),
            strike=lambda occasion, /, **facts: strike(occasion, registry=name, **facts),
        )
        await service.start()
        try:
            yield Served(service, timeline, tmp_path)
        finally:
            await service.stop()
            await tasks.close()

    return served


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("expired", "certificate has expired"),
        ("not-yet-valid", "not yet valid"),
        ("unknown-ca", "local issuer certificate"),
        ("self-signed", "self-signed certificate"),
        ("incomplete-chain", "local issuer certificate"),
        ("wrong-name", "no alternative certificate subject name matches"),
    ],
)
async def test_a_wrong_certificate_for_one_connection(
    serve: Any, kind: str, complaint: str
) -> None:
    async with serve(f"{{at: registry, when: {{nth: 1}}, do: {{certificate: {kind}}}}}") as lab:
        assert complaint in await lab.ask()
        assert await lab.ask() == "{}"


async def test_versions(serve: Any) -> None:
    async with serve("{at: registry, do: {handshake: {at_least: TLSv1.3}}}") as lab:
        assert "alert protocol version" in await lab.ask("--tls-max", "1.2")
        assert "unsupported protocol" in await lab.failure()
        assert await lab.ask() == "{}"


async def test_keys_and_records(serve: Any) -> None:
    bent = "{at: registry, do: {handshake: {at_most: TLSv1.2, keys: rsa, records: 3, segments: 2}}}"
    async with serve(bent) as lab:
        only_rsa = ("--ciphers", "ECDHE-RSA-AES128-GCM-SHA256")
        assert await lab.ask(*only_rsa) == "{}"
    async with serve() as lab:
        assert "handshake failure" in await lab.ask("--tls-max", "1.2", *only_rsa)


async def test_plain_http_on_the_https_port(serve: Any) -> None:
    async with serve("{at: registry, when: {nth: 1}, do: {speak: plaintext}}") as lab:
        assert "wrong version number" in await lab.ask()
        assert await lab.failure() == "TLS on the plain HTTP port"
        assert await lab.ask() == "{}"


async def test_https_on_the_plain_port(serve: Any) -> None:
    async with serve("{at: registry, when: {nth: 1}, do: {speak: tls}}", tls=False) as lab:
        assert "Client sent an HTTP request to an HTTPS server." in await lab.ask()
        assert await lab.failure() == "plain HTTP on the TLS port"
        assert await lab.ask() == "{}"
    async with serve("{at: registry, do: {speak: tls}}", tls=False) as lab:
        assert await lab.ask(scheme="https") == "{}"


async def test_a_registry_by_its_name(serve: Any) -> None:
    fault = "{at: registry, when: {registry: mirror}, do: {status: 503}}"
    async with serve(fault, name="mirror") as lab:
        assert "503" in await lab.ask("-i")
    async with serve(fault) as lab:
        assert await lab.ask() == "{}"
        assert not named(lab.timeline, "registry.request.failed")
