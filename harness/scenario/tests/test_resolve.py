"""What follows from a scenario that says little, and what can be said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fake_tink_server.catalog import Catalog
from harness.errors import ScenarioError
from harness.scenario.item import Item
from harness.scenario.resolve import load_items
from harness.scenario.tests.samples import HELLO, IMAGES, MAC, hello


def resolved(**changes: Any) -> Item:
    """Return hello with changes laid over it, UEFI."""
    machine = {"firmware": "uefi", **changes.pop("machine", {})}
    keys = {key.replace("_", " "): value for key, value in changes.items()}
    [item] = load_items(HELLO, known_images=IMAGES, changes={"machine": machine, **keys})
    return item


def test_a_list_of_firmware_makes_one_item_each() -> None:
    items = load_items(HELLO, known_images=IMAGES)
    assert [item.id for item in items] == ["hello[bios]", "hello[uefi]"]


def test_everything_follows() -> None:
    item = hello()
    assert item.kernel_args == (
        "docker_registry=192.168.77.1:5000",
        "tink_worker_image=192.168.77.1:5000/tink-worker:v0.12.2",
        "insecure_registries=192.168.77.1:5000",
        "console=ttyS0,115200",
    )
    assert (item.network.server, item.network.machine) == ("192.168.77.1", "192.168.77.10")
    assert item.action_images == ("print:v1", "write:v1", "read:v1", "disk:v1")
    assert item.hook.origin == "embedded"
    assert item.hook.kernel is None
    assert (item.memory_mib, item.cpus, item.deadline_s) == (2048, None, 600.0)


def test_the_objects_are_the_machines(tmp_path: Path) -> None:
    item = hello()
    catalog = Catalog()
    for text in (item.hardware_yaml, item.template_yaml, item.workflow_yaml):
        catalog.add(text, file=tmp_path)
    [job] = catalog.jobs()
    assert [task.worker for task in job.run.tasks] == [MAC]
    [hardware] = catalog.hardware.values()
    [interface] = hardware.object.spec.interfaces
    assert interface.dhcp
    assert interface.dhcp.mac == MAC
    assert interface.dhcp.uefi
    assert interface.dhcp.ip
    assert interface.dhcp.ip.address == "192.168.77.10"


def test_credentials_reach_the_kernel_command_line() -> None:
    item = resolved(registry={"auth": "basic", "password": "s3cret"})
    assert {"registry_username=hook", "registry_password=s3cret"} <= set(item.kernel_args)


def test_kernel_args_are_laid_over_the_defaults() -> None:
    item = resolved(
        kernel_args={
            "insecure_registries": None,
            "docker_registry": "{{ server.address }}:1",
            "quiet": "",
            "debug": 1,
        }
    )
    assert item.kernel_args == (
        "docker_registry=192.168.77.1:1",
        "tink_worker_image=192.168.77.1:5000/tink-worker:v0.12.2",
        "console=ttyS0,115200",
        "quiet",
        "debug=1",
    )


def test_addresses_follow_the_subnet() -> None:
    item = resolved(network={"subnet": "10.1.2.0/29"})
    assert (item.network.server, item.network.machine) == ("10.1.2.1", "10.1.2.2")
    assert item.registry.address == "10.1.2.1:5000"
    assert "10.1.2.2" in item.hardware_yaml


def test_a_mac_in_capitals_with_dashes_is_the_same_machine() -> None:
    assert resolved(machine={"mac": "52-54-00-AB-CD-EF"}).mac == "52:54:00:ab:cd:ef"


def test_expectations_know_where_they_are_written() -> None:
    lines = HELLO.read_text().splitlines()
    for expectation in hello().expectations:
        file, line, column = expectation.at.rsplit(":", 2)
        assert Path(file) == HELLO
        assert lines[int(line) - 1][int(column) - 1 :].startswith(expectation.key)


def test_an_expected_verdict() -> None:
    item = resolved(verdict={"failed in": "worker-pull", "blame": "registry", "because": "*x*"})
    assert item.expected_verdict
    assert item.expected_verdict.failed_in == "worker-pull"
    assert (item.expected_verdict.blame, item.expected_verdict.because) == ("registry", "*x*")


def test_a_hook_of_the_users_own(tmp_path: Path) -> None:
    pytest.importorskip("harness.hook.files")
    (tmp_path / "vmlinuz-x86_64").write_bytes(b"k")
    (tmp_path / "initramfs-x86_64").write_bytes(b"i")
    item = resolved(hook=str(tmp_path))
    assert item.hook.kernel == tmp_path / "vmlinuz-x86_64"
    assert item.hook.initramfs == tmp_path / "initramfs-x86_64"


def test_more_images_and_another_worker(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text("{}")
    (tmp_path / "index.json").write_text("{}")
    item = resolved(images={"my-worker": str(tmp_path)}, worker="my-worker:latest")
    assert item.worker_image == "my-worker:latest"
    assert [(image.reference, image.layout) for image in item.images] == [
        ("my-worker:latest", tmp_path)
    ]


def test_a_base_is_laid_under_and_files_are_relative_to_where_they_are_named(
    tmp_path: Path,
) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    (deep / "derived.yaml").write_text(
        "scenario: Another\nbase: ../base.yaml\nmachine: {mac: 52:54:00:00:00:01}\n"
    )
    (tmp_path / "base.yaml").write_text(
        f"scenario: Base\ntemplate: {HELLO.parent / '../fixtures/templates/hello.yaml'}\n"
        "machine: {mac: 52:54:00:00:00:02, firmware: bios}\nreport: F50\n"
    )
    [item] = load_items(deep / "derived.yaml", known_images=IMAGES)
    assert (item.name, item.title, item.mac, item.firmware, item.report) == (
        "derived",
        "Another",
        "52:54:00:00:00:01",
        "bios",
        "F50",
    )


def test_tinkerbells_release_is_the_workers_unless_it_is_named() -> None:
    assert resolved().tink.release == "v0.12.2"
    assert resolved(worker="tink-agent@v0.25.0").tink.release == "v0.25.0"
    assert resolved(tink={"release": "v0.25.0"}).tink.release == "v0.25.0"


def test_a_proxy_has_a_server_of_addresses_beside_it() -> None:
    plain = resolved()
    assert (plain.dhcp_mode, plain.network.addresses) == ("reservation", "")
    proxy = resolved(dhcp={"mode": "auto-proxy"}, generation=2025)
    assert (proxy.dhcp_mode, proxy.network.addresses) == ("auto-proxy", "192.168.77.2")
    assert proxy.generation == "2025"
    with pytest.raises(ScenarioError, match="taken by another"):
        resolved(dhcp={"mode": "proxy"}, network={"addresses": "192.168.77.1"})


@pytest.mark.parametrize(
    ("fault", "segment"),
    [
        ({"at": "wire", "do": "drop"}, "wire"),
        ({"at": "link", "do": {"block": "5 s"}}, "wire"),
        ({"at": "link", "do": "down"}, "auto"),
    ],
)
def test_faults_of_frames_take_the_segment_that_can_do_them(
    fault: dict[str, Any], segment: str
) -> None:
    assert resolved(faults=[fault]).segment == segment


def test_faults_of_frames_are_refused_on_a_segment_that_is_the_kernels() -> None:
    with pytest.raises(ScenarioError, match="frames pass through the kernel, out of reach"):
        resolved(segment="bridge", faults=[{"at": "wire", "do": "drop"}])


def test_a_fault_of_a_disk_names_one_that_is_there() -> None:
    broken = {"at": "machine", "do": {"broken": "write"}}
    assert resolved(faults=[broken]).faults[0].parameters == {"what": "write"}
    with pytest.raises(ScenarioError, match="faults: the machine has no disk 'vdb'") as caught:
        resolved(faults=[{"at": "machine", "do": {"slow": {"octets_per_s": 1, "disk": "vdb"}}}])
    assert caught.value.hint == "did you mean 'vda'? known here: vda"


FIRST, SECOND = "52:54:00:00:00:01", "52:54:00:00:00:02"


def test_a_machine_with_several_nics() -> None:
    nics = [
        {"mac": FIRST, "model": "usb-net", "link": False},
        {"mac": SECOND, "address": "192.168.77.99"},
        {"mac": MAC, "model": "e1000"},
        {"mac": "52:54:00:00:00:03", "network": "empty"},
        {"mac": "52:54:00:00:00:04", "address": "none"},
    ]
    item = resolved(machine={"nics": nics})
    assert [(nic.mac, nic.place, nic.address) for nic in item.nics] == [
        (FIRST, None, "192.168.77.11"),
        (SECOND, None, "192.168.77.99"),
        (MAC, 1, "192.168.77.10"),
        ("52:54:00:00:00:03", None, ""),
        ("52:54:00:00:00:04", None, ""),
    ]
    assert [(disk.name, disk.model, disk.place) for disk in item.disks] == [
        ("vda", "virtio-blk", 2)
    ]
    catalog = Catalog()
    catalog.add(item.hardware_yaml, file=Path("hardware.yaml"))
    [hardware] = catalog.hardware.values()
    found = [
        (each.dhcp.mac, each.dhcp.ip.address, each.netboot.allow_pxe)
        for each in hardware.object.spec.interfaces
        if each.dhcp and each.dhcp.ip and each.netboot
    ]
    assert found == [
        (MAC, "192.168.77.10", True),
        (FIRST, "192.168.77.11", False),
        (SECOND, "192.168.77.99", False),
    ]


def test_what_the_firmware_tries() -> None:
    nics = [{"mac": FIRST}, {"mac": MAC}]
    disks = [{"name": "sda", "size": "1 MiB"}, {"name": "nvme0n1", "size": "1 MiB"}]
    item = resolved(
        machine={"nics": nics, "disks": disks, "boot": ["nvme0n1", FIRST.upper(), "nic"]},
        expect=[{"workflow": "SUCCESS"}],
    )
    assert {nic.mac: nic.place for nic in item.nics} == {FIRST: 2, MAC: 3}
    assert [(d.name, d.model, d.place) for d in item.disks] == [
        ("sda", "ahci", None),
        ("nvme0n1", "nvme", 1),
    ]


def test_an_iso_is_what_the_firmware_tries_first(tmp_path: Path) -> None:
    item = resolved(iso={"static ipam": True})
    assert item.iso
    assert (item.iso.origin, item.iso.file, item.iso.place) == ("embedded", None, 1)
    assert (item.iso.path, item.iso.static_ipam) == (f"/iso/{MAC}/hook.iso", True)
    assert [nic.place for nic in item.nics] == [2]
    own = tmp_path / "own.iso"
    own.touch()
    item = resolved(machine={"firmware": "bios", "boot": ["nic"]}, iso={"source": str(own)})
    assert item.iso
    assert (item.iso.file, item.iso.place) == (own, None)
    assert resolved().iso is None


def test_assets_and_proxies(tmp_path: Path) -> None:
    item = resolved(
        tftp={"assets": str(tmp_path), "over http": True},
        http={"trusted proxies": ["10.0.0.0/8", "192.168.77.9/32"]},
    )
    assert (item.tftp_assets, item.tftp_over_http) == (tmp_path, True)
    assert item.trusted_proxies == ("10.0.0.0/8", "192.168.77.9/32")


def test_a_machine_without_hardware_needs_an_auto_proxy() -> None:
    item = resolved(hardware="none", dhcp={"mode": "auto-proxy"})
    assert item.hardware_yaml == ""
    catalog = Catalog()
    for text in (item.template_yaml, item.workflow_yaml):
        catalog.add(text, file=Path("x.yaml"))
    [job] = catalog.jobs()
    assert ([task.worker for task in job.run.tasks], job.run.hardware) == ([MAC], "")
    with pytest.raises(ScenarioError, match=f"hardware: without one nobody answers {MAC}"):
        resolved(hardware="none")
    failing = {"failed in": "firmware-dhcp"}
    assert resolved(hardware="none", verdict=failing).hardware_yaml == ""
