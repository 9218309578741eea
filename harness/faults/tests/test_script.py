"""The kernel's arguments in a boot script, bent."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness.wire.tests as wire_tests
from harness.faults.deeds import Arguments
from harness.faults.dialects.script import bend_script

SCRIPT = (Path(wire_tests.__file__).parent / "golden" / "auto.ipxe").read_text()


def arguments(script: str) -> list[str]:
    """Return the words of the kernel line, without command and address."""
    (line,) = [line for line in script.replace("\\\n", " ").splitlines()
               if line.startswith("kernel ")]  # fmt: skip
    return line.partition(" && ")[0].split()[2:]


def test_nothing_else_is_touched() -> None:
    bent = bend_script(SCRIPT, Arguments(add=("quiet",)))
    assert arguments(bent) == [*arguments(SCRIPT), "quiet"]
    ours, theirs = (text.replace("\\\n", " ").splitlines() for text in (bent, SCRIPT))
    assert len(ours) == len(theirs)
    changed = [a.split()[0] for a, b in zip(ours, theirs, strict=True) if a.split() != b.split()]
    assert changed == ["kernel"]
    assert " && goto download_initrd || " in bent


@pytest.mark.parametrize(
    ("deed", "gone", "there"),
    [
        (Arguments(remove=("vlan_id",)), ["vlan_id=7"], []),
        (Arguments(remove=("console=tty0",)), ["console=tty0"], ["console=ttyS1,115200"]),
        (Arguments(remove=("console*",)), ["console=tty0", "console=ttyS1,115200"], []),
        (Arguments(replace={"vlan_id": "9", "new": "x"}), ["vlan_id=7"], ["vlan_id=9", "new=x"]),
        (Arguments(replace={"console": "tty9"}),
         ["console=tty0", "console=ttyS1,115200"], ["console=tty9"]),
    ],
)  # fmt: skip
def test_arguments_are_taken_away_and_replaced(
    deed: Arguments, gone: list[str], there: list[str]
) -> None:
    words = arguments(bend_script(SCRIPT, deed))
    kept = [word for word in arguments(SCRIPT) if word not in gone]
    assert [word for word in words if word in kept] == kept
    assert set(words) == {*kept, *there}


def test_a_script_without_a_kernel_is_as_it_was() -> None:
    text = "#!ipxe\nchain http://192.0.2.1/kernel\necho kernel\n"
    assert bend_script(text, Arguments(add=("x",))) == text
