"""What a scenario says of the network and of the small services on it."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from harness.documents import Mistake
from harness.scenario.models.forms import Model, Offset


class Network(Model):
    """Addresses of the lab's own, isolated network."""

    subnet: IPv4Network = IPv4Network("192.168.77.0/24")
    """IPv4 network, at most /29."""
    server: IPv4Address | None = None
    """Where every service listens; default: the subnet's first address."""
    machine: IPv4Address | None = None
    """What DHCP gives the machine; default: the subnet's tenth address."""
    addresses: IPv4Address | None = None
    """In the proxy modes, where the DHCP server that has the addresses listens; default: the one
    after ``server``'s."""

    @field_validator("subnet")
    @classmethod
    def _room_for_two(cls, value: IPv4Network) -> IPv4Network:
        if value.prefixlen > 29:
            raise ValueError(f"{value} is too small: at most /29")
        return value


class Tink(Model):
    """Tinkerbell's gRPC server."""

    tls: bool = False
    """Whether it speaks TLS (certificate of the lab's own CA)."""
    verified: bool = False
    """Whether the worker is told to check the certificate (``tinkerbell_insecure_tls=false``)."""
    trusted: bool = False
    """Whether the worker knows the lab's CA: Hook has no way to hand it one, so that users build a
    worker image of their own with the CA in ``/etc/ssl/certs``, as the lab does then."""
    release: Literal["v0.12.2", "v0.25.0"] | None = None
    """Which Tinkerbell renders templates and looks after workflows; without it the one that
    ``worker`` came with (tink-worker: v0.12.2, tink-agent: v0.25.0), else the newest."""

    @model_validator(mode="after")
    def _fits(self) -> Tink:
        for key in ("verified", "trusted"):
            if getattr(self, key) and not self.tls:
                raise Mistake(f"'{key}' needs a server with TLS", hint="tls: true")
        return self


class Dhcp(Model):
    """Tinkerbell's DHCP server."""

    mode: Literal["reservation", "proxy", "auto-proxy"] = "reservation"
    """``reservation``: addresses and boot data from one server. ``proxy``: boot data only, beside
    a DHCP server that has the addresses. ``auto-proxy``: the same for every netboot client."""


class Http(Model):
    """The HTTP server of scripts, boot programs, kernel and initramfs."""

    scheme: Literal["http", "https"] = "http"
    """``https``: iPXE is sent to port 7443, beside which 7080 stays. Tinkerbell's iPXE trusts what
    ca.ipxe.org vouches for, and nothing can tell it of another CA: it asks there, and refuses the
    lab's certificate (``Permission denied (https://ipxe.org/0216eb8f)``)."""
    certificate: Literal[
        "right",
        "unknown-ca",
        "self-signed",
        "expired",
        "not-yet-valid",
        "wrong-name",
        "no-san",
        "incomplete-chain",
    ] = "right"
    """What is wrong with its certificate. ``right`` is of the lab's CA."""
    trusted_proxies: list[IPv4Network] = Field(default=[], alias="trusted proxies")
    """Networks of whose proxies ``X-Forwarded-For`` is believed."""

    @model_validator(mode="after")
    def _fits(self) -> Http:
        if self.certificate != "right" and self.scheme != "https":
            raise Mistake("a certificate needs TLS", hint="scheme: https")
        return self


class Tftp(Model):
    """The TFTP server."""

    ports: Literal["single", "multi"] = "single"
    """``single``: data leaves from port 69, as smee's default; ``multi``: RFC 1350's way."""
    assets: str | None = None
    """Folder with more files for it, such as a Raspberry Pi's firmware."""
    over_http: bool = Field(default=False, alias="over http")
    """Whether pxelinux.cfg and the assets are also served over HTTP, below ``/tftp/``."""


class Iso(Model):
    """smee's ISO endpoint, and the machine's virtual CD drive that its BMC feeds from there."""

    source: str = "embedded"
    """``embedded``: made from the Hook that boots (UEFI only), or a file."""
    path: Annotated[str, Field(pattern=r"^/[!-~]*$")] | None = None
    """What the BMC asks the server for; default: ``/iso/<MAC>/hook.iso``."""
    static_ipam: bool = Field(default=False, alias="static ipam")
    """Whether ``ipam=`` is written into it, too: the guest then needs no DHCP."""
    magic: Annotated[str, Field(pattern=r"^[!-~]{16,}$")] | None = None
    """The placeholder that is written over; default: Tinkerbell's own of 1024 characters."""


class Proxy(Model):
    """A forward proxy: CONNECT and plain HTTP. Hook is told of it by ``kernel args``
    (``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY``), as anywhere."""

    port: Annotated[int, Field(ge=1, le=65535)] = 3128
    """Where it listens, at the server's address."""
    user: Annotated[str, Field(min_length=1, pattern=r"^[^:]*$")] | None = None
    """Who may use it; left out: anybody."""
    password: str = ""
    """What that user has to say."""

    @model_validator(mode="after")
    def _somebodys_password(self) -> Proxy:
        if self.password and self.user is None:
            raise Mistake("'password' is nobody's", hint="say its 'user', too")
        return self


class Ntp(Model):
    """The time server."""

    offset: Offset = timedelta(0)
    """How far its clock is off: ``2 h`` ahead, ``-30 s`` behind."""
