"""From YAML's data to a ``Fault``: every key held against the vocabulary, every mistake told.

Needs no pydantic; a mistake is a path within the fault, and a ``Mistake`` with its hint.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from harness.documents.validation import Mistake, suggest
from harness.faults.deeds import DEEDS, Parameter, parameters_of
from harness.faults.fault import Fault
from harness.faults.forms import FORMS, read_form
from harness.faults.matching import is_comparison
from harness.faults.trial import objection
from harness.faults.vocabulary import COMMON, MAC, Fact, Place, Takes, places
from harness.phases import Phase

Path = tuple[str | int, ...]

_KEYS: Final = ("at", "when", "do")
_COMMON_NAMES: Final = ("occasion", *(one.name for one in COMMON))


class FaultReader:
    """Reads one fault; ``mistakes`` holds what is wrong with it, in the order it was found."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self.mistakes: list[tuple[Path, Mistake]] = []

    def read(self) -> Fault | None:
        """Return the fault; None, or one that must not be used, when there are ``mistakes``."""
        data = self._data
        if not isinstance(data, Mapping):
            self._wrong((), "expected a mapping with at, when and do")
            return None
        for key in data:
            if key not in _KEYS:
                self._wrong((key,), f"unknown key {key!r}", suggest(key, _KEYS), key=True)
        for key in ("at", "do"):
            if data.get(key) is None:
                self._wrong((), f"{key!r} is missing in a fault", f"known here: {', '.join(_KEYS)}")
        place = places().get(str(data.get("at")))
        if place is None:
            if data.get("at") is not None:
                hint = suggest(data["at"], places())
                self._wrong(("at",), f"there is no place {data['at']!r}", hint)
            return None
        named = self._deed(place, data.get("do"))
        facts, timing, occasion = self._when(place, data.get("when"))
        if named is None:
            return None
        takes, parameters = named
        occasion = self._occasion(place, takes, facts, occasion, timing) or ""
        fault = Fault(
            place=place.name,
            occasion=occasion,
            once=self._once(place, occasion, timing),
            facts=facts,
            deed=takes.name,
            parameters=parameters,
            text=_as_text(data),
            **timing,
        )
        if not self.mistakes and (reason := objection(fault)):
            self._wrong(("do",), reason)
        return fault

    def _wrong(
        self, path: Path, message: str, hint: str | None = None, *, key: bool = False
    ) -> None:
        self.mistakes.append((path, Mistake(message, hint=hint, key=key)))

    # -- do

    def _deed(self, place: Place, value: Any) -> tuple[Takes, dict[str, Any]] | None:
        if value is None:
            return None
        path: Path = ("do",)
        if isinstance(value, str):
            name, written = value, None
        elif isinstance(value, Mapping) and len(value) == 1:
            name, written = next(iter(value.items()))
            path = ("do", name)
        else:
            several = "write each deed as a fault of its own" if value else None
            self._wrong(path, "expected one deed: its name, or {name: parameters}", several)
            return None
        takes = place.takes(str(name))
        hint: str | None
        if takes is None:
            known = [one.name for one in place.deeds]
            if name in DEEDS:
                message = f"{place.name} can't do {name!r}"
                near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.8)
                meant = f"did you mean '{near[0]}'? " if near else ""
                hint = f"{meant}known here: {', '.join(known)}"
            else:
                message, hint = f"there is no deed {name!r}", suggest(name, known)
            self._wrong(path, message, hint, key=len(path) > 1)
            return None
        return takes, self._parameters(place, takes, written, path)

    def _parameters(self, place: Place, takes: Takes, written: Any, path: Path) -> dict[str, Any]:
        known = {one.name: one for one in parameters_of(takes.deed)}
        primary = next((one for one in known.values() if one.primary), None)
        if not known and written is not None:
            self._wrong(path, f"{takes.name!r} takes no parameters", key=True)
            return {}
        if written is None:
            given: dict[str, Any] = {}
        elif primary and primary.form == "fields" and isinstance(written, Mapping):
            given = {primary.name: written}
            path = path[:-1] if path[-1:] == (primary.name,) else path
        elif isinstance(written, Mapping):
            given = {str(key): value for key, value in written.items()}
        elif primary:
            given = {primary.name: written}
        else:
            self._wrong(path, f"{takes.name!r} takes a mapping of parameters")
            return {}
        for name in given:
            if name not in known:
                hint = suggest(name, known)
                self._wrong(
                    (*path, name), f"{takes.name!r} has no parameter {name!r}", hint, key=True
                )
        for name, one in known.items():
            if one.needed and name not in given and given.keys() <= known.keys():
                listed = f"one of {', '.join(one.choices)}"
                words = listed if one.choices else FORMS[one.form].words
                hint = f"{takes.name}: {words}" if one.primary else f"{name}: {words}"
                self._wrong(path, f"{takes.name!r} needs {name!r}: {one.meaning}", hint)
        short = (
            primary is not None
            and given.keys() == {primary.name}
            and (not isinstance(written, Mapping) or primary.form == "fields")
        )
        return {
            name: self._parameter(place, known[name], value, path if short else (*path, name))
            for name, value in given.items()
            if name in known
        }

    def _parameter(self, place: Place, one: Parameter, value: Any, path: Path) -> Any:
        try:
            read = read_form(one.form, value)
        except ValueError as error:
            self._wrong(path, str(error))
            return None
        if one.choices and read not in one.choices:
            self._wrong(path, f"{read!r} is not known", suggest(read, one.choices))
        if not one.holds(read):
            name = "" if path[-1] == one.name else f"{one.name}: "
            self._wrong(path, f"{name}expected {one.range}, found {value!r}")
        if one.form == "fields":
            return self._fields(place, read, path)
        if one.form == "names":
            for number, name in enumerate(read):
                where = (*path, number) if isinstance(value, list) else path
                self._known_field(place, name, where)
        return read

    def _fields(self, place: Place, given: Mapping[str, Any], path: Path) -> dict[str, Any]:
        read = {}
        for name, value in given.items():
            field = self._known_field(place, name, (*path, name))
            if field is None:
                continue
            try:
                read[name] = read_form(field.form, value)
            except ValueError as error:
                self._wrong((*path, name), f"{name}: {error}")
        return read

    def _known_field(self, place: Place, name: str, path: Path) -> Any:
        field = place.field(name)
        if field is None:
            known = [one.name for one in place.fields]
            if place.other_fields_words:
                known.append(place.other_fields_words)
            # the RFC's name is asked for, and another one is what people say
            said = [one.name for one in place.fields if name.lower() in one.meaning.lower()]
            hint = f"did you mean '{said[0]}'?" if said else suggest(name, known)
            self._wrong(path, f"{place.name} has no field {name!r}", hint, key=path[-1] == name)
        return field

    # -- when

    def _when(
        self, place: Place, value: Any
    ) -> tuple[dict[str, list[Any]], dict[str, Any], str | None]:
        facts: dict[str, list[Any]] = {}
        timing: dict[str, Any] = {}
        occasion = None
        if value is None:
            return facts, timing, None
        if not isinstance(value, Mapping):
            self._wrong(("when",), "expected a mapping")
            return facts, timing, None
        known = {one.name: one for one in (*place.facts, MAC)}
        for key, wanted in value.items():
            path: Path = ("when", key)
            if key in known:
                facts[key] = self._fact(known[key], wanted, path)
            elif key == "occasion":
                occasion = self._choice(wanted, [one.name for one in place.occasions], path)
            elif key in _COMMON_NAMES:
                timing |= self._timing(key, wanted, path)
            else:
                hint = suggest(key, [*known, *_COMMON_NAMES])
                self._wrong(path, f"{place.name} has no fact {key!r}", hint, key=True)
        return facts, timing, occasion

    def _choice(self, value: Any, known: Iterable[str], path: Path) -> str | None:
        names = list(known)
        if value in names:
            return str(value)
        self._wrong(path, f"{value!r} is not known", suggest(value, names))
        return None

    def _fact(self, fact: Fact, value: Any, path: Path) -> list[Any]:
        listed = isinstance(value, list)
        wanted = []
        for number, one in enumerate(value if listed else [value]):
            where = (*path, number) if listed else path
            if fact.kind == "flag" and not isinstance(one, bool):
                self._wrong(where, f"{fact.name}: expected true or false, found {one!r}")
            elif fact.kind == "number":
                number_like = isinstance(one, int | float) and not isinstance(one, bool)
                if not number_like and not (isinstance(one, str) and is_comparison(one)):
                    words = "a number, '> 5', '<= 5' or '2..5'"
                    self._wrong(where, f"{fact.name}: expected {words}, found {one!r}")
            elif fact.kind == "text":
                if isinstance(one, bool | dict | list) or one is None:
                    self._wrong(where, f"{fact.name}: expected a text, found {one!r}")
                    continue
                one = self._spelt(fact, str(one), where)
            wanted.append(one)
        return wanted

    def _spelt(self, fact: Fact, text: str, path: Path) -> str:
        """Return a text as the vocabulary spells it; a glob stays as it is."""
        if fact is MAC:
            return text.lower().replace("-", ":")
        if not fact.values or any(char in text for char in "*?["):
            return text
        by_lower = {value.lower(): value for value in fact.values}
        if text.lower() not in by_lower:
            hint = _near(text, fact.values) if fact.many else suggest(text, fact.values)
            self._wrong(path, f"{fact.name}: {text!r} is not known", hint)
        return by_lower.get(text.lower(), text)

    def _timing(self, key: str, value: Any, path: Path) -> dict[str, Any]:
        match key:
            case "nth":
                numbers = [self._count(key, one, path) for one in _listed(value)]
                return {"nth": tuple(numbers)}
            case "first" | "every":
                return {key: self._count(key, value, path)}
            case "after" | "until":
                try:
                    return {f"{key}_s": read_form("duration", value)}
                except ValueError as error:
                    self._wrong(path, f"{key}: {error}")
            case "probability":
                good = isinstance(value, int | float) and not isinstance(value, bool)
                if good and 0 < value <= 1:
                    return {"probability": float(value)}
                self._wrong(path, f"probability: expected above 0 and up to 1, found {value!r}")
            case "phase":
                names = [phase.value for phase in Phase]
                chosen = [self._choice(one, names, path) for one in _listed(value)]
                return {"phases": tuple(one for one in chosen if one)}
        return {}

    def _count(self, key: str, value: Any, path: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self._wrong(path, f"{key}: expected a whole number from 1, found {value!r}")
            return 1
        return int(value)

    # -- which occasion

    def _occasion(
        self,
        place: Place,
        takes: Takes,
        facts: Mapping[str, list[Any]],
        said: str | None,
        timing: Mapping[str, Any],
    ) -> str | None:
        """Return the occasion the fault is at: as said, or the first at which it can be.

        A time or phase and no fact means the moment when it is reached, where there is one.
        """
        known = {one.name: one for one in place.facts}
        able = list(place.occasions_of(takes))
        if said is not None and said not in able:
            self._wrong(("do",), f"{takes.name!r} can't be done to a {said} at {place.name}",
                        f"it can be at: {', '.join(able)}")  # fmt: skip
            return said
        candidates = [said] if said else able
        timed = timing.keys() & {"after_s", "phases"} and not facts.keys() & known.keys()
        once = [one.name for one in place.occasions if one.once and one.name in able]
        if not said and timed and once:
            candidates = once
        for name in facts:
            if name not in known:
                continue
            at = place.occasions_of(known[name])
            left = [one for one in candidates if one in at]
            if not left:
                where = " or ".join(candidates)
                message = f"{name!r} is not known at a {where} of {place.name}"
                self._wrong(("when", name), message, f"it is at: {', '.join(at)}", key=True)
                return candidates[0]
            candidates = self._by_value(place, takes, known[name], facts[name], left)
        return candidates[0]

    def _by_value(
        self, place: Place, takes: Takes, fact: Fact, wanted: list[Any], candidates: list[str]
    ) -> list[str]:
        """Return those of ``candidates`` where the fact can have the values it is to have."""
        path = ("when", fact.name)
        able = {fact.only_at.get(value): value for value in wanted}
        if None in able or not able:
            return candidates
        if len(able) > 1:
            told = ", ".join(f"{value} a {at}" for at, value in able.items())
            self._wrong(path, f"{fact.name}: {told}: no moment is both", "make it two faults")
            return candidates
        [(at, value)] = able.items()
        if at in candidates:
            return [at]
        others = [one for one in fact.values if fact.only_at.get(one) in (None, *candidates)]
        where = " or ".join(candidates)
        message = f"{fact.name} {value} comes in a {at}, and {takes.name!r} is done to a {where}"
        self._wrong(path, message, f"{where}: {', '.join(others)}")
        return candidates

    def _once(self, place: Place, occasion: str, timing: Mapping[str, Any]) -> bool:
        """Return whether the fault's occasion comes once; refuse to count it then."""
        found = next((one for one in place.occasions if one.name == occasion), None)
        if found is None:
            return False
        said = [key.removesuffix("_s").replace("phases", "phase") for key in timing]
        for key in said if found.early else ():
            message = f"{key!r} says nothing here: {found.meaning}, before power-on"
            self._wrong(("when", key), message, key=True)
        for key in {"nth", "first", "every"}.intersection(said if found.once else ()):
            message = f"{key!r} counts nothing: a {occasion} of {place.name} comes once"
            self._wrong(("when", key), message, key=True)
        return found.once


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else "'hooklab schema' lists them all"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _as_text(data: Mapping[str, Any]) -> str:
    """Return a fault on one line: ``at dhcp when {message: OFFER} do drop``."""
    words = [f"at {data.get('at')}"]
    if data.get("when"):
        words.append(f"when {_flow(data['when'])}")
    words.append(f"do {_flow(data.get('do'))}")
    return " ".join(words)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(each) for each in value)}]"
    return str(value)
