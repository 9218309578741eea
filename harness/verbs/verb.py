"""What a verb of the command line is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One thing that ``hooklab`` can do."""

    summary: str
    examples: str
    """Shown below the options by ``hooklab VERB --help``: whole command lines, with a word each."""
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    passes_on: bool = False
    """Whether words that are not its own go on, as ``arguments.rest``."""
    own_help: bool = False
    """Whether ``--help`` is one of those words."""
