"""Everything a scenario file can say: pydantic models only, no logic beyond one value's form.

``harness.scenario.schema`` exports them as JSON Schema; ``harness.scenario.loader`` puts file,
line and column in front of what they refuse; ``harness.scenario.resolve`` fills in the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from harness.documents import Mistake, suggest
from harness.phases import Party, Phase
from harness.scenario.values import parse_duration, parse_mac, parse_size

_DURATION_PATTERN: Final = r"^\d+(\.\d+)?\s*(ms|s|min|m|h|d)$"

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": r"^\d+(\.\d+)?\s*([KMG]i?B|B)?$",
            "examples": ["2 GiB"],
        }
    ),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda value: f"{value.total_seconds():g} s"),
    WithJsonSchema({"type": "string", "pattern": _DURATION_PATTERN, "examples": ["30 s"]}),
]
Offset = Annotated[
    timedelta,
    BeforeValidator(lambda value: parse_duration(value, negative=True)),
    WithJsonSchema(
        {"type": "string", "pattern": "^[+-]?" + _DURATION_PATTERN[1:], "examples": ["-2 h"]}
    ),
]
Mac = Annotated[
    str,
    BeforeValidator(parse_mac),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$"}),
]
Firmware = Literal["bios", "uefi"]
ActionState = Literal["SUCCESS", "FAILED", "TIMEOUT"]


def _form(value: object) -> str:
    """Say which form of a key that has several is used, so that only its mistakes are told."""
    return "mapping" if isinstance(value, Mapping) else "plain"


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=False
    )


class Disk(_Model):
    """A virtio disk, empty at power-on."""

    name: Annotated[str, Field(pattern=r"^vd[a-z]$")]
    """The name the guest gives it: vda, vdb, … in this order."""
    size: Size
    """Such as ``64 MiB``; at least 1 MiB."""
    serial: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,20}$")] | None = None
    """What the guest reads as the disk's serial number."""

    @field_validator("size")
    @classmethod
    def _large_enough(cls, value: int) -> int:
        if value < 1 << 20:
            raise ValueError(f"a disk has at least 1 MiB, found {value} B")
        return value


class Machine(_Model):
    """The machine that boots."""

    mac: Mac
    """MAC address of the NIC it boots from: unicast, six octets."""
    firmware: Annotated[
        list[Firmware],
        BeforeValidator(_as_list),
        Field(min_length=1),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["bios", "uefi"]},
                    {
                        "type": "array",
                        "items": {"enum": ["bios", "uefi"]},
                        "minItems": 1,
                        "uniqueItems": True,
                    },
                ]
            }
        ),
    ] = ["uefi"]
    """``bios`` (SeaBIOS) or ``uefi`` (OVMF); a list makes one test item each."""
    memory: Size = 2 << 30
    """Such as ``2 GiB``; whole MiB, at least 512 MiB."""
    cpus: Annotated[int, Field(ge=1, le=16)] | None = None
    """Virtual CPUs; left out: 1 when emulated (TCG), 2 with KVM."""
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    """``auto`` takes KVM where it proves to run a kernel, else TCG."""
    nic: Literal["virtio-net-pci", "e1000", "e1000e", "rtl8139"] = "virtio-net-pci"
    """QEMU's model of the NIC it boots from."""
    disks: list[Disk] = []
    """Virtio disks in the guest's order."""

    @field_validator("memory")
    @classmethod
    def _enough_memory(cls, value: int) -> int:
        if value % (1 << 20) or value < 512 << 20:
            raise ValueError("memory is whole MiB, at least 512 MiB: Hook unpacks into it")
        return value

    @field_validator("firmware")
    @classmethod
    def _each_firmware_once(cls, value: list[Firmware]) -> list[Firmware]:
        if len(set(value)) != len(value):
            raise ValueError("each firmware may be listed once")
        return value

    @field_validator("disks")
    @classmethod
    def _named_in_order(cls, value: list[Disk]) -> list[Disk]:
        for letter, disk in zip("abcdefghijklmnop", value, strict=False):
            if disk.name != f"vd{letter}":
                raise ValueError(
                    f"the guest would call disk '{disk.name}' 'vd{letter}': list disks in order"
                )
        return value


class Registry(_Model):
    """The OCI registry Hook pulls from."""

    scheme: Literal["http", "https"] = "http"
    """``http`` can be read in the capture; ``https`` has a certificate of the lab's own CA."""
    auth: Literal["anonymous", "basic", "bearer"] = "anonymous"
    """How a client proves who it is."""
    username: str | None = None
    """For basic and bearer; default ``hook``."""
    password: str | None = None
    """For basic and bearer; default ``hook-password``. Fake credentials only."""

    @model_validator(mode="after")
    def _credentials_fit(self) -> Registry:
        if self.auth == "anonymous" and (self.username or self.password):
            raise ValueError("username and password need 'auth: basic' or 'auth: bearer'")
        return self


