"""The real programs, built once and kept, as the kit's ``Setup``s."""

from __future__ import annotations

from dataclasses import dataclass

from fake_tink_server.conformance.scene import Setup
from fake_tink_server.protocol import Protocol
from harness.hook.golang import go_build
from harness.paths import cache_root, source_root
from harness.progress import SilentProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A program of a folder of ``linuxkit/tools``."""

    folder: str
    package: str
    name: str
    protocol: Protocol = Protocol.V1
    arguments: tuple[str, ...] = ()


_TINK = "github.com/tinkerbell/tink/cmd"
TINK_WORKER = Real(folder="tink-worker", package=f"{_TINK}/tink-worker", name="tink-worker")
VIRTUAL_WORKER = Real(
    folder="tink-worker",
    package=f"{_TINK}/virtual-worker",
    name="virtual-worker",
    # it "pulls" and "runs" for so long, each: 1 s in all, for what has to happen in mid-action
    arguments=("--sleep-min", "700ms", "--sleep-jitter", "1ms"),
)
TINK_AGENT = Real(
    folder="tink-agent",
    package="github.com/tinkerbell/tinkerbell/cmd/agent",
    name="tink-agent",
    protocol=Protocol.V2,
    arguments=("--backoff-max-interval", "500ms", "--attribute-detection=false"),
)


async def setup_of(real: Real) -> Setup:
    """Return how the kit starts ``real``, which is built when it was not."""
    program = await go_build(
        source_root() / "linuxkit" / "tools" / real.folder,
        real.package,
        real.name,
        cache=cache_root(),
        progress=SilentProgress(),
    )
    return Setup(command=[str(program), *real.arguments], environment={"RETRY_INTERVAL": "100ms"})
