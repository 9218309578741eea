"""What a scenario says of registries, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.scenario.item import Item
from harness.scenario.resolve import load_items
from harness.scenario.tests.samples import HELLO, IMAGES


def load(tmp_path: Path, text: str) -> Item:
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"scenario: Mine\nbase: {HELLO}\nmachine: {{firmware: uefi}}\n{text}\n", encoding="utf-8"
    )
    [item] = load_items(file, known_images=IMAGES)
    return item


def test_a_prefix_is_in_what_hook_asks_for(tmp_path: Path) -> None:
    item = load(tmp_path, "registry: {prefix: mirror/lab}")
    address = item.registry.address
    assert f"docker_registry={address}/mirror/lab" in item.kernel_args
    assert f"tink_worker_image={address}/mirror/lab/tink-worker:v0.12.2" in item.kernel_args
    assert f"insecure_registries={address}" in item.kernel_args
    assert item.pulled_worker == "mirror/lab/tink-worker:v0.12.2"


def test_another_registry_has_its_own_settings(tmp_path: Path) -> None:
    item = load(
        tmp_path,
        "registries:\n  private: {port: 5443, scheme: https, auth: basic, images: [print:v1]}\n"
        'kernel args: {other: "{{ registries.private.address }}"}',
    )
    [private] = item.registries
    assert (private.name, private.port, private.username) == ("private", 5443, "hook")
    assert private.images == ("print:v1",)
    assert f"other={private.address}" in item.kernel_args
    both = f"{item.registry.address},{private.address}"
    assert f"insecure_registries={both}" in item.kernel_args
    assert Item.from_data(item.to_data()) == item


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("registries:\n  tink: {port: 5001}", "the name 'tink' is taken"),
        ("registries:\n  a: {port: 7080}", "port 7080 is taken"),
        ("registries:\n  a: {port: 5001}\n  b: {port: 5001}", "port 5001 is taken"),
        ("registries:\n  a: {port: 5001, images: [prynt:v1]}", "no image 'prynt:v1'"),
        ("registry: {certificate: expired}", "a certificate needs 'scheme: https'"),
        ("registry: {realm: 'http://x/token'}", "a realm needs 'auth: bearer'"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        load(tmp_path, text)


def test_an_absent_image_is_said(tmp_path: Path) -> None:
    template = HELLO.parents[1] / "fixtures/templates/foreign-image.yaml"
    with pytest.raises(ScenarioError, match="image2disk"):
        load(tmp_path, f"template: {template}\nexpect: []")
    name = "quay.io/tinkerbell/actions/image2disk:latest"
    item = load(tmp_path, f"template: {template}\nexpect: []\nabsent images: ['{name}']")
    assert item.action_images == (name,)
