"""Objects from files, references between them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_tink_server.catalog import Catalog
from fake_tink_server.derive import as_yaml, hardware_for, object_name, workflow_for
from fake_tink_server.gotemplate import render
from fake_tink_server.goview import go_name, template_data
from fake_tink_server.objects import Hardware, Template
from harness.errors import ScenarioError

MAC = "52:54:00:00:00:01"
TEMPLATE = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Template
metadata: {name: t}
spec:
  data: |
    name: t
    global_timeout: 600
    tasks:
      - name: one
        worker: "{{.device_1}}"
        actions:
          - {name: a, image: print:v1, timeout: 60}
"""
HARDWARE = f"""\
apiVersion: tinkerbell.org/v1alpha1
kind: Hardware
metadata: {{name: h}}
spec:
  interfaces:
    - dhcp: {{mac: {MAC}}}
"""
WORKFLOW = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Workflow
metadata: {name: w}
spec:
  templateRef: t
  hardwareRef: h
  hardwareMap: {device_1: MAC}
""".replace("MAC", MAC)


def read_and_render(*texts: str) -> None:
    catalog = Catalog()
    for number, text in enumerate(texts):
        catalog.add(text, file=Path(f"{number}.yaml"))
    catalog.jobs()


def refusal(*texts: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        read_and_render(*texts)
    return str(caught.value).replace("\n    ", " | ")


def test_one_file_with_everything_and_more() -> None:
    catalog = Catalog()
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
    catalog.add(f"{HARDWARE}---\n{TEMPLATE}---\n{WORKFLOW}---\n{secret}")
    [job] = catalog.jobs()
    assert job.run.id == "default/w"
    assert job.run.workers == [MAC]
    assert job.hardware is not None
    assert job.hardware.object.metadata.name == "h"
    assert catalog.ignored == ["Secret"]
    assert job.warnings == []


DISKS = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Template
metadata:
  name: disks
  namespace: default
spec:
  data: |
    version: "0.1"
    name: disks
    global_timeout: 900
    tasks:
      - name: disks
        worker: "{{.device_1}}"
        volumes:
          - /dev:/dev
        environment:
          MAC: {{ .device_1 | replace ":" "-" | quote }}
        actions:
          - name: disk
            image: disk:v1
            timeout: 120
            environment:
              DISK: {{ index .Hardware.Disks 0 }}
              TEXT: {{ (index .Hardware.Interfaces 0).DHCP.IP.Address }}
          - name: print
            image: print:v1
            timeout: 120
            command:
              - "first partition: {{ formatPartition (index .Hardware.Disks 0) 1 }}"
"""
"""The functions as real templates use them: disk and address come from the Hardware."""


def test_the_fixtures_are_good() -> None:
    fixtures = Path(__file__).parents[2] / "fixtures"
    catalog = Catalog()
    for name in ("hardware/lab-machine.yaml", "templates/hello.yaml", "workflows/hello.yaml"):
        catalog.add(fixtures / name)
    [template] = catalog.add(DISKS, file=Path("disks.yaml"))
    hardware = catalog.hardware["default", "lab-machine"].object
    catalog.add_object(workflow_for(name="d", template=template, hardware=hardware))
    hello, disks = catalog.jobs()
    assert [action.name for _, action in hello.run.actions] == ["print", "write", "read", "disk"]
    disk, words = (action for _, action in disks.run.actions)
    assert disk.environment == {"DISK": "/dev/vda", "TEXT": "192.168.77.10"}
    assert words.command == ["first partition: /dev/vda1"]
    assert disks.run.tasks[0].environment == {"MAC": "52-54-00-12-34-56"}
    assert hello.warnings == disks.warnings == []


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([TEMPLATE, WORKFLOW], "1.yaml:6:16: there is no hardware 'h' in namespace default | no"),
        (
            [HARDWARE, TEMPLATE, WORKFLOW.replace("Ref: t", "Ref: tt")],
            "2.yaml:5:16: there is no template 'tt' in namespace default | did you mean 't'?",
        ),
        (
            [HARDWARE, TEMPLATE, WORKFLOW.replace("device_1", "device_2")],
            "1.yaml:10:20: map has no entry for key 'device_1' | did you mean 'device_2'? known",
        ),
        ([HARDWARE, HARDWARE], "1.yaml:6:19: the MAC address 52:54:00:00:00:01 is given twice"),
        ([TEMPLATE, TEMPLATE], "1.yaml:3:18: there is a Template default/t already | it stands at"),
        ([HARDWARE.replace(MAC, "52:54")], "0.yaml:6:19: spec.interfaces[0].dhcp.mac: '52:54' is"),
        ([HARDWARE.replace("mac:", "macs:")], "0.yaml:6:14: unknown key 'macs' in spec.interfaces"),
        ([HARDWARE.replace("name: h", "name: H_")], "0.yaml:3:18: metadata.name: 'H_' is no"),
        ([TEMPLATE.replace("v1alpha1", "v1alpha2")], "0.yaml:1:13: apiVersion: "),
        ([TEMPLATE.replace("Template", "Templat")], "0.yaml:2:7: the kind 'Templat' is not known"),
        (["name: t\ntasks: []\n"], "0.yaml:1:1: 'kind' is missing | this looks like a template"),
        (["- 1\n"], "0.yaml:1:1: expected a Tinkerbell object"),
        (["# nothing\n"], "0.yaml:1:1: there is nothing in here"),
    ],
)
def test_refusals(texts: list[str], expected: str) -> None:
    assert refusal(*texts).startswith(expected)


