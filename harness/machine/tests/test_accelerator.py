"""KVM is used only when a guest was seen to run under it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import HostUnfit
from harness.machine import accelerator
from harness.machine.accelerator import choose_accelerator, probe_kvm
from harness.machine.tests.kernels import kernel_of

pytestmark = pytest.mark.machine


def boot_sector(text: bytes) -> bytes:
    """Return the smallest thing QEMU takes for a kernel; it prints ``text`` on ttyS0."""
    code = bytes.fromhex(
        "8cc8 8ed8"  # mov ax, cs; mov ds, ax
        "be1d00"  # mov si, 29: the text
        "bafd03 ec a820 74fb"  # wait until the transmitter is empty
        "baf803 ac 84c0 7403 ee ebed"  # print an octet; again, unless it is 0
        "f4 ebfd"  # hlt, for ever
    )
    assert len(code) == 29
    return kernel_of(code + text + b"\0")


async def test_a_kernel_that_says_nothing_is_no_proof(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(accelerator, "BANNER_WITHIN_S", 1.0)
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(boot_sector(b""))
    assert await probe_kvm(kernel, accel="tcg") == (
        "a Linux kernel printed nothing for 1 s under tcg"
    )


async def test_a_banner_is_the_proof(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(boot_sector(b"Booting...\r\nLinux version 0.0 (nobody)\r\n"))
    assert await probe_kvm(kernel, accel="tcg") is None


async def test_a_qemu_that_gives_up_is_quoted(tmp_path: Path) -> None:
    reason = await probe_kvm(tmp_path / "missing", accel="tcg")
    assert reason is not None
    assert reason.startswith("QEMU ended before Linux began: ")
    assert "missing" in reason


async def test_the_answer_is_kept_for_this_boot_qemu_and_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Path] = []
    answers: list[str | None] = [None, "it hung", "it hung"]

    async def probe(kernel: Path) -> str | None:
        asked.append(kernel)
        return answers[len(asked) - 1]

    monkeypatch.setattr(accelerator, "probe_device", lambda: None)
    monkeypatch.setattr(accelerator, "probe_kvm", probe)
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"one")
    cache = tmp_path / "cache"
    for _ in range(2):
        assert (await choose_accelerator(kernel=kernel, cache=cache)).accel == "kvm"
    assert len(asked) == 1
    kernel.write_bytes(b"other")
    for _ in range(2):
        found = await choose_accelerator(kernel=kernel, cache=cache)
        assert found.accel == "tcg"
        assert found.because == "KVM opens but does not run: it hung"
    assert len(asked) == 2
    with pytest.raises(HostUnfit, match="it hung"):
        await choose_accelerator(kernel=kernel, cache=cache, wanted="kvm")
    (cache / "accelerator.json").write_text(json.dumps({"key": 3}))
    await choose_accelerator(kernel=kernel, cache=cache)
    assert len(asked) == 3


async def test_without_the_device_or_a_kernel_it_is_tcg(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = await choose_accelerator(kernel=None, cache=tmp_path, wanted="tcg")
    assert (found.accel, found.because) == ("tcg", "asked for")
    monkeypatch.setattr(accelerator, "_DEVICE", str(tmp_path / "kvm"))
    found = await choose_accelerator(kernel=None, cache=tmp_path)
    assert found.accel == "tcg"
    assert "No such file" in found.because
    (tmp_path / "kvm").touch()
    found = await choose_accelerator(kernel=None, cache=tmp_path)
    assert found.because == "no kernel at hand to try KVM with"
