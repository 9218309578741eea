"""The template functions that are supported: Go's own, sprig's, and Tinkerbell's.

Each checks its arguments as Go does (a number is no string). What templates use in the field is
here; a function that is not is refused by name.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from fake_tink_server.govalues import CallFailed, GoStruct, go_type, is_true, to_text
from fake_tink_server.goyaml import from_yaml, to_yaml
from fake_tink_server.release import Release
from harness.documents import suggest

Function = Callable[[list[Any]], Any]


_GO_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
)
"""What Go's TrimSpace takes off; Python's strip takes U+001C to U+001F too."""


def _typed(kinds: str, work: Callable[..., Any]) -> Function:
    """Wrap ``work`` so that it is called with checked arguments.

    ``kinds`` names one kind each: ``s`` string, ``i`` int, ``a`` anything; a last ``*`` repeats
    the kind before it any number of times, none included.
    """
    repeated = kinds[-2] if kinds.endswith("*") else ""
    fixed = kinds[:-2] if repeated else kinds

    def call(arguments: list[Any]) -> Any:
        if len(arguments) < len(fixed) or (len(arguments) > len(fixed) and not repeated):
            wanted = f"at least {len(fixed)}" if repeated else str(len(fixed))
            raise CallFailed(f"wrong number of arguments: want {wanted} got {len(arguments)}")
        for number, value in enumerate(arguments):
            kind = fixed[number] if number < len(fixed) else repeated
            if kind == "s" and not isinstance(value, str):
                raise CallFailed(f"wrong type for value; expected string; got {go_type(value)}")
            if kind == "i" and (not isinstance(value, int) or isinstance(value, bool)):
                raise CallFailed(f"wrong type for value; expected int; got {go_type(value)}")
        return work(*arguments)

    return call


def _index(item: Any, *keys: Any) -> Any:
    if item is None:
        raise CallFailed("index of untyped nil")
    for key in keys:
        if item is None:
            raise CallFailed("index of untyped nil")
        if isinstance(item, GoStruct) or not isinstance(item, list | str | Mapping):
            raise CallFailed(f"can't index item of type {go_type(item)}")
        if isinstance(item, Mapping):
            if not isinstance(key, str):
                raise CallFailed(f"value has type {go_type(key)}; should be string")
            item = item.get(key)
            continue
        if not isinstance(key, int) or isinstance(key, bool):
            raise CallFailed(f"cannot index slice/array with type {go_type(key)}")
        if isinstance(item, str):
            raise CallFailed("indexing a string gives a byte's number; not supported")
        if not 0 <= key < len(item):
            raise CallFailed(f"index out of range: {key}")
        item = item[key]
    return item


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, GoStruct) or not isinstance(value, list | Mapping):
        raise CallFailed(f"len of type {go_type(value)}")
    return len(value)


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise CallFailed("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(one: Any, other: Any) -> bool:
    for value in (one, other):
        if isinstance(value, list | Mapping):
            raise CallFailed("non-comparable type")
    if one is None or other is None:
        return one is other
    if go_type(one) != go_type(other):
        raise CallFailed("incompatible types for comparison")
    return bool(one == other)


def _and(*values: Any) -> Any:
    return next((value for value in values if not is_true(value)), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if is_true(value)), values[-1])


def _text_of(value: Any) -> str:
    """sprig's strval: like printing, without ``<no value>``."""
    return "<nil>" if value is None else to_text(value)


def _print(*values: Any) -> str:
    """Go's Sprint: a space between two operands when neither is a string."""
    out = ""
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            out += " "
        out += _text_of(value)
    return out


