"""The lab's own netboot services: DHCP in each of its modes, HTTP and metadata on their ports."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from harness.brief import Brief
from harness.certificates import Certificate, KeyKind, Kind, ServerCertificate
from harness.faults.plan import FaultPlan, Strike
from harness.handshake import Manner, context_for
from harness.net.neighbours import identify
from harness.scenario.item import Item
from harness.seal import PRIVATE_DIR
from harness.services import Service
from harness.services.dhcp import AddressService, DhcpService
from harness.services.http import HOOK_PREFIX, HttpService
from harness.services.iso import IsoSource
from harness.services.pxe_http import PxeHttp
from harness.wire.generation import GENERATIONS
from harness.wire.ipxe import ScriptConfig
from harness.wire.iso import MAGIC
from harness.wire.metadata import MetadataServer
from harness.wire.netboot import NetbootConfig, Reservation, Reservations
from harness.wire.proxy_dhcp import Mode

ARTIFACTS_PORT: Final = 7173
"""Where Tinkerbell's charts put the web server of Hook's files."""
ISO_NAME: Final = "hook-x86_64-efi-initrd.iso"
"""As Hook's releases call their ISO."""
HTTPS_PORT: Final = 7443
"""Tinkerbell's, beside 7080."""
Issue = Callable[[Kind, KeyKind | None], Certificate]
"""Issues certificates for this server's names and addresses."""


def address_services(brief: Brief, *, common: Mapping[str, Any], interface: str) -> list[Service]:
    """Return the DHCP server that has the addresses, in the proxy modes."""
    if brief.item.dhcp_mode == "reservation":
        return []
    return [
        AddressService(
            **common,
            reservations=_addresses(brief),
            address=brief.item.network.addresses,
            interface=interface,
        )
    ]


def dhcp_services(
    brief: Brief,
    *,
    common: Mapping[str, Any],
    config: NetbootConfig,
    interface: str,
    strike: Strike,
) -> list[Service]:
    """Return the DHCP server, and in the proxy modes before it the one that has the addresses."""
    return [
        *address_services(brief, common=common, interface=interface),
        DhcpService(
            **common,
            reservations=Reservations(brief.reservations),
            config=config,
            interface=interface,
            mode=Mode(brief.item.dhcp_mode),
            strike=strike,
        ),
    ]


def iso_url(item: Item) -> str:
    """Return where the unpatched ISO is."""
    port = ARTIFACTS_PORT if item.stack == "smee" else GENERATIONS[item.generation].artifacts
    return f"http://{item.network.server}:{port}{HOOK_PREFIX}/{ISO_NAME}"


def iso_source(item: Item) -> IsoSource | None:
    """Return what the ISO endpoint is told, None when there is none."""
    if item.iso is None:
        return None
    magic = item.iso.magic.encode() if item.iso.magic else MAGIC
    return IsoSource(url=iso_url(item), magic=magic, static_ipam=item.iso.static_ipam)


def _addresses(brief: Brief) -> Reservations:
    """Return who gets an address: every Hardware's interface, and NICs that are in none."""
    item = brief.item
    known = {each.mac: replace(each, disabled=False) for each in brief.reservations}
    network = item.network
    for nic in item.nics:
        if nic.address:
            known.setdefault(
                nic.mac,
                Reservation(
                    mac=nic.mac,
                    address=nic.address,
                    netmask=network.netmask,
                    gateway=network.server,
                    name_servers=(network.server,),
                    time_servers=(network.server,),
                    lease_s=86_400,
                ),
            )
    return Reservations(known.values())


def http_services(
    brief: Brief,
    *,
    common: Mapping[str, Any],
    scripts: ScriptConfig,
    binaries: Mapping[str, Path],
    artifacts: Mapping[str, Path],
    faults: FaultPlan,
    issue: Issue,
) -> list[Service]:
    """Return the HTTP servers of the scenario's generation: one for each port.

    ``issue`` makes the certificates of HTTPS, which stands beside HTTP and has the same files.
    """
    generation = GENERATIONS[brief.item.generation]
    static = brief.item.dhcp_mode == "auto-proxy"
    parts: dict[int, dict[str, Any]] = {}
    parts.setdefault(generation.http, {}).update(
        scripts=scripts,
        binaries=binaries,
        static_scripts=static,
        iso=iso_source(brief.item),
        pxe=PxeHttp(reservations=Reservations(brief.reservations), assets=brief.item.tftp_assets)
        if brief.item.tftp_over_http
        else None,
    )
    parts.setdefault(generation.artifacts, {}).update(artifacts=artifacts)
    parts.setdefault(generation.metadata, {}).update(metadata=MetadataServer(brief.instances))
    names = {generation.metadata: "metadata", generation.artifacts: "artifacts"}
    names[generation.http] = "http"
    own: ServerCertificate | None = None
    right: Kind = Kind.RIGHT
    if brief.item.https:
        right = Kind(brief.item.https)
        own = issue(right, None).write(PRIVATE_DIR, "http")
        parts[HTTPS_PORT] = {"certificate": own} | parts[generation.http]
        names[HTTPS_PORT] = "https"

    def context(kind: Kind | None, manner: Manner) -> ssl.SSLContext:
        return context_for(issue(kind or right, manner.keys), manner, alpn=("http/1.1",))

    return [
        HttpService(
            **common,
            reservations=Reservations(brief.reservations),
            identify=identify,
            port=port,
            name=names[port],
            trusted=brief.item.trusted_proxies,
            strike=faults.at("http"),
            metadata_strike=faults.at("metadata"),
            hook_strike=faults.at("hook"),
            contexts=cache(context),
            **given,
        )
        for port, given in parts.items()
    ]
