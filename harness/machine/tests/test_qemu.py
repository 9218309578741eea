"""The command line is a pure function, and QEMU accepts it."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import get_args

from harness.machine.devices import BOOTABLE_NICS, Cdrom, Disk, Nic, device_names
from harness.machine.firmware import Firmware, FlashFiles
from harness.machine.qemu import Channels, DirectKernel, MachineSpec, qemu_command
from harness.parts import NicModel
from harness.scenario.models.machine import DiskModel

SPEC = MachineSpec(
    name="m1",
    firmware=Firmware.BIOS,
    accel="tcg",
    nics=[Nic(mac="52:54:00:00:00:01", netdev="tap,id=net0,ifname=port0", bootindex=1)],
    disks=[Disk(path=Path("/run,dir/vda.img"), size_bytes=1 << 30, serial="s1", bootindex=2)],
    uuid="2b6c1f0e-8d7a-4a53-9d5e-0123456789ab",
)
CHANNELS = Channels(
    monitor=7,
    consoles={"ttyS0": Path("/x/a,b"), "ttyS1": Path("/x/c")},
    ram=10,
    attach=Path("/dev/shm/m1-qmp"),
)

GOLDEN = """\
qemu-system-x86_64
-name m1,debug-threads=on
-machine q35,usb=off,vmport=off,graphics=off,dump-guest-core=off,memory-backend=ram
-accel tcg,tb-size=512
-cpu max,-erms,-fsrm
-smp 1
-m 2048M
-nodefaults
-no-user-config
-display none
-rtc base=utc,clock=host,driftfix=none
-boot strict=on
-device virtio-rng-pci
-no-shutdown
-uuid 2b6c1f0e-8d7a-4a53-9d5e-0123456789ab
-netdev tap,id=net0,ifname=port0
-device virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01,guest_announce=off,bootindex=1
-drive if=none,id=disk0,format=raw,cache=unsafe,discard=unmap,file=/run,,dir/vda.img
-device virtio-blk-pci,drive=disk0,bootindex=2,serial=s1
-object memory-backend-file,id=ram,size=2048M,align=2M,share=on,dump=off,mem-path=/proc/self/fd/10
-chardev pipe,id=ttyS0,path=/x/a,,b
-device isa-serial,chardev=ttyS0,index=0
-chardev pipe,id=ttyS1,path=/x/c
-device isa-serial,chardev=ttyS1,index=1
-chardev socket,id=qmp,fd=7
-mon chardev=qmp,mode=control
-qmp unix:/dev/shm/m1-qmp,server=on,wait=off
-S
"""


def lines(words: list[str]) -> str:
    """Return one option a line."""
    text = " ".join(words)
    return text.replace(" -", "\n-") + "\n"


def test_golden_bios() -> None:
    assert lines(qemu_command(SPEC, CHANNELS)) == GOLDEN


def test_uefi_has_flash_and_no_option_rom() -> None:
    flash = FlashFiles(code=Path("/c.fd"), variables=Path("/v.fd"))
    words = qemu_command(dataclasses.replace(SPEC, firmware=Firmware.UEFI, flash=flash), CHANNELS)
    assert "if=pflash,unit=0,format=raw,readonly=on,file=/c.fd" in words
    assert "if=pflash,unit=1,format=raw,readonly=off,file=/v.fd" in words
    (nic,) = (word for word in words if word.startswith("virtio-net"))
    assert nic.endswith(",bootindex=1,romfile=")


def test_a_direct_kernel_needs_no_network_boot() -> None:
    direct = DirectKernel(kernel=Path("/k"), initrd=Path("/i"), cmdline="console=ttyS0 a=b,c")
    words = qemu_command(dataclasses.replace(SPEC, direct=direct, no_reboot=True), CHANNELS)
    at = words.index("-kernel")
    assert words[at : at + 6] == [
        "-kernel",
        "/k",
        "-append",
        "console=ttyS0 a=b,c",
        "-initrd",
        "/i",
    ]
    assert "-no-reboot" in words
    (nic,) = (word for word in words if word.startswith("virtio-net"))
    assert "bootindex" not in nic


def test_only_bootable_nics_come_before_the_disks() -> None:
    second = Nic(mac="52:54:00:00:00:02", netdev="user,id=net1")
    words = qemu_command(dataclasses.replace(SPEC, nics=[*SPEC.nics, second]), CHANNELS)
    one, other = (word for word in words if word.startswith("virtio-net"))
    assert one.endswith(",bootindex=1")
    assert other.endswith(",romfile=")


def test_the_command_for_people_starts_at_once_on_their_terminal() -> None:
    words = qemu_command(SPEC)
    assert "-S" not in words
    assert "stdio,id=ttyS0,mux=on,signal=off" in words
    assert "-snapshot" in words
    assert words[words.index("-netdev") + 1] == "user,id=net0"
    assert not any(",fd=" in word for word in words)


def test_every_model_is_one_that_this_qemu_starts(tmp_path: Path) -> None:
    nics = [model for model in get_args(NicModel) if model != "igb"]  # QEMU 8 has that
    disks = sorted(get_args(DiskModel))
    images = [tmp_path / f"{model}.img" for model in disks]
    for image in images:
        image.write_bytes(bytes(1 << 20))
    spec = dataclasses.replace(
        SPEC,
        memory_mib=64,
        nics=[
            Nic(
                mac=f"52:54:00:00:00:{number:02x}",
                netdev=f"hubport,id=net{number},hubid={number}",
                model=model,
                bootindex=number + 1 if model in BOOTABLE_NICS else None,
            )
            for number, model in enumerate(nics)
        ],
        disks=[
            Disk(path=image, size_bytes=1 << 20, model=model, bootindex=len(nics) + number + 1)
            for number, (model, image) in enumerate(zip(disks, images, strict=True))
        ],
        cdrom=Cdrom(bootindex=99),
    )
    argv = qemu_command(spec, None)
    argv[argv.index("-snapshot") :] = ["-S"]
    argv = [word.replace(",mux=on,signal=off", "") for word in argv]
    argv = ["null,id=ttyS0" if word.startswith("stdio,id=ttyS0") else word for word in argv]
    at = argv.index("-mon")
    argv[at : at + 2] = ["-monitor", "stdio"]
    done = subprocess.run(
        argv, input="info qtree\nquit\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    names = device_names(nics, disks)
    for name in names:
        assert f'dev: {name}, id "' in done.stdout, name
