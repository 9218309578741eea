"""One boot with everything decided: what ``scenario.lock.yaml`` holds, and the lab is built from.

Plain dataclasses: the sealed child reads one back without pydantic.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from harness.faults.fault import Fault

PointName = Literal["ipxe", "hook-up", "worker-up"]
Start = Literal["auto", "cold", PointName]
LOCK_FORMAT: Final = 2
LOCK_NAME: Final = "scenario.lock.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskItem:
    """A disk, empty at power-on unless it boots."""

    name: str
    size_bytes: int
    serial: str | None = None
    model: str = "virtio-blk"
    boots: bool = False
    """Whether a system is installed on it."""
    place: int | None = None
    """Its place in the firmware's order, from 1; None: the firmware does not try it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicItem:
    """A network card."""

    mac: str
    model: str
    network: Literal["lab", "empty"] = "lab"
    link: bool = True
    place: int | None = None
    """Its place in the firmware's order, from 1; None: the firmware does not try it."""
    address: str = ""
    """What DHCP gives it; empty when no derived Hardware has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookItem:
    """Which Hook boots. ``kernel`` and ``initramfs`` are None until an embedded Hook is built."""

    origin: str
    """``embedded``, or the folder the files were found in."""
    kernel: Path | None = None
    initramfs: Path | None = None
    kernel_sha256: str | None = None
    initramfs_sha256: str | None = None
    overlay: Path | None = None
    """What faults put over the initramfs; None: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IsoItem:
    """smee's ISO endpoint, and the CD drive that is fed from it."""

    origin: str
    """``embedded``, or the file."""
    file: Path | None = None
    """The ISO; None until an embedded one is made."""
    path: str
    """What the machine's BMC asks the HTTP server for."""
    static_ipam: bool = False
    magic: str | None = None
    """The placeholder; None: Tinkerbell's own."""
    place: int | None = None
    """Its place in the firmware's order, from 1; None: the firmware does not try it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyItem:
    """A forward proxy."""

    port: int
    user: str | None = None
    password: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkItem:
    """Addresses, as text."""

    subnet: str
    netmask: str
    prefix_length: int
    server: str
    machine: str
    addresses: str = ""
    """Where the DHCP server beside a proxy listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryItem:
    """An OCI registry. ``username`` and ``password`` are set unless it is anonymous."""

    name: str = "registry"

    scheme: Literal["http", "https"]
    auth: Literal["anonymous", "basic", "bearer"]
    address: str
    """``host:port`` as the guest uses it."""
    port: int = 5000
    username: str | None = None
    password: str | None = None
    certificate: str = "right"
    """A value of ``harness.certificates.Kind``."""
    prefix: str | None = None
    realm: str | None = None
    push: bool = False
    images: tuple[str, ...] | None = None
    """References of what it has; None: all."""

    @property
    def location(self) -> str:
        """What stands before a repository's name: the address, and the prefix."""
        return f"{self.address}/{self.prefix}" if self.prefix else self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class TinkItem:
    """Tinkerbell's gRPC server."""

    address: str
    """``host:port`` as the guest uses it."""
    port: int = 42113
    tls: bool = False
    verified: bool = False
    """Whether the worker checks its certificate."""
    trusted: bool = False
    """Whether the worker's image has the lab's CA."""
    release: str | None = None
    """Which Tinkerbell it stands for: a value of ``fake_tink_server.release.Release``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerItem:
    """The worker that Hook pulls and starts."""

    image: str
    """As the registry knows it: ``tink-worker:v0.12.2``."""
    build: str | None = None
    """``NAME@VERSION`` of Tinkerbell's, when it is not among the lab's own images."""
    at: str
    """Where it is written: ``file:line:column``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageItem:
    """One more image for the registry."""

    reference: str
    layout: Path
    """An image layout once prepared; before, whatever ``harness.hook.images`` makes one of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinItem:
    """What an image reference meant when the item was made ready."""

    reference: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationItem:
    """One thing that must be true at the end."""

    key: str
    """As written: ``worker pulled``, ``disk vda``, …"""
    value: Any
    """Its value in normal form, of JSON's types."""
    at: str
    """Where it is written: ``file:line:column``."""

    @property
    def text(self) -> str:
        """The expectation as a person wrote it."""
        return f"{self.key}: {_plain(self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictItem:
    """A failure that is expected."""

    failed_in: str
    blame: str | None = None
    because: str | None = None
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonItem:
    """A test function that drives the lab instead of "power on and wait"."""

    file: Path
    function: str
    acts_from: PointName | None = None
    """The point before which it only powers the machine on, so that a run may begin there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One boot, every default filled in."""

    name: str
    """The scenario file's stem, or the test function's name."""
    variant: str
    """What tells the items of one scenario apart: the firmware, and ``-twin`` for the fix."""
    title: str
    """The scenario in one sentence."""
    source: Path
    """The scenario file."""
    report: str | None = None
    mac: str
    firmware: Literal["bios", "uefi", "uefi-http"]
    memory_mib: int
    cpus: int | None
    """None: as the accelerator likes it."""
    accel: Literal["auto", "kvm", "tcg"]
    accel_because: str = ""
    """Why this accelerator was chosen, for people."""
    nics: tuple[NicItem, ...]
    """In the order of their PCI slots; one of them has ``mac``."""
    disks: tuple[DiskItem, ...]
    hook: HookItem
    worker: WorkerItem
    kernel_args: tuple[str, ...]
    """What smee appends to the arguments it writes itself ("extra kernel args")."""
    network: NetworkItem
    registry: RegistryItem
    registries: tuple[RegistryItem, ...] = ()
    """Beside the one that Hook pulls from."""
    tink: TinkItem
    https: str | None = None
    """What is wrong with the certificate of the HTTPS that iPXE is sent to; None: plain HTTP."""
    tftp_single_port: bool
    tftp_assets: Path | None = None
    tftp_over_http: bool = False
    trusted_proxies: tuple[str, ...] = ()
    """Networks of whose proxies the HTTP server believes X-Forwarded-For."""
    iso: IsoItem | None = None
    profile: Literal["faithful", "fast"]
    shortcuts: tuple[str, ...] = ("answered routers",)
    """What the boot skips: names of ``harness.scenario.shortcuts``."""
    shortcuts_left_out: tuple[str, ...] = ()
    """Those of the profile that this scenario can't have, and why."""
    stack: Literal["lab", "smee"] = "lab"
    """Who serves DHCP, TFTP, HTTP and syslog."""
    dhcp_mode: Literal["reservation", "proxy", "auto-proxy"] = "reservation"
    generation: Literal["2026", "2025", "boots"] = "2026"
    segment: Literal["auto", "bridge", "wire"]
    ntp_offset_s: float
    proxy: ProxyItem | None = None
    hardware_yaml: str
    template_yaml: str
    workflow_yaml: str
    images: tuple[ImageItem, ...]
    """The scenario's own images."""
    layouts: tuple[Path, ...] = ()
    """OCI layouts with the lab's images: filled in once they are built."""
    pins: tuple[PinItem, ...] = ()
    """The digest of each image in the registry: for people, and to tell that one changed."""
    ipxe: Path | None = None
    """The folder of Tinkerbell's iPXE binaries: filled in once they are there."""
    smee: Path | None = None
    """The program of the real smee: filled in once it is there, if ``stack`` is ``smee``."""
    action_images: tuple[str, ...]
    """What the template's actions ask the registry for."""
    expectations: tuple[ExpectationItem, ...]
    expected_verdict: VerdictItem | None
    """None: it must pass."""
    deadline_s: float
    """From power-on."""
    faults: tuple[Fault, ...] = ()
    """What goes wrong."""
    seed: int = 0
    """Decides what chance does in ``faults``."""
    nightly: bool = False
    start: Start = "auto"
    """Where the run may begin: at the latest point that there is a checkpoint of, or at one."""
    python: PythonItem | None = None

    @property
    def vcpus(self) -> int:
        """How many CPUs its machine has: more than one hangs some kernels under TCG."""
        return self.cpus or (2 if self.accel == "kvm" else 1)

    @property
    def macs(self) -> frozenset[str]:
        """The MAC addresses of all its NICs."""
        return frozenset(nic.mac for nic in self.nics)

    @property
    def pulled_worker(self) -> str:
        """The worker's image as a registry with a prefix knows it: ``mirror/tink-worker:v1``."""
        prefix = self.registry.prefix
        return f"{prefix}/{self.worker_image}" if prefix else self.worker_image

    @property
    def worker_image(self) -> str:
        """The worker's image as the registry knows it: ``tink-worker:v0.12.2``."""
        return self.worker.image

    @property
    def id(self) -> str:
        """``hello[uefi]``."""
        return f"{self.name}[{self.variant}]"

    def with_hook(
        self,
        *,
        kernel: Path,
        initramfs: Path,
        kernel_sha256: str | None = None,
        initramfs_sha256: str | None = None,
    ) -> Item:
        """Return the item with the files that boot."""
        return replace(
            self,
            hook=replace(
                self.hook,
                kernel=kernel,
                initramfs=initramfs,
                kernel_sha256=kernel_sha256,
                initramfs_sha256=initramfs_sha256,
            ),
        )

    def to_data(self) -> dict[str, Any]:
        """Return the item as plain data of JSON's types; what is None is left out."""
        data = _to_data(self)
        assert isinstance(data, dict)
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Item:
        """Return the item that ``data`` holds. Raises ``ValueError`` naming what is wrong."""
        item = _from_data(cls, data, "item")
        assert isinstance(item, Item)
        return item


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_plain(part) for part in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_plain(part)}' for key, part in value.items())}}}"
    return str(value)


