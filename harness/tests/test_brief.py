"""What a sealed process has to load before it can begin."""

from __future__ import annotations

import subprocess
import sys

from harness.brief import brief_of, write_brief
from harness.hook.images import known_images
from harness.paths import source_root
from harness.scenario.resolve import load_items

_HEAVY = ("pydantic", "ruamel.yaml", "cryptography", "jinja2", "rich")
_PROGRAM = f"""
import sys
import harness.checkpoint.choice, harness.resuming
from harness.brief import read_brief
read_brief(int(sys.argv[1]))
print(*[name for name in {_HEAVY!r} if name in sys.modules])
"""


def test_a_lab_needs_nothing_that_reads_yaml() -> None:
    """Every boot pays for what its process imports, on the clock."""
    file = source_root() / "scenarios" / "registry" / "token-refused.yaml"
    [item, *_] = load_items(file, known_images=frozenset(known_images()))
    brief = write_brief(brief_of(item, origin_s=0.0))
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(brief)],
        capture_output=True, text=True, check=True, pass_fds=[brief], cwd=source_root(),
    )  # fmt: skip
    assert done.stdout.split() == []
