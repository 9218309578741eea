"""Template expressions from a seed: every function, right and wrong arguments, nested."""

from __future__ import annotations

import json
import random
from typing import Any, Final

MACHINE: Final[dict[str, Any]] = {
    "apiVersion": "tinkerbell.org/v1alpha1",
    "kind": "Hardware",
    "metadata": {"name": "machine", "namespace": "default"},
    "spec": {
        "disks": [{"device": "/dev/sda"}, {"device": "/dev/nvme0n1"}, {"device": "/dev/md7"}],
        "userData": "#cloud-config\nusers: [a]\n",
        "metadata": {
            "facility": {"facility_code": "lab", "plan_slug": "c3"},
            "instance": {
                "id": "an-id",
                "hostname": "machine",
                "operating_system": {"distro": "ubuntu", "version": "24.04"},
                "tags": ["one", "two: three"],
            },
        },
        "interfaces": [
            {
                "dhcp": {
                    "mac": "52:54:00:00:00:0a",
                    "hostname": "machine",
                    "domain_name": "lab.example",
                    "arch": "x86_64",
                    "uefi": True,
                    "lease_time": 86400,
                    "ip": {
                        "address": "192.0.2.7",
                        "netmask": "255.255.255.0",
                        "gateway": "192.0.2.1",
                    },
                    "name_servers": ["192.0.2.1", "192.0.2.2"],
                },
                "netboot": {
                    "allowPXE": True,
                    "osie": {"kernelParams": ["own=1"]},
                    "ipxe": {"url": "http://192.0.2.1/x.ipxe", "binary": "ipxe.efi"},
                },
            },
            {"dhcp": {"mac": "52:54:00:00:00:0b"}},
        ],
    },
}
DEVICES: Final = {"device_1": "52:54:00:00:00:0a", "text": "a b: c", "empty": ""}

_STRINGS: Final = (
    *('"/dev/sda"', '"/dev/nvme0n1"', '"/dev/disk/by-id/x"', '"/dev/loop"', '"/dev/xvda"', '""'),
    *('"a b"', '"255.255.254.0"', '"255.0.255.0"', '"::1"', "`raw`", '"Aé"', '"a\\nb\\n"', '"7"'),
    *('"y"', '"- Off\\n- NO\\n- 1_000\\n"', '"a10: 1\\na9: 2\\nA: 3\\n_: 4\\n"', '"2020-01-02"'),
    *('"# c\\n"', '"null"', '"~"', '"0x1f"', '"1e3"', '"012"', '".5"', '"=x"', '"a:"', '"@x"'),
    *('"yes"', '"a: 1"', '"- x\\n- 2"', '"true"', '"1.5"', '"52:54:00:00:00:01"', '" sp "'),
    *('"#c"', '"x #y"', '"it\'s"', '"-"', '"-x"', '"[1, two]"', '"{a: b}"', '"k: [1, {b: ~}]"'),
    *(".device_1", ".text", ".empty", "(index .Hardware.Disks 0)", "(index .Hardware.Disks 2)"),
    *("(index .Hardware.Interfaces 0).DHCP.MAC", "(index .Hardware.Interfaces 0).DHCP.IP.Netmask"),
    *(".Hardware.UserData", ".Hardware.Metadata.Instance.Hostname", ".Hardware.VendorData"),
    *("(index .Hardware.Interfaces 0).DHCP.DomainName", "(printf `%s-%d` .device_1 3)"),
    *("(index .Hardware.Interfaces 0).Netboot.IPXE.Binary", ".hardware.metadata.name"),
    *("(index .hardware.spec.interfaces 0).dhcp.mac", "(index .hardware.spec.disks 1).device"),
)
_INTS: Final = ("0", "1", "2", "-1", "15", "(len .Hardware.Disks)", "(len .text)")
_LISTS: Final = (
    *(".Hardware.Disks", '(list 1 "b" true)', '(splitList ":" .device_1)', "(list)"),
    *("(index .Hardware.Interfaces 0).DHCP.NameServers", ".Hardware.Metadata.Instance.Tags"),
    *("(index .Hardware.Interfaces 0).Netboot.OSIE.KernelParams", ".hardware.spec.disks"),
)
_OTHERS: Final = (
    *("true", "false", ".nothing", ".Hardware.Nothing", "1.5", "(index .Hardware.Interfaces 7)"),
    *(
        "(index .Hardware.Interfaces 1).DHCP.IP.Address",
        ".hardware.spec",
        ".hardware.spec.metadata",
    ),
    *("(index .Hardware.Interfaces 0).DHCP.UEFI", "(index .Hardware.Interfaces 0).DHCP.LeaseTime"),
    *('(fromYaml "a: [1, x, 2.5, true, ~]\\nb: {c: d, e10: 1, e9: 2}")', ".references"),
    *('(fromYaml "- 1\\n- yes\\n")', ".hardware.spec.metadata.instance", "(fromYaml .text)"),
)
_KINDS: Final = {"s": _STRINGS, "i": _INTS, "l": _LISTS, "o": _OTHERS}
_CALLS: Final = (
    *("formatPartition:si",) * 4,
    *("netmaskToPrefixLength:s", "netmaskToPrefixLength:s", "toYaml:s", "toYaml:l", "toYaml:o"),
    *("toYaml:o", "toYaml:o", "toYaml:l", "fromYaml:s", "fromYaml:s", "upper:s", "lower:s"),
    *("trim:s", "quote:s", "quote:o", "squote:s", "replace:sss", "contains:ss", "hasPrefix:ss"),
    *("hasSuffix:ss", "trimPrefix:ss", "trimSuffix:ss", "indent:is", "nindent:is", "join:sl"),
    *("first:l", "last:l", "list:so", "default:so", "default:ss", "coalesce:sos", "empty:o"),
    *("ternary:sso", "toString:i", "toString:o", "b64enc:s", "b64dec:s", "splitList:ss", "len:l"),
    *("len:s", "index:li", "eq:ss", "eq:ii", "ne:ss", "and:so", "or:so", "not:o", "not:s"),
    *("print:sis", "printf:ss", "env:s", "now:", "uuidv4:", "date:ss", "expandenv:s", "nosuch:s"),
)


