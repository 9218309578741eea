"""The same requests to the real tootles and smee and to the lab's HTTP: the same answers."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from fake_tink_server.objects import Hardware
from harness.hook.tools import ensure_tool
from harness.instances import instance_of
from harness.paths import cache_root
from harness.progress import SilentProgress
from harness.reservations import reservations_of
from harness.services.http import HttpService
from harness.services.iso import IsoSource
from harness.services.smee import SmeeService, smee_settings
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.ipxe import ScriptConfig
from harness.wire.iso import BUFFER_BYTES, synthetic
from harness.wire.metadata import EC2, FOLDERS, LEAVES, MetadataServer
from harness.wire.netboot import NetbootConfig, Reservations

pytestmark = pytest.mark.service

MAC, BARE = "52:54:00:00:00:01", "52:54:00:00:00:02"
CALLER, POOR, STRANGER, PROXY = "127.0.0.1", "127.0.0.7", "127.0.0.9", "127.0.0.3"
PATCHED_AT: Final = BUFFER_BYTES + 100
MACHINE: Final[dict[str, Any]] = {
    "userData": "#cloud-config\nruncmd: [ä, <&>]\n",
    "vendorData": "not told",
    "metadata": {
        "facility": {"facility_code": "onprem", "plan_slug": "c2.medium"},
        "instance": {
            "id": MAC,
            "hostname": "machine",
            "tags": ["one", "two"],
            "ips": [
                {"address": "10.0.0.5", "family": 4, "public": True},
                {"address": "10.0.0.6", "family": 4, "public": True},
                {"address": "192.168.77.10", "family": 4},
                {"address": "fd00::1", "family": 6},
            ],
            "operating_system": {
                "slug": "ubuntu",
                "distro": "u",
                "version": "24",
                "image_tag": "t",
            },
            "storage": {
                "disks": [
                    {
                        "device": "/dev/<sda>&",
                        "wipe_table": True,
                        "partitions": [{"label": "ä", "number": 1, "size": 4096}, {}],
                    },
                    {},
                ],
                "filesystems": [
                    {
                        "mount": {
                            "device": "/dev/sda1",
                            "format": "ext4",
                            "point": "/",
                            "create": {"options": ["-L", "ROOT"]},
                        }
                    },
                    {"mount": {"device": "/dev/sda2"}},
                    {},
                ],
            },
        },
    },
    "interfaces": [
        {
            "dhcp": {
                "mac": MAC,
                "hostname": "machine",
                "domain_name": "tinkerbell.lab",
                "vlan_id": "5",
                "ip": {"address": CALLER, "netmask": "255.0.0.0", "gateway": "127.0.0.254"},
                "name_servers": ["192.168.77.1", "192.168.77.2"],
                "time_servers": ["192.168.77.1"],
            },
            "netboot": {"allowPXE": True, "osie": {"kernelParams": ["own=1"]}},
        }
    ],
    "agentID": "an-id",
}
BARE_MACHINE: Final[dict[str, Any]] = {
    "interfaces": [
        {"dhcp": {"mac": BARE, "ip": {"address": POOR, "netmask": "255.0.0.0"}}, "netboot": {}}
    ]
}
OBJECTS: Final = [
    {
        "apiVersion": "tinkerbell.org/v1alpha1",
        "kind": "Hardware",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }
    for name, spec in (("machine", MACHINE), ("bare", BARE_MACHINE))
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request."""

    path: str
    method: str = "GET"
    source: str = CALLER
    headers: tuple[tuple[str, str], ...] = ()


def leaf_requests() -> list[Asked]:
    """Return requests for every leaf and folder, from everybody, in every form."""
    paths = [f"{EC2}{name}" for name in (*LEAVES, *FOLDERS)]
    paths += [f"{path}/" for path in paths if not path.endswith("/")]
    by_id = [f"/tootles/instanceID/{who}{path}" for who in (MAC, "nobody", "%20") for path in paths]
    return [
        *(Asked(path=path, source=s) for path in paths for s in (CALLER, POOR, STRANGER)),
        *(Asked(path=path) for path in by_id),
    ]


ODD: Final = [
    Asked(path=path)
    for path in (
        *("/2009-04-04", "/2009-04-04//meta-data", "/2009-04-04/./user-data?a=b&c"),
        *("/2009-04-04/x", "/2009-04-04/vendor-data", "/2009-04-04/meta-data/vendor-data"),
        *("/latest/meta-data", "/latest", "/", "/metadata/", "/tootles", "/tootles/"),
        *("//metadata", "/tootles/instanceID/", f"/tootles/instanceID/{MAC}"),
        *("/2009-04-04/../metadata", "/healthz", "/readyz", "/healthz/", "/iso", "/iso/"),
        *("/ipxe/script", "/ipxe/binary", "/ipxe/script/", "/ipxe/script/auto.ipxe"),
        *("/ipxe/script/x/y", "/ipxe/binary/nothing", "/ipxe/script/a%20b"),
        *(f"/ipxe/script/{MAC}/auto.ipxe", f"/ipxe/script/{BARE}/auto.ipxe"),
    )
]
METHODS: Final = [
    Asked(path=path, method=method)
    for path in (
        "/2009-04-04/user-data",
        "/2009-04-04/",
        "/metadata",
        "/healthz",
        "/2009-04-04",
        "/x",
    )
    for method in ("HEAD", "POST", "PUT", "DELETE")
]
FORWARDED: Final = [
    Asked(path="/2009-04-04/meta-data/hostname", source=s, headers=(("X-Forwarded-For", header),))
    for s in (PROXY, STRANGER)
    for header in (
        *(CALLER, STRANGER, f"{STRANGER}, {CALLER}", f"{CALLER}, {PROXY}", f"{CALLER},{STRANGER}"),
        *("x", f"x, {CALLER}", f"{CALLER}, x", "", f" {CALLER} ", f"{PROXY}, {PROXY}", "::1"),
    )
]
IMAGES: Final = [
    Asked(path=path, method=method, headers=headers)
    for path in (
        *(f"/iso/{MAC}/hook.iso", f"/iso/{MAC.replace(':', '-')}/hook.iso", f"/iso/{MAC}/hook.img"),
        *("/iso/nobody/hook.iso", f"/iso/{BARE}/x.iso", f"/iso/a/b/{BARE}/x.iso?c=d", "/iso/x.iso"),
        *(f"/iso/{MAC}/hook.iso/", "/iso/5254.0000.0001/hook.iso"),
    )
    for method in ("GET", "HEAD")
    for headers in (
        (),
        (("Range", "bytes=0-2047"),),
        (("Range", f"bytes={PATCHED_AT - 10}-{PATCHED_AT + 2000}"),),
        (("Range", f"bytes={PATCHED_AT + 500}-{PATCHED_AT + 2000}"),),
        (("Range", f"bytes={1 << 20}-"),),
    )
]


