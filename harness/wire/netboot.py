"""What a netbooting client is told: who it is, and which file comes next.

The rules are those of Tinkerbell's smee v0.25.0, quirks included; where smee and an RFC differ,
smee is followed and the place says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from harness.wire.dhcp4 import Code, Message, MessageType, Option, encode_options

_WEEK_S: Final = 604_800


class Stage(StrEnum):
    """How far a client is, told by what it says in DHCP."""

    FIRMWARE = "firmware"
    IPXE = "ipxe"
    """An iPXE that is not Tinkerbell's: a NIC's own ROM."""
    TINKERBELL = "tinkerbell"
    """Tinkerbell's own iPXE."""
    GUEST = "guest"
    """An operating system: no netboot client."""


class ClientKind(StrEnum):
    """Option 60 up to its first colon."""

    PXE = "PXEClient"
    HTTP = "HTTPClient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What Tinkerbell's Hardware says of one interface. Empty text means "not set".

    An interface whose Hardware has no ``netboot`` or no ``dhcp`` part has no reservation: smee
    fails to convert it and stays silent.
    """

    mac: str
    """Lower case with colons."""
    address: str
    netmask: str = "255.255.255.0"
    gateway: str = ""
    name_servers: tuple[str, ...] = ()
    time_servers: tuple[str, ...] = ()
    hostname: str = ""
    domain: str = ""
    lease_s: int = _WEEK_S
    routes: tuple[tuple[str, str], ...] = ()
    """Option 121: pairs of destination network and router."""
    allow_pxe: bool = False
    allow_workflow: bool = False
    arch: str = ""
    uefi: bool = False
    vlan_id: str = ""
    facility: str = ""
    agent_id: str = ""
    """Hardware's agentID; the worker's id is the MAC when it is empty."""
    disabled: bool = False
    """Hardware's disableDhcp: no answer at all."""
    tftp_server_name: str = ""
    """Option 66; when it or ``boot_file_name`` is set, smee adds no netboot data of its own."""
    boot_file_name: str = ""
    ipxe_script_url: str = ""
    ipxe_script: str = ""
    ipxe_binary: str = ""
    osie_base_url: str = ""
    osie_kernel: str = ""
    osie_initrd: str = ""
    kernel_params: tuple[str, ...] = ()
    pxelinux_config: str = ""
    pi_serial: str = ""
    """A Raspberry Pi's serial number: the folder of all it asks TFTP for."""
    pi_firmware_path: str = ""
    """The folder among the TFTP assets that stands for ``<pi_serial>/``."""
    pi_config: str = ""
    """``<pi_serial>/config.txt``"""
    source_iso: str = ""
    """URL of the ISO to patch instead of the configured one."""

    @property
    def worker_id(self) -> str:
        """The id Hook's worker is told to use."""
        return self.agent_id or self.mac


class Reservations:
    """The reservations of a lab, found by MAC or by address."""

    def __init__(self, reservations: Iterable[Reservation]) -> None:
        self._by_mac = {reservation.mac: reservation for reservation in reservations}
        self._by_address = {r.address: r for r in self._by_mac.values()}

    def by_mac(self, mac: str) -> Reservation | None:
        """Return the reservation of ``mac`` (lower case, colons), or None."""
        return self._by_mac.get(mac)

    def by_address(self, address: str) -> Reservation | None:
        """Return the reservation of an IPv4 address, or None."""
        return self._by_address.get(address)

    def __iter__(self) -> Iterator[Reservation]:
        return iter(self._by_mac.values())


PI: Final = 41
"""rpiboot; smee forces it for a Raspberry Pi's MAC, since a Pi 5 reports 0."""
UNKNOWN_ARCH: Final = 255

_PI_OUIS: Final = ("b8:27:eb", "dc:a6:32", "e4:5f:01", "28:cd:c1", "d8:3a:dd")
_PI_SUBOPTIONS: Final = (
    Option(9, bytes.fromhex("00001152617370626572727920506920426f6f74")),
    Option(10, bytes.fromhex("00505845")),
)

BINARIES: Final[Mapping[int, str]] = MappingProxyType(
    {
        **dict.fromkeys((0, 1, 2, 3, 4, 5, 20), "undionly.kpxe"),
        **dict.fromkeys((6, 7, 8, 9, 15, 16), "ipxe.efi"),
        **dict.fromkeys((10, 11, 18, 19, PI), "snp-arm64.efi"),
    }
)
"""Which iPXE binary an architecture (option 93) gets."""

_KNOWN_ARCHES: Final = range(37)
"""What smee's DHCP library can name; it skips any other value, 41 included."""

NOT_ALLOWED: Final = "/netboot-not-allowed"
NO_SCRIPT: Final = "/no-ipxe-script-defined"