def test_a_disabled_workflow_is_left_out() -> None:
    catalog = Catalog()
    catalog.add(WORKFLOW.replace("spec:\n", "spec:\n  disabled: true\n"))
    assert catalog.jobs() == []


def test_a_worker_in_capitals_is_warned_of() -> None:
    catalog = Catalog()
    catalog.add(f"{HARDWARE}---\n{TEMPLATE}---\n{WORKFLOW}".replace("device_1: 52", "device_1: AA"))
    [job] = catalog.jobs()
    [warning] = job.warnings
    assert "worker AA:54:00:00:00:01 has capitals" in str(warning)


def test_derived_objects_read_back() -> None:
    hardware = hardware_for(
        name="My Machine",
        mac=MAC,
        address="192.168.77.10",
        netmask="255.255.255.0",
        gateway="192.168.77.1",
        disks=["/dev/vda"],
        uefi=True,
        name_servers=["192.168.77.1"],
    )
    catalog = Catalog()
    [template] = catalog.add(TEMPLATE)
    workflow = workflow_for(name="hello!", template=template, hardware=hardware)
    catalog.add_object(hardware)
    catalog.add_object(workflow)
    assert catalog.hardware["default", "my-machine"].object == hardware
    assert catalog.workflows["default", "hello"].object == workflow
    assert workflow.spec.hardware_map == {"device_1": MAC}
    assert "uefi: true" in as_yaml(hardware)
    assert isinstance(template, Template)
    assert catalog.jobs()[0].run.workers == [MAC]
    assert object_name("--") == "machine"


def test_every_field_has_the_name_that_go_gives_it() -> None:
    text = HARDWARE.replace(f"{{mac: {MAC}}}", f"{{mac: {MAC}, vlan_id: '7', ip: {{gateway: ''}}}}")
    [hardware] = Catalog().add(
        f"{text}  metadata: {{instance: {{ssh_keys: [k], ips: [{{public: true}}]}}}}\n"
        "  userData: u\n  disks: [{device: /dev/sda}]\n"
    )
    assert isinstance(hardware, Hardware)
    data = template_data(hardware, {"device_1": MAC})
    for source, expected in {
        "{{ (index .Hardware.Interfaces 0).DHCP.VLANID }}": "7",
        "{{ (index .Hardware.Interfaces 0).DHCP.MAC }}": MAC,
        "{{ (index .Hardware.Interfaces 0).DHCP.LeaseTime }}": "0",
        "{{ index .Hardware.Metadata.Instance.SSHKeys 0 }}": "k",
        "{{ (index .Hardware.Metadata.Instance.Ips 0).Public }}": "true",
        "{{ .Hardware.UserData }}{{ .Hardware.VendorData }}": "u",
        "{{ .Hardware.Disks }}": "[/dev/sda]",
        "{{ (index .hardware.spec.interfaces 0).dhcp.vlan_id }}": "7",
        "{{ .hardware.metadata.name }}": "h",
    }.items():
        assert render(source, data).text == expected
    assert go_name("crypted_root_password") == "CryptedRootPassword"
    assert go_name("allowPXE") == "AllowPXE"