class Tink(_Model):
    """Tinkerbell's gRPC server."""

    tls: bool = False
    """Whether it speaks TLS (certificate of the lab's own CA)."""


class Tftp(_Model):
    """The TFTP server."""

    ports: Literal["single", "multi"] = "single"
    """``single``: data leaves from port 69, as smee's default; ``multi``: RFC 1350's way."""


class Network(_Model):
    """Addresses of the lab's own, isolated network."""

    subnet: IPv4Network = IPv4Network("192.168.77.0/24")
    """IPv4 network, at most /29."""
    server: IPv4Address | None = None
    """Where every service listens; default: the subnet's first address."""
    machine: IPv4Address | None = None
    """What DHCP gives the machine; default: the subnet's tenth address."""

    @field_validator("subnet")
    @classmethod
    def _room_for_two(cls, value: IPv4Network) -> IPv4Network:
        if value.prefixlen > 29:
            raise ValueError(f"{value} is too small: at most /29")
        return value


class Ntp(_Model):
    """The time server."""

    offset: Offset = timedelta(0)
    """How far its clock is off: ``2 h`` ahead, ``-30 s`` behind."""


class DiskExpectation(_Model):
    """Bytes that a disk must hold, read from outside after the run. One of text, hex, sha256."""

    at: Annotated[int, Field(ge=0)] = 0
    """Offset in octets."""
    text: str | None = None
    """The bytes as UTF-8 text."""
    hex: Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}\s*)+$")] | None = None
    """The bytes in hexadecimal."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Digest of ``length`` octets."""
    length: Annotated[int, Field(ge=1)] | None = None
    """How many octets ``sha256`` covers."""

    @model_validator(mode="after")
    def _one_content(self) -> DiskExpectation:
        if sum(value is not None for value in (self.text, self.hex, self.sha256)) != 1:
            raise ValueError("say what the disk holds by one of text, hex or sha256")
        if (self.sha256 is None) != (self.length is None):
            raise ValueError("sha256 and length go together")
        return self


class EventExpectation(_Model):
    """Events of the timeline."""

    name: str
    """An event's name, such as ``dhcp.offer.sent``; ``hooklab schema`` lists them."""
    where: dict[str, str | int | float | bool] = {}
    """Field values that must match; text may be a glob (``*ipxe*``)."""
    count: Annotated[int, Field(ge=1)] | None = None
    """How many of them exactly; left out: at least one."""


