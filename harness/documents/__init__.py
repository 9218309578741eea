"""YAML a user wrote, with the place of every key and value.

``document`` reads YAML 1.2 into plain data that remembers where it stood, ``validation`` holds it
against a pydantic model and names every mistake with file, line, column and a hint.
"""

from __future__ import annotations

from harness.documents.document import Document, KeyPath, PlainText, load, load_all
from harness.documents.merging import merged, without
from harness.documents.validation import Mistake, suggest, validate

__all__ = [
    "Document",
    "KeyPath",
    "Mistake",
    "PlainText",
    "load",
    "load_all",
    "merged",
    "suggest",
    "validate",
    "without",
]
