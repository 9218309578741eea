"""The right firmware is found, by descriptor first, by well-known path second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HostUnfit
from harness.machine.firmware import (
    Firmware,
    FlashFiles,
    check,
    find_option_rom,
    find_uefi,
    make_variables,
)


def describe(folder: Path, name: str, **changes: Any) -> FlashFiles:
    """Write a descriptor and its two files."""
    folder.mkdir(exist_ok=True)
    files = FlashFiles(code=folder / f"{name}.code.fd", variables=folder / f"{name}.vars.fd")
    files.code.write_bytes(b"code")
    files.variables.write_bytes(b"vars")
    data = {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": str(files.code), "format": "raw"},
            "nvram-template": {"filename": str(files.variables), "format": "raw"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": ["acpi-s3"],
        **changes,
    }
    (folder / f"{name}.json").write_text(json.dumps(data))
    return files


def test_secure_boot_and_other_architectures_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    describe(folder, "10-secure", features=["secure-boot", "enrolled-keys"])
    describe(folder, "20-arm", targets=[{"architecture": "aarch64", "machines": ["virt-*"]}])
    describe(folder, "30-bios", **{"interface-types": ["bios"]})
    (folder / "40-broken.json").write_text("{")
    (folder / "50-odd.json").write_text('{"interface-types": 3}')
    wanted = describe(folder, "60-good")
    describe(folder, "70-later")
    assert find_uefi(folders=(folder,), fallbacks=()) == wanted


def test_a_nearer_folder_masks_a_descriptor(tmp_path: Path) -> None:
    describe(tmp_path / "far", "60-edk2")
    near = describe(tmp_path / "near", "60-edk2")
    folders = (tmp_path / "missing", tmp_path / "near", tmp_path / "far")
    assert find_uefi(folders=folders, fallbacks=()) == near


def test_without_descriptors_well_known_paths_are_tried(tmp_path: Path) -> None:
    code, variables = tmp_path / "c.fd", tmp_path / "v.fd"
    with pytest.raises(HostUnfit, match="OVMF") as caught:
        find_uefi(folders=(), fallbacks=((str(code), str(variables)),))
    assert caught.value.hint == "install the package ovmf"
    code.touch()
    variables.touch()
    found = find_uefi(folders=(), fallbacks=((str(code), str(variables)),))
    assert found == FlashFiles(code=code, variables=variables)


def test_each_machine_gets_variables_it_can_write(tmp_path: Path) -> None:
    files = describe(tmp_path / "firmware", "60-good")
    files.variables.chmod(0o444)
    copy = make_variables(files, tmp_path / "vars.fd")
    assert copy.read_bytes() == b"vars"
    assert copy.stat().st_mode & 0o777 == 0o600


def test_this_host_has_both() -> None:
    for firmware in Firmware:
        check(firmware)
    with pytest.raises(HostUnfit, match=r"pxe-nothing\.rom was not found"):
        find_option_rom("pxe-nothing.rom")