def _printf(form: str, *values: Any) -> str:
    out, rest = "", list(values)
    head, *parts = form.split("%")
    out = head
    position = 0
    while position < len(parts):
        part = parts[position]
        position += 1
        if not part:  # %% : the text after it is the next part
            if position == len(parts):
                raise CallFailed("a % without a verb")
            out += "%" + parts[position]
            position += 1
            continue
        width = ""
        while part[:1].isdigit():
            width, part = width + part[0], part[1:]
        verb, tail = part[:1], part[1:]
        if verb not in tuple("svdq") or len(width) > 3 or (width and verb != "d"):
            raise CallFailed(f"the verb %{width}{verb} is not supported")
        if not rest:
            raise CallFailed(f"no value for %{verb}")
        out += _formatted(verb, width, rest.pop(0)) + tail
    if rest:
        raise CallFailed("more values than verbs are not supported")
    return out


def _formatted(verb: str, width: str, value: Any) -> str:
    if verb == "v":
        return _text_of(value)
    if verb == "d":
        if not isinstance(value, int) or isinstance(value, bool):
            raise CallFailed(f"%d of a {go_type(value)}")
        return f"{value:{width}d}"
    if not isinstance(value, str):
        raise CallFailed(f"%{verb} of a {go_type(value)}")
    return value if verb == "s" else _quoted(value)


def _quoted(text: str) -> str:
    """Go's %q, for text that needs nothing but JSON's common escapes."""
    if not all(c.isprintable() or c in "\n\r\t" for c in text):
        raise CallFailed("can't quote text with unprintable characters")
    return json.dumps(text, ensure_ascii=False)


def _one(character: str, changed: str) -> str:
    """Go changes case rune by rune: what becomes several characters stays as it is."""
    return changed if len(changed) == 1 else character


def _strings(values: Any) -> list[str]:
    if values is None:
        return []
    if isinstance(values, list):
        return [_text_of(value) for value in values if value is not None]
    return [_text_of(values)]


def _default(fallback: Any, *given: Any) -> Any:
    return given[0] if given and is_true(given[0]) else fallback


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        # Go's own words take the text's place, and the template goes on
        raise CallFailed(f"not base64 of text, which is not supported: {error}") from None


def _indented(width: int, text: str) -> str:
    if not 0 <= width <= 200:
        raise CallFailed(f"can't indent by {width}")
    pad = " " * width
    return pad + text.replace("\n", "\n" + pad)


def _first(values: Any) -> Any:
    if not isinstance(values, list):
        raise CallFailed(f"cannot find first on type {go_type(values)}")
    return values[0] if values else None


def _last(values: Any) -> Any:
    if not isinstance(values, list):
        raise CallFailed(f"cannot find last on type {go_type(values)}")
    return values[-1] if values else None


def format_partition_v0_12(device: str, partition: int) -> str:
    """Return the path of a device's partition, as Tinkerbell v0.12 names it."""
    if device.startswith("/dev/nvme"):
        return f"{device}p{partition}"
    known = ("/dev/sd", "/dev/vd", "/dev/xvd", "/dev/hd")
    return f"{device}{partition}" if device.startswith(known) else device


def format_partition(device: str, partition: int) -> str:
    """Return the path of a device's partition, as Tinkerbell names it (v0.25)."""
    if device.startswith("/dev/disk/"):
        return f"{device}-part{partition}"
    return f"{device}p{partition}" if device[-1:] in tuple("0123456789") else f"{device}{partition}"


def netmask_to_prefix_length(netmask: str) -> str:
    """Return ``24`` for ``255.255.255.0``; as in Go, ``0`` for a mask with holes."""
    try:
        address = ipaddress.IPv4Address(netmask)
    except ValueError:
        raise CallFailed(f"invalid netmask format: {netmask}") from None
    bits = f"{int(address):032b}"
    return str(bits.count("1")) if "01" not in bits else "0"


def _split_list(separator: str, text: str) -> list[Any]:
    return list(text) if not separator else list(text.split(separator))


def _ternary(yes: Any, no: Any, test: Any) -> Any:
    if not isinstance(test, bool):
        raise CallFailed(f"wrong type for value; expected bool; got {go_type(test)}")
    return yes if test else no


