"""Every mistake is refused before anything starts, with file, line, column and a hint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import ScenarioError, ScenarioErrors
from harness.scenario.command import load_all
from harness.scenario.resolve import load_items
from harness.scenario.tests.samples import IMAGES, ROOT

TEMPLATE = (ROOT / "fixtures" / "templates" / "hello.yaml").read_text()
GOOD = """\
scenario: Something happens
machine:
  mac: 52:54:00:12:34:56
  firmware: uefi
  disks: [{name: vda, size: 64 MiB}]
template: template.yaml
"""
HARDWARE = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Hardware
metadata: {name: one}
spec:
  interfaces:
    - dhcp: {mac: "52:54:00:12:34:56", ip: {address: 192.168.77.10}}
"""
WORKFLOW = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Workflow
metadata: {name: hello}
spec:
  templateRef: hello
  hardwareRef: two
  hardwareMap: {device_1: "52:54:00:12:34:56"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a template, which is the current folder."""
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "mine.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(text: str = GOOD, **files: str) -> str:
    """Write ``mine.yaml`` and other files; return what is said about them."""
    Path("mine.yaml").write_text(text)
    for name, content in files.items():
        Path(f"{name}.yaml").write_text(content)
    with pytest.raises(ScenarioError) as caught:
        load_items(Path("mine.yaml"), known_images=IMAGES)
    return str(caught.value)


@pytest.mark.usefixtures("folder")
def test_the_text_the_tests_start_from_is_good() -> None:
    [item] = load_items(Path("mine.yaml"), known_images=IMAGES)
    assert item.id == "mine[uefi]"


EDITS = {
    "unknown key": (
        "firmware: uefi",
        "firmwares: uefi",
        "mine.yaml:4:3: unknown key 'firmwares' in machine\n"
        "    did you mean 'firmware'? known here: mac, firmware, memory, cpus, accel, nic, nics, "
        "disks, boot",
    ),
    "unknown key at the top": (
        "template:",
        "templates: x\ntemplate:",
        "mine.yaml:6:1: unknown key 'templates' in the document\n"
        "    did you mean 'template'? known here: scenario, report, base, hook, machine, worker, "
        "stack, template, hardware, workflow, registry, registries, tink, dhcp, generation, tftp, "
        "http, iso, network, ntp, proxy, profile, shortcuts, kernel args, images, faults, seed, "
        "absent images, segment, deadline, nightly, start, expect, verdict, twin",
    ),
    "duplicate key": (
        "  firmware: uefi\n",
        "  firmware: uefi\n  mac: 52:54:00:12:34:57\n",
        "mine.yaml:5:3: the key 'mac' is given twice\n    it was given at mine.yaml:3:3 already",
    ),
    "bad MAC": (
        "52:54:00:12:34:56",
        "52:54:00:12:34",
        "mine.yaml:3:8: machine.mac: expected a MAC address such as '52:54:00:12:34:56' "
        "(six octets), found '52:54:00:12:34'",
    ),
    "multicast MAC": (
        "52:54:00:12:34:56",
        "53:54:00:12:34:56",
        "mine.yaml:3:8: machine.mac: 53:54:00:12:34:56 is a group address: the lowest bit of the "
        "first octet must be 0, as in 52:54:00:12:34:56",
    ),
    "MAC that is a number": (
        "52:54:00:12:34:56",
        "525400123456",
        "mine.yaml:3:8: machine.mac: expected a MAC address such as '52:54:00:12:34:56' "
        "(six octets), found 525400123456",
    ),
    "no MAC": (
        "  mac: 52:54:00:12:34:56\n",
        "",
        "mine.yaml:2:1: 'mac' is missing in machine\n"
        "    known here: mac, firmware, memory, cpus, accel, nic, nics, "
        "disks, boot",
    ),
    "unknown firmware": (
        "firmware: uefi",
        "firmware: [bios, uefy]",
        "mine.yaml:4:20: machine.firmware[1]: 'uefy' is not known\n"
        "    did you mean 'uefi'? known here: bios, uefi, uefi-http",
    ),
    "one unknown firmware": (
        "firmware: uefi",
        "firmware: uefy",
        "mine.yaml:4:13: machine.firmware: 'uefy' is not known\n"
        "    did you mean 'uefi'? known here: bios, uefi, uefi-http",
    ),
    "size without a meaning": (
        "64 MiB",
        "64 bananas",
        "mine.yaml:5:29: machine.disks[0].size: expected a size such as '2 GiB' or '64 MiB', "
        "found '64 bananas'",
    ),
    "none of the NICs is the machine's": (
        "  firmware: uefi\n",
        "  firmware: uefi\n  nics: [{mac: 52:54:00:00:00:01}]\n",
        "mine.yaml:3:3: machine: none of 'nics' has the machine's MAC address 52:54:00:12:34:56\n"
        "    MAC addresses there: 52:54:00:00:00:01",
    ),
    "two NICs with one address": (
        "  firmware: uefi\n",
        "  nics: [{mac: 52:54:00:12:34:56}, {mac: 52:54:00:12:34:56}]\n",
        "mine.yaml:3:3: machine: two of 'nics' have the same MAC address",
    ),
    "a NIC that can't netboot": (
        "  firmware: uefi\n",
        "  nic: usb-net\n",
        "mine.yaml:4:8: no firmware here can boot from a NIC of model usb-net\n"
        "    these can: e1000, e1000e, i82551, ne2k_pci, pcnet, rtl8139, virtio-net-pci, vmxnet3; "
        "or say by machine.boot what the machine boots from",
    ),
    "a boot device that is not there": (
        "  firmware: uefi\n",
        "  boot: [nic, vdb]\n",
        "mine.yaml:4:15: machine.boot: the machine has no 'vdb'\n"
        "    did you mean 'vda'? known here: nic, 52:54:00:12:34:56, vda",
    ),
    "an ISO that nobody spoke of": (
        "  firmware: uefi\n",
        "  boot: [iso]\n",
        "mine.yaml:4:10: machine.boot: the machine has no 'iso'\n"
        "    say by the key iso what is in its CD drive",
    ),
    "an ISO that is not there": (
        "template:",
        "iso: {source: no.iso}\ntemplate:",
        "mine.yaml:6:15: iso.source: there is no file no.iso",
    ),
    "assets that are not there": (
        "template:",
        "tftp: {assets: none}\ntemplate:",
        "mine.yaml:6:16: tftp.assets: there is no folder none",
    ),
    "a boot device that is listed twice": (
        "  firmware: uefi\n",
        "  boot: [nic, 52-54-00-12-34-56]\n",
        "mine.yaml:4:15: machine.boot: 52:54:00:12:34:56 is listed twice",
    ),
    "a disk that the guest calls otherwise": (
        "{name: vda, size: 64 MiB}",
        "{name: vda, size: 64 MiB, model: nvme}",
        "mine.yaml:5:11: machine.disks[0]: the guest calls a disk of model nvme such as 'nvme0n1'",
    ),
    "disks whose order is chance": (
        "{name: vda, size: 64 MiB}",
        "{name: sda, size: 1 MiB}, {name: sdb, size: 1 MiB, model: pvscsi}",
        "mine.yaml:5:10: machine.disks: which of ahci and pvscsi the guest calls sda is chance: "
        "give all sd disks one model",
    ),
    "disks out of order": (
        "name: vda",
        "name: vdb",
        "mine.yaml:5:10: machine.disks: the guest would call disk 'vdb' 'vda': list disks in order",
    ),
    "too little memory": (
        "firmware: uefi",
        "memory: 64 MiB",
        "mine.yaml:4:11: machine.memory: memory is whole MiB, at least 512 MiB: "
        "Hook unpacks into it",
    ),
    "missing template": (
        "template.yaml",
        "templat.yaml",
        "mine.yaml:6:11: template: there is no file templat.yaml\n"
        "    did you mean 'template.yaml'? known here: mine.yaml, template.yaml",
    ),
    "missing base": (
        "scenario:",
        "base: ../none.yaml\nscenario:",
        "mine.yaml:1:7: base: there is no file ../none.yaml\n    the path is relative to this file",
    ),
    "base in a circle": (
        "scenario:",
        "base: mine.yaml\nscenario:",
        "mine.yaml:1:7: base: mine.yaml is based on this file",
    ),
    "missing Hook": (
        "template:",
        "hook: ../hook\ntemplate:",
        "mine.yaml:6:7: hook: ../hook does not exist\n"
        "    say 'embedded', or name a folder, tarball, ISO or Hook checkout",
    ),
    "unknown worker": (
        "template:",
        "worker: tink-worker-v0.12.2\ntemplate:",
        "mine.yaml:6:9: worker: there is no worker 'tink-worker-v0.12.2'\n"
        "    did you mean 'tink-worker@v0.12.2'? known here: tink-worker@v0.12.2, "
        "tink-agent@v0.25.0, tink-worker:v0.12.2",
    ),
    "image that is no layout": (
        "template:",
        "images: {mine:v1: template.yaml}\ntemplate:",
        "mine.yaml:6:19: images: template.yaml is no image, and nothing one is made of\n"
        "    an OCI image layout, a tar of docker save or skopeo, a static program, or a folder "
        "with a Go program or a root file system",
    ),
    "duration without a unit": (
        "template:",
        "deadline: 90\ntemplate:",
        "mine.yaml:6:11: deadline: expected a duration such as '250ms', '30 s' or '5 min', "
        "found 90",
    ),
    "a home that is nobody's": (
        "template:",
        "hook: ~nobody-of-this-name/hook\ntemplate:",
        "mine.yaml:6:7: ~nobody-of-this-name/hook: nobody knows where that home is",
    ),
    "no time at all": (
        "template:",
        "deadline: 0 s\ntemplate:",
        "mine.yaml:6:11: deadline: expected a duration above 0",
    ),
    "address outside": (
        "template:",
        "network: {machine: 10.0.0.1}\ntemplate:",
        "mine.yaml:6:20: network.machine: 10.0.0.1 is no host address of 192.168.77.0/24",
    ),
    "same address twice": (
        "template:",
        "network: {machine: 192.168.77.1}\ntemplate:",
        "mine.yaml:6:20: network: server and machine have the same address 192.168.77.1",
    ),
    "credentials nobody asks for": (
        "template:",
        "registry: {username: me}\ntemplate:",
        "mine.yaml:6:11: registry: username and password need 'auth: basic' or 'auth: bearer'",
    ),
    "kernel argument that is not there": (
        "template:",
        "kernel args: {insecure: null}\ntemplate:",
        "mine.yaml:6:15: kernel args: 'insecure' can't be taken away: it is not there by default\n"
        "    there by default: docker_registry, tink_worker_image, insecure_registries, console",
    ),
    "kernel argument of smee's": (
        "template:",
        "kernel args: {worker_id: null}\ntemplate:",
        "mine.yaml:6:15: kernel args: 'worker_id' can't be taken away: smee writes it always\n"
        "    there by default: docker_registry, tink_worker_image, insecure_registries, console",
    ),
    "kernel argument with a space": (
        "template:",
        "kernel args: {a: b c}\ntemplate:",
        "mine.yaml:6:18: kernel args.a: a kernel argument can't hold a space, found 'b c'",
    ),
    "placeholder nobody fills": (
        "template:",
        'kernel args: {a: "{{ registry.adress }}"}\ntemplate:',
        "mine.yaml:6:18: kernel args: there is no {{ registry.adress }}\n"
        "    did you mean 'registry.address'? known here: registry.address, server.address, "
        "tink.address, machine.mac",
    ),
    "unknown expectation": (
        "template:",
        "expect:\n  - worker pulls: once\ntemplate:",
        "mine.yaml:7:5: expect[0]: unknown key 'worker pulls'\n"
        "    did you mean 'worker pulled'? known here: worker pulled, actions, disk NAME, "
        "workflow, event, no event, console, phases within",
    ),
    "two expectations in one": (
        "template:",
        "expect:\n  - workflow: SUCCESS\n    console: x\ntemplate:",
        "mine.yaml:7:5: expect[0]: each entry says one thing, found 'workflow' and 'console'\n"
        "    start each with its own '-'",
    ),
    "expectation about another action": (
        "template:",
        "expect:\n  - actions: [print, wirte]\ntemplate:",
        "mine.yaml:7:22: the template has no action 'wirte'\n"
        "    did you mean 'write'? known here: print, write, read, disk",
    ),
    "expectation about another disk": (
        "template:",
        "expect:\n  - disk vdb: {text: X}\ntemplate:",
        "mine.yaml:7:5: the machine has no disk 'vdb'\n    did you mean 'vda'? known here: vda",
    ),
    "disk that holds nothing": (
        "template:",
        "expect:\n  - disk vda: {at: 0}\ntemplate:",
        "mine.yaml:7:15: expect[0].disk vda: say what the disk holds by one of text, hex or sha256",
    ),
    "unknown event": (
        "template:",
        "expect:\n  - event: dhcp.offer.send\ntemplate:",
        "mine.yaml:7:12: there is no event 'dhcp.offer.send'\n    did you mean 'dhcp.offer.sent'?",
    ),
    "unknown field of an event": (
        "template:",
        "expect:\n  - no event: {name: guest.panicked, where: {lines: x}}\ntemplate:",
        "mine.yaml:7:46: guest.panicked has no field 'lines'\n"
        "    did you mean 'line'? known here: line, console",
    ),
    "how often": (
        "template:",
        "expect:\n  - worker pulled: often\ntemplate:",
        "mine.yaml:7:20: expect[0].worker pulled: expected 'once', 'never' or a number, "
        "found 'often'",
    ),
    "time for what takes none": (
        "template:",
        "expect:\n  - phases within: {done: 3 s}\ntemplate:",
        "mine.yaml:7:27: expect[0].phases within.done: done takes no time\n"
        "    known here: firmware-dhcp, nbp-download, ipxe, kernel-initramfs, hook-boot, "
        "worker-pull, workflow, disk-boot",
    ),
    "time for nothing": (
        "template:",
        "expect:\n  - phases within: {}\ntemplate:",
        "mine.yaml:7:5: expect[0]: 'phases within' says nothing",
    ),
    "time beyond measure": (
        "template:",
        "deadline: 99999999999 h\ntemplate:",
        "mine.yaml:6:11: deadline: expected a duration of at most a thousand years, "
        "found '99999999999 h'",
    ),
    "nobody's password": (
        "template:",
        "proxy: {password: p=w}\ntemplate:",
        "mine.yaml:6:8: proxy: 'password' is nobody's\n    say its 'user', too",
    ),
    "unknown phase": (
        "template:",
        "verdict: {failed in: worker-pul}\ntemplate:",
        "mine.yaml:6:22: verdict.failed in: 'worker-pul' is not known\n"
        "    did you mean 'worker-pull'? known here: power-on, firmware-dhcp, nbp-download, ipxe, "
        "kernel-initramfs, hook-boot, worker-pull, workflow, disk-boot, done",
    ),
    "unknown verdict": (
        "template:",
        "verdict: pass\ntemplate:",
        "mine.yaml:6:10: verdict: 'pass' is not known\n"
        "    did you mean 'passed'? known here: passed",
    ),
    "not YAML": (
        "template:",
        "hook: [\ntemplate:",
        "mine.yaml:8:1: not YAML: expected ',' or ']', but got '<stream end>'\n"
        "    a bracket or quote is not closed",
    ),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("old", "new", "said"), EDITS.values(), ids=EDITS)
def test_refused(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert refused(GOOD.replace(old, new, 1)) == said


@pytest.mark.usefixtures("folder")
def test_several_mistakes_are_told_at_once_in_order() -> None:
    text = GOOD.replace("uefi", "efi").replace("52:54:00:12:34:56", "no").replace("64 MiB", "x")
    Path("mine.yaml").write_text(text)
    with pytest.raises(ScenarioErrors) as caught:
        load_items(Path("mine.yaml"), known_images=IMAGES)
    assert [error.at and error.at.line for error in caught.value.errors] == [3, 4, 5]


@pytest.mark.usefixtures("folder")
def test_no_such_file() -> None:
    with pytest.raises(ScenarioError) as caught:
        load_items(Path("min.yaml"), known_images=IMAGES)
    assert str(caught.value) == (
        "min.yaml:1:1: there is no such file\n    YAML files in .: mine.yaml, template.yaml"
    )


@pytest.mark.usefixtures("folder")
def test_a_mistake_in_the_base_is_shown_in_the_base() -> None:
    assert refused(
        "scenario: Mine\nbase: lower.yaml\nmachine: {mac: 52:54:00:00:00:01}\n",
        lower=GOOD.replace("uefi", "efi"),
    ).startswith("lower.yaml:4:13: machine.firmware: 'efi' is not known")


@pytest.mark.usefixtures("folder")
def test_a_workflow_that_names_an_unknown_hardware() -> None:
    text = GOOD + "hardware: hardware.yaml\nworkflow: workflow.yaml\n"
    assert refused(text, hardware=HARDWARE, workflow=WORKFLOW) == (
        "workflow.yaml:6:16: there is no hardware 'two' in namespace default\n    known here: one"
    )


@pytest.mark.usefixtures("folder")
def test_a_workflow_that_names_an_unknown_template() -> None:
    workflow = WORKFLOW.replace("Ref: hello", "Ref: helo").replace("Ref: two", "Ref: one")
    text = GOOD + "hardware: hardware.yaml\nworkflow: workflow.yaml\n"
    assert refused(text, hardware=HARDWARE, workflow=workflow) == (
        "workflow.yaml:5:16: there is no template 'helo' in namespace default\n"
        "    did you mean 'hello'? known here: hello"
    )


@pytest.mark.usefixtures("folder")
def test_hardware_without_the_machine() -> None:
    hardware = HARDWARE.replace(":56", ":57")
    assert refused(GOOD + "hardware: hardware.yaml\n", hardware=hardware) == (
        "mine.yaml:3:8: machine.mac: there is no Hardware with 52:54:00:12:34:56 in hardware.yaml\n"
        "    MAC addresses there: 52:54:00:12:34:57"
    )


@pytest.mark.usefixtures("folder")
def test_duplicate_mac() -> None:
    hardware = f"{HARDWARE}---\n{HARDWARE.replace('name: one', 'name: two')}"
    assert refused(GOOD + "hardware: hardware.yaml\n", hardware=hardware) == (
        "hardware.yaml:13:19: the MAC address 52:54:00:12:34:56 is given twice\n"
        "    it was given at hardware.yaml:6:19 already"
    )


@pytest.mark.usefixtures("folder")
def test_the_wrong_kind_of_file() -> None:
    assert refused(GOOD + "hardware: template.yaml\n") == (
        "mine.yaml:7:11: hardware: template.yaml holds Template\n    expected Hardware only"
    )


TEMPLATE_EDITS = {
    "does not parse": (
        "        actions:\n",
        "        actions: ]\n",
        "template.yaml:18:18: not YAML: expected the node content, but found ']'",
    ),
    "Go template": (
        '"{{.device_1}}"\n        volumes',
        '"{{.device_2}}"\n        volumes',
        "template.yaml:13:20: map has no entry for key 'device_2'\n    did you mean 'device_1'?",
    ),
    "unknown key": (
        "            timeout: 120\n",
        "            timout: 120\n",
        "template.yaml:21:13: unknown key 'timout' in tasks[0].actions[0]\n"
        "    did you mean 'timeout'?",
    ),
    "image that does not exist": (
        "image: write:v1",
        "image: wirte:v1",
        "template.yaml:24:20: the lab's registry has no image 'wirte:v1'\n"
        "    did you mean 'write:v1'? known here: disk:v1, print:v1, read:v1, ",
    ),
    "untagged image that does not exist": (
        "image: write:v1",
        "image: write",
        "template.yaml:24:20: the lab's registry has no image 'write'\n"
        "    did you mean 'write:v1'?",
    ),
    "worker that is no machine": (
        '"{{.device_1}}"\n        volumes',
        '"52:54:00:12:34:57"\n        volumes',
        "template.yaml:13:17: task 'hello' is for worker 52:54:00:12:34:57, which no machine here "
        "is\n    the only worker is 52:54:00:12:34:56: the machine's MAC, byte by byte",
    ),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("old", "new", "said"), TEMPLATE_EDITS.values(), ids=TEMPLATE_EDITS)
def test_template_refused(old: str, new: str, said: str) -> None:
    assert old in TEMPLATE
    found = refused(template=TEMPLATE.replace(old, new, 1))
    assert found.startswith(said), found


@pytest.mark.usefixtures("folder")
def test_a_boot_that_must_fail_may_name_a_strange_worker() -> None:
    template = TEMPLATE.replace('worker: "{{.device_1}}"', "worker: nobody")
    Path("template.yaml").write_text(template)
    Path("mine.yaml").write_text(GOOD + "verdict: {failed in: workflow}\n")
    assert load_items(Path("mine.yaml"), known_images=IMAGES)


@pytest.mark.usefixtures("folder")
def test_no_bytes_at_all_end_in_a_traceback() -> None:
    for raw in (b"", b"\xff\xfe", b"[]", b"scenario: 7", b"scenario: &a [*a]", b"\x00", b"- a"):
        Path("mine.yaml").write_bytes(raw)
        with pytest.raises(ScenarioError):
            load_items(Path("mine.yaml"), known_images=IMAGES)


def test_what_is_no_file_is_told_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    with pytest.raises(ScenarioError, match=r"^pipe\.yaml:1:1: a pipe, and no file\n"):
        load_all([Path("pipe.yaml")])
    words = refused(GOOD.replace("template.yaml", "pipe.yaml"))
    assert words.startswith("mine.yaml:6:11: template: there is no file pipe.yaml")


def test_a_folder_with_what_can_not_be_read(folder: Path) -> None:
    below = folder / "below"
    (below / "folder.yaml").mkdir(parents=True)
    os.mkfifo(below / "pipe.yaml")
    with pytest.raises(ScenarioError, match="no scenario in this folder"):
        load_all([below])
    (below / "link.yaml").symlink_to("nowhere")
    with pytest.raises(ScenarioError, match=r"link\.yaml:1:1: there is no such file"):
        load_all([below])
