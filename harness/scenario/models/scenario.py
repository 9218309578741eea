"""The scenario itself: every key at the top of the file."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from harness.documents import Mistake
from harness.faults.model import FaultForm
from harness.scenario.models.expect import Expect, Verdict
from harness.scenario.models.forms import Model, Span, form_of
from harness.scenario.models.kernel_args import KernelArg, KernelValue
from harness.scenario.models.machine import Machine
from harness.scenario.models.network import Dhcp, Http, Iso, Network, Ntp, Proxy, Tftp, Tink
from harness.scenario.models.registry import OtherRegistry, Registry

ShortcutName = Literal[
    "answered routers", "no proxy wait", "script at once", "large blocks", "agent answered"
]
"""What a boot may skip; ``harness.scenario.shortcuts`` says of each how, and what it saves."""


class Scenario(Model):
    """A netboot scenario: what is booted, by what network, and what must be true at the end."""

    scenario: Annotated[str, Field(min_length=1)]
    """One sentence: what happens here."""
    report: str | None = None
    """Where this was seen in the field: ``F50, tinkerbell/hook#178``."""
    base: str | None = None
    """Another scenario file that this one changes; mappings merge, all else is replaced."""
    hook: str = "embedded"
    """``embedded`` (built here), or what has a kernel and an initramfs: a folder, a tarball, an
    ISO, a checkout of Hook in which one was built."""
    machine: Machine
    """The machine that boots."""
    worker: str = "tink-worker@v0.12.2"
    """The worker Hook starts: ``tink-worker@VERSION`` or ``tink-agent@VERSION``, a reference
    listed in ``images``, or a file: a static program for x86-64."""
    stack: Literal["lab", "smee"] = "lab"
    """Who serves DHCP, TFTP, HTTP and syslog: the lab's stand-ins, or the real smee v0.25.0."""
    template: str | None = None
    """File with a Tinkerbell Template. Left out: no workflow; the run ends once all that
    ``expect`` says of events and consoles holds, and the failure is there that ``verdict`` says."""
    hardware: str | None = None
    """File with Tinkerbell Hardware, or ``none``; left out: derived from ``machine``. Without it
    a machine boots in DHCP mode ``auto-proxy`` only."""
    workflow: str | None = None
    """File with a Tinkerbell Workflow; left out: this template on this machine."""
    registry: Registry = Registry()
    """The OCI registry."""
    registries: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")], OtherRegistry] = {}
    """More registries: name → settings. Each is ``NAME.tinkerbell.lab:PORT`` too."""
    tink: Tink = Tink()
    """Tinkerbell's gRPC server."""
    dhcp: Dhcp = Dhcp()
    """Tinkerbell's DHCP server."""
    generation: Annotated[
        Literal["2026", "2025", "boots"],
        BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
        WithJsonSchema({"enum": ["2026", "2025", 2026, 2025, "boots"]}),
    ] = "2026"
    """Tinkerbell's ports and paths: ``2026`` has 7080 for all; ``2025`` 7171 for scripts and
    boot programs, 7172 for metadata, 7173 for Hook; ``boots`` 80, 50061 (Hegel) and 8080."""
    tftp: Tftp = Tftp()
    """The TFTP server."""
    http: Http = Http()
    """smee's HTTP server: scripts, boot programs, kernel and initramfs."""
    iso: Iso | None = None
    """smee's ISO endpoint; the machine then has a CD drive with what it gives."""
    network: Network = Network()
    """Addresses."""
    ntp: Ntp = Ntp()
    """The time server."""
    proxy: Proxy | None = None
    """A forward proxy for what Hook fetches; left out: there is none."""
    profile: Literal["faithful", "fast"] = "faithful"
    """``faithful`` answers DHCP as smee does, and a tink-agent as Tinkerbell: without work after a
    minute; ``fast`` takes every shortcut that strikes nothing of what the scenario tests."""
    shortcuts: dict[ShortcutName, bool] = {}
    """Shortcuts to take or not, whatever the profile says."""
    kernel_args: dict[KernelArg, KernelValue] = Field(default={}, alias="kernel args")
    """Extra kernel arguments; null takes a default one away. ``{{ registry.address }}``,
    ``{{ server.address }}``, ``{{ tink.address }}`` and ``{{ machine.mac }}`` are filled in."""
    images: dict[str, str] = {}
    """More images for the registry: reference → an OCI image layout, a tar of ``docker save``, a
    static program, a folder with a Go program, or a folder that becomes the root file system."""
    faults: list[FaultForm] = []
    """What goes wrong, and when; ``hooklab faults`` lists what can be said. One that never fires
    fails the scenario."""
    seed: int = 0
    """Decides what chance does in ``faults``: probabilities, and which octets are corrupted."""
    absent_images: list[str] = Field(default=[], alias="absent images")
    """Images that actions ask for and no registry has; any other unknown image is a mistake."""
    segment: Literal["auto", "bridge", "wire"] = "auto"
    """How the machine is wired: ``bridge`` is a tap on a bridge, ``wire`` a pump in user space."""
    deadline: Span = timedelta(minutes=10)
    """When the run is given up, from power-on. In seconds of a quiet reference host: a slower or
    busy one takes longer."""
    nightly: bool = False
    """Whether it is too long for every check: pytest leaves it out without ``--nightly``."""
    start: Literal["auto", "cold", "ipxe", "hook-up", "worker-up"] = "auto"
    """Where the run begins: ``auto`` at the latest point that there is a checkpoint of, ``cold``
    at power-on, or at one point: what was saved there is used, or made for the next run."""
    expect: list[Expect] = []
    """What must be true at the end."""
    verdict: Annotated[
        Annotated[Literal["passed"], Tag("plain")] | Annotated[Verdict, Tag("mapping")],
        Discriminator(form_of),
    ] = "passed"
    """How the boot must end: ``passed``, or a failure with phase and blame."""

    twin: dict[str, Any] | None = None
    """The fix: keys laid over this file make one more boot, which must pass. What it expects is
    what ``base`` expects, unless it says so itself."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Scenario:
        if self.template is not None:
            return self
        if self.workflow is not None:
            raise Mistake("a workflow needs its template", hint="template: FILE")
        fails = self.verdict != "passed"
        if not fails and not any(entry.console or entry.event for entry in self.expect):
            raise Mistake(
                "without a template, 'expect' says when the run ends",
                hint="name a template, or expect a console line or an event",
            )
        for entry in self.expect:
            if entry.actions is not None or entry.workflow is not None:
                raise Mistake("there is no workflow without a template", hint="template: FILE")
        return self