class MacFormat(StrEnum):
    """How a MAC is written into the path of a binary."""

    COLON = "colon"
    DOT = "dot"
    DASH = "dash"
    NO_DELIMITER = "no-delimiter"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetbootConfig:
    """What smee's command line says about netboot."""

    server: str
    """The server's IPv4 address: option 54 and siaddr."""
    tftp: tuple[str, int] | None = None
    """Where TFTP is; None: on ``server``, port 69."""
    http: str = ""
    """Base of the HTTP server's URLs without a slash at its end; empty: ``server``, port 7080."""
    script_url: str = ""
    """The script's URL, without the MAC; empty: ``<http>/ipxe/script/auto.ipxe``."""
    binary_path: str = "/ipxe/binary"
    """Where on ``http`` the iPXE binaries are; ``/ipxe`` for boots."""
    inject_mac: bool = True
    """Put the client's MAC before the script's name."""
    syslog: str = ""
    """Option 7; empty: not sent."""
    enabled: bool = True
    user_class: str = ""
    """A user class that is treated like ``Tinkerbell``.

    ``iPXE`` hands the script to the iPXE of a NIC's ROM at once. Under TCG that saves a BIOS
    machine most of its boot: behind undionly.kpxe every packet costs switches to real mode (2 MB/s
    instead of 18), and one DHCP exchange less is made.
    """
    mac_format: MacFormat = MacFormat.COLON
    binaries: Mapping[int, str] = field(default_factory=dict)
    """Overrides of ``BINARIES``."""
    traceparent: str = ""
    """An OpenTelemetry traceparent (``00-<32 hex>-<16 hex>-<2 hex>``); empty: OTEL is off."""
    no_pxedhcp: bool = False
    """Send iPXE's option 175.176, which ends its 3 s wait for a ProxyDHCP offer. smee does not."""

    @property
    def http_base(self) -> str:
        """``http`` with its default filled in."""
        return self.http or f"http://{self.server}:7080"

    @property
    def tftp_server(self) -> tuple[str, int]:
        """``tftp`` with its default filled in."""
        return self.tftp or (self.server, 69)

    def script_url_for(self, reservation: Reservation | None, mac: str) -> str:
        """Return the URL of the iPXE script of ``mac``."""
        if reservation and reservation.ipxe_script_url:
            return reservation.ipxe_script_url
        url = self.script_url or f"{self.http_base}/ipxe/script/auto.ipxe"
        if not self.inject_mac or not mac:  # no MAC: hlen was 0
            return url
        folder, _, name = url.rpartition("/")
        return f"{folder}/{mac}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What a request says of its sender."""

    mac: str
    stage: Stage
    wants_script: bool
    """Whether its user class says that it can run the script: Tinkerbell's iPXE, or the like."""
    kind: ClientKind | None
    arch: int
    """Option 93's first known value; ``PI`` for a Raspberry Pi; 255 when unknown."""
    vendor_class: str | None
    user_class: str | None
    reported_arch: int | None
    """Option 93's first value as sent."""


def is_raspberry_pi(mac: str) -> bool:
    """Tell whether ``mac`` belongs to Raspberry Pi Trading, by the prefixes smee knows."""
    return mac[:8] in _PI_OUIS


def architectures(message: Message) -> list[int]:
    """Return option 93's values (RFC 4578 §2.1), none when its length is odd."""
    data = message.option(Code.ARCHITECTURE) or b""
    if len(data) % 2:
        return []
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def netboot_refusal(message: Message) -> str | None:
    """Return why smee takes ``message`` for no netboot client, or None when it is one."""
    reasons: list[str] = []
    if message.type not in (MessageType.DISCOVER, MessageType.REQUEST):
        reasons.append("neither DISCOVER nor REQUEST")
    vendor_class = message.option(Code.VENDOR_CLASS)
    if vendor_class is None:
        reasons.append("no option 60")
    elif not vendor_class.startswith((b"PXEClient", b"HTTPClient")):
        reasons.append("option 60 is neither PXEClient nor HTTPClient")
    if message.option(Code.ARCHITECTURE) is None:
        reasons.append("no option 93")
    if message.option(Code.NETWORK_INTERFACE) is None:
        reasons.append("no option 94")
    guid = message.option(Code.MACHINE_IDENTIFIER) or b""
    if guid and (len(guid) != 17 or guid[0] != 0):
        reasons.append("option 97 is not 17 octets that start with 0")
    return "; ".join(reasons) or None


