"""iPXE scripts against golden ones that smee's own templates rendered with Go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.wire.ipxe import BadScript, ScriptConfig, auto_script, script_for, static_script
from harness.wire.netboot import Reservation

GOLDEN = Path(__file__).parent / "golden"
MACHINE = Reservation(
    mac="52:54:00:00:00:01",
    address="192.168.77.10",
    vlan_id="7",
    facility="fac",
    arch="aarch64",
    agent_id="w1",
    kernel_params=("p=1", "q"),
)
CONFIG = ScriptConfig(
    osie_url="http://a/hook",
    syslog_host="1.1.1.1",
    grpc_authority="g:42113",
    tls=True,
    insecure_tls=True,
    extra_kernel_args=("a=b", "c"),
    retries=3,
    retry_delay_s=5,
    kernel_name="k",
    initrd_name="i",
)
PLAIN = Reservation(mac="52:54:00:00:00:01", address="192.168.77.10")
PLAIN_CONFIG = ScriptConfig(osie_url="http://a/hook")


def test_every_setting_lands_where_smee_puts_it() -> None:
    golden = (GOLDEN / "auto.ipxe").read_text(encoding="utf-8")
    assert auto_script(MACHINE, CONFIG, trace_id="abc") == golden


def test_the_static_script_is_smees() -> None:
    assert static_script(CONFIG) == (GOLDEN / "static.ipxe").read_text(encoding="utf-8")


def test_the_defaults_leave_out_what_is_not_set() -> None:
    script = auto_script(PLAIN, PLAIN_CONFIG)
    assert script.startswith(
        "#!ipxe\n\necho Loading the Tinkerbell Hook iPXE script...\n\nset arch"
    )
    assert "set arch x86_64\n" in script
    assert "set kernel vmlinuz-${arch}\nset initrd initramfs-${arch}\n" in script
    assert "set retries:int32 1\nset retry_delay:int32 1\n" in script
    assert "vlan_id" not in script
    assert (
        "kernel ${download-url}/${kernel} \\\n"
        "facility= syslog_host= grpc_authority= tinkerbell_tls=false tinkerbell_insecure_tls=false"
        " worker_id=52:54:00:00:00:01 hw_addr=52:54:00:00:00:01 \\\n"
        "modules=loop,squashfs,sd-mod,usb-storage intel_iommu=on iommu=pt initrd=${initrd}"
        " console=tty0 console=ttyS1,115200 && goto download_initrd ||"
    ) in script


def test_hardwares_own_osie_wins() -> None:
    own = replace(PLAIN, osie_base_url="http://b", osie_kernel="K", osie_initrd="I")
    script = auto_script(own, replace(CONFIG, kernel_name="k"))
    assert "set download-url http://b\nset kernel K\nset initrd I\n" in script


def test_an_own_script_is_chained_or_given_word_for_word() -> None:
    chained = replace(PLAIN, ipxe_script_url="https://b/x.ipxe?a=b", ipxe_script="ignored")
    assert script_for(chained, PLAIN_CONFIG) == (
        "#!ipxe\n\necho Loading custom Tinkerbell iPXE script...\n"
        "chain --autofree https://b/x.ipxe?a=b\n"
    )
    given = replace(PLAIN, ipxe_script="shell")
    assert script_for(given, PLAIN_CONFIG).endswith("script...\nshell\n")
    with pytest.raises(BadScript, match="ftp"):
        script_for(replace(PLAIN, ipxe_script_url="ftp://b/x"), PLAIN_CONFIG)
