"""What changes a checkpoint's key, what does not, and which items have none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checkpoint import key as keys
from harness.checkpoint.key import (
    AFTER_HOOK_UP,
    AFTER_IPXE,
    NEVER_MATTERS,
    cpu_of,
    host_facts,
    ingredients,
    key_of,
)
from harness.checkpoint.points import Point, comes_later, refusal
from harness.checkpoint.store import store_in
from harness.faults.fault import Fault
from harness.hook.store import digest_of_file
from harness.machine.qemu import QEMU
from harness.net.segment import Choice, SegmentKind
from harness.scenario.item import (
    DiskItem,
    ExpectationItem,
    HookItem,
    IsoItem,
    Item,
    NetworkItem,
    NicItem,
    PinItem,
    ProxyItem,
    PythonItem,
    RegistryItem,
    TinkItem,
    WorkerItem,
)

AFTER: Mapping[Point, frozenset[str]] = {
    Point.IPXE: AFTER_IPXE,
    Point.HOOK_UP: AFTER_HOOK_UP,
    Point.WORKER_UP: frozenset(),
}
HOST: Mapping[str, Any] = {"qemu": [1, 2], "sources": "s"}
MAC = "52:54:00:12:34:56"


@pytest.fixture(scope="module")
def ipxe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ipxe")
    (folder / "ipxe.efi").write_bytes(b"ipxe")
    return folder


@pytest.fixture(scope="module")
def item(ipxe: Path) -> Item:
    return Item(
        name="hello",
        variant="uefi",
        title="a machine netboots",
        source=Path("hello.yaml"),
        mac=MAC,
        firmware="uefi",
        memory_mib=2048,
        cpus=1,
        accel="tcg",
        nics=(NicItem(mac=MAC, model="virtio-net-pci", place=1),),
        disks=(DiskItem(name="vda", size_bytes=1 << 26),),
        hook=HookItem(origin="embedded", kernel_sha256="k", initramfs_sha256="i"),
        worker=WorkerItem(image="tink-worker:v0.12.2", at="hello.yaml:1:1"),
        kernel_args=("docker_registry=192.168.77.1:5000",),
        network=NetworkItem(
            subnet="192.168.77.0/24",
            netmask="255.255.255.0",
            prefix_length=24,
            server="192.168.77.1",
            machine="192.168.77.10",
        ),
        registry=RegistryItem(scheme="http", auth="anonymous", address="192.168.77.1:5000"),
        tink=TinkItem(address="192.168.77.1:42113"),
        tftp_single_port=True,
        profile="faithful",
        segment="auto",
        ntp_offset_s=0.0,
        hardware_yaml="hardware",
        template_yaml="template",
        workflow_yaml="workflow",
        images=(),
        pins=(PinItem(reference="tink-worker:v0.12.2", digest="sha256:1"),),
        ipxe=ipxe,
        action_images=("print:v1",),
        expectations=(),
        expected_verdict=None,
        deadline_s=600.0,
    )


def fault(**changes: Any) -> Fault:
    values: dict[str, Any] = {
        "place": "registry",
        "occasion": "request",
        "facts": {},
        "deed": "status",
        "parameters": {"code": 503},
        "text": "a fault",
        **changes,
    }
    return Fault(**values)


def _other(value: Any) -> Any:
    """Return another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case Path():
            return value / "x"
        case tuple():
            return (*value, *value) if value else None
        case None:
            return "something"
        case _:
            return None


@pytest.mark.parametrize("point", Point)
@pytest.mark.parametrize("name", [each.name for each in fields(Item)])
def test_whatever_is_not_on_the_list_changes_the_key(item: Item, name: str, point: Point) -> None:
    taken_out = NEVER_MATTERS | AFTER[point]
    other = _other(getattr(item, name))
    if name in ("hook", "worker", "tink", "network", "registry", "faults", "registries", "pins"):
        return  # below
    if other is None or name in ("ipxe", "tftp_assets", "smee", "iso", "python"):
        return
    changed = replace(item, **{name: other})
    same = key_of(item, point, host=HOST) == key_of(changed, point, host=HOST)
    assert same == (name in taken_out), name


@given(name=st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1), value=st.text(min_size=1))
def test_what_somebody_adds_to_the_item_is_in_the_key(name: str, value: str) -> None:
    """Whatever ``to_data`` has one day, its value is among the ingredients."""
    hidden = NEVER_MATTERS | AFTER_IPXE | {"ipxe", "tftp_assets", "smee", "names", "faults"}
    if name in hidden:
        return

    class Longer:
        faults = ()
        registries = ()
        worker_image = "w"
        hook = HookItem(origin="embedded", kernel_sha256="k", initramfs_sha256="i")
        ipxe = None
        tftp_assets = None
        smee = None
        firmware = "uefi"

        def to_data(self) -> dict[str, Any]:
            return {"worker": {}, "tink": {}, "pins": [], "faults": [], name: {"v": value}}

    longer: Any = Longer()
    for point in Point:
        assert ingredients(longer, point)[name] == {"v": value}