def _to_data(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((part.name, getattr(value, part.name)) for part in fields(value))
        return {name: _to_data(content) for name, content in pairs if content is not None}
    if isinstance(value, tuple | list):
        return [_to_data(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _to_data(part) for key, part in value.items()}
    return str(value) if isinstance(value, Path) else value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _from_data(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        return None if value is None else _from_data(options[0], value, where)
    if kind is Any:
        return value
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{where} can't be {value!r}")
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list")
        part = get_args(kind)[0]
        return tuple(_from_data(part, each, f"{where}[{n}]") for n, each in enumerate(value))
    if get_origin(kind) is Mapping:
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be a mapping")
        return {str(key): each for key, each in value.items()}
    if is_dataclass(kind):
        return _object(kind, value, where)
    if kind is Path:
        return Path(str(value))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind):
        raise ValueError(f"{where} must be of type {kind.__name__}, found {value!r}")
    return value


def _object(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping")
    known = {part.name for part in fields(kind)}
    if unknown := value.keys() - known:
        raise ValueError(f"{where} has unknown keys: {', '.join(sorted(map(str, unknown)))}")
    hints = _hints(kind)
    given = {name: _from_data(hints[name], each, f"{where}.{name}") for name, each in value.items()}
    for part in fields(kind):
        optional = type(None) in get_args(hints[part.name])
        if part.name not in given and optional:
            given[part.name] = None
    try:
        return kind(**given)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error
