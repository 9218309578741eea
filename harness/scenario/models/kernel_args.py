"""What a scenario may add to the kernel command line."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema


def _one_word(value: object) -> object:
    text = str(value)
    if not text or any(char.isspace() for char in text) or "=" in text:
        raise ValueError(f"a kernel argument's name is one word without '=', found {text!r}")
    return value


def _no_space(value: object) -> object:
    if isinstance(value, list | dict | bool):
        raise ValueError("expected a text, a number or null")
    if isinstance(value, str) and any(char.isspace() for char in re.sub(r"{{.*?}}", "", value)):
        raise ValueError(f"a kernel argument can't hold a space, found {value!r}")
    return value if value is None else str(value)


KernelArg = Annotated[str, BeforeValidator(_one_word)]
KernelValue = Annotated[
    str | None,
    BeforeValidator(_no_space),
    WithJsonSchema({"type": ["string", "integer", "number", "null"]}),
]