@pytest.mark.parametrize("point", [Point.HOOK_UP, Point.WORKER_UP])
@pytest.mark.parametrize(
    "change",
    [
        {"kernel_sha256": "other"},
        {"initramfs_sha256": "other"},
    ],
)
def test_files_of_hook_count_by_what_is_in_them(
    item: Item, point: Point, change: dict[str, Any]
) -> None:
    changed = replace(item, hook=replace(item.hook, **change))
    assert key_of(item, point, host=HOST) != key_of(changed, point, host=HOST)
    moved = replace(item, hook=replace(item.hook, kernel=Path("/elsewhere/vmlinuz")))
    assert key_of(item, point, host=HOST) == key_of(moved, point, host=HOST)


def test_boot_programs_count_by_what_is_in_them(item: Item, tmp_path: Path) -> None:
    (tmp_path / "ipxe.efi").write_bytes(b"ipxe")
    moved = replace(item, ipxe=tmp_path)
    assert key_of(item, Point.HOOK_UP, host=HOST) == key_of(moved, Point.HOOK_UP, host=HOST)
    (tmp_path / "ipxe.efi").write_bytes(b"other")
    assert key_of(item, Point.HOOK_UP, host=HOST) != key_of(moved, Point.HOOK_UP, host=HOST)


def test_registries_matter_once_they_are_asked_but_their_names_do_before(item: Item) -> None:
    other = replace(item, registry=replace(item.registry, auth="basic", certificate="expired"))
    named = replace(item, registries=(replace(item.registry, name="mirror"),))
    pinned = replace(item, pins=(PinItem(reference="tink-worker:v0.12.2", digest="sha256:2"),))
    unrelated = replace(item, pins=(*item.pins, PinItem(reference="print:v1", digest="sha256:3")))
    hook_up, worker_up = (
        {
            changed: key_of(item, point, host=HOST) != key_of(what, point, host=HOST)
            for changed, what in (
                ("registry", other),
                ("name", named),
                ("worker", pinned),
                ("action", unrelated),
            )
        }
        for point in (Point.HOOK_UP, Point.WORKER_UP)
    )
    assert hook_up == {"registry": False, "name": True, "worker": False, "action": False}
    assert worker_up == {"registry": True, "name": True, "worker": True, "action": False}


def test_points_and_hosts_have_keys_of_their_own(item: Item) -> None:
    keys = {key_of(item, point, host=HOST) for point in Point}
    keys |= {key_of(item, Point.HOOK_UP, host={**HOST, name: "x"}) for name in ("qemu", "new")}
    assert len(keys) == len(Point) + 2


def test_the_host_is_what_is_installed(item: Item) -> None:
    facts = host_facts(item)
    assert facts["qemu"]
    assert facts["flash"]
    assert facts["roms"]
    assert "cpu" not in facts
    assert host_facts(replace(item, accel="kvm"))["cpu"]["flags"]


