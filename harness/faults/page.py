"""The vocabulary as a page for people: ``FAULTS.md``, and what ``hooklab faults`` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from harness.faults.deeds import Parameter, parameters_of, sentence
from harness.faults.forms import FORMS
from harness.faults.vocabulary import COMMON, MAC, Fact, Field, Place, Takes, places

PAGE: Final = Path(__file__).with_name("FAULTS.md")
_WIDTH: Final = 100

_INTRODUCTION: Final = """\
# Faults

Made from the code by `python -m harness.dev.faults`; `hooklab faults [PLACE]` prints the same.

A scenario (or the `--faults` file of a program of ours) lists what goes wrong:

```yaml
seed: 1                 # decides what chance does; 0 when left out
faults:
  - at: dhcp                                              # a place
    when: {message: OFFER, to: firmware, until: 20 s}     # a moment: all of it must fit
    do: drop                                              # a deed, or {deed: parameters}
```

A text is a glob (`"*.efi"`), a number may be compared (`"> 100"`, `2..5`), a list fits when one of
it does. Without `occasion` a fault is at the first occasion of its place that knows its facts and
takes its deed. Several faults on one moment are done in the order they are written. **A fault that
never fires fails the scenario**, which then says how near it came.

Machine, link and Hook are no servers: there `after` or `phase` alone mean the moment when it is
reached, `event` is anything that the timeline tells of, and what is built in (a card, a file of
the initramfs) is so from power-on, with no `when` but `mac`. Faults of frames (`wire`, and `block`
at `link`) need `segment: wire` and take it by themselves; what they lose on its way to the machine
is in the capture, what they lose on its way from it is not. The lab's TCP has
cubic, Linux's default, where the host allows it (`tcp_allowed_congestion_control`).
"""


def page() -> str:
    """Return ``FAULTS.md``."""
    lines = [_INTRODUCTION, "## When, at every place", ""]
    lines += _table(("key", "meaning"), [(f"`{name}`", meaning) for name, meaning in _common()])
    for place in places().values():
        lines += _place_page(place)
    return "\n".join(lines).rstrip() + "\n"


def _common() -> Iterator[tuple[str, str]]:
    yield "occasion", "which kind of moment, where the facts leave it open"
    yield MAC.name, MAC.meaning
    for one in COMMON:
        yield one.name, one.meaning


def _place_page(place: Place) -> Iterator[str]:
    yield from ("", f"## {place.name}", "", f"{_capital(place.meaning)}.", "")
    yield from _table(
        ("occasion", "when"), [(f"`{one.name}`", one.meaning) for one in place.occasions]
    )
    if place.facts:
        yield ""
        yield from _table(
            ("fact", "meaning"), [(f"`{one.name}`", _fact(one)) for one in place.facts]
        )
    yield ""
    yield from _table(
        ("deed", "here", "parameters", "example"),
        [(f"`{t.name}`", t.meaning, _parameters(t), f"`{t.example}`") for t in place.deeds],
    )
    if place.fields:
        yield ""
        rows = [(f"`{one.name}`", FORMS[one.form].words, one.meaning) for one in place.fields]
        if place.other_fields_words:
            rows.append((f"`{place.other_fields_words}`", FORMS["octets"].words, "any other"))
        yield from _table(("field", "value", "meaning"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _fact(fact: Fact) -> str:
    words = fact.meaning
    if fact.values and not fact.many:
        words += f": {', '.join(fact.values)}"
    if fact.kind != "text":
        words += " (a number)" if fact.kind == "number" else " (true or false)"
    return words + (f"; {' and '.join(fact.occasions)} only" if fact.occasions else "")


def _parameters(takes: Takes) -> str:
    return "; ".join(_parameter(one) for one in parameters_of(takes.deed)) or "none"


def _parameter(one: Parameter) -> str:
    words = f"`{one.name}`: {one.meaning}"
    if one.choices:
        words += f" ({', '.join(one.choices)})"
    if one.range:
        words += f" ({one.range})"
    return words + ("" if one.needed else f" [{_default(one.default)}]")


def _default(value: Any) -> str:
    return "left out" if value in (None, "", ()) else str(value).lower()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def overview() -> str:
    """Return the list of places, for a terminal."""
    width = max(map(len, places()))
    lines = [f"  {place.name:{width}}  {place.meaning}" for place in places().values()]
    keys = [f"  {name:<11}  {meaning}" for name, meaning in _common()]
    return "\n".join(
        ["places (hooklab faults PLACE tells all of one):", *lines, "",
         "when, at every place:", *keys]
    )  # fmt: skip


def describe(place: Place) -> str:
    """Return everything about one place, for a terminal."""
    lines = [f"{place.name}: {place.meaning}", "", "occasions:"]
    lines += _entries((one.name, one.meaning) for one in place.occasions)
    if place.facts:
        lines += ["", "when:", *_entries((one.name, _fact(one)) for one in place.facts)]
    lines += ["", "do:"]
    for takes in place.deeds:
        lines += _entries([(takes.name, takes.meaning)])
        lines += [
            line
            for one in parameters_of(takes.deed)
            for line in _wrapped(f"{'':20}", _parameter(one).replace("`", ""))
        ]
        lines.append(f"{'':18}- {takes.example}")
    if place.fields:
        lines += ["", "fields:", *_entries((one.name, _field(one)) for one in place.fields)]
        if place.other_fields_words:
            lines += _entries([(place.other_fields_words, FORMS["octets"].words)])
    return "\n".join(lines)


def _field(field: Field) -> str:
    return f"{field.meaning}; {FORMS[field.form].words}"


def _entries(pairs: Any) -> list[str]:
    return [line for name, text in pairs for line in _wrapped(f"  {name:<16}", text)]


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{head}  " if not head.isspace() else head,
        subsequent_indent=" " * 20,
        break_long_words=False,
    )


def as_data(place: Place) -> dict[str, Any]:
    """Return a place for programs."""
    return {
        "place": place.name,
        "meaning": place.meaning,
        "occasions": {one.name: one.meaning for one in place.occasions},
        "facts": [
            {
                "name": one.name,
                "meaning": one.meaning,
                "kind": one.kind,
                "values": list(one.values),
                "occasions": list(place.occasions_of(one)),
            }
            for one in (*place.facts, MAC)
        ],
        "deeds": [
            {
                "name": takes.name,
                "does": sentence(takes.deed),
                "meaning": takes.meaning,
                "occasions": list(place.occasions_of(takes)),
                "example": takes.example,
                "parameters": [
                    {
                        "name": one.name,
                        "form": one.form,
                        "meaning": one.meaning,
                        "needed": one.needed,
                        "primary": one.primary,
                        "choices": list(one.choices),
                    }
                    for one in parameters_of(takes.deed)
                ],
            }
            for takes in place.deeds
        ],
        "fields": [
            {"name": one.name, "form": one.form, "meaning": one.meaning} for one in place.fields
        ],
    }