def _exchange(port: int, asked: Asked) -> dict[str, Any]:
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=20, source_address=(asked.source, 0)
    )
    try:
        connection.putrequest(asked.method, asked.path, skip_accept_encoding=True)
        for name, value in asked.headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        told = ("Content-Type", "Location", "X-Content-Type-Options", "Content-Range")
        return {
            "status": response.status,
            "body": body,
            **{name: response.getheader(name) for name in told},
        }
    finally:
        connection.close()


@asynccontextmanager
async def upstream(folder: Path) -> AsyncIterator[int]:
    """Serve an ISO behind two redirects, as a release page would."""
    from aiohttp import web

    image = folder / "image"
    image.write_bytes(synthetic(3 * BUFFER_BYTES + 77, at=PATCHED_AT))

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/hook.iso":
            return web.Response(status=302, headers={"Location": "moved/hook.iso"})
        if request.path == "/moved/hook.iso":
            return web.Response(status=301, headers={"Location": "/at/last"})
        return web.FileResponse(image)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        assert site._server is not None
        yield site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def both(folder: Path) -> AsyncIterator[tuple[int, int]]:
    """Run the real program and the lab's service; yield their ports."""
    async with AsyncExitStack() as stack:
        timeline, tasks = Timeline(None), TaskKeeper()
        stack.push_async_callback(tasks.close)
        iso = f"http://127.0.0.1:{await stack.enter_async_context(upstream(folder))}/hook.iso"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        scripts = ScriptConfig(
            osie_url="http://192.168.77.1:7173",
            syslog_host="127.0.0.1",
            grpc_authority="192.168.77.1:42113",
            extra_kernel_args=("a=b", "c"),
        )
        config = NetbootConfig(server="127.0.0.1", http=f"http://127.0.0.1:{port}")
        off = {"enabled": False}
        settings = smee_settings(
            config=config,
            scripts=scripts,
            dhcp=off,
            tftp=off,
            syslog=off,
            http={"trusted_proxies": [f"{PROXY}/32"]},
            iso={"enabled": True, "upstream": iso, "static_ipam": True},
            metadata={"enabled": True, "instances": True},
        )
        real = SmeeService(
            timeline=timeline,
            tasks=tasks,
            program=await ensure_tool("smee", cache_root(), SilentProgress()),
            hardware=OBJECTS,
            settings=settings,
            folder=folder,
        )
        hardware = [Hardware.model_validate(each) for each in OBJECTS]
        ours = HttpService(
            timeline=timeline,
            tasks=tasks,
            reservations=Reservations(r for each in hardware for r in reservations_of(each)),
            scripts=scripts,
            binaries={"none": folder},
            metadata=MetadataServer((instance_of(each) for each in hardware), by_id=True),
            iso=IsoSource(url=iso, static_ipam=True),
            bind="127.0.0.1",
            port=0,
            trusted=[f"{PROXY}/32"],
        )
        for service in (real, ours):
            stack.push_async_callback(service.stop)
            await service.start()
        yield port, ours.port


def _as_cluster(asked: Asked, real: dict[str, Any]) -> dict[str, Any]:
    """Return what Tinkerbell answers with its usual backend.

    The file backend's "no such Hardware" is not known as that to two of the handlers, which say
    500; that of a Kubernetes cluster is, and they say 404.
    """
    unknown = asked.path == "/metadata" or asked.path.startswith("/iso/")
    return {**real, "status": 404} if unknown and real["status"] == 500 else real


async def test_the_lab_answers_as_the_real_programs(tmp_path: Path) -> None:
    everything = [
        *leaf_requests(),
        *(Asked(path="/metadata", source=source) for source in (CALLER, POOR, STRANGER)),
        *ODD,
        *METHODS,
        *FORWARDED,
        *IMAGES,
    ]
    found: list[str] = []
    async with both(tmp_path) as (real, ours):
        for asked in everything:
            first, second = await asyncio.gather(
                asyncio.to_thread(_exchange, real, asked),
                asyncio.to_thread(_exchange, ours, asked),
            )
            first = _as_cluster(asked, first)
            if first != second:
                differing = {
                    key: (first[key], second[key]) for key in first if first[key] != second[key]
                }
                found.append(f"{asked}: {differing}"[:600])
    print(f"{len(everything)} requests, {len(found)} differences")
    assert not found, "\n".join(found[:30])
