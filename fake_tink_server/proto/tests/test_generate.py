"""The committed modules are what protoc makes of the committed ``.proto`` files."""

from __future__ import annotations

from pathlib import Path

from fake_tink_server.proto.generate import HERE, generate


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    written = generate(tmp_path)
    assert len(written) == 2 * len(list(HERE.glob("*.proto")))
    for path in written:
        assert path.read_text() == (HERE / path.name).read_text(), f"regenerate {path.name}"
