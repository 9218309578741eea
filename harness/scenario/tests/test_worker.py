"""What ``worker:`` may name, and what is said of what it may not."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.scenario.item import ImageItem, Item
from harness.scenario.resolve import load_items
from harness.scenario.tests.samples import HELLO, IMAGES

X86_64, ARM64 = 62, 183


def elf(machine: int = X86_64, interpreter: str = "") -> bytes:
    """Return a program that does nothing and is linked statically unless it has an interpreter."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    text = interpreter.encode() + b"\0"
    kind, length = (3, len(text)) if interpreter else (1, 0)
    segment = struct.pack("<IIQQQQQQ", kind, 4, 120, 0, 0, length, length, 1)
    return ident + header + segment + text


def program(folder: Path, content: bytes, mode: int = 0o755) -> str:
    file = folder / "My Worker"
    file.write_bytes(content)
    file.chmod(mode)
    return "./My Worker"


def load(folder: Path, worker: str, more: str = "") -> Item:
    scenario = folder / "own.yaml"
    scenario.write_text(f"scenario: a worker\nbase: {HELLO}\nworker: {worker}\n{more}")
    return load_items(scenario, known_images=IMAGES)[0]


def test_the_pinned_worker_is_in_the_registry_already(tmp_path: Path) -> None:
    item = load(tmp_path, "tink-worker@v0.12.2")
    assert (item.worker_image, item.worker.build) == ("tink-worker:v0.12.2", None)


@pytest.mark.parametrize("worker", ["tink-agent@v0.25.0", "tink-worker@v0.12.1"])
def test_any_other_version_is_built(tmp_path: Path, worker: str) -> None:
    item = load(tmp_path, worker)
    image = worker.replace("@", ":")
    assert (item.worker_image, item.worker.build) == (image, worker)
    assert f"tink_worker_image={item.registry.address}/{image}" in item.kernel_args
    assert item.worker.at == f"{tmp_path / 'own.yaml'}:3:9"


def test_an_image_of_the_scenarios_own(tmp_path: Path) -> None:
    program(tmp_path, elf())
    images = "images: {'my/worker': './My Worker'}\n"
    item = load(tmp_path, "my/worker", images)
    assert (item.worker_image, item.worker.build) == ("my/worker:latest", None)


def test_a_program_becomes_an_image(tmp_path: Path) -> None:
    item = load(tmp_path, program(tmp_path, elf()))
    assert item.worker_image == "my-worker:local"
    assert item.images == (ImageItem(reference="my-worker:local", layout=tmp_path / "My Worker"),)


@pytest.mark.parametrize(
    ("content", "mode", "message", "hint"),
    [
        (elf(), 0o644, "may not be executed", r"chmod \+x"),
        (elf(interpreter="/lib64/ld.so"), 0o755, "dynamically .it needs /lib64/ld.so", "CGO"),
        (elf(machine=ARM64), 0o755, "is for ARM64, Hook runs on x86-64", "GOARCH=amd64"),
        (b"#!/bin/sh\n", 0o755, "is no program .ELF file", "static program"),
        (elf()[:30], 0o755, "damaged ELF", ""),
    ],
)
def test_a_program_that_can_not_run_there(
    tmp_path: Path, content: bytes, mode: int, message: str, hint: str
) -> None:
    with pytest.raises(ScenarioError, match=message) as caught:
        load(tmp_path, program(tmp_path, content, mode))
    assert str(caught.value).startswith(f"{tmp_path / 'own.yaml'}:3:9: worker: ")
    assert re.search(hint, caught.value.hint or "")


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        ("tink-agent", r"'tink-agent' has no version\n +write it as tink-agent@v0\.25\.0"),
        ("tink-agent@latest", "'tink-agent@latest' has no version"),
        ("tink-wroker@v0.12.2", r"there is no worker .*\n +did you mean 'tink-worker@v0\.12\.2'"),
        ("my-worker:v1", "there is no worker 'my-worker:v1'"),
        ("../nowhere", "nowhere does not exist"),
        (".", "is a folder"),
    ],
)
def test_what_is_no_worker(tmp_path: Path, worker: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message) as caught:
        load(tmp_path, worker)
    assert str(caught.value).startswith(f"{tmp_path / 'own.yaml'}:3:9: worker: ")


def test_the_real_smee_is_not_fast(tmp_path: Path) -> None:
    assert load(tmp_path, "tink-worker@v0.12.2", "stack: smee\n").stack == "smee"
    with pytest.raises(ScenarioError, match=r"own\.yaml:5:10: profile: 'fast' is the lab's own"):
        load(tmp_path, "tink-worker@v0.12.2", "stack: smee\nprofile: fast\n")


@pytest.mark.parametrize("place", ["dhcp", "tftp"])
def test_the_real_smee_does_not_misbehave_on_cue(tmp_path: Path, place: str) -> None:
    more = f"stack: smee\nfaults:\n  - {{at: {place}, do: drop}}\n"
    with pytest.raises(ScenarioError, match=rf"own\.yaml:6:10: faults: at {place} the real smee"):
        load(tmp_path, "tink-worker@v0.12.2", more)
    load(tmp_path, "tink-worker@v0.12.2", more.replace("stack: smee", "stack: lab"))


def test_without_docker_registry_the_template_names_the_registry(tmp_path: Path) -> None:
    hello = (HELLO.parent / "../fixtures/templates/hello.yaml").read_text()
    (tmp_path / "full.yaml").write_text(hello.replace("image: ", "image: 192.168.77.1:5000/"))
    more = "template: full.yaml\nkernel args: {docker_registry: null}\n"
    item = load(tmp_path, "tink-agent@v0.25.0", more)
    assert item.action_images[0] == "192.168.77.1:5000/print:v1"
    assert not any(word.startswith("docker_registry") for word in item.kernel_args)
    with pytest.raises(ScenarioError, match="has no image 'print:v1'"):
        load(tmp_path, "tink-agent@v0.25.0", "kernel args: {docker_registry: null}\n")
