"""The kernel's command line in an iPXE script, and how it is made to say something else."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Final

from harness.faults.deeds import Arguments

_KERNEL: Final = re.compile(
    r"^(?P<command>\s*kernel\s+\S+)(?P<words>(?:[^\S\n]|\\\n|(?!&&|\|\|)\S)*)", re.MULTILINE
)
"""``kernel URL words…``, up to ``&&``, ``||`` or the end of a line that is not continued."""


def bend_script(script: str, deed: Arguments) -> str:
    """Return ``script`` with other kernel arguments; the same if it starts no kernel."""

    def bent(found: re.Match[str]) -> str:
        words = found["words"].replace("\\\n", " ").split()
        return " ".join((found["command"], *_bent(words, deed))) + " "

    return _KERNEL.sub(bent, script)


def _bent(words: list[str], deed: Arguments) -> list[str]:
    """Return the arguments without, with others, and with more of them at the end."""
    replaced = dict(deed.replace)
    kept = []
    for word in words:
        key = word.partition("=")[0]
        if any(fnmatchcase(word if "=" in glob else key, glob) for glob in deed.remove):
            continue
        if key in deed.replace:
            if key in replaced:
                kept.append(f"{key}={replaced.pop(key)}")
            continue
        kept.append(word)
    return [*kept, *(f"{key}={value}" for key, value in replaced.items()), *deed.add]
