"""Generate the protobuf modules beside the ``.proto`` files; the outputs are committed.

``python -m fake_tink_server.proto.generate`` rewrites them in place.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
_SIBLING: Final = re.compile(r"^import (\w+_pb2) as ", re.MULTILINE)


def generate(folder: Path) -> list[Path]:
    """Write ``*_pb2.py`` and ``*_pb2.pyi`` for every ``.proto`` here into ``folder``.

    Imports of siblings are made relative: protoc writes them as if the folder were on sys.path.
    Raises ``RuntimeError`` when protoc refuses a file.
    """
    from importlib.resources import as_file, files

    from grpc_tools import protoc

    written = []
    with as_file(files("grpc_tools") / "_proto") as well_known:
        for source in sorted(HERE.glob("*.proto")):
            arguments = ["protoc", f"-I{HERE}", f"-I{well_known}"]
            arguments += [f"--python_out={folder}", f"--pyi_out={folder}", str(source)]
            if protoc.main(arguments) != 0:
                raise RuntimeError(f"protoc refused {source.name}")
            for suffix in ("_pb2.py", "_pb2.pyi"):
                path = folder / (source.stem + suffix)
                path.write_text(_SIBLING.sub(r"from . import \1 as ", path.read_text()))
                written.append(path)
    return written


def main() -> int:
    """Regenerate in place; print what changed."""
    with tempfile.TemporaryDirectory() as temporary:
        for path in generate(Path(temporary)):
            target = HERE / path.name
            fresh = path.read_text()
            if not target.exists() or target.read_text() != fresh:
                target.write_text(fresh)
                sys.stdout.write(f"{target.name} changed\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