def test_a_qemu_is_known_by_what_is_in_it(
    item: Item, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package updated in place, of the same size and with the same time."""
    program = tmp_path / "bin" / QEMU
    program.parent.mkdir()
    program.write_bytes(b"QEMU 7.2.1")
    program.chmod(0o755)
    times = program.stat()
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    cache = tmp_path / "checkpoints"
    before = host_facts(item, cache=cache)["qemu"]
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return digest_of_file(path)

    monkeypatch.setattr(keys, "digest_of_file", counted)
    assert host_facts(item, cache=cache)["qemu"] == before == digest_of_file(program)
    assert program not in read
    program.write_bytes(b"QEMU 7.2.2")
    os.utime(program, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert host_facts(item, cache=cache)["qemu"] == digest_of_file(program) != before
    assert store_in(cache).kept() == []


def test_how_the_machine_is_plugged_in_counts(item: Item, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out anew in each lab: somebody may have opened /dev/net/tun since."""
    facts = []
    for kind in SegmentKind:
        found = Choice(kind=kind)
        monkeypatch.setattr(keys, "choose", lambda _, found=found: found)
        facts.append(host_facts(item))
    assert facts[0] != facts[1]


def test_a_cpu_is_known_by_its_first_core() -> None:
    text = (
        "processor\t: 0\nmodel name\t: A\nflags\t\t: fpu vme\n\nprocessor\t: 1\nmodel name\t: B\n"
    )
    found = cpu_of(text)
    assert (found["model name"], found["flags"]) == ("A", "fpu vme")


def test_firmware_that_boots_over_http_meets_its_faults_first(item: Item) -> None:
    faulty = replace(item, faults=(fault(place="http"),))
    assert refusal(faulty, Point.IPXE) is None
    assert refusal(replace(faulty, firmware="uefi-http"), Point.IPXE)


LATER = [
    (fault(), True, True, False),
    (fault(place="tink", occasion="rpc"), True, True, True),
    (fault(place="dhcp", occasion="reply"), False, False, False),
    (fault(place="wire", occasion="frame"), False, False, False),
    (fault(place="hook", occasion="initramfs"), True, False, False),
    (fault(place="http", occasion="request"), True, False, False),
    (fault(place="ntp", occasion="reply"), True, False, False),
    (fault(place="machine", occasion="moment"), False, False, False),
    (fault(place="machine", occasion="moment", after_s=5.0), False, False, False),
    (fault(place="machine", occasion="moment", phases=("workflow",)), True, True, True),
    (fault(place="machine", occasion="moment", phases=("worker-pull",)), True, False, False),
    (
        fault(place="machine", occasion="event", facts={"event": ["tink.action.reported"]}),
        True,
        True,
        True,
    ),
    (
        fault(place="machine", occasion="event", facts={"event": ["registry.blob.served"]}),
        True,
        True,
        False,
    ),
    (fault(place="machine", occasion="event", facts={"event": ["tink.*"]}), False, False, False),
    (
        fault(place="link", occasion="event", deed="block", facts={"event": ["tink.rpc.received"]}),
        False,
        False,
        False,
    ),
    (fault(place="machine", occasion="assembly"), False, False, False),
]


@pytest.mark.parametrize(("one", "ipxe_later", "hook_later", "worker_later"), LATER)
def test_a_fault_that_may_strike_before_the_point_has_no_checkpoint(
    item: Item, one: Fault, ipxe_later: bool, hook_later: bool, worker_later: bool
) -> None:
    expected = dict(zip(Point, (ipxe_later, hook_later, worker_later), strict=True))
    faulty = replace(item, faults=(one,))
    for point in Point:
        assert comes_later(one, point) == expected[point]
        assert (refusal(faulty, point) is None) == expected[point]
        same = key_of(item, point, host=HOST) == key_of(faulty, point, host=HOST)
        assert same == expected[point]


@pytest.mark.parametrize(
    "change",
    [
        {"python": PythonItem(file=Path("t.py"), function="test_it")},
        {"iso": IsoItem(origin="embedded", path="/iso")},
        {"disks": (DiskItem(name="nvme0n1", size_bytes=1 << 20, model="nvme"),)},
        {"nics": (NicItem(mac=MAC, model="usb-net"),)},
        {"proxy": ProxyItem(port=3128)},
        {"expectations": (ExpectationItem(key="phases within", value={}, at=""),)},
    ],
)
def test_what_cannot_be_saved_is_refused_with_a_reason(item: Item, change: dict[str, Any]) -> None:
    assert all(refusal(item, point) is None for point in Point)
    assert all(refusal(replace(item, **change), point) for point in Point)


def test_the_real_smee_holds_nobody_off_but_remembers_nothing(item: Item, tmp_path: Path) -> None:
    program = tmp_path / "smee"
    program.write_bytes(b"smee")
    served = replace(item, stack="smee", smee=program)
    assert [refusal(served, point) is None for point in Point] == [False, True, True]
    before = key_of(served, Point.WORKER_UP, host=HOST)
    program.write_bytes(b"another smee")
    assert key_of(served, Point.WORKER_UP, host=HOST) != before
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"smee")
    moved = replace(served, smee=elsewhere)
    assert key_of(moved, Point.WORKER_UP, host=HOST) == before


def test_a_function_begins_where_it_says_that_it_acts_from(item: Item) -> None:
    function = PythonItem(file=Path("t.py"), function="test_it", acts_from="hook-up")
    driven = replace(item, python=function)
    assert [refusal(driven, point) is None for point in Point] == [True, True, False]
    assert key_of(driven, Point.HOOK_UP, host=HOST) == key_of(item, Point.HOOK_UP, host=HOST)


def test_a_ca_in_the_worker_is_in_the_key_of_what_has_the_worker(item: Item) -> None:
    plain = replace(item, tink=replace(item.tink, tls=True))
    trusted = replace(plain, tink=replace(plain.tink, trusted=True))
    keys = {
        point: {key_of(each, point, host=HOST) for each in (plain, trusted)}
        for point in Point
        if refusal(trusted, point) is None
    }
    assert {point: len(found) for point, found in keys.items()} == {
        Point.IPXE: 1,
        Point.HOOK_UP: 1,
        Point.WORKER_UP: 2,
    }
    assert refusal(replace(item, https="right"), Point.IPXE)