def classify(message: Message, config: NetbootConfig | None = None) -> Client:
    """Return who sent ``message``. Option 77 is compared raw, as smee does (not by RFC 3004)."""
    vendor = message.option(Code.VENDOR_CLASS)
    kind = None
    if vendor is not None:
        kind = ClientKind.HTTP if vendor.startswith(b"HTTPClient") else ClientKind.PXE
    user = message.option(Code.USER_CLASS)
    reported = architectures(message)
    arch = next((value for value in reported if value in _KNOWN_ARCHES), UNKNOWN_ARCH)
    configured = config.user_class.encode() if config and config.user_class else None
    if user == b"Tinkerbell":
        stage = Stage.TINKERBELL
    elif user == b"iPXE":
        stage = Stage.IPXE
    elif user is not None and user == configured:
        stage = Stage.TINKERBELL
    elif vendor is not None and vendor.startswith((b"PXEClient", b"HTTPClient")):
        stage = Stage.FIRMWARE
    else:
        stage = Stage.GUEST
    return Client(
        mac=message.mac,
        stage=stage,
        wants_script=user is not None and user in (b"Tinkerbell", configured),
        kind=kind,
        arch=PI if is_raspberry_pi(message.mac) else arch,
        vendor_class=message.text(Code.VENDOR_CLASS),
        user_class=message.text(Code.USER_CLASS),
        reported_arch=reported[0] if reported else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BootFile:
    """The netboot part of a reply."""

    file: str
    next_server: str
    vendor_specific: bytes | None
    """Option 43, or None when smee sends none."""


def boot_file(client: Client, reservation: Reservation, config: NetbootConfig) -> BootFile:
    """Return what a netboot client is told to fetch. First match wins, as in smee's Bootfile."""
    binary = reservation.ipxe_binary or {**BINARIES, **config.binaries}.get(client.arch, "")
    if not reservation.allow_pxe or not binary:
        return BootFile(file=NOT_ALLOWED, next_server="0.0.0.0", vendor_specific=None)
    if config.traceparent:
        binary = f"{binary}-{config.traceparent}"
    script = config.script_url_for(reservation, client.mac)
    return BootFile(
        file=file_of(client, binary, script, config),
        next_server=next_server(client, config),
        vendor_specific=vendor_specific(client.mac, config.traceparent),
    )


def file_of(client: Client, binary: str, script: str, config: NetbootConfig) -> str:
    """Return ``file`` for a client that may netboot: its script, or where ``binary`` is."""
    in_path = formatted_mac(client.mac, config.mac_format)
    path = quote(f"{in_path}/{binary}" if in_path else binary, safe=PATH_SAFE)
    if client.wants_script:
        return script or NO_SCRIPT
    if client.kind is ClientKind.HTTP:
        return f"{config.http_base}{config.binary_path}/{path}"
    if client.stage is Stage.IPXE:
        address, port = config.tftp_server
        return f"tftp://{address}:{port}/{path}"
    return binary


def next_server(client: Client, config: NetbootConfig) -> str:
    """Return siaddr: the TFTP server, or for an HTTP client the HTTP server if that is an address.

    0.0.0.0, which smee's command line allows for both, becomes the server's own address.
    """
    address = config.tftp_server[0]
    if client.kind is ClientKind.HTTP:
        host = config.http_base.split("//", 1)[-1].split("/", 1)[0].rsplit(":", 1)[0]
        address = host if _IPV4.fullmatch(host) else config.server
    return config.server if address == "0.0.0.0" else address


def vendor_specific(mac: str, traceparent: str = "", *, trace: bool = True) -> bytes:
    """Return option 43: skip PXE's own discovery, the trace, and a Pi's menu.

    Sub-option 69 is a binary traceparent of 26 octets; in reservation mode smee sends it, zeroed,
    with OTEL off too.
    """
    pi = _PI_SUBOPTIONS if is_raspberry_pi(mac) else ()
    octets = bytes.fromhex(traceparent.replace("-", "")) if traceparent else bytes(26)
    return encode_options((Option(6, b"\x08"), *pi, *((Option(69, octets),) if trace else ())))


def formatted_mac(mac: str, how: MacFormat) -> str:
    """Return a MAC written with colons in the notation smee was told to put into URLs."""
    digits = mac.replace(":", "")
    match how:
        case MacFormat.COLON:
            return mac
        case MacFormat.DASH:
            return mac.replace(":", "-")
        case MacFormat.DOT:
            return ".".join(digits[at : at + 4] for at in range(0, len(digits), 4))
        case MacFormat.NO_DELIMITER:
            return digits
        case MacFormat.EMPTY:
            return ""


PATH_SAFE: Final = "!$&'()*+,;=:@[]/%"
"""What Go leaves as it is in the path of a URL (RFC 3986 §3.3)."""
_IPV4: Final = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_MAC: Final = re.compile(
    r"[0-9a-f]{2}(?P<mark>[:-])[0-9a-f]{2}((?P=mark)[0-9a-f]{2})*|[0-9a-f]{4}(\.[0-9a-f]{4})+"
    r"|[0-9a-f]+"
)
_MAC_DIGITS: Final = (12, 16, 40)
_TRACE: Final = re.compile(
    r"^(.*)-[0-9a-fA-F]{2}-([0-9a-fA-F]{32})-([0-9a-fA-F]{16})-[0-9a-fA-F]{2}"
)


def parse_mac(text: str) -> str | None:
    """Return a MAC in any notation Go reads, in lower case with colons; None if it is none.

    As in Go, 6, 8 (EUI-64) and 20 octets (InfiniBand) are one.
    """
    digits = re.sub(r"[^0-9a-f]", "", text.lower())
    if len(digits) not in _MAC_DIGITS or not _MAC.fullmatch(text.lower()):
        return None
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def without_trace(name: str) -> str:
    """Return a file name without the traceparent smee or iPXE put at its end."""
    found = _TRACE.match(name)
    if found is None or "0" * 32 in found.groups() or "0" * 16 in found.groups():
        return name  # no ids: OpenTelemetry has none that are all zero
    return found.group(1)