def expressions(seed: int, count: int) -> list[str]:
    """Return ``count`` expressions."""
    rng = random.Random(seed)
    return [_expression(rng, 0) for _ in range(count)]


def _expression(rng: random.Random, depth: int) -> str:
    if rng.random() < 0.12:
        return rng.choice(_KINDS[rng.choice("ssilo")])
    name, _, kinds = rng.choice(_CALLS).partition(":")
    arguments = [_argument(rng, kind, depth) for kind in kinds]
    if arguments and rng.random() < 0.05:
        arguments.pop()
    if arguments and rng.random() < 0.2:
        *before, piped = arguments
        return f"{piped} | {' '.join((name, *before))}"
    return " ".join((name, *arguments))


def _argument(rng: random.Random, kind: str, depth: int) -> str:
    if rng.random() < 0.06:
        kind = rng.choice("silo")
    if depth < 2 and kind == "s" and rng.random() < 0.15:
        return f"({_expression(rng, depth + 1)})"
    return rng.choice(_KINDS[kind])


def template_of(expression: str) -> str:
    """Return a template that lets ``expression`` through as it is: nothing YAML can spoil."""
    return (
        "name: t\nglobal_timeout: 60\ntasks:\n  - name: t\n    worker: w\n    actions:\n"
        "      - name: a\n        image: print:v1\n        environment:\n"
        f'          OUT: "{{{{ printf `%v` ({expression}) | b64enc }}}}"\n'
    )


def objects_of(expression: str, number: int) -> list[dict[str, Any]]:
    """Return the Template and the Workflow that render ``expression``."""
    head = {"apiVersion": "tinkerbell.org/v1alpha1"}
    name = {"name": f"w{number:04d}", "namespace": "default"}
    spec = {"templateRef": name["name"], "hardwareRef": "machine", "hardwareMap": DEVICES}
    data = json.loads(json.dumps(template_of(expression)))
    return [
        {**head, "kind": "Template", "metadata": name, "spec": {"data": data}},
        {**head, "kind": "Workflow", "metadata": name, "spec": spec},
    ]