def _as_event(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _as_times(value: object) -> object:
    named = {"never": 0, "once": 1}.get(value) if isinstance(value, str) else value
    if not isinstance(named, int) or isinstance(named, bool) or named < 0:
        raise ValueError(f"expected 'once', 'never' or a number, found {value!r}")
    return named


_EventForm = Annotated[EventExpectation, BeforeValidator(_as_event)]
_Times = Annotated[
    int,
    BeforeValidator(_as_times),
    WithJsonSchema({"anyOf": [{"enum": ["once", "never"]}, {"type": "integer", "minimum": 0}]}),
]
_Actions = Annotated[
    Annotated[list[str], Tag("plain")] | Annotated[dict[str, ActionState], Tag("mapping")],
    Discriminator(_form),
]


class Expect(_Model):
    """One thing that must be true at the end. Each list entry says exactly one."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, DiskExpectation]

    worker_pulled: _Times | None = Field(default=None, alias="worker pulled")
    """How often this MAC was served the worker's manifest: ``once``, ``never`` or a number."""
    actions: _Actions | None = None
    """Actions in this order, each RUNNING then SUCCESS; as a mapping, each with its last state."""
    workflow: Literal["SUCCESS", "FAILED", "TIMEOUT", "RUNNING", "PENDING", "POST"] | None = None
    """The workflow's last state."""
    event: _EventForm | None = None
    """Events that must be on the timeline."""
    no_event: _EventForm | None = Field(default=None, alias="no event")
    """Events that must not be on the timeline."""
    console: str | None = None
    """A line some console printed, as a glob."""

    @model_validator(mode="before")
    @classmethod
    def _one_known_key(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise Mistake("expected a mapping", hint=f"known here: {', '.join(EXPECTATIONS)}")
        for key in value:
            if key not in EXPECTATIONS and not _is_disk(key):
                raise Mistake(f"unknown key {key!r}", hint=suggest(key, EXPECTATIONS))
        if len(value) != 1:
            found = " and ".join(repr(key) for key in value) or "none"
            raise Mistake(
                f"each entry says one thing, found {found}", hint="start each with its own '-'"
            )
        if next(iter(value.values())) is None:
            raise Mistake(f"{next(iter(value))!r} says nothing")
        return value

    @property
    def disks(self) -> dict[str, DiskExpectation]:
        """The disks this entry speaks of, by name."""
        return {
            key.removeprefix("disk "): value
            for key, value in (self.__pydantic_extra__ or {}).items()
        }


def _one_word(value: object) -> object:
    text = str(value)
    if not text or any(char.isspace() for char in text) or "=" in text:
        raise ValueError(f"a kernel argument's name is one word without '=', found {text!r}")
    return value


def _no_space(value: object) -> object:
    if isinstance(value, list | dict | bool):
        raise ValueError("expected a text, a number or null")
    if isinstance(value, str) and any(char.isspace() for char in re.sub(r"{{.*?}}", "", value)):
        raise ValueError(f"a kernel argument can't hold a space, found {value!r}")
    return value if value is None else str(value)


_KernelArg = Annotated[str, BeforeValidator(_one_word)]
_KernelValue = Annotated[
    str | None,
    BeforeValidator(_no_space),
    WithJsonSchema({"type": ["string", "integer", "number", "null"]}),
]


def _is_disk(key: object) -> bool:
    return isinstance(key, str) and key.startswith("disk ") and len(key) > len("disk ")


EXPECTATIONS: Final = (
    "worker pulled",
    "actions",
    "disk NAME",
    "workflow",
    "event",
    "no event",
    "console",
)
"""The keys an entry of ``expect`` may have, as a person reads them."""


class Verdict(_Model):
    """A boot that must fail, and how."""

    failed_in: Phase = Field(alias="failed in")
    """The phase it must fail in, such as ``worker-pull``."""
    blame: Party | None = None
    """Who must be blamed, such as ``registry``."""
    because: str | None = None
    """Glob that the verdict's reason must match."""


class Scenario(_Model):
    """A netboot scenario: what is booted, by what network, and what must be true at the end."""

    scenario: Annotated[str, Field(min_length=1)]
    """One sentence: what happens here."""
    report: str | None = None
    """Where this was seen in the field: ``F50, tinkerbell/hook#178``."""
    base: str | None = None
    """Another scenario file that this one changes; mappings merge, all else is replaced."""
    hook: str = "embedded"
    """``embedded`` (built here), or a folder or tarball with a kernel and an initramfs."""
    machine: Machine
    """The machine that boots."""
    worker: str = "tink-worker@v0.12.2"
    """The worker Hook starts: ``tink-worker@VERSION``, or a reference listed in ``images``."""
    template: str | None = None
    """File with a Tinkerbell Template. Left out: no workflow; the run ends once all that
    ``expect`` says of events and consoles holds."""
    hardware: str | None = None
    """File with Tinkerbell Hardware; left out: derived from ``machine``."""
    workflow: str | None = None
    """File with a Tinkerbell Workflow; left out: this template on this machine."""
    registry: Registry = Registry()
    """The OCI registry."""
    tink: Tink = Tink()
    """Tinkerbell's gRPC server."""
    tftp: Tftp = Tftp()
    """The TFTP server."""
    network: Network = Network()
    """Addresses."""
    ntp: Ntp = Ntp()
    """The time server."""
    profile: Literal["faithful", "fast"] = "faithful"
    """``faithful`` answers DHCP as smee does; ``fast`` adds options that end firmware waits."""
    kernel_args: dict[_KernelArg, _KernelValue] = Field(default={}, alias="kernel args")
    """Extra kernel arguments; null takes a default one away. ``{{ registry.address }}``,
    ``{{ server.address }}``, ``{{ tink.address }}`` and ``{{ machine.mac }}`` are filled in."""
    images: dict[str, str] = {}
    """More images for the registry: reference → an OCI image layout, a tar of ``docker save``, a
    static program, a folder with a Go program, or a folder that becomes the root file system."""
    segment: Literal["auto", "bridge", "wire"] = "auto"
    """How the machine is wired: ``bridge`` is a tap on a bridge, ``wire`` a pump in user space."""
    deadline: Duration = timedelta(minutes=10)
    """When the run is given up, from power-on."""
    expect: list[Expect] = []
    """What must be true at the end."""
    verdict: Annotated[
        Annotated[Literal["passed"], Tag("plain")] | Annotated[Verdict, Tag("mapping")],
        Discriminator(_form),
    ] = "passed"
    """How the boot must end: ``passed``, or a failure with phase and blame."""

    @model_validator(mode="after")
    def _has_an_end(self) -> Scenario:
        if self.template is not None:
            return self
        if self.workflow is not None:
            raise Mistake("a workflow needs its template", hint="template: FILE")
        if not any(entry.console or entry.event for entry in self.expect):
            raise Mistake(
                "without a template, 'expect' says when the run ends",
                hint="name a template, or expect a console line or an event",
            )
        for entry in self.expect:
            if entry.actions is not None or entry.workflow is not None:
                raise Mistake("there is no workflow without a template", hint="template: FILE")
        return self
