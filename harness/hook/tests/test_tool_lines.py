"""Which package a go.mod's tool lines name."""

from __future__ import annotations

import pytest

from harness.hook.tools import pin_of, tool_package


@pytest.mark.parametrize(
    ("go_mod", "name", "package"),
    [
        ("tool a.b/x/cmd/one\n", "one", "a.b/x/cmd/one"),
        ("tool a.b/x/cmd/one\n", "other", "a.b/x/cmd/one"),
        ("tool (\n\ta.b/x/cmd/one\n\ta.b/x/cmd/two\n)\n", "two", "a.b/x/cmd/two"),
        ("tool (\n\ta.b/x/cmd/one\n\ta.b/x/cmd/two\n)\n", "one", "a.b/x/cmd/one"),
        ("require a.b/x v1.0.0\n", "one", None),
    ],
)
def test_both_forms_are_read(go_mod: str, name: str, package: str | None) -> None:
    assert tool_package(go_mod, name) == package


def test_the_pins_are_found() -> None:
    assert pin_of("tink-worker").module == "github.com/tinkerbell/tink"
    assert pin_of("tink-worker").version == "v0.12.2"
    assert pin_of("linuxkit").module == "github.com/linuxkit/linuxkit/src/cmd/linuxkit"