_COMMON: Final[Mapping[str, Function]] = {
    # Go's own
    "and": _typed("aa*", _and),
    "eq": _typed("aa*", _eq),
    "index": _typed("aa*", _index),
    "len": _typed("a", _len),
    "ne": _typed("aa", lambda one, other: not _same(one, other)),
    "not": _typed("a", lambda value: not is_true(value)),
    "or": _typed("aa*", _or),
    "print": _typed("a*", _print),
    "printf": _typed("sa*", _printf),
    # sprig's
    "b64dec": _typed("s", _decoded),
    "b64enc": _typed("s", lambda text: base64.b64encode(text.encode()).decode()),
    "coalesce": _typed("a*", lambda *values: next((v for v in values if is_true(v)), None)),
    "contains": _typed("ss", lambda part, text: part in text),
    "default": _typed("aa*", _default),
    "empty": _typed("a", lambda value: not is_true(value)),
    "first": _typed("a", _first),
    "hasPrefix": _typed("ss", lambda part, text: text.startswith(part)),
    "hasSuffix": _typed("ss", lambda part, text: text.endswith(part)),
    "indent": _typed("is", _indented),
    "join": _typed("sa", lambda separator, values: separator.join(_strings(values))),
    "last": _typed("a", _last),
    "list": _typed("a*", lambda *values: list(values)),
    "lower": _typed("s", lambda text: "".join(_one(c, c.lower()) for c in text)),
    "nindent": _typed("is", lambda width, text: "\n" + _indented(width, text)),
    "quote": _typed(
        "a*", lambda *values: " ".join(_quoted(_text_of(v)) for v in values if v is not None)
    ),
    "replace": _typed("sss", lambda old, new, text: text.replace(old, new)),
    "splitList": _typed("ss", _split_list),
    "squote": _typed(
        "a*", lambda *values: " ".join(f"'{_text_of(v)}'" for v in values if v is not None)
    ),
    "ternary": _typed("aaa", _ternary),
    "toString": _typed("a", _text_of),
    "trim": _typed("s", lambda text: text.strip(_GO_SPACE)),
    "trimPrefix": _typed("ss", lambda prefix, text: text.removeprefix(prefix)),
    "trimSuffix": _typed("ss", lambda suffix, text: text.removesuffix(suffix)),
    "upper": _typed("s", lambda text: "".join(_one(c, c.upper()) for c in text)),
}
_OWN: Final[Mapping[Release, Mapping[str, Function]]] = {
    Release.V0_12: {"formatPartition": _typed("si", format_partition_v0_12)},
    Release.V0_25: {
        "formatPartition": _typed("si", format_partition),
        "fromYaml": _typed("s", from_yaml),
        "netmaskToPrefixLength": _typed("s", netmask_to_prefix_length),
        "toYaml": _typed("a", to_yaml),
    },
}
NOT_HERMETIC: Final = frozenset(
    [
        "date",
        "date_in_zone",
        "date_modify",
        "now",
        "htmlDate",
        "htmlDateInZone",
        "dateInZone",
        "dateModify",
        "randAlphaNum",
        "randAlpha",
        "randAscii",
        "randNumeric",
        "randBytes",
        "uuidv4",
        "env",
        "expandenv",
        "getHostByName",
    ]
)
"""What sprig calls so: v0.12.2's templates have it, v0.25.0's no longer."""


def functions_of(release: Release) -> Mapping[str, Function]:
    """Return what a template may call with ``release``, as far as it is supported here."""
    return {**_COMMON, **_OWN[release]}


def missing(name: str, release: Release) -> tuple[str, str | None]:
    """Return why a template can't call ``name``, and a hint."""
    if name in _OWN[release.other]:
        gone = f"Tinkerbell {release} has no template function {name!r}"
        return gone, f"{release.other} has it"
    if name in NOT_HERMETIC and release is Release.V0_25:
        gone = f"Tinkerbell {release} has no template function {name!r} any more"
        return gone, "only what gives the same result each time was left"
    known = [*_COMMON, *_OWN[release]]
    return f"function {name!r} is not supported", suggest(name, sorted(known))
